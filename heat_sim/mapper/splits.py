"""Where one level may put its loops in time, class by class, and which of them could as well stand further in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import tile_words
from heat_sim.mapper.frame import Frame
from heat_sim.mapper.labels import PASSES, RUN, RUN_CLASS
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Splits(NamedTuple):
    """Bounds in time at one level, for each class by itself; C of them at the most.

    Attributes:
        number: (4,) how many.
        tile: (4, C) how far the class runs inside the next level, ascending.
        bound: (4, C) its bound in time at the level.
        longer: (4, C) how far it would run inside if the smallest part of the bound moved there; 0 if none may.
        pj: (4, C) no less is spent on the tensor without the class for what passes into the next level, if it has
            no run; accesses in fractions, first reads not taken off.
        gain_pj: (4, C) what its longest run would spare it.
        stall: (4, C) the same as `pj` in cycles of the bandwidth that is the slowest one by its bound.
        gain_stall: (4, C) likewise.
    """

    number: Ints
    tile: Ints
    bound: Ints
    longer: Ints
    pj: Floats
    gain_pj: Floats
    stall: Floats
    gain_stall: Floats


@njit(cache=True, error_model="numpy")
def empty_splits(width: int) -> Splits:
    """Return splits of at most so many bounds per class, still to be filled."""
    return Splits(
        np.zeros(4, np.int64), np.ones((4, width), np.int64), np.ones((4, width), np.int64),
        np.zeros((4, width), np.int64), np.zeros((4, width)), np.zeros((4, width)), np.zeros((4, width)),
        np.zeros((4, width)),
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def fill_splits(p: Problem, f: Frame, level: int, label: Ints, slowest: int, splits: Splits) -> None:
    """Fill the splits of every class at the level that a label stands outside of.

    Args:
        p: The problem.
        f: The structure.
        level: Not the innermost.
        label: See `Pool`.
        slowest: Bandwidth to bound, -1 for none.
        splits: Is overwritten.
    """
    for c in range(4):
        _fill_class(p, f, level, c, label, slowest, splits)


@njit(cache=True, error_model="numpy")
def _fill_class(p: Problem, f: Frame, level: int, c: int, label: Ints, slowest: int, splits: Splits) -> None:
    child, last = level + 1, len(f.keep) - 1
    side, over = f.inside[child, c], f.spatial[level, c]
    moves = _moves_freely(p, level, c, last)
    frozen = label[PASSES] == 1 and c != label[RUN_CLASS]
    # Where the child has room for everything, nothing that may be moved into it stays outside.
    frozen = frozen or (f.keep[child] & p.counted[child] == 0 and _all_move_freely(p, level, last))
    owner = 1 if c == 1 else (0 if c == 2 else 2)
    slope_pj = f.slope_pj[child, owner] if c > 0 else 0.0
    slope_stall = f.stall[child, slowest, owner] if c > 0 and slowest >= 0 else 0.0
    run = label[RUN] if label[RUN_CLASS] == c else 1
    count = 0
    splits.gain_pj[c], splits.gain_stall[c] = 0.0, 0.0
    for i in range(p.divisors[c]):
        tile = p.divisor[c, i]
        if tile * over > label[c]:
            break
        if tile % side != 0 or label[c] % (tile * over) != 0:
            continue
        bound = label[c] // (tile * over)
        if bound < p.low[level, c] or bound > p.high[level, c] or (frozen and bound > 1):
            continue
        if child == last and not p.low[child, c] <= tile // side <= p.high[child, c]:
            continue
        part = p.prime[c, np.searchsorted(p.divisor[c, : p.divisors[c]], bound)]
        turns = p.extent[c] // (f.above[child, c] * tile)
        spared = 1.0 - 1.0 / (bound * run)
        splits.tile[c, count], splits.bound[c, count] = tile, bound
        splits.longer[c, count] = tile * part if bound > 1 and moves else 0
        splits.pj[c, count], splits.gain_pj[c, count] = slope_pj * turns, slope_pj * turns * spared
        splits.stall[c, count], splits.gain_stall[c, count] = slope_stall * turns, slope_stall * turns * spared
        count += 1
    splits.number[c] = count


@njit(cache=True, error_model="numpy")
def _moves_freely(p: Problem, level: int, c: int, last: int) -> bool:
    """Return whether no constraint hinders a loop in time of the class from moving one level inwards."""
    child = level + 1
    ordered = child < last and p.order[child, 0] >= 0
    return p.low[level, c] <= 1 and p.high[child, c] >= p.extent[c] and not ordered


@njit(cache=True, error_model="numpy")
def _all_move_freely(p: Problem, level: int, last: int) -> bool:
    free = True
    for c in range(4):
        free = free and (p.extent[c] == 1 or _moves_freely(p, level, c, last))
    return free


@njit(cache=True, error_model="numpy")
def movable(keep: int, room: int, tile: Ints, longer: Ints) -> int:
    """Return the classes, bit c for class c, of whose loops at a level some part could move into the next one.

    Args:
        keep: What that level keeps, bit t for tensor t.
        room: Words it may hold.
        tile: (4,) how far the classes run inside it.
        longer: (4,) how far each would run if the smallest part moved; 0 if there is none that may.
    """
    found = 0
    for c in range(4):
        if longer[c] > 0:
            here = tile[c]
            tile[c] = longer[c]
            if tile_words(keep, tile) <= room:
                found |= 1 << c
            tile[c] = here
    return found


@njit(cache=True, error_model="numpy")
def may_be_innermost(p: Problem, level: int, c: int, bound: Ints, loops: int) -> bool:
    """Return whether the loop of the class may be the innermost one at the level and is worth trying there.

    Args:
        p: The problem.
        level: See above.
        c: Class.
        bound: (4,) in time at the level.
        loops: How many of them are above 1.
    """
    if bound[c] == 1:
        return False
    for place in range(4):
        first = p.order[level, place]
        if first >= 0 and bound[first] > 1:
            return bool(first == c)
    return bool(c != 0 or loops == 1)
