"""Constraints of an architecture, turned into `LevelConstraints`: at its nodes, or as a list with targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from heat_sim.mapping import LevelConstraints, Limit
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.directives import DataspaceDirective, LoopDirective, Version
from heat_sim.specs.targets import Directive, Targets, read_directive

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of several storages, or chains of storages, that stand side by side.

    Attributes:
        levels: Its storage levels; none if data only passes through.
        keep: What it keeps, whatever its levels say.
    """

    levels: tuple[str, ...]
    keep: frozenset[str] = frozenset()


def add_directive(found: dict[str, LevelConstraints], directive: Directive) -> None:
    """Add one directive to what is demanded at its level; contradictions are recorded as problems.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> text = "mapping: [{target: RF, type: temporal, factors: K=2 M<=4, permutation: [K, M]}]"
    >>> item = open_spec_text(text, source="demo")[1]["mapping"].items()[0]
    >>> found = {}
    >>> add_directive(found, read_directive(item, Targets(version="0.4", storages=["RF"], meshes={})))
    >>> found["RF"].temporal_bounds, found["RF"].temporal_limits, found["RF"].temporal_order
    ({'K': 2}, {'M': (1, 4)}, ('M', 'K'))
    """
    demand = found.get(directive.level, LevelConstraints())
    if (loops := directive.temporal) is not None:
        demand = replace(
            demand,
            temporal_bounds=_bounds(demand.temporal_bounds, loops),
            temporal_limits=_limits(demand.temporal_limits, loops),
            temporal_only=demand.temporal_only or loops.only,
            temporal_order=_same(demand.temporal_order, _outermost_first(loops), "permutation", loops.at),
        )
    if (loops := directive.spatial) is not None:
        demand = replace(
            demand,
            spatial_bounds=_bounds(demand.spatial_bounds, loops),
            spatial_limits=_limits(demand.spatial_limits, loops),
            spatial_only=demand.spatial_only or loops.only,
            spatial_order=_same(demand.spatial_order, _outermost_first(loops), "permutation", loops.at),
            split=_same(demand.split, loops.split, "split", loops.at),
        )
    if (dataspaces := directive.dataspaces) is not None:
        demand = _with_dataspaces(demand, dataspaces)
    if demand != LevelConstraints():
        found[directive.level] = demand


def add_constraint_section(found: dict[str, LevelConstraints], section: Cursor, targets: Targets) -> None:
    """Add a top-level section of constraints: a list of directives, or a table that holds one as ``targets``.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> text = "constraints: {targets: [{target: RF, type: dataspace, bypass: [A]}]}"
    >>> found = {}
    >>> add_constraint_section(found, open_spec_text(text, source="demo")[1]["constraints"],
    ...                        Targets(version="0.4", storages=["RF"], meshes={}))
    >>> found["RF"].bypass
    frozenset({'A'})
    """
    for item in constraint_list(section, version=targets.version):
        if (directive := read_directive(item, targets)) is not None:
            add_directive(found, directive)


def constraint_list(section: Cursor, *, version: Version) -> tuple[Cursor, ...]:
    """Return the directives of a section of constraints: a list, or a table that holds one as ``targets``.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("constraints: {version: 0.4, targets: [{target: RF}]}", source="demo")
    >>> [item.name for item in constraint_list(sections["constraints"], version="0.4")]
    ['constraints.targets[0]']
    """
    if section.node.kind == "table":
        keys = section.table(("version", "targets"), required=("targets",))
        if "version" in keys:
            keys["version"].version(version)
        if "targets" not in keys:
            return ()
        section = keys["targets"]
    return section.items()


def separate_branches(found: dict[str, LevelConstraints], branches: tuple[Branch, ...], at: Cursor) -> None:
    """Make each branch bypass what the others are told to keep; refuses two that keep the same.

    >>> from heat_sim.specs.yaml_nodes import parse_yaml
    >>> at = Cursor(node=parse_yaml("[]", source="demo")[0], name="!Parallel", source="demo", problems=[])
    >>> found = {"X": LevelConstraints(keep=frozenset("A"))}
    >>> separate_branches(found, (Branch(levels=("X",)), Branch(levels=("Y",), keep=frozenset("B"))), at)
    >>> found["X"].bypass, found["Y"].bypass
    (frozenset({'B'}), frozenset({'A'}))
    """
    keeps = [
        branch.keep.union(*(found.get(level, LevelConstraints()).keep for level in branch.levels))
        for branch in branches
    ]
    for place, (branch, keep) in enumerate(zip(branches, keeps, strict=True)):
        others = frozenset[str]().union(*keeps[:place], *keeps[place + 1 :])
        if both := sorted(keep & others):
            if keep & frozenset[str]().union(*keeps[:place]):
                at.refuse("two parallel branches keep the same", got=", ".join(both), expected="one branch for each",
                          remedy="Delete it from one.")  # fmt: skip
            continue
        for level in branch.levels if others else ():
            demand = found.get(level, LevelConstraints())
            found[level] = replace(demand, bypass=demand.bypass | others)


def _with_dataspaces(demand: LevelConstraints, directive: DataspaceDirective) -> LevelConstraints:
    keep, bypass = demand.keep | directive.keep, demand.bypass | directive.bypass
    if both := sorted(keep & bypass):
        directive.at.refuse("kept and bypassed by two constraints", got=", ".join(both), expected="one of the two",
                            remedy="Correct the list that is wrong.")  # fmt: skip
    others: Literal["keep", "bypass"] | None = _same(
        demand.others, directive.others, "rule for data spaces that are not listed", directive.at
    )
    return replace(demand, keep=keep, bypass=bypass, others=others)


def _bounds(demanded: Mapping[str, int], loops: LoopDirective) -> dict[str, int]:
    found = dict(demanded)
    for name, factor in loops.factors.items():
        if factor.residual is not None:
            loops.at.refuse("an imperfect factor as a constraint", got=f"{name}={factor}", expected=f"{name}=number",
                            remedy="Leave it to the mapping.")  # fmt: skip
        elif (first := found.setdefault(name, factor.bound)) != factor.bound:
            loops.at.refuse("two constraints on one factor", got=f"{name}={factor}", expected=f"{name}={first}",
                            remedy="Delete one.")  # fmt: skip
    return found


def _limits(demanded: Mapping[str, Limit], loops: LoopDirective) -> dict[str, Limit]:
    found = dict(demanded)
    for name, (least, most) in loops.limits.items():
        low, high = found.get(name, (1, None))
        found[name] = max(low, least), high if most is None else most if high is None else min(high, most)
    return found


def _outermost_first(loops: LoopDirective) -> tuple[str, ...] | None:
    return None if loops.permutation is None else loops.permutation[::-1]


def _same(first: _T | None, second: _T | None, what: str, at: Cursor) -> _T | None:
    """Return the one that is given; two must be equal."""
    if first is not None and second is not None and first != second:
        at.refuse(f"two constraints on one {what}", got=second, expected=first, remedy="Delete one.")
    return second if first is None else first
