"""Structures: what each level keeps and how the meshes are used. A branch and bound from the outermost level inwards.

A structure leaves open the loops in time only. Its bound adds, boundary by boundary, the least that any tile that
fits can cost there (`least_crossing_pj`), and what the compute units ask for, which a structure fixes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import OUTPUT, irrelevant, least_crossing_pj, per_r, serving_pj, tile_words
from heat_sim.mapper.frame import frame_of
from heat_sim.mapper.judge import Judge, is_beaten, value_of
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Structures(NamedTuple):
    """Structures, one row each.

    Attributes:
        count: How many there are; more than rows if there was no room for some.
        energy_pj: (N,) bounds.
        cycles: (N,) bounds.
        keep: (N, L) masks, bit t for tensor t.
        mesh: (N, L) rows of the mesh choices.
        pruned: Branches set aside because something found is at least as good.
        beyond: Branches whose bound lies beyond the range asked for.
        visits: Nodes of the search that were visited.
    """

    count: int
    energy_pj: Floats
    cycles: Floats
    keep: Ints
    mesh: Ints
    pruned: int
    beyond: int
    visits: int


@njit(cache=True, error_model="numpy")
def least_serving_pj(p: Problem, most_units: Ints) -> Floats:
    """Return (3, L + 1, L): no less energy is spent inside a level on a tensor whose keeper further out is given.

    Args:
        p: The problem.
        most_units: (L + 1,) compute units that one instance of the level can have at work.

    Returns:
        [t, l, P] bounds the boundaries at l and further in, and what the units ask, for tensor t kept last at P.
    """
    levels = len(p.usable)
    ops = p.extent[0] * p.extent[1] * p.extent[2] * p.extent[3]
    least = np.zeros((3, levels + 1, levels))
    for t in range(3):
        n = p.extent[irrelevant(t)]
        for keeper in range(levels):
            # So many units share one word at the most, so many instances of the keeper hold the same words.
            shared = min(n, most_units[keeper])
            copies = min(n // shared, most_units[0] // max(1, most_units[keeper]))
            asked = ops // shared
            block = p.block[keeper]
            cost = asked * p.energy[keeper, 0]
            if t == OUTPUT:
                again = max(0, asked - p.words[t] * copies)
                cost = asked * p.energy[keeper, 2] + again * p.energy[keeper, 0]
            least[t, levels, keeper] = cost / block
        for level in range(levels - 1, -1, -1):
            can_keep = False
            for option in p.keeps[level]:
                can_keep = can_keep or (option >= 0 and (option >> t) & 1 == 1)
            for keeper in range(levels):
                cost = least[t, level + 1, keeper]
                if can_keep and keeper < level:
                    move = p.words[t] * (
                        p.energy[keeper, 2] / p.block[keeper]
                        if t == OUTPUT
                        else p.energy[keeper, 0] / p.block[keeper] + p.energy[level, 1] / p.block[level]
                    )
                    cost = min(cost, move + least[t, level + 1, level])
                least[t, level, keeper] = cost
    return least


@njit(cache=True, error_model="numpy")
def collect_structures(
    p: Problem, judge: Judge, meshes: Ints, first_mesh: Ints, divisor: Ints, divisors: Ints, low: float, high: float,
    room: int, most_visits: int,
) -> Structures:  # fmt: skip
    """Return the structures whose bound lies in (low, high], as far as there is room.

    Args:
        p: The problem.
        judge: What was found so far; what it beats is left out.
        meshes: (C, 4) bounds over the children, the choices of level l in rows first_mesh[l]..first_mesh[l + 1],
            most units first.
        first_mesh: (L + 1,).
        divisor: (4, D) divisors of the extents, ascending.
        divisors: (4,) how many.
        low: See above.
        high: See above.
        room: Structures to return at the most.
        most_visits: Nodes of the search to visit at the most.
    """
    levels = len(p.usable)
    ops = p.extent[0] * p.extent[1] * p.extent[2] * p.extent[3]
    # Compute units below one instance of each level that any choice of meshes can have at work.
    most_units = np.ones(levels + 1, np.int64)
    for level in range(levels - 1, -1, -1):
        row = first_mesh[level]
        if row == first_mesh[level + 1]:
            none = np.zeros((0, levels), np.int64)
            return Structures(0, np.zeros(0), np.zeros(0), none, none, 0, 0, 0)
        most_units[level] = most_units[level + 1] * meshes[row, 0] * meshes[row, 1] * meshes[row, 2] * meshes[row, 3]
    rest = least_serving_pj(p, most_units)
    leak_outermost = p.leak[0]
    options = np.zeros(levels + 1, np.int64)
    for level in range(levels):
        for option in p.keeps[level]:
            options[level] += option >= 0
    options[levels] = 1
    above = np.ones((levels + 1, 4), np.int64)
    parent = np.full((levels + 1, 3), -1, np.int64)  # [l]: last keeper of each tensor outside level l
    energy = np.zeros(levels + 1)
    leak = np.zeros(levels + 1)
    keep, mesh = np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    found_energy, found_cycles = np.zeros(64), np.zeros(64)
    found_keep, found_mesh = np.zeros((64, levels), np.int64), np.zeros((64, levels), np.int64)
    count, pruned, beyond, visits = 0, 0, 0, 0
    one, whole_tile = np.ones(4, np.int64), np.ones(4, np.int64)
    spatial = np.ones((levels, 4), np.int64)
    limited = np.isfinite(p.rate).any()
    slope_pj, once, no_run = np.zeros(3), np.ones(3), np.ones(3, np.int64)
    # Position of the search at each step: step 0 chooses what level 0 keeps, step l + 1 the mesh of l and keep of l + 1.
    position = np.full(levels + 1, -1, np.int64)
    step = 0
    while step >= 0 and visits < most_visits:
        visits += 1
        position[step] += 1
        if step == 0:
            if position[0] >= options[0]:
                break
            keep[0] = p.keeps[0, position[0]]
            if tile_words(keep[0], p.extent) > p.usable[0] or tile_words(keep[0], p.extent) < p.least[0]:
                pruned += 1
                continue
            for t in range(3):
                parent[0, t] = -1
            energy[0] = p.compute_pj
            leak[0] = leak_outermost
            step = 1
            position[1] = -1
            continue
        level = step - 1  # its mesh is chosen here, and what the level inside it keeps
        inner = options[level + 1]
        if position[step] >= (first_mesh[level + 1] - first_mesh[level]) * inner:
            step -= 1
            continue
        row = first_mesh[level] + position[step] // inner
        mesh[level] = row
        divides = True
        units = 1
        for c in range(4):
            above[level + 1, c] = above[level, c] * meshes[row, c]
            divides = divides and p.extent[c] % above[level + 1, c] == 0
            units *= above[level + 1, c]
        most = units * most_units[level + 1]
        cycles = float((ops + most - 1) // most)
        if position[step] % inner == 0:
            # Meshes come with the most units first: once cycles alone are too many, so they are for the rest.
            bound = energy[level] + leak[level] * cycles
            for t in range(3):
                keeper = level if (keep[level] >> t) & 1 else parent[level, t]
                if keeper >= 0:
                    bound += rest[t, level + 1, keeper]
            if most < p.least_units or is_beaten(judge, bound, cycles + p.latency):
                pruned += 1
                step -= 1
                continue
            if value_of(judge, bound, cycles + p.latency) > high:
                beyond += 1
                step -= 1
                continue
        if not divides:
            position[step] += inner - 1 - position[step] % inner
            continue
        for t in range(3):
            parent[level + 1, t] = level if (keep[level] >> t) & 1 else parent[level, t]
        if step < levels:
            keep[level + 1] = p.keeps[level + 1, position[step] % inner]
            for c in range(4):
                whole_tile[c] = p.extent[c] // above[level + 1, c]
            off = 0.0
            for t in range(3):
                slope_pj[t] = 0.0
                if (keep[level + 1] >> t) & 1 and parent[level + 1, t] >= 0:
                    slope_pj[t], first = per_r(p, t, parent[level + 1, t], level + 1, above)
                    off += first
            crossing = least_crossing_pj(
                p, level + 1, keep[level + 1], slope_pj, once, no_run, one, whole_tile, divisor, divisors
            )
            energy[level + 1] = energy[level] + crossing - off
            leak[level + 1] = leak[level] + p.leak[level + 1] * units
            bound = energy[level + 1] + leak[level + 1] * cycles
            for t in range(3):
                keeper = level + 1 if (keep[level + 1] >> t) & 1 else parent[level + 1, t]
                if keeper >= 0:
                    bound += rest[t, level + 2, keeper]
            if is_beaten(judge, bound, cycles + p.latency):
                pruned += 1
                continue
            if value_of(judge, bound, cycles + p.latency) > high:
                beyond += 1
                continue
            step += 1
            position[step] = -1
            continue
        # All is chosen.
        if parent[levels, 0] < 0 or parent[levels, 1] < 0 or parent[levels, 2] < 0 or units < p.least_units:
            continue
        total = energy[level]
        for t in range(3):
            total += serving_pj(p, t, parent[levels, t], above, ops)
        if is_beaten(judge, total + leak[level] * cycles, cycles + p.latency):
            pruned += 1
            continue
        if limited:
            for at in range(levels):
                spatial[at] = meshes[mesh[at]]
            cycles = max(cycles, frame_of(p, keep, spatial, divisor, divisors).least_cycles)
        total += leak[level] * cycles
        cycles += p.latency
        if is_beaten(judge, total, cycles):
            pruned += 1
            continue
        value = value_of(judge, total, cycles)
        if value <= low:
            continue
        if value > high:
            beyond += 1
            continue
        if count < room:
            if count == len(found_energy):
                found_energy, found_cycles = _longer(found_energy), _longer(found_cycles)
                found_keep, found_mesh = _taller(found_keep), _taller(found_mesh)
            found_energy[count], found_cycles[count] = total, cycles
            found_keep[count], found_mesh[count] = keep, mesh
        count += 1
    rows = min(count, room)
    return Structures(
        count, found_energy[:rows], found_cycles[:rows], found_keep[:rows], found_mesh[:rows], pruned, beyond, visits
    )


@njit(cache=True, error_model="numpy")
def _longer(values: Floats) -> Floats:
    result = np.zeros(2 * len(values))
    result[: len(values)] = values
    return result


@njit(cache=True, error_model="numpy")
def _taller(values: Ints) -> Ints:
    result = np.zeros((2 * len(values), values.shape[1]), np.int64)
    result[: len(values)] = values
    return result


@njit(cache=True, error_model="numpy")
def root_bound(p: Problem, meshes: Ints, first_mesh: Ints) -> tuple[float, float]:
    """Return energy and cycles that no mapping is below; arguments as in `collect_structures`."""
    levels = len(p.usable)
    most_units = np.ones(levels + 1, np.int64)
    for level in range(levels - 1, -1, -1):
        most_units[level] = most_units[level + 1] * meshes[first_mesh[level]].prod()
    rest = least_serving_pj(p, most_units)
    energy_pj = p.compute_pj
    for t in range(3):
        least = np.inf
        for level in range(levels):
            for option in p.keeps[level]:
                if option >= 0 and (option >> t) & 1:
                    least = min(least, rest[t, level + 1, level])
        energy_pj += least
    ops = p.extent.prod()
    return energy_pj, float((ops + most_units[0] - 1) // most_units[0] + p.latency)
