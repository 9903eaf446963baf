"""What crosses one boundary costs, and the least it can cost.

Let T be kept at C and, next further out, at P. Over the run C is handed ``words(T) * S(C) * R`` words, where S(C)
is the product of the irrelevant spatial bounds above C (its copies) and R that of the irrelevant bounds in time
outside C without the run of them innermost there; P hands out ``words(T) * S(P) * R`` (model sections 4 and 5). In a
matmul each tensor has one irrelevant class, of extent N, so with a tile that runs over t of it::

    R = N / (S(C) * t * run)

and a boundary costs the same whatever the other classes do. They meet in the capacity of C, and in the run: of the
loops outside C one is the innermost, so only one tensor has a run.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OUTPUT = 2
"""Place of Z among the tensors."""


@njit(cache=True, error_model="numpy", inline="always")
def irrelevant(t: int) -> int:
    """Return the class that tensor t does not have (`IRRELEVANT`): A has no n, B no m, Z no k."""
    return 2 if t == 0 else (1 if t == 1 else 3)


@njit(cache=True, error_model="numpy")
def whole(words: int, block: int) -> int:
    """Return the accesses that move so many words."""
    return words if block == 1 else (words + block - 1) // block


@njit(cache=True, error_model="numpy")
def partition(p: Problem, t: int, above: Ints) -> int:
    """Return the words of the tensor that ever live in one instance below these spatial bounds (4,)."""
    share = 1
    for c in range(4):
        if c != irrelevant(t):
            share *= above[c]
    return p.words[t] // share


@njit(cache=True, error_model="numpy")
def serving_pj(p: Problem, t: int, keeper: int, spatial_above: Ints, ops: int) -> float:
    """Return the energy of the innermost level that keeps tensor t for what the compute units ask of it."""
    levels = len(p.usable)
    above = spatial_above[keeper]
    instances = above[0] * above[1] * above[2] * above[3]
    asked = ops // instances // (spatial_above[levels, irrelevant(t)] // above[irrelevant(t)])
    if t == OUTPUT:
        again = asked - p.first_reads * partition(p, t, above)
        return instances * (
            whole(again, p.block[keeper]) * p.energy[keeper, 0] + whole(asked, p.block[keeper]) * p.energy[keeper, 2]
        )
    return instances * (whole(asked, p.block[keeper]) * p.energy[keeper, 0])


@njit(cache=True, error_model="numpy")
def tile_words(keep: int, tile: Ints) -> int:
    """Return the words that the kept tensors (bit t of keep) have under a tile (4,)."""
    words = 0
    if keep & 1:
        words += tile[0] * tile[1] * tile[3]
    if keep & 2:
        words += tile[0] * tile[2] * tile[3]
    if keep & 4:
        words += tile[0] * tile[1] * tile[2]
    return words


@njit(cache=True, error_model="numpy")
def per_r(p: Problem, t: int, parent: int, child: int, spatial_above: Ints) -> tuple[float, float]:
    """Return what a boundary costs per unit of R, and what is taken off (first reads), with fractions of accesses."""
    c = irrelevant(t)
    at_parent, at_child = p.words[t] * spatial_above[parent, c], p.words[t] * spatial_above[child, c]
    read = at_parent * p.energy[parent, 0] / p.block[parent]
    write = at_child * p.energy[child, 1] / p.block[child]
    if t == OUTPUT:
        return at_parent * p.energy[parent, 2] / p.block[parent] + read + write, p.first_reads * (read + write)
    return read + write, 0.0


@njit(cache=True, error_model="numpy")
def least_crossing_pj(
    p: Problem, child: int, keep: int, slope_pj: Floats, turns: Floats, run: Ints, least_tile: Ints, most_tile: Ints
) -> float:  # fmt: skip
    """Return a bound of the energy that passes into a level, over all tiles that fit it; infinity if none does.

    First reads are not taken off.

    Args:
        p: The problem.
        child: The level.
        keep: What it keeps, bit t for tensor t.
        slope_pj: (3,) energy per unit of R, 0 for a tensor that does not pass.
        turns: (3,) R of each tensor with the longest tile and no run.
        run: (3,) by how much a run further out can make that less.
        least_tile: (4,) the tile runs at least so far.
        most_tile: (4,) and at most so far.
    """
    room = p.usable[child]
    keep &= p.counted[child]
    if tile_words(keep, least_tile) > room:
        return np.inf
    if slope_pj[0] == 0 and slope_pj[1] == 0 and slope_pj[2] == 0:
        return 0.0
    if tile_words(keep, most_tile) <= room:
        # Everything fits, so there may be no loop in time that ends a run from further out.
        return (
            slope_pj[0] * turns[0] / run[0] + slope_pj[1] * turns[1] / run[1] + slope_pj[2] * turns[2] / run[2]
        )  # fmt: skip
    best = np.inf
    room //= least_tile[0]
    for owner in range(3):
        # The run is the owner's: its class costs nothing outside and takes the least room inside.
        t1, t2 = (owner + 1) % 3, (owner + 2) % 3
        a, b, own = irrelevant(t1), irrelevant(t2), irrelevant(owner)
        cost1, cost2 = slope_pj[t1] * turns[t1] * most_tile[a], slope_pj[t2] * turns[t2] * most_tile[b]
        cost = slope_pj[owner] * turns[owner] / run[owner]
        # The tile has keeps_owner * a * b + per_b * b + per_a * a words.
        keeps_owner = (keep >> owner) & 1
        per_a = ((keep >> t2) & 1) * least_tile[own]
        per_b = ((keep >> t1) & 1) * least_tile[own]
        for i in range(p.divisors[a]):
            side_a = p.divisor[a, i]
            if side_a < least_tile[a]:
                continue
            if side_a > most_tile[a]:
                break
            left = room - per_a * side_a
            weight = keeps_owner * side_a + per_b
            if weight * least_tile[b] > left:
                break
            side_b = most_tile[b]
            if weight * side_b > left:
                limit = left // weight
                place = np.searchsorted(p.divisor[b, : p.divisors[b]], limit, side="right")
                side_b = max(p.divisor[b, place - 1], least_tile[b])
            best = min(best, cost + cost1 / side_a + cost2 / side_b)
            if cost1 == 0.0:
                break  # a longer side only takes room
    return best


@njit(cache=True, error_model="numpy")
def served_words(p: Problem, keep: Ints, above: Ints, ops: int) -> tuple[Floats, Floats]:
    """Return reads and writes per instance and level (L,) that the compute units ask for.

    Args:
        p: The problem.
        keep: (L,) masks.
        above: (L + 1, 4) products of the spatial bounds above each level.
        ops: Of the einsum.
    """
    levels = len(keep)
    reads, writes = np.zeros(levels), np.zeros(levels)
    for t in range(3):
        keeper = -1
        for level in range(levels):
            if (keep[level] >> t) & 1:
                keeper = level
        instances = above[keeper, 0] * above[keeper, 1] * above[keeper, 2] * above[keeper, 3]
        asked = ops // instances // (above[levels, irrelevant(t)] // above[keeper, irrelevant(t)])
        if t == OUTPUT:
            reads[keeper] += asked - p.first_reads * partition(p, t, above[keeper])
            writes[keeper] += asked
        else:
            reads[keeper] += asked
    return reads, writes
