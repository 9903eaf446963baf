"""Timeloop mapping files: directives, in any order, become one `Mapping`.

Files write permutations innermost first; loops of a `Mapping` stand outermost first. Loops of bound 1
do nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from heat_sim.einsum import Einsum
from heat_sim.mapping import Constraints, LevelConstraints, LevelMapping, Loop, Mapping, resolve_constraints
from heat_sim.specs.architecture_spec import ArchitectureSpec
from heat_sim.specs.constraints import add_constraint_section
from heat_sim.specs.cursor import Cursor, Paths, open_spec, open_spec_text, suggest
from heat_sim.specs.directives import DataspaceDirective, Factor, LoopDirective, Version
from heat_sim.specs.targets import read_directive


def load_mapping(path: Paths, *, einsum: Einsum, spec: ArchitectureSpec) -> Mapping:
    """Return the loop nest of a mapping file, completed by the constraints of the architecture.

    Bounds must multiply to the extents, imperfect ones (v0.3, ``M=4,2``) fold to them; limits must be met.
    Whether the loops fit the meshes and the tiles the capacities is for the model to judge.

    Args:
        path: The file, in the version of `spec`, or several; other sections in them are left alone.
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
    temporal: dict[str, LoopDirective] = {}
    spatial: dict[str, LoopDirective] = {}
    dataspaces: dict[str, list[DataspaceDirective]] = {}
    loops_are_read = True
    for item in section.items():
        before = len(top.problems)
        directive = read_directive(item, spec.targets)
        if directive is None or directive.dataspaces is None:
            loops_are_read &= len(top.problems) == before
        if directive is None:
            continue
        if directive.dataspaces is not None:
            dataspaces.setdefault(directive.level, []).append(directive.dataspaces)
        for found, loops in ((temporal, directive.temporal), (spatial, directive.spatial)):
            if loops is not None and found.setdefault(directive.level, loops) is not loops:
                loops.at.refuse("directive given twice", got="a second one",
                                expected=f"one {item.peek('type')} directive for {item.peek('target')}",
                                remedy="Merge them.")  # fmt: skip
    demanded = dict(spec.constraints)
    for name, constraints in sections.items():
        if "constraints" in name:  # of this file, or those of the architecture once more
            add_constraint_section(demanded, constraints, spec.targets)
    demands = resolve_constraints(demanded, einsum=einsum)
    keep = _kept(dataspaces, demands, section=section, einsum=einsum, spec=spec)
    levels: list[LevelMapping] = []
    for level in spec.architecture.levels:
        name, demand = level.name, demands.get(level.name, LevelConstraints())
        in_time = temporal.get(name) or LoopDirective(at=section.renamed(f"mapping at {name}"))
        in_space = spatial.get(name) or LoopDirective(at=section.renamed(f"mapping below {name}"))
        levels.append(
            LevelMapping(
                level=name,
                temporal=_temporal(in_time, demand, einsum=einsum, version=spec.version),
                spatial=_spatial(in_space, demand, einsum=einsum, version=spec.version),
                keep=keep[name],
            )
        )
    mapping = Mapping(levels=tuple(levels))
    for dimension, extent in einsum.extents if loops_are_read else ():
        if (product := mapping.bound(dimension)) != extent:
            perfect = all(loop.residual is None for level in levels for loop in level.loops
                          if loop.rank_var == dimension)  # fmt: skip
            what = "do not multiply to its bound" if perfect else "do not fold to its bound"
            section.refuse(f"factors of {dimension} {what}", got=product, expected=extent,
                           remedy=f"Correct a factor of {dimension}.")  # fmt: skip
    top.raise_problems()
    return mapping


def _temporal(loops: LoopDirective, demand: LevelConstraints, *, einsum: Einsum, version: Version) -> tuple[Loop, ...]:
    factors = _factors(loops, demand, "temporal", einsum)
    order = _order(loops, demand.temporal_order, factors, einsum=einsum, version=version)
    return tuple(
        Loop(rank_var=name, bound=factors[name].bound, residual=factors[name].residual)
        for name in reversed(order)
        if name in factors and factors[name].bound > 1
    )


def _spatial(loops: LoopDirective, demand: LevelConstraints, *, einsum: Einsum, version: Version) -> tuple[Loop, ...]:
    factors = _factors(loops, demand, "spatial", einsum)
    order = _order(loops, demand.spatial_order, factors, einsum=einsum, version=version)
    split = loops.split if loops.split is not None else demand.split
    if demand.split is not None and split != demand.split:
        loops.at.refuse("split contradicts the architecture's constraint", got=split, expected=demand.split,
                        remedy="Leave it out.")  # fmt: skip
    along_x = order if split is None else order[:split]
    return tuple(
        Loop(
            rank_var=name,
            bound=factors[name].bound,
            residual=factors[name].residual,
            dimension="x" if name in along_x else "y",
        )
        for name in reversed(order)
        if name in factors and factors[name].bound > 1
    )


