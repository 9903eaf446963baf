"""Structures: what each level keeps and how the meshes are used. A branch and bound from the outermost level inwards.

A structure leaves open the loops in time only. Its bound adds, boundary by boundary, the least that any tile that
fits can cost there (`least_crossing_pj`), and what the compute units ask for, which a structure fixes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import least_crossing_pj, per_r, serving_pj, tile_words
from heat_sim.mapper.frame import frame_of
from heat_sim.mapper.inside import least_inside_pj, most_units_of
from heat_sim.mapper.judge import Judge, is_beaten, value_of
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Structures(NamedTuple):
    """Structures, one row each.

    Attributes:
        found: How many there are; more than rows if there was no room for some.
        energy_pj: (N,) bounds.
        cycles: (N,) bounds.
        keep: (N, L) masks, bit t for tensor t.
        mesh: (N, L) rows of the mesh choices.
        pruned: Branches set aside because something found is at least as good.
        beyond: Branches whose bound lies beyond the range asked for.
        visits: Nodes of the search that were visited.
    """

    found: int
    energy_pj: Floats
    cycles: Floats
    keep: Ints
    mesh: Ints
    pruned: int
    beyond: int
    visits: int


@njit(cache=True, error_model="numpy")
def collect_structures(
    p: Problem, judge: Judge, meshes: Ints, first_mesh: Ints, low: float, high: float, room: int, most_visits: int
) -> Structures:
    """Return the structures whose bound of the objective lies in (low, high], as far as there is room.

    Args:
        p: The problem.
        judge: What was found so far; what it beats is left out.
        meshes: See `most_units_of`; every level has a choice.
        first_mesh: See `most_units_of`.
        low: See above.
        high: See above.
        room: Structures to return at the most.
        most_visits: Nodes of the search to visit at the most.
    """
    levels = len(p.usable)
    ops = p.extent.prod()
    most_units = most_units_of(meshes, first_mesh)
    rest = least_inside_pj(p, meshes, first_mesh)
    options = np.ones(levels + 1, np.int64)
    for level in range(levels):
        options[level] = (p.keeps[level] >= 0).sum()
    limited = np.isfinite(p.rate).any()
    above = np.ones((levels + 1, 4), np.int64)
    parent = np.full((levels + 1, 3), -1, np.int64)  # [l]: last keeper of each tensor outside level l
    energy, leak = np.full(levels + 1, p.compute_pj), np.full(levels + 1, p.leak[0])  # [l]: down to level l
    keep, mesh = np.zeros(levels + 1, np.int64), np.zeros(levels, np.int64)
    found = Structures(0, np.zeros(64), np.zeros(64), np.zeros((64, levels), np.int64),
                       np.zeros((64, levels), np.int64), 0, 0, 0)  # fmt: skip
    count, pruned, beyond, visits = 0, 0, 0, 0
    # Step 0 chooses what level 0 keeps, step l + 1 the mesh of level l and what level l + 1 keeps.
    position = np.full(levels + 1, -1, np.int64)
    step = 0
    while step >= 0 and visits < most_visits:
        visits += 1
        position[step] += 1
        if step == 0:
            if position[0] == options[0]:
                break
            keep[0] = p.keeps[0, position[0]]
            if p.least[0] <= tile_words(keep[0] & p.counted[0], p.extent) <= p.usable[0]:
                step = 1
                position[step] = -1
            else:
                pruned += 1
            continue
        level = step - 1
        if position[step] == (first_mesh[level + 1] - first_mesh[level]) * options[level + 1]:
            step -= 1
            continue
        mesh[level] = first_mesh[level] + position[step] // options[level + 1]
        keeps_first = position[step] % options[level + 1] == 0
        above[level + 1] = above[level] * meshes[mesh[level]]
        units = above[level + 1].prod()
        cycles = float(-(-ops // (units * most_units[level + 1])))
        if keeps_first:
            # Meshes come with the most units first: what is too slow now, all later ones are.
            bound = energy[level] + leak[level] * cycles + _rest_pj(rest, level + 1, keep[level], parent[level])
            too_few = units * most_units[level + 1] < p.least_units
            if too_few or is_beaten(judge, bound, cycles + p.latency):
                pruned += 1
                step -= 1
                continue
            if value_of(judge, bound, cycles + p.latency) > high:
                beyond += 1
                step -= 1
                continue
        if (p.extent % above[level + 1]).any():
            position[step] += options[level + 1] - 1 - position[step] % options[level + 1]
            continue
        for t in range(3):
            parent[level + 1, t] = level if (keep[level] >> t) & 1 else parent[level, t]
        if step < levels:
            keep[step] = p.keeps[step, position[step] % options[step]]
            energy[step] = energy[level] + _crossing_pj(p, step, keep[step], parent[step], above)
            leak[step] = leak[level] + p.leak[step] * units
            bound = energy[step] + leak[step] * cycles + _rest_pj(rest, step + 1, keep[step], parent[step])
        elif parent[levels].min() < 0 or units < p.least_units:
            continue
        else:
            bound = energy[level]
            for t in range(3):
                bound += serving_pj(p, t, parent[levels, t], above, ops)
            if limited and not is_beaten(judge, bound + leak[level] * cycles, cycles + p.latency):
                cycles = max(cycles, frame_of(p, keep[:levels], meshes[mesh]).least_cycles)
            bound += leak[level] * cycles
        value = value_of(judge, bound, cycles + p.latency)
        if is_beaten(judge, bound, cycles + p.latency):
            pruned += 1
        elif value > high:
            beyond += 1
        elif step < levels:
            step += 1
            position[step] = -1
        elif value > low:
            if count < room:
                if count == len(found.energy_pj):
                    found = _with_room(found)
                found.energy_pj[count], found.cycles[count] = bound, cycles + p.latency
                found.keep[count], found.mesh[count] = keep[:levels], mesh
            count += 1
    rows = min(count, room)
    return Structures(count, found.energy_pj[:rows], found.cycles[:rows], found.keep[:rows], found.mesh[:rows], pruned,
                      beyond, visits)  # fmt: skip


@njit(cache=True, error_model="numpy")
def _rest_pj(rest: Floats, level: int, keep: int, parent: Ints) -> float:
    """Return the bound of what is spent from a level on inwards.

    Args:
        rest: Of `least_inside_pj`.
        level: See above.
        keep: What the level outside it keeps.
        parent: (3,) last keepers outside that one.
    """
    a = level if keep & 1 else parent[0] + 1
    b = level if keep & 2 else parent[1] + 1
    z = level if keep & 4 else parent[2] + 1
    return float(rest[level, a, b, z])


@njit(cache=True, error_model="numpy")
def _crossing_pj(p: Problem, level: int, keep: int, parent: Ints, above: Ints) -> float:
    """Return the bound of what passes into a level, whatever the meshes inside it; arguments as in `frame_of`."""
    slope_pj, once, no_run = np.zeros(3), np.ones(3), np.ones(3, np.int64)
    off = 0.0
    for t in range(3):
        if (keep >> t) & 1 and parent[t] >= 0:
            slope_pj[t], first = per_r(p, t, parent[t], level, above)
            off += first
    return (
        least_crossing_pj(p, level, keep, slope_pj, once, no_run, np.ones(4, np.int64), p.extent // above[level]) - off
    )


@njit(cache=True, error_model="numpy")
def _with_room(found: Structures) -> Structures:
    """Return the structures with room for as many more."""
    size, levels = found.keep.shape
    larger = Structures(found.found, np.zeros(2 * size), np.zeros(2 * size), np.zeros((2 * size, levels), np.int64),
                        np.zeros((2 * size, levels), np.int64), 0, 0, 0)  # fmt: skip
    larger.energy_pj[:size], larger.cycles[:size] = found.energy_pj, found.cycles
    larger.keep[:size], larger.mesh[:size] = found.keep, found.mesh
    return larger
