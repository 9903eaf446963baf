"""Loading an architecture file: either version, with its energies, all problems at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapping import Constraints
from heat_sim.specs.architecture_v3 import read_architecture_v3
from heat_sim.specs.architecture_v4 import read_architecture_v4, read_variables
from heat_sim.specs.constraints import Branch, add_constraint_section, separate_branches
from heat_sim.specs.cursor import Cursor, Paths, open_spec, open_spec_text, parse_number, suggest
from heat_sim.specs.directives import Version
from heat_sim.specs.draft import ArchitectureDraft, ComponentSpec
from heat_sim.specs.energy import COMPUTE_ACTION, EnergyTable, read_areas, read_energy_tables, required_energy
from heat_sim.specs.expressions import Value
from heat_sim.specs.storage import StorageDraft
from heat_sim.specs.targets import Targets

VIRTUAL_NAME = re.compile(r"inter_(?P<node>.+)_spatial")
"""The name of a level without storage, as Timeloop's front end and our reader make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpec:
    """An architecture, and what its files say about mappings on it.

    Attributes:
        architecture: The hardware.
        constraints: Level name to what is demanded of the mapping there.
        spatial_targets: Level name to the name under which mapping files put loops on its mesh; levels
            without a mesh are left out.
        nodes: Every name of the architecture that files may target.
        components: Name to class, subclass and attributes, also those that mean nothing here, for estimators.
        parallel: Groups of storages side by side: each tensor is kept by exactly one branch.
        version: Of the format, which the mapping files that go with it share.
        warnings: What looks like a mistake but changes nothing.
    """

    architecture: Architecture
    constraints: Constraints
    spatial_targets: Mapping[str, str]
    version: Version
    nodes: tuple[str, ...] = ()
    components: Mapping[str, ComponentSpec] = field(default_factory=dict)
    parallel: tuple[tuple[Branch, ...], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def targets(self) -> Targets:
        """What the directives of mapping files may name."""
        return Targets(
            version=self.version,
            storages=[level.name for level in self.architecture.levels if not level.is_virtual],
            meshes={name: level for level, name in self.spatial_targets.items()},
            nodes=self.nodes,
        )


def load_architecture(path: Paths, *, ert: str | Path | None = None) -> ArchitectureSpec:
    """Return the architecture of a Timeloop v0.3 tree or v0.4 list of nodes.

    Args:
        path: The architecture, in one file or several; sections ``ERT:``, ``ART:``, ``variables:`` and
            ``constraints:`` may stand in any of them, and a problem or mapping beside them is left alone.
        ert: One more file, usually the Accelergy energy reference table.

    Raises:
        SpecError: Every problem of all files, one sentence each.

    >>> spec = load_architecture("arch_specs/simba_l/arch.yaml", ert="arch_specs/simba_l/ert.yaml")
    >>> spec.architecture.peak_ops_per_cycle
    1024
    """
    return _read_architecture(open_spec(path, *([] if ert is None else [ert])))


def parse_architecture(text: str) -> ArchitectureSpec:
    """Return the architecture of the text of a spec with its energies; see `load_architecture`.

    >>> folder = Path("arch_specs/simba_l")
    >>> text = (folder / "arch.yaml").read_text() + (folder / "ert.yaml").read_text()
    >>> parse_architecture(text).architecture.compute_name
    'MAC'
    """
    return _read_architecture(open_spec_text(text, source="architecture"))


def _read_architecture(opened: tuple[Cursor, dict[str, Cursor]]) -> ArchitectureSpec:
    top, sections = opened
    for name, what in (("architecture", "no architecture section"), ("ERT", "no energies")):
        if name not in sections:
            top.refuse(what, got=f"keys {', '.join(sections) or 'none'}", expected=f"a key {name}",
                       remedy="Add it, or name the file that has it.")  # fmt: skip
    if "architecture" not in sections:
        top.raise_problems()
    section = sections["architecture"]
    old = "subtree" in section.node.keys
    draft = read_architecture_v3(section) if old else read_architecture_v4(section, variables=_scope(sections))
    if not draft.levels:
        section.refuse("no storage", got="none", expected="at least the main memory", remedy="Add a DRAM.")
    _read_constraints(draft, sections, version="0.3" if old else "0.4")
    tables = read_energy_tables(sections["ERT"]) if "ERT" in sections else {}
    areas = read_areas(sections["ART"]) if "ART" in sections else {}
    levels, compute_energy_pj = _with_energies(draft, tables, areas) if "ERT" in sections else ((), 0.0)
    top.raise_problems()
    assert draft.compute is not None
    architecture = Architecture(
        name=draft.name,
        levels=levels,
        compute_name=draft.compute[0],
        compute_energy_pj=compute_energy_pj,
        compute_area_mm2=areas.get(draft.compute[0]),
        clock_hz=draft.clock_hz,
    )
    if missing := [name for name in draft.components if areas and name not in areas]:
        draft.warnings.append(f"{sections['ART'].where}: no area of {', '.join(missing)}; the total is unknown.")
    return ArchitectureSpec(
        architecture=architecture,
        constraints=draft.constraints,
        spatial_targets=draft.spatial_targets,
        nodes=tuple(draft.nodes),
        components=draft.components,
        parallel=tuple(branches for branches, _ in draft.parallel),
        version="0.3" if old else "0.4",
        warnings=tuple(draft.warnings),
    )


def _scope(sections: Mapping[str, Cursor]) -> dict[str, Value]:
    """Return what expressions may name: the variables, and the bounds of a problem beside the architecture."""
    scope = read_variables(sections.get("variables"))
    for key, section in sections["problem"].entries() if "problem" in sections else ():
        for name, bound in section.entries() if key == "instance" else ():
            if (number := parse_number(bound.node.text)) is not None:
                scope[f"spec.problem.instance.{name}"] = number
    return scope


def _read_constraints(draft: ArchitectureDraft, sections: Mapping[str, Cursor], *, version: Version) -> None:
    """Add the top-level sections of constraints, then part the branches of every !Parallel."""
    meshes = {storage.level.name: storage.level.fanout for storage in draft.levels}
    draft.spatial_targets = {level: name for level, name in draft.spatial_targets.items() if meshes[level] > 1}
    targets = Targets(
        version=version,
        storages=[storage.level.name for storage in draft.levels if not storage.level.is_virtual],
        meshes={name: level for level, name in draft.spatial_targets.items()},
        nodes=draft.nodes,
    )
    for name, section in sections.items():
        if "constraints" in name:
            add_constraint_section(draft.constraints, section, targets)
    for branches, at in draft.parallel:
        separate_branches(draft.constraints, branches, at)


def spec_from_architecture(architecture: Architecture) -> ArchitectureSpec:
    """Return an unconstrained spec for an architecture built in Python.

    Mapping files name the mesh of a level by the level below it, as a Timeloop v0.4 file would; that of a
    virtual level ``inter_NAME_spatial`` by NAME, and the one above it by a name of its own.

    >>> mac = Architecture(name="tiny", levels=(StorageLevel(name="DRAM", fanout_x=4),), compute_name="MAC",
    ...                    compute_energy_pj=1.0)
    >>> spec_from_architecture(mac).spatial_targets
    {'DRAM': 'MAC'}
    """
    levels = architecture.levels
    targets: dict[str, str] = {}
    for place, level in enumerate(levels):
        below = levels[place + 1] if place + 1 < len(levels) else None
        named = VIRTUAL_NAME.fullmatch(level.name) if level.is_virtual else None
        if level.fanout > 1:
            if named is not None:
                targets[level.name] = named["node"]
            elif below is not None and below.is_virtual:
                targets[level.name] = f"{level.name}_children"
            else:
                targets[level.name] = architecture.compute_name if below is None else below.name
    storages = [level.name for level in levels if not level.is_virtual]
    return ArchitectureSpec(
        architecture=architecture,
        constraints={},
        spatial_targets=targets,
        version="0.4",
        nodes=(*storages, architecture.compute_name),
    )


def _with_energies(
    draft: ArchitectureDraft, tables: Mapping[str, EnergyTable], areas: Mapping[str, float]
) -> tuple[tuple[StorageLevel, ...], float]:
    """Fill in energies per access and areas; a row that instances share costs each its share."""
    levels = tuple(_storage_energies(storage, tables, areas.get(storage.level.name)) for storage in draft.levels)
    if draft.compute is None:
        return levels, 0.0
    table = _find(draft.compute[0], draft.compute[1], tables)
    return levels, 0.0 if table is None else required_energy(table, COMPUTE_ACTION)


def _storage_energies(storage: StorageDraft, tables: Mapping[str, EnergyTable], area_mm2: float | None) -> StorageLevel:
    level = storage.level
    if level.is_virtual:
        return level
    table = _find(level.name, storage.at, tables)
    if table is None:
        return level
    read = required_energy(table, "read")
    write = required_energy(table, "write")
    return replace(
        level,
        read_energy_pj=read / storage.cluster_size,
        write_energy_pj=write / storage.cluster_size,
        update_energy_pj=required_energy(table, "update", default=write) / storage.cluster_size,
        leakage_energy_pj_per_cycle=required_energy(table, "leak", default=0.0),
        area_mm2=None if area_mm2 is None else area_mm2 / storage.cluster_size,
    )


def _find(name: str, at: Cursor, tables: Mapping[str, EnergyTable]) -> EnergyTable | None:
    if name not in tables:
        at.refuse("no table in the ERT", got=f"tables for {', '.join(tables) or 'nothing'}",
                  expected=f"a table for {name}", remedy=f"Add it.{suggest(name, tables)}")  # fmt: skip
    return tables.get(name)
