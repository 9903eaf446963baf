"""What the general search has found, and which part of the space is worth looking at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from heat_sim.mapper.general_bounds import SLACK, Table
from heat_sim.mapper.general_problem import Floats, Ints, Problem
from heat_sim.mapper.general_words import KEEP, MESH, ORDER, TILE, divisor
from heat_sim.model.batch import _assess


class Goal(NamedTuple):
    """The objective; kind 0 is the product of powers, 1 the sum, 2 the whole front."""

    kind: int
    energy_exponent: int
    cycles_exponent: int
    pj_per_cycle: float


class Found(NamedTuple):
    """What the search has found so far, and where it counts.

    Attributes:
        ceiling: (1,) only what is below is looked for.
        energy_pj: (N,) of the front of the nests costed, fewest cycles first.
        cycles: (N,).
        nests: (N, L, 4).
        tally: (4,) points on the front, bounds computed, choices pruned, nests costed.
    """

    ceiling: Floats
    energy_pj: Floats
    cycles: Floats
    nests: Ints
    tally: Ints


@njit(cache=True, error_model="numpy")
def objective_value(goal: Goal, energy_pj: float, cycles: float) -> float:
    """Return the objective, of a front the energy-delay product."""
    if goal.kind == 1:
        return energy_pj + goal.pj_per_cycle * cycles
    value = 1.0
    for _ in range(goal.energy_exponent):
        value *= energy_pj
    for _ in range(goal.cycles_exponent):
        value *= cycles
    return value


@njit(cache=True, error_model="numpy")
def is_beaten(goal: Goal, found: Found, energy_pj: float, cycles: float) -> bool:
    """Return whether nothing that costs at least this is worth finding any more."""
    if goal.kind != 2:
        return objective_value(goal, energy_pj, cycles) >= found.ceiling[0] * (1 - SLACK)
    faster = np.searchsorted(found.cycles[: found.tally[0]], cycles, side="right")
    return bool(faster > 0 and energy_pj >= found.energy_pj[faster - 1] * (1 - SLACK))


@njit(cache=True, error_model="numpy")
def record(goal: Goal, found: Found, nest: Ints, energy_pj: float, cycles: float) -> bool:
    """Put a costed nest on the front if it belongs there and lower the ceiling; return False if the front is full."""
    if goal.kind != 2:
        found.ceiling[0] = min(found.ceiling[0], objective_value(goal, energy_pj, cycles))
    count = found.tally[0]
    place = np.searchsorted(found.cycles[:count], cycles, side="left")
    if (place > 0 and found.energy_pj[place - 1] <= energy_pj) or (
        place < count and found.cycles[place] == cycles and found.energy_pj[place] <= energy_pj
    ):
        return True
    end = place
    while end < count and found.energy_pj[end] >= energy_pj:
        end += 1
    if end == place and count == len(found.cycles):
        return False
    moved = count - end
    for array in (found.energy_pj, found.cycles):
        array[place + 1 : place + 1 + moved] = array[end:count].copy()
    found.nests[place + 1 : place + 1 + moved] = found.nests[end:count].copy()
    found.energy_pj[place], found.cycles[place] = energy_pj, cycles
    found.nests[place] = nest
    found.tally[0] = place + 1 + moved
    return True


@njit(cache=True, error_model="numpy")
def judge(
    problem: Problem, table: Table, goal: Goal, found: Found, level: int, configurations: Ints, tile: int,
    instances: int, energy_pj: Floats, leakage: float, stalled: Floats, worth: Floats,
) -> float:  # fmt: skip
    """Bound the objective of K nodes that keep different tensors at a level.

    Args:
        problem: The space.
        table: Of bounds.
        goal: The objective.
        found: So far.
        level: The innermost level whose choice of what it keeps is made.
        configurations: (K,) of that level.
        tile: Of one instance of it.
        instances: Of it, in use.
        energy_pj: (K,) of all that is decided.
        leakage: pJ per cycle of all levels, at least.
        stalled: (K,) cycles that the bandwidths take for what is decided.
        worth: (K,) is filled with the bounds, infinity if not worth looking at; what is infinite stays so.

    Returns:
        The least energy in pJ of a node that is worth looking at; infinity if none is.
    """
    width, count = table.width[level], problem.counts[level, 1]
    entries, spreads = table.entries, problem.spread[level]
    base = table.base[level] + (tile if width > 1 else 0)
    ops, latency, least_units = problem.ops, problem.latency, problem.least_units
    cheapest = np.inf
    for node in range(len(worth)):
        if worth[node] == np.inf:
            continue
        least = np.inf
        start = base + configurations[node] * count * width
        found.tally[1] += 1
        for spread in range(count):
            more = entries[start + spread * width]
            units = instances * spreads[spread]
            if more == np.inf or units < least_units:
                continue
            cycles = max(float(ops // units), np.ceil(stalled[node]))
            energy = energy_pj[node] + more + leakage * cycles
            if not is_beaten(goal, found, energy, cycles + latency):
                least = min(least, objective_value(goal, energy, cycles + latency))
                cheapest = min(cheapest, energy)
        if least == np.inf:
            found.tally[2] += 1
        worth[node] = least
    return cheapest


@njit(cache=True, error_model="numpy")
def stalled_by(problem: Problem, rates: Floats) -> float:
    """Return the cycles that the slowest level takes for these words, a little rounded down."""
    slowest = 0.0
    for level in range(len(rates)):
        read, write = rates[level, 0], rates[level, 1]
        slowest = max(slowest, read / problem.hardware[level, 5], write / problem.hardware[level, 6])
        slowest = max(slowest, (read + write) / problem.hardware[level, 7])
    return slowest * (1 - SLACK)


@njit(cache=True, error_model="numpy")
def cost_nest(problem: Problem, nest: Ints, goal: Goal, found: Found) -> bool:
    """Cost a complete nest by the model's own kernel and record it; return False if there is no room for it."""
    levels, loops, all_levels = len(problem.capacity), len(problem.extents), len(problem.all_limits)
    loop_var, loop_bound = np.zeros((1, all_levels, loops), np.int64), np.ones((1, all_levels, loops), np.int64)
    mesh, one = np.ones((1, all_levels, loops), np.int64), np.ones((1, all_levels, loops), np.int64)
    keep = np.zeros((1, len(problem.plain), all_levels), np.bool_)
    energy, cycles = np.zeros(1), np.zeros(1, np.int64)
    for level in range(levels):
        place, row = problem.place[level], nest[level, MESH]
        for part in range(problem.parts.shape[2]):
            if place + part < all_levels and (level + 1 == levels or place + part < problem.place[level + 1]):
                mesh[0, place + part] = problem.parts[level, row, part]
        for t in range(len(problem.plain)):
            keep[0, t, place] = problem.keep[level, nest[level, KEEP]] >> t & 1
        for slot in range(loops):
            var = problem.orders[nest[level, ORDER], slot]
            if var < 0:
                break
            bound = divisor(problem, nest[level, TILE], var) // problem.mesh[level, row, var]
            if level + 1 < levels:
                bound //= divisor(problem, nest[level + 1, TILE], var)
            # The kernel wants the outermost loop first.
            loop_var[0, place, loops - 1 - slot] = var
            loop_bound[0, place, loops - 1 - slot] = bound
    found.tally[3] += 1
    _assess(
        loop_var, loop_bound, mesh, one, keep, problem.coefficient, problem.plain, problem.extents,
        problem.all_hardware, problem.all_limits, len(problem.plain) - 1, problem.latency, problem.compute_energy_pj,
        energy, cycles,
    )  # fmt: skip
    return cycles[0] == 0 or record(goal, found, nest, energy[0], float(cycles[0]))
