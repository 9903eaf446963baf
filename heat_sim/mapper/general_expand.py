"""One step of the general search: all ways to go from a level of a partly decided nest to the next level further in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from heat_sim.mapper.general_bounds import Table, dearer, fitting_choices, least_asked
from heat_sim.mapper.general_judge import Found, Goal, cost_nest, is_beaten, judge, stalled_by
from heat_sim.mapper.general_problem import Floats, Ints, Problem
from heat_sim.mapper.general_words import (
    KEEP,
    MESH,
    ORDER,
    TILE,
    State,
    divisor,
    hand_on,
    least_moving,
    plain_words,
    settle,
    spell_out,
    window_words,
)
from heat_sim.model.traffic import box_words


@njit(cache=True, error_model="numpy")
def expand(
    problem: Problem, table: Table, goal: Goal, found: Found, level: int, node: Ints, budget: int, price: bool
) -> tuple[Ints, Floats, bool]:
    """Return the nodes of the next level that are worth looking at, their bounds, and whether the budget sufficed.

    Args:
        problem: The space.
        table: Of bounds.
        goal: The objective.
        found: What is known; nests that are complete are costed and recorded there.
        level: The last level whose tile and choice of what it keeps the node decides.
        node: (L, 4).
        budget: Bounds that may have been computed in all.
        price: Whether to cost complete nests; else they are returned.
    """
    levels, tensors, loops = len(problem.capacity), len(problem.plain), len(problem.extents)
    nodes, bounds, count = np.zeros((16, levels, 4), np.int64), np.zeros(16), 0
    mesh = np.ones((levels, loops), np.int64)
    state, energy = spell_out(problem, level, node, mesh)
    child = node.copy()
    is_last = level == levels - 1
    is_leaf = price and level + 2 == levels and problem.counts[level + 1, 0] == 1
    here = Place(level, configuration_of(problem, level, node), energy)
    parents = problem.parent[level, here.configuration]
    leakage, steps_outside = 0.0, 1
    for outer in range(level + 1):
        leakage += problem.hardware[outer, 4] * state.instances[outer]
        for slot in range(loops):
            steps_outside *= state.loop_bound[outer, slot]
    leakage_inside = problem.hardware[level + 1 :, 4].sum()
    asked = least_asked(problem)
    widest, cheapest = problem.spread[level + 1, : problem.counts[level + 1, 1]].max(), 0.0
    fits, worth = np.zeros(problem.keep.shape[1], np.int64), np.zeros(problem.keep.shape[1])
    places, tile = np.zeros(loops, np.int64), state.tile[level + 1]
    moved, rates = np.zeros((tensors, 5)), np.zeros((levels, 2))
    while True:
        # The tile of one child; the compute units have one op each.
        number = 0
        for var in range(loops):
            tile[var] = problem.divisors[var, places[var]]
            number += places[var] * problem.radix[var, 0]
        choices = 1 if is_last else fitting_choices(problem, level + 1, tile, fits)
        if choices > 0 and not is_last:
            least_moved(problem, level, parents, state, moved)
            leak = leakage + leakage_inside * state.instances[level]
            state.instances[level + 1] = state.instances[level] * problem.units[level].max()
            worth[:choices] = 0.0
            cheapest = rate_choices(
                problem, table, goal, found, here, fits[:choices], worth, number, state, moved, rates, leak
            )
            choices = drop_worthless(fits, worth, choices)
        for row in range(problem.counts[level, 0] if choices > 0 else 0):
            mesh[level] = problem.mesh[level, row]
            instances = state.instances[level] * problem.units[level, row]
            fastest = problem.ops / (instances * widest) + problem.latency
            if not is_last and is_beaten(goal, found, cheapest, fastest):
                continue
            subset = lay_loops(problem, level, mesh[level], state)
            if subset < 0:
                continue
            first, end = problem.order_range[level, subset]
            child[level, MESH], child[level, ORDER] = row, first
            if is_last:
                found.tally[1] += 1
                if instances >= problem.least_units:
                    if not price:
                        nodes, bounds = room(nodes, bounds, count)
                        nodes[count] = child
                        count += 1
                    elif not cost_nest(problem, child, goal, found):
                        return nodes[:count], bounds[:count], False
                continue
            state.instances[level + 1] = instances
            leak = leakage + leakage_inside * instances
            steps = steps_outside
            for slot in range(loops):
                steps *= state.loop_bound[level, slot]
            for t in range(tensors):
                settle(problem, t, level, row, state)
                moved[t, 4] = 0.0
                if level + 2 == levels and parents[t] >= 0:
                    moved[t, 4] = more_asked(problem, table, t, parents[t], level, asked[t], state)
            worth[:choices] = 0.0
            some = 0.0
            if end > first + 1:
                for t in range(tensors):
                    if parents[t] >= 0:
                        words = least_moving(problem, t, level, mesh, state, steps)
                        hand_on(problem, t, parents[t], level + 1, words, state, moved)
                some = rate_choices(
                    problem, table, goal, found, here, fits[:choices], worth, number, state, moved, rates, leak
                )
            for order in range(first, end if some < np.inf else first):
                child[level, ORDER] = order
                lay_order(problem, level, order, mesh[level], state)
                for t in range(tensors):
                    if parents[t] >= 0:
                        if problem.plain[t]:
                            words = plain_words(problem, t, level, state, steps)
                        else:
                            words = window_words(problem, t, level, mesh, state, steps)
                        hand_on(problem, t, parents[t], level + 1, words, state, moved)
                exact = worth.copy()
                rate_choices(
                    problem, table, goal, found, here, fits[:choices], exact, number, state, moved, rates, leak
                )
                for choice in range(choices):
                    if exact[choice] == np.inf:
                        continue
                    child[level + 1, TILE], child[level + 1, KEEP] = number, fits[choice]
                    if not is_leaf:
                        nodes, bounds = room(nodes, bounds, count)
                        nodes[count], bounds[count] = child, exact[choice]
                        count += 1
                    elif complete(problem, child) and not cost_nest(problem, child, goal, found):
                        return nodes[:count], bounds[:count], False
        if found.tally[1] > budget:
            return nodes[:count], bounds[:count], False
        if is_last or not next_tile(problem, state.tile[level], places):
            return nodes[:count], bounds[:count], True


class Place(NamedTuple):
    """Where in the tree a node is: its level and configuration, and the energy of what it decides."""

    level: int
    configuration: int
    energy_pj: float


@njit(cache=True, error_model="numpy")
def configuration_of(problem: Problem, level: int, node: Ints) -> int:
    """Return the configuration of the level."""
    configuration = 0
    for outer in range(level + 1):
        configuration = problem.step[outer, configuration, node[outer, KEEP]]
    return configuration


@njit(cache=True, error_model="numpy")
def least_moved(problem: Problem, level: int, parents: Ints, state: State, moved: Floats) -> None:
    """Fill in what is handed on at least, whatever the meshes and loops of the level: what the level is handed itself.

    That is so for a plain tensor: the children together need every word that the level needs, and in every pass of the
    loops outside it.
    """
    state.instances[level + 1] = state.instances[level]
    for t in range(len(parents)):
        moved[t] = 0.0
        if parents[t] >= 0 and problem.plain[t]:
            state.groups[t, level] = 1
            state.partition[t, level + 1] = state.partition[t, level]
            words = state.moving[t, level - 1] if level > 0 else box_words(problem.coefficient[t], problem.extents)
            hand_on(problem, t, parents[t], level + 1, words, state, moved)
            moved[t, 3] = 0.0  # of one child, it depends on how many there are


@njit(cache=True, error_model="numpy")
def more_asked(
    problem: Problem, table: Table, t: int, parent: int, level: int, asked: float, state: State
) -> float:  # fmt: skip
    """Return what a tensor that bypasses the innermost level costs beyond what the table says, in pJ."""
    best, sharing = 1.0, 1.0
    for outer in range(parent, level + 1):
        best *= table.shared[outer, t]
        sharing /= state.groups[t, outer]
    return dearer(
        problem, t, parent, asked, sharing * state.instances[level + 1] / state.instances[parent], best, table.shared
    )


@njit(cache=True, error_model="numpy")
def rate_choices(
    problem: Problem, table: Table, goal: Goal, found: Found, here: Place, fits: Ints, worth: Floats, tile: int,
    state: State, moved: Floats, rates: Floats, leakage: float,
) -> float:  # fmt: skip
    """Bound the nodes of all choices of what the next level keeps; return the least energy as `judge` does.

    Args:
        problem: The space.
        table: Of bounds.
        goal: The objective.
        found: So far.
        here: The node.
        fits: (K,) the choices.
        worth: (K,) is filled with their bounds, infinity if not worth looking at; what is infinite stays so.
        tile: Of a child.
        state: The nest.
        moved: (T, 5) what `hand_on` returns per tensor, and the energy that is added if the next level bypasses it.
        rates: (L, 2) scratch.
        leakage: pJ per cycle, at least.
    """
    level, tensors = here.level + 1, len(moved)
    parents, keep = problem.parent[here.level, here.configuration], problem.keep[level]
    energy, stalled = np.full(len(fits), here.energy_pj), np.zeros(len(fits))
    configurations = np.zeros(len(fits), np.int64)
    for place in range(len(fits)):
        kept = keep[fits[place]]
        configurations[place] = problem.step[level, here.configuration, fits[place]]
        for t in range(tensors):
            energy[place] += moved[t, 0 if kept >> t & 1 else 4]
        if problem.stalls:
            rates[:] = state.rates
            for t in range(tensors):
                if kept >> t & 1 and parents[t] >= 0:
                    rates[parents[t], 0] += moved[t, 1]
                    rates[parents[t], 1] += moved[t, 2]
                    rates[level, 1] += moved[t, 3]
            stalled[place] = stalled_by(problem, rates)
    return judge(
        problem, table, goal, found, level, configurations, tile, state.instances[level], energy, leakage, stalled,
        worth[: len(fits)],
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def drop_worthless(fits: Ints, worth: Floats, count: int) -> int:
    """Move the choices that are worth looking at to the front and return how many there are."""
    left = 0
    for place in range(count):
        if worth[place] < np.inf:
            fits[left] = fits[place]
            left += 1
    return left


@njit(cache=True, error_model="numpy")
def room(nodes: Ints, bounds: Floats, count: int) -> tuple[Ints, Floats]:
    """Return arrays that have room for one more."""
    if count < len(bounds):
        return nodes, bounds
    more, more_bounds = np.zeros((2 * count, *nodes.shape[1:]), np.int64), np.zeros(2 * count)
    more[:count], more_bounds[:count] = nodes, bounds
    return more, more_bounds


@njit(cache=True, error_model="numpy")
def next_tile(problem: Problem, around: Ints, places: Ints) -> bool:
    """Go on to the next tile whose extents divide those around it; return False after the last."""
    for var in range(len(places)):
        places[var] += 1
        while places[var] < problem.radix[var, 1] and around[var] % problem.divisors[var, places[var]]:
            places[var] += 1
        if places[var] < problem.radix[var, 1]:
            return True
        places[var] = 0
    return False


@njit(cache=True, error_model="numpy")
def lay_loops(problem: Problem, level: int, mesh: Ints, state: State) -> int:
    """Fill in the loops in time that the tile of the child leaves to the level, in any order.

    Returns:
        The set of rank variables with a loop, one bit each; -1 if the bounds are not whole or not allowed.
    """
    subset, slot = 0, 0
    for var in range(len(mesh)):
        inner = state.tile[level + 1, var] * mesh[var]
        bound = state.tile[level, var] // inner
        if bound * inner != state.tile[level, var] or not (
            problem.temporal[level, var, 0] <= bound <= problem.temporal[level, var, 1]
        ):
            return -1
        if bound > 1:
            state.loop_var[level, slot], state.loop_bound[level, slot] = var, bound
            subset |= 1 << var
            slot += 1
    state.loop_bound[level, slot:] = 1
    return subset


@njit(cache=True, error_model="numpy")
def lay_order(problem: Problem, level: int, order: int, mesh: Ints, state: State) -> None:
    """Put the loops in time of the level in this order."""
    for slot in range(len(mesh)):
        var = problem.orders[order, slot]
        if var < 0:
            break
        state.loop_var[level, slot] = var
        state.loop_bound[level, slot] = state.tile[level, var] // (state.tile[level + 1, var] * mesh[var])


@njit(cache=True, error_model="numpy")
def complete(problem: Problem, nest: Ints) -> bool:
    """Fill in the loops of the innermost level, which has one mesh; return False if its bounds are not allowed."""
    level = len(problem.capacity) - 1
    subset = 0
    for var in range(len(problem.extents)):
        extent = divisor(problem, nest[level, TILE], var)
        bound = extent // problem.mesh[level, 0, var]
        if bound * problem.mesh[level, 0, var] != extent or not (
            problem.temporal[level, var, 0] <= bound <= problem.temporal[level, var, 1]
        ):
            return False
        if bound > 1:
            subset |= 1 << var
    nest[level, MESH], nest[level, ORDER] = 0, problem.order_range[level, subset, 0]
    return True
