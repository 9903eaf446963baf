"""The words that a partly decided nest moves, exactly, for the general search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from heat_sim.mapper.general_bounds import SLACK, count_groups, new_words
from heat_sim.mapper.general_problem import Floats, Ints, Problem
from heat_sim.model.traffic import box_words

TILE, MESH, ORDER, KEEP = 0, 1, 2, 3
"""Columns of a node: (L, 4), a row per level; of the innermost level that is decided only TILE and KEEP are."""


class State(NamedTuple):
    """A partly decided nest, spelled out for the levels outside and at `level`.

    Attributes:
        tile: (L + 1, V) of one instance.
        loop_var: (L, V) innermost first.
        loop_bound: (L, V) 1 after the last loop.
        instances: (L + 1,) in use.
        groups: (T, L) children of one instance with different tiles.
        partition: (T, L) words that ever live in one instance, of the output alone.
        moving: (T, L) words that one child of the level is handed.
        rates: (L, 2) words read and written per instance of a level, between levels at and outside `level`.
    """

    tile: Ints
    loop_var: Ints
    loop_bound: Ints
    instances: Ints
    groups: Ints
    partition: Ints
    moving: Ints
    rates: Floats


@njit(cache=True, error_model="numpy")
def divisor(problem: Problem, tile: int, var: int) -> int:
    """Return how far the rank variable runs in the tile of this number."""
    return problem.divisors[var, tile // problem.radix[var, 0] % problem.radix[var, 1]]


@njit(cache=True, error_model="numpy")
def spell_out(problem: Problem, level: int, node: Ints, mesh: Ints) -> tuple[State, float]:
    """Return the nest of a node, and the energy of what moves between levels at and outside this one."""
    levels, tensors, loops = len(problem.capacity), len(problem.plain), len(problem.extents)
    state = State(
        np.ones((levels + 1, loops), np.int64), np.zeros((levels, loops), np.int64), np.ones((levels, loops), np.int64),
        np.ones(levels + 1, np.int64), np.ones((tensors, levels), np.int64), np.zeros((tensors, levels), np.int64),
        np.zeros((tensors, levels), np.int64), np.zeros((levels, 2)),
    )  # fmt: skip
    for outer in range(level + 1):
        for var in range(loops):
            state.tile[outer, var] = divisor(problem, node[outer, TILE], var)
    for t in range(tensors):
        state.partition[t, 0] = box_words(problem.coefficient[t], problem.extents)
    steps = 1
    for outer in range(level):
        mesh[outer] = problem.mesh[outer, node[outer, MESH]]
        for slot in range(loops):
            var = problem.orders[node[outer, ORDER], slot]
            if var < 0:
                break
            state.loop_var[outer, slot] = var
            state.loop_bound[outer, slot] = state.tile[outer, var] // (state.tile[outer + 1, var] * mesh[outer, var])
            steps *= state.loop_bound[outer, slot]
        state.instances[outer + 1] = state.instances[outer] * problem.units[outer, node[outer, MESH]]
        for t in range(tensors):
            settle(problem, t, outer, node[outer, MESH], state)
            if problem.plain[t]:
                state.moving[t, outer] = plain_words(problem, t, outer, state, steps)
            else:
                state.moving[t, outer] = window_words(problem, t, outer, mesh, state, steps)
    energy, moved = problem.compute_energy_pj, np.zeros((tensors, 5))
    for t in range(tensors):
        parent = -1
        for inner in range(level + 1):
            if problem.keep[inner, node[inner, KEEP]] >> t & 1:
                if parent >= 0:
                    hand_on(problem, t, parent, inner, state.moving[t, inner - 1], state, moved)
                    energy += moved[t, 0]
                    state.rates[parent, 0] += moved[t, 1]
                    state.rates[parent, 1] += moved[t, 2]
                    state.rates[inner, 1] += moved[t, 3]
                parent = inner
    return state, energy


@njit(cache=True, error_model="numpy")
def settle(problem: Problem, t: int, level: int, row: int, state: State) -> None:
    """Fill in what the meshes of the level mean for a tensor."""
    state.groups[t, level] = count_groups(problem, t, level, row, state.tile[level + 1])
    if level + 1 == len(problem.capacity) or t < len(problem.plain) - 1:
        return
    coefficient = problem.coefficient[t]
    words = state.partition[t, level]
    outside = state.tile[level + 1] * problem.mesh[level, row]
    for mesh in range(problem.parts.shape[2]):
        inside = outside // problem.parts[level, row, mesh]
        words = words * box_words(coefficient, inside) // box_words(coefficient, outside)
        outside = inside
    state.partition[t, level + 1] = words


@njit(cache=True, error_model="numpy")
def hand_on(problem: Problem, t: int, parent: int, child: int, words: int, state: State, moved: Floats) -> None:
    """Fill in the energy of handing a tensor from a level to a level further in, and the words that it takes.

    Args:
        problem: The space.
        t: The tensor.
        parent: The level that keeps it.
        child: The next level that does.
        words: One child is handed.
        state: With the meshes between them settled.
        moved: (T, 5) in whose row of the tensor go: the energy of all instances in pJ; the words read and updated per
            instance of the parent; the words filled per instance of the child.
    """
    up = words
    for level in range(parent, child):
        up *= state.groups[t, level]
    reads, updates, fills = up, 0, words
    if t == len(problem.plain) - 1:
        reads, updates, fills = up - state.partition[t, parent], up, words - state.partition[t, child]
    above, row = problem.hardware[parent], problem.hardware[child]
    block, block_child = int(above[0]), int(row[0])
    moved[t, 0] = state.instances[parent] * (
        (reads + block - 1) // block * above[1] + (updates + block - 1) // block * above[3]
    ) + state.instances[child] * ((fills + block_child - 1) // block_child * row[2])
    moved[t, 1], moved[t, 2], moved[t, 3] = reads, updates, fills


@njit(cache=True, error_model="numpy")
def window_words(problem: Problem, t: int, level: int, mesh: Ints, state: State, steps: int) -> int:
    """Return the words one child of the level is handed of a sliding window: `walk_moves` in closed form.

    The rule is in `distinct_orders`.

    Args:
        problem: The space.
        t: The tensor.
        level: Whose children they are.
        mesh: (L, V) over the children of each level.
        state: With the loops of the level and those outside.
        steps: Product of their bounds.
    """
    coefficient, loops = problem.coefficient[t], len(problem.extents)
    ranks = coefficient.shape[0]
    words = box_words(coefficient, state.tile[level + 1])
    reach = state.tile[level + 1].copy()
    inside, first = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    total, part, is_moved, shifted = words, words, False, 0
    for outer in range(level, -1, -1):
        for var in range(loops):
            reach[var] *= mesh[outer, var]
        for slot in range(loops):
            bound, var = state.loop_bound[outer, slot], state.loop_var[outer, slot]
            if bound == 1:
                break
            steps //= bound
            stays, repeats = True, is_moved
            for rank in range(ranks):
                move = coefficient[rank, var] * reach[var] - inside[rank]
                stays = stays and move == 0
                repeats = repeats and move == first[rank]
            if not stays:
                if not is_moved:
                    is_moved = True
                    for rank in range(ranks):
                        first[rank] = coefficient[rank, var] * reach[var]
                    shifted = reach[var] // state.tile[level + 1, var]
                    part = new_words(coefficient, state.tile[level + 1], var, shifted)
                    repeats = True
                total += (bound - 1) * steps * (part if repeats else words)
            for rank in range(ranks):
                inside[rank] += coefficient[rank, var] * reach[var]
            reach[var] *= bound
    return total


@njit(cache=True, error_model="numpy")
def plain_words(problem: Problem, t: int, level: int, state: State, steps: int) -> int:
    """Return the words one child of the level is handed of a plain tensor (model section 3.3)."""
    for outer in range(level, -1, -1):
        for slot in range(len(problem.extents)):
            bound = state.loop_bound[outer, slot]
            if bound == 1:
                break
            if problem.relevant[t, state.loop_var[outer, slot]]:
                return steps * box_words(problem.coefficient[t], state.tile[level + 1])
            steps //= bound
    return steps * box_words(problem.coefficient[t], state.tile[level + 1])


@njit(cache=True, error_model="numpy")
def least_moving(problem: Problem, t: int, level: int, mesh: Ints, state: State, steps: int) -> int:
    """Return the least words one child is handed, whatever the order of the loops in time of the level.

    Args:
        problem: The space.
        t: The tensor.
        level: Whose children they are.
        mesh: (L, V) over the children of each level.
        state: With the bounds of the level in `loop_bound`, in any order.
        steps: Product of the bounds at and outside the level.
    """
    loops = len(problem.extents)
    run, is_moved = 1, False
    for slot in range(loops):
        if state.loop_bound[level, slot] > 1:
            if problem.relevant[t, state.loop_var[level, slot]]:
                is_moved = True
            else:
                run *= state.loop_bound[level, slot]
    if not is_moved:
        # All loops of the level are in the run, so their order means nothing.
        if problem.plain[t]:
            return plain_words(problem, t, level, state, steps)
        return window_words(problem, t, level, mesh, state, steps)
    words = box_words(problem.coefficient[t], state.tile[level + 1])
    if problem.plain[t]:
        return words * (steps // run)
    least = np.inf
    for slot in range(loops):
        first, bound = state.loop_var[level, slot], state.loop_bound[level, slot]
        if bound == 1 or not problem.relevant[t, first]:
            continue
        covering = 1
        for outer in range(level + 1):
            for other in range(loops):
                if problem.covers[t, first, state.loop_var[outer, other]]:
                    covering *= state.loop_bound[outer, other]
        fresh = new_words(problem.coefficient[t], state.tile[level + 1], first, mesh[level, first])
        least = min(least, (steps // run) * (words / covering + (1 - 1 / bound) * fresh))
    return int(np.ceil(least * (1 - SLACK)))