def _factors(
    loops: LoopDirective, demand: LevelConstraints, kind: Literal["temporal", "spatial"], einsum: Einsum
) -> dict[str, Factor]:
    """Unite the file's factors with the constraint's, and hold them to the limits of both."""
    temporal = kind == "temporal"
    demanded = demand.temporal_bounds if temporal else demand.spatial_bounds
    limits = demand.temporal_limits if temporal else demand.spatial_limits
    factors = {
        name: factor if factor.bound else Factor(einsum.extent(name))
        for name, factor in loops.factors.items()
        if _known(name, loops.at, einsum)
    }
    for name, bound in demanded.items():
        if _known(name, loops.at, einsum) and (found := factors.setdefault(name, Factor(bound))) != Factor(bound):
            loops.at.refuse("factor contradicts the architecture's constraint", got=f"{name}={found}",
                            expected=f"{name}={bound}", remedy="Leave it out.")  # fmt: skip
            factors[name] = Factor(bound)
    if loops.only:  # what a constraint lists is listed, too
        factors = dict.fromkeys(einsum.rank_vars, Factor(1)) | factors
    for name, (least, most) in [*limits.items(), *loops.limits.items()]:
        if _known(name, loops.at, einsum):
            bound = factors.get(name, Factor(1)).bound
            if bound < least or (most is not None and bound > most):
                loops.at.refuse("factor beyond its limit", got=f"{name}={bound}",
                                expected=f"{name}>={least}" if bound < least else f"{name}<={most}",
                                remedy="Correct the factor or the limit.")  # fmt: skip
    return factors


def _order(
    loops: LoopDirective,
    demanded: tuple[str, ...] | None,
    factors: dict[str, Factor],
    *,
    einsum: Einsum,
    version: Version,
) -> Sequence[str]:
    """Complete the permutation, innermost first, as Timeloop's readers do.

    Dimensions that are not listed come after, further out. The v0.4 front end first puts those in front
    whose factor is written as 1 or whose extent is 1; that moves no loop but shifts the split. In v0.3 a
    constraint may give the innermost entries alone.
    """
    listed = loops.permutation
    if demanded is not None:
        inner = demanded[::-1]
        same = listed is None or listed == inner or (version == "0.3" and listed[: len(inner)] == inner)
        if not same:
            loops.at.refuse("permutation contradicts the architecture's constraint", got=" ".join(listed or ()),
                            expected=" ".join(inner), remedy="Leave it out.")  # fmt: skip
        listed = listed if same and listed is not None else inner
    names = [name for name in listed or () if _known(name, loops.at, einsum)]
    idle = [
        name
        for name in einsum.rank_vars
        if name not in names and version == "0.4" and (factors.get(name) == Factor(1) or einsum.extent(name) == 1)
    ]
    first = [*idle, *names]
    return [*first, *(name for name in einsum.rank_vars if name not in first)]


def _kept(
    directives: dict[str, list[DataspaceDirective]],
    demands: Constraints,
    *,
    section: Cursor,
    einsum: Einsum,
    spec: ArchitectureSpec,
) -> dict[str, frozenset[str]]:
    """Return what each level keeps: everything that is not bypassed, there or beside it in a !Parallel."""
    tensors = frozenset(tensor.name for tensor in einsum.tensors)
    named: dict[str, frozenset[str]] = {}
    kept: dict[str, frozenset[str]] = {}
    for level in spec.architecture.levels:
        name, demand = level.name, demands.get(level.name, LevelConstraints())
        keep, bypass = demand.keep, demand.bypass
        at = section.renamed(f"mapping at {name}")
        for directive in directives.get(name, ()):
            at = directive.at
            rest = tensors - directive.keep - directive.bypass
            keep |= directive.keep | (rest if directive.others == "keep" else frozenset())
            bypass |= directive.bypass | (rest if directive.others == "bypass" else frozenset())
        if unknown := sorted((keep | bypass) - tensors):
            at.refuse("unknown data space", got=", ".join(unknown), expected=f"some of {', '.join(sorted(tensors))}",
                      remedy=f"Correct the name.{suggest(unknown[0], tensors)}")  # fmt: skip
        if both := sorted(keep & bypass):
            at.refuse(f"kept and bypassed at {name}", got=", ".join(both), remedy="Correct the list that is wrong.",
                      expected="one of the two, constraints included")  # fmt: skip
        named[name] = keep
        kept[name] = frozenset() if level.is_virtual else tensors - bypass
    for group in spec.parallel:
        keeps = [branch.keep.union(*(named[level] for level in branch.levels)) for branch in group]
        levels = [level for branch in group for level in branch.levels]
        for tensor in sorted(tensors):
            if (count := sum(tensor in keep for keep in keeps)) != 1:
                section.refuse(f"data space {tensor} beside parallel storages", got=f"{count} branches that keep it",
                               expected=f"one of the branches with {', '.join(levels)}",
                               remedy="Name it under keep in one of them.")  # fmt: skip
        for branch, keep in zip(group, keeps, strict=True):
            kept |= {level: kept[level] & keep for level in branch.levels}
    return kept


def _known(name: str, at: Cursor, einsum: Einsum) -> bool:
    if name in einsum.rank_vars:
        return True
    at.refuse("unknown dimension", got=name, expected=f"one of {', '.join(einsum.rank_vars)}", remedy="Correct it.")
    return False
