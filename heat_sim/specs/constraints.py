"""Constraints that stand in an architecture, turned into `LevelConstraints`.

What needs the problem to be understood ("*", keep_only, factors_only, a factor 0) is refused here;
a mapping file may say it.
"""

from __future__ import annotations

from dataclasses import replace

from heat_sim.mapping import LevelConstraints
from heat_sim.specs.cursor import Cursor
from heat_sim.specs.directives import DATASPACE_KEYS, LOOP_KEYS, LoopDirective, read_dataspaces, read_loops


def add_temporal(constraints: LevelConstraints, at: Cursor) -> LevelConstraints:
    """Return the constraints with those of a ``temporal:`` table added.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("architecture: {factors: [K=2], permutation: [K, M]}", source="demo")
    >>> add_temporal(LevelConstraints(), sections["architecture"]).temporal_order
    ('M', 'K')
    """
    loops = _closed_loops(at, spatial=False)
    return replace(constraints, temporal_bounds=loops.factors, temporal_order=_outermost_first(loops))


def add_spatial(constraints: LevelConstraints, at: Cursor) -> LevelConstraints:
    """Return the constraints with those of a ``spatial:`` table, on the children's mesh, added.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("architecture: {factors: [K=2], split: 0}", source="demo")
    >>> found = add_spatial(LevelConstraints(), sections["architecture"])
    >>> found.spatial_bounds, found.split
    ({'K': 2}, 0)
    """
    loops = _closed_loops(at, spatial=True)
    return replace(constraints, spatial_bounds=loops.factors, spatial_order=_outermost_first(loops), split=loops.split)


def add_dataspaces(constraints: LevelConstraints, at: Cursor) -> LevelConstraints:
    """Return the constraints with those of a ``dataspace:`` table added.

    >>> from heat_sim.specs.cursor import open_spec_text
    >>> _, sections = open_spec_text("architecture: {keep: [A], bypass: [B]}", source="demo")
    >>> add_dataspaces(LevelConstraints(), sections["architecture"]).bypass
    frozenset({'B'})
    """
    directive = read_dataspaces(at.table(DATASPACE_KEYS), at)
    if directive.rest or "*" in directive.keep | directive.bypass:
        at.refuse(
            "the architecture does not know every data space",
            got="a list of the rest or *",
            expected="keep and bypass with names",
            remedy="List the names, or say it in the mapping.",
        )
    return replace(constraints, keep=directive.keep, bypass=directive.bypass)


def _closed_loops(at: Cursor, *, spatial: bool) -> LoopDirective:
    loops = read_loops(at.table(LOOP_KEYS), at, spatial=spatial)
    if loops.only or 0 in loops.factors.values():
        at.refuse("the architecture does not know every dimension", got="factors_only or a factor 0",
                  expected="factors with numbers", remedy="List the numbers, or say it in the mapping.")  # fmt: skip
    return loops


def _outermost_first(loops: LoopDirective) -> tuple[str, ...] | None:
    return None if loops.permutation is None else loops.permutation[::-1]
