"""Loading an architecture file: either version, with its energies, all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapping import Constraints
from heat_sim.specs.architecture_v3 import read_architecture_v3
from heat_sim.specs.architecture_v4 import read_architecture_v4, read_variables
from heat_sim.specs.cursor import Cursor, open_spec, suggest
from heat_sim.specs.draft import ArchitectureDraft
from heat_sim.specs.energy import COMPUTE_ACTION, EnergyTable, read_energy_tables, required_energy
from heat_sim.specs.storage import StorageDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureSpec:
    """An architecture, and what its files say about mappings on it.

    Attributes:
        architecture: The hardware.
        constraints: Level name to what is demanded of the mapping there.
        spatial_targets: Level name to the name under which mapping files put loops on its mesh; levels
            without a mesh are left out.
        version: Of the format, which the mapping files that go with it share.
        warnings: What looks like a mistake but changes nothing.
    """

    architecture: Architecture
    constraints: Constraints
    spatial_targets: Mapping[str, str]
    version: Literal["0.3", "0.4"]
    warnings: tuple[str, ...] = ()


def load_architecture(path: str | Path, *, ert: str | Path | None = None) -> ArchitectureSpec:
    """Return the architecture of a Timeloop v0.3 tree or v0.4 list of nodes.

    Args:
        path: The architecture; it may hold an ``ERT:`` section as well.
        ert: The Accelergy energy reference table, if it is a file of its own.

    Raises:
        SpecError: Every problem of both files, one sentence each.

    >>> spec = load_architecture("arch_specs/simba_l/arch.yaml", ert="arch_specs/simba_l/ert.yaml")
    >>> spec.architecture.peak_ops_per_cycle
    1024
    """
    top, sections = open_spec(path)
    energies = sections.get("ERT")
    if ert is not None:
        ert_top, ert_sections = open_spec(ert)
        top.problems.extend(ert_top.problems)
        if energies is not None:
            energies.refuse("energies given twice", got=f"an ERT section beside {ert}", expected="one of them",
                            remedy="Delete the section, or leave the file out.")  # fmt: skip
        energies = ert_sections.get("ERT")
        if energies is None:
            ert_top.refuse("no ERT section", got=f"keys {', '.join(ert_sections) or 'none'}", expected="a key ERT",
                           remedy="Add it.")  # fmt: skip
            top.problems.append(ert_top.problems[-1])
        else:
            energies = replace(energies, problems=top.problems)
    elif energies is None:
        top.refuse("no energies", got="no ERT section and no ERT file", expected="an energy reference table",
                   remedy="Name the ERT file, or add an ERT section.")  # fmt: skip
    if "architecture" not in sections:
        top.refuse("no architecture section", got=f"keys {', '.join(sections) or 'none'}",
                   expected="a key architecture", remedy="Add it.")  # fmt: skip
        top.raise_problems()
    section = sections["architecture"]
    old = "subtree" in section.node.keys
    if old:
        draft = read_architecture_v3(section)
    else:
        draft = read_architecture_v4(section, variables=read_variables(sections.get("variables")))
    if not draft.levels:
        section.refuse("no storage", got="none", expected="at least the main memory", remedy="Add a DRAM.")
    tables = read_energy_tables(energies) if energies is not None else {}
    levels, compute_energy_pj = _with_energies(draft, tables) if energies is not None else ((), 0.0)
    top.raise_problems()
    assert draft.compute is not None
    architecture = Architecture(
        name=draft.name,
        levels=levels,
        compute_name=draft.compute[0],
        compute_energy_pj=compute_energy_pj,
        clock_hz=draft.clock_hz,
    )
    meshes = {level.name: level.fanout for level in levels}
    return ArchitectureSpec(
        architecture=architecture,
        constraints=draft.constraints,
        spatial_targets={level: target for level, target in draft.spatial_targets.items() if meshes[level] > 1},
        version="0.3" if old else "0.4",
        warnings=tuple(draft.warnings),
    )


def spec_from_architecture(architecture: Architecture) -> ArchitectureSpec:
    """Return an unconstrained spec for an architecture built in Python.

    Mapping files name the mesh of a level by the level below it, as a Timeloop v0.4 file would.

    >>> mac = Architecture(name="tiny", levels=(StorageLevel(name="DRAM", fanout_x=4),), compute_name="MAC",
    ...                    compute_energy_pj=1.0)
    >>> spec_from_architecture(mac).spatial_targets
    {'DRAM': 'MAC'}
    """
    levels = architecture.levels
    below = [*(level.name for level in levels[1:]), architecture.compute_name]
    return ArchitectureSpec(
        architecture=architecture,
        constraints={},
        spatial_targets={level.name: name for level, name in zip(levels, below, strict=True) if level.fanout > 1},
        version="0.4",
    )


def _with_energies(
    draft: ArchitectureDraft, tables: Mapping[str, EnergyTable]
) -> tuple[tuple[StorageLevel, ...], float]:
    """Fill in the energies per access; a row that instances share costs each its share."""
    levels = tuple(_storage_energies(storage, tables) for storage in draft.levels)
    if draft.compute is None:
        return levels, 0.0
    table = _find(draft.compute[0], draft.compute[1], tables)
    return levels, 0.0 if table is None else required_energy(table, COMPUTE_ACTION)


def _storage_energies(storage: StorageDraft, tables: Mapping[str, EnergyTable]) -> StorageLevel:
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
    )


def _find(name: str, at: Cursor, tables: Mapping[str, EnergyTable]) -> EnergyTable | None:
    if name not in tables:
        at.refuse("no table in the ERT", got=f"tables for {', '.join(tables) or 'nothing'}",
                  expected=f"a table for {name}", remedy=f"Add it.{suggest(name, tables)}")  # fmt: skip
    return tables.get(name)
