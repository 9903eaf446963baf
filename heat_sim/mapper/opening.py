"""Structures opened one after another until one has loops worth costing: the inner loop of the search, compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.judge import ROUNDING, Judge, is_beaten
from heat_sim.mapper.matmul_problem import Problem
from heat_sim.mapper.temporal import best_loops

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DONE, FOUND, NO_ROOM = 0, 1, 2
"""Whether all structures were opened, or one has something, or one had no room for its labels."""


class Opened(NamedTuple):
    """How far an opening of structures came.

    Attributes:
        status: `DONE`, `FOUND` or `NO_ROOM`.
        place: The structure it stopped at, or how many there are.
        again: Whether that one is to be opened once more, its labels told apart by the cycles of each bandwidth.
        energy_pj: (count,) of the nests found.
        cycles: (count,) not rounded up.
        bounds: (count, L, 4) in time.
        innermost: (count, L) class of the innermost loop in time, -1 where there is none.
        made: Labels made.
        pruned: Structures that were beaten before they were opened.
    """

    status: int
    place: int
    again: bool
    energy_pj: Floats
    cycles: Floats
    bounds: Ints
    innermost: Ints
    made: int
    pruned: int


@njit(cache=True, error_model="numpy")
def open_structures(
    p: Problem, judge: Judge, keep: Ints, meshes: Ints, mesh: Ints, energy_pj: Floats, cycles: Floats, values: Floats,
    place: int, again: bool, room: int,
) -> Opened:  # fmt: skip
    """Open structures, the best bound first, from a place on.

    The nest of least energy is all there is to a structure, unless a bandwidth makes that one wait and cycles count.

    Args:
        p: The problem.
        judge: What was found so far.
        keep: (N, L) masks.
        meshes: See `most_units_of`.
        mesh: (N, L) rows of it.
        energy_pj: (N,) bounds.
        cycles: (N,) bounds.
        values: (N,) bounds of the objective, ascending.
        place: Where to begin.
        again: See `Opened`.
        room: Labels to make at the most.
    """
    levels = len(p.usable)
    nothing = np.zeros(0)
    no_bounds, no_order = np.zeros((0, levels, 4), np.int64), np.zeros((0, levels), np.int64)
    spatial = np.ones((levels, 4), np.int64)
    ops = p.extent.prod()
    counts_cycles = judge.front > 0 or judge.cycles_exponent > 0 or judge.energy_exponent == 0
    made = pruned = 0
    while place < len(values):
        if judge.front == 0 and values[place] >= judge.best * (1 - ROUNDING):
            pruned += len(values) - place
            return Opened(DONE, len(values), False, nothing, nothing, no_bounds, no_order, made, pruned)
        if not again and is_beaten(judge, energy_pj[place], cycles[place]):
            pruned += 1
            place += 1
            continue
        if made >= room:
            return Opened(NO_ROOM, place, False, nothing, nothing, no_bounds, no_order, made, pruned)
        units = 1
        for level in range(levels):
            for c in range(4):
                spatial[level, c] = meshes[mesh[place, level], c]
                units *= spatial[level, c]
        waits = cycles[place] - p.latency > math.ceil(ops / units)
        follow = counts_cycles and (again or waits)
        count, nest_pj, nest_cycles, bounds, innermost, labels = best_loops(
            p, judge, keep[place], spatial, follow, room - made
        )
        made += labels
        if count < 0:
            return Opened(NO_ROOM, place, False, nothing, nothing, no_bounds, no_order, made, pruned)
        useful = False
        fastest = np.inf
        for nest in range(count):
            fastest = min(fastest, nest_cycles[nest])
            useful = useful or not is_beaten(judge, nest_pj[nest], math.ceil(nest_cycles[nest] * (1 - ROUNDING)))
        again = counts_cycles and not follow and count > 0 and fastest > cycles[place]
        if useful:
            return Opened(FOUND, place, again, nest_pj, nest_cycles, bounds, innermost, made, pruned)
        if not again:
            place += 1
    return Opened(DONE, place, False, nothing, nothing, no_bounds, no_order, made, pruned)
