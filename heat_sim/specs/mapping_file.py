"""Timeloop mapping files: directives, in any order, become one `Mapping`.

Files write permutations innermost first; loops of a `Mapping` stand outermost first. Loops of bound 1
do nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heat_sim.einsum import Einsum
from heat_sim.mapping import LevelConstraints, LevelMapping, Loop, Mapping
from heat_sim.specs.architecture_spec import ArchitectureSpec
from heat_sim.specs.cursor import Cursor, open_spec, open_spec_text, suggest
from heat_sim.specs.directives import (
    DATASPACE_KEYS,
    LOOP_KEYS,
    DataspaceDirective,
    LoopDirective,
    read_dataspaces,
    read_loops,
)  # fmt: skip

DATASPACE_TYPE = {"0.3": "bypass", "0.4": "dataspace"}
"""What the two versions call a directive with keep and bypass."""


def load_mapping(path: str | Path, *, einsum: Einsum, spec: ArchitectureSpec) -> Mapping:
    """Return the loop nest of a mapping file, completed by the constraints of the architecture.

    Bounds must multiply to the extents; whether the loops fit the meshes and the tiles the capacities is
    for the model to judge.

    Args:
        path: The file, in the version of `spec`.
        einsum: The workload.
        spec: The architecture.

    Raises:
        SpecError: Every problem of the file, one sentence each.

    >>> from heat_sim.specs import load_architecture, load_problem
    >>> spec = load_architecture("arch_specs/simba_l/arch.yaml", ert="arch_specs/simba_l/ert.yaml")
    >>> einsum = load_problem("mappings/simba_l/bert_ffn/problem.yaml")
    >>> load_mapping("mappings/simba_l/bert_ffn/weight_stationary.yaml", einsum=einsum, spec=spec).bound("M")
    128
    """
    return _read_mapping(open_spec(path), einsum, spec)


def parse_mapping(text: str, *, einsum: Einsum, spec: ArchitectureSpec) -> Mapping:
    """Return the loop nest of the text of a mapping file; see `load_mapping`.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.specs import spec_from_architecture
    >>> tiny = Architecture(name="tiny", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0)
    >>> print(parse_mapping("mapping: [{target: DRAM, type: temporal, factors: m=4 k=2, permutation: [k, m]}]",
    ...                     einsum=parse_einsum("z[m] = a[m,k] * x[k]", extents={"m": 4, "k": 2}),
    ...                     spec=spec_from_architecture(tiny)))
    DRAM [a, x, z]
    | for m in 0..3
      | for k in 0..1
    """
    return _read_mapping(open_spec_text(text, source="mapping"), einsum, spec)


def _read_mapping(opened: tuple[Cursor, dict[str, Cursor]], einsum: Einsum, spec: ArchitectureSpec) -> Mapping:
    top, sections = opened
    if "mapping" not in sections:
        top.refuse("no mapping section", got=f"keys {', '.join(sections) or 'none'}", expected="a key mapping",
                   remedy="Add it.")  # fmt: skip
        top.raise_problems()
    section = sections["mapping"]
    directives = _Directives(temporal={}, spatial={}, dataspaces={})
    for item in section.items():
        _read_directive(item, spec, directives)
    levels = tuple(
        LevelMapping(
            level=level.name,
            temporal=_temporal(directives.temporal.get(level.name), section, level.name, einsum, spec),
            spatial=_spatial(directives.spatial.get(level.name), section, level.name, einsum, spec),
            keep=frozenset()
            if level.is_virtual
            else _kept(directives.dataspaces.get(level.name, []), section, level.name, einsum, spec),
        )
        for level in spec.architecture.levels
    )
    top.raise_problems()
    mapping = Mapping(levels=levels)
    for dimension, extent in einsum.extents:
        if (product := mapping.bound(dimension)) != extent:
            section.refuse(f"factors of {dimension} do not multiply to its bound", got=product, expected=extent,
                           remedy=f"Correct a factor of {dimension}.")  # fmt: skip
    top.raise_problems()
    return mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directives:
    """What the file says, by storage level; spatial ones by the level that has the mesh."""

    temporal: dict[str, LoopDirective]
    spatial: dict[str, LoopDirective]
    dataspaces: dict[str, list[DataspaceDirective]]


def _read_directive(item: Cursor, spec: ArchitectureSpec, found: _Directives) -> None:
    kind, target = item.peek("type"), item.peek("target")
    at = item.renamed(f"{item.name} {kind} at {target}" if kind and target else item.name)
    types = ("temporal", "spatial", DATASPACE_TYPE[spec.version])
    if kind and kind not in types:
        at.refuse("unknown type of directive", got=kind, expected=f"one of {', '.join(types)}",
                  remedy=f"Correct it; the architecture is version {spec.version}.{suggest(kind, types)}")  # fmt: skip
        return
    keys = DATASPACE_KEYS if kind == types[2] else LOOP_KEYS
    entries = at.table(("target", "type", *keys), required=("target", "type"))
    if any(entries[key].word() is None for key in ("target", "type") if key in entries) or not (kind and target):
        return
    if kind == "spatial":
        levels = {name: level for level, name in spec.spatial_targets.items()}
        what, remedy = "spatial loops where there is no mesh", f"Give {target} a mesh, or correct the target."
    else:
        levels = {level.name: level.name for level in spec.architecture.levels if not level.is_virtual}
        what, remedy = "not a storage level", "Correct the target."
    if target not in levels:
        at.refuse(what, got=target, expected=f"one of {', '.join(levels) or '(no node has a mesh)'}",
                  remedy=f"{remedy}{suggest(target, levels)}")  # fmt: skip
    elif kind == types[2]:
        found.dataspaces.setdefault(target, []).append(read_dataspaces(entries, at))
    else:
        loops = found.spatial if kind == "spatial" else found.temporal
        if levels[target] in loops:
            at.refuse("directive given twice", got="a second one", expected=f"one {kind} directive for {target}",
                      remedy="Merge them.")  # fmt: skip
        else:
            loops[levels[target]] = read_loops(entries, at, spatial=kind == "spatial")


def _temporal(
    directive: LoopDirective | None, section: Cursor, level: str, einsum: Einsum, spec: ArchitectureSpec
) -> tuple[Loop, ...]:
    demanded = spec.constraints.get(level, LevelConstraints())
    loops = directive or LoopDirective(at=section.renamed(f"mapping at {level}"))
    factors = _factors(loops, demanded.temporal_bounds.items(), einsum)
    order = _order(loops, demanded.temporal_order, factors, einsum, spec)
    return tuple(Loop(rank_var=name, bound=factors[name]) for name in reversed(order) if factors.get(name, 1) > 1)


def _spatial(
    directive: LoopDirective | None, section: Cursor, level: str, einsum: Einsum, spec: ArchitectureSpec
) -> tuple[Loop, ...]:
    demanded = spec.constraints.get(level, LevelConstraints())
    loops = directive or LoopDirective(at=section.renamed(f"mapping below {level}"))
    factors = _factors(loops, demanded.spatial_bounds.items(), einsum)
    order = _order(loops, demanded.spatial_order, factors, einsum, spec)
    split = loops.split if loops.split is not None else demanded.split
    if demanded.split is not None and split != demanded.split:
        loops.at.refuse("split contradicts the architecture's constraint", got=split, expected=demanded.split,
                        remedy="Leave it out.")  # fmt: skip
    along_x = order if split is None else order[:split]
    return tuple(
        Loop(rank_var=name, bound=factors[name], dimension="x" if name in along_x else "y")
        for name in reversed(order)
        if factors.get(name, 1) > 1
    )


def _factors(loops: LoopDirective, demanded: Iterable[tuple[str, int]], einsum: Einsum) -> dict[str, int]:
    """Unite the file's factors with the constraint's; a factor 0 is the whole extent."""
    factors: dict[str, int] = {}
    for name, number in loops.factors.items():
        if _known(name, loops.at, einsum):
            factors[name] = number or einsum.extent(name)
    for name, number in demanded:
        if not _known(name, loops.at, einsum):
            continue
        if factors.get(name, 1 if loops.only else number) != number:
            loops.at.refuse("factor contradicts the architecture's constraint", got=f"{name}={factors.get(name, 1)}",
                            expected=f"{name}={number}", remedy="Leave it out.")  # fmt: skip
        factors[name] = number
    return factors


def _order(
    loops: LoopDirective,
    demanded: tuple[str, ...] | None,
    factors: dict[str, int],
    einsum: Einsum,
    spec: ArchitectureSpec,
) -> Sequence[str]:
    """Complete the permutation, innermost first, as Timeloop's readers do.

    Dimensions that are not listed come after, further out. The v0.4 front end first puts those in front
    whose factor is written as 1 or whose extent is 1; that moves no loop but shifts the split.
    """
    listed = loops.permutation
    if demanded is not None:
        if listed is not None and listed != demanded[::-1]:
            loops.at.refuse("permutation contradicts the architecture's constraint", got=" ".join(listed),
                            expected=" ".join(demanded[::-1]), remedy="Leave it out.")  # fmt: skip
        listed = demanded[::-1]
    names = [name for name in listed or () if _known(name, loops.at, einsum)]
    idle = [
        name
        for name in einsum.rank_vars
        if name not in names and spec.version == "0.4" and (factors.get(name) == 1 or einsum.extent(name) == 1)
    ]
    first = [*idle, *names]
    return [*first, *(name for name in einsum.rank_vars if name not in first)]


def _kept(
    directives: Sequence[DataspaceDirective], section: Cursor, level: str, einsum: Einsum, spec: ArchitectureSpec
) -> frozenset[str]:
    """Return what the level keeps: everything that is not bypassed."""
    tensors = frozenset(tensor.name for tensor in einsum.tensors)
    demanded = spec.constraints.get(level, LevelConstraints())
    keep, bypass = set(demanded.keep), set(demanded.bypass)
    at = section.renamed(f"mapping at {level}")
    for directive in directives:
        at = directive.at
        named = directive.keep | directive.bypass
        rest = tensors - named
        keep |= rest if directive.rest == "keep" else set()
        bypass |= rest if directive.rest == "bypass" else set()
        keep |= (directive.keep - {"*"}) | (rest if "*" in directive.keep else set())
        bypass |= (directive.bypass - {"*"}) | (rest if "*" in directive.bypass else set())
    if unknown := sorted((keep | bypass) - tensors):
        at.refuse("unknown data space", got=", ".join(unknown), expected=f"some of {', '.join(sorted(tensors))}",
                  remedy=f"Correct the name.{suggest(unknown[0], tensors)}")  # fmt: skip
    if both := sorted(keep & bypass):
        at.refuse(f"kept and bypassed at {level}", got=", ".join(both), expected="one of the two, constraints included",
                  remedy="Correct the list that is wrong.")  # fmt: skip
    return tensors - bypass


def _known(name: str, at: Cursor, einsum: Einsum) -> bool:
    if name in einsum.rank_vars:
        return True
    at.refuse("unknown dimension", got=name, expected=f"one of {', '.join(einsum.rank_vars)}", remedy="Correct it.")
    return False
