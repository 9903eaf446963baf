"""The best loops in time of one structure: labels from the outermost level inwards.

A label stands at the boundary outside a level. It knows how far each class still runs inside, the run of loops that is
innermost outside (a class and its length), and what all boundaries further out cost. Of two labels with the same
future the dearer is dropped, so the work grows with the divisors of the extents and not with the number of nests.

Only nests in which nothing can be moved inwards are looked at (`movable`). Take the innermost loop outside a level: if
a part of it moves in, where there is room for the longer tile, the nest stays as it is but for the boundary, so no R
grows. The same holds of any other loop there, unless it then ends a run: that is, unless the level inside has no loops
in time, or only loops that continue the run. A label with such a loop left may therefore do only that (`PASSES`).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import irrelevant, tile_words
from heat_sim.mapper.frame import Frame, frame_of, passing_pj, rest_of_label, turns_of
from heat_sim.mapper.judge import Judge, energy_limit_pj, is_beaten
from heat_sim.mapper.labels import (
    BEFORE,
    INNERMOST,
    NO_RUN,
    PASSES,
    RUN,
    RUN_CLASS,
    Pool,
    add_label,
    pool_of,
    with_new_table,
    with_room,
)
from heat_sim.mapper.matmul_problem import Problem
from heat_sim.mapper.splits import Splits, empty_splits, fill_splits, may_be_innermost, movable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SHORT = 1.0 - 1e-12
"""Sums in another order differ in the last digits; a bound must not."""


@njit(cache=True, error_model="numpy")
def best_loops(
    p: Problem, judge: Judge, keep: Ints, spatial: Ints, follow: bool, room: int
) -> tuple[int, Floats, Floats, Ints, Ints, int]:
    """Return the loops in time that are worth costing for one structure.

    Args:
        p: The problem.
        judge: What was found so far; what it beats is left out.
        keep: (L,) masks.
        spatial: (L, 4) bounds over the children.
        follow: Whether to tell labels apart by the cycles that each bandwidth asks for, and return every nest that no
            other beats in energy and in all of them; else the one nest of least energy.
        room: Labels to make at the most.

    Returns:
        count: Nests found; -1 if there was no room for all labels.
        energy_pj: (count,).
        cycles: (count,) not rounded up.
        bounds: (count, L, 4) in time.
        innermost: (count, L) class of the innermost loop in time, -1 where there is none.
        made: Labels made.
    """
    f = frame_of(p, keep, spatial)
    levels, limits = len(keep), f.rest_stall.shape[1]
    pool = pool_of(p.extent, p.compute_pj, limits)
    slowest = np.argmax(f.rest_stall[0]) if follow and limits else -1
    splits = empty_splits(p.divisor.shape[1])
    tile, rest_stall, turns, runs = np.ones(4, np.int64), np.zeros(limits), np.zeros(3), np.ones(3, np.int64)
    begin, end = 0, 1
    for level in range(levels - 1):
        pool = with_new_table(pool, end - begin)
        made = end
        for number in range(begin, end):
            label = pool.label[number]
            rest = rest_of_label(p, f, level, label[:4], label[RUN_CLASS], label[RUN], tile, turns, runs, rest_stall)
            if _is_done(p, judge, f, pool.price_pj[number] + rest, pool.stall[number], rest_stall, follow):
                continue
            fill_splits(p, f, level, label, slowest, splits)
            if splits.number.min() > 0:
                pool, made = _expand(p, judge, f, level, number, splits, slowest, pool, end, made, follow, room)
            if made > room:
                nothing = np.zeros(0)
                return -1, nothing, nothing, np.zeros((0, levels, 4), np.int64), np.zeros((0, levels), np.int64), made
        begin, end = end, made
        if begin == end:
            break
    return _nests(p, judge, f, pool, begin, end, follow)


@njit(cache=True, error_model="numpy")
def _is_done(
    p: Problem, judge: Judge, f: Frame, energy_pj: float, stall: Floats, rest_stall: Floats, follow: bool
) -> bool:
    """Return whether nothing with at least this energy and these cycles for the bandwidths can be better."""
    cycles = f.least_cycles
    if follow:
        for j in range(len(stall)):
            cycles = max(cycles, (stall[j] + rest_stall[j]) * _SHORT)
    return is_beaten(judge, energy_pj + f.leak * cycles, cycles + p.latency)


@njit(cache=True, error_model="numpy")
def _expand(
    p: Problem, judge: Judge, f: Frame, level: int, number: int, splits: Splits, slowest: int, pool: Pool, first: int,
    made: int, follow: bool, room: int,
) -> tuple[Pool, int]:  # fmt: skip
    """Add the labels that one label leads to, by every combination of splits that fits and may be worth it.

    Args:
        p: The problem.
        judge: What was found so far.
        f: The structure.
        level: The level that the label stands outside of.
        number: The label.
        splits: Of the classes at the level.
        slowest: Bandwidth that the splits bound, -1 for none.
        pool: All labels.
        first: The first label of the next boundary.
        made: Labels so far.
        follow: See `best_loops`.
        room: See `best_loops`.
    """
    child = level + 1
    is_last = child == len(f.keep) - 1
    keep, usable = f.keep[child] & p.counted[child], p.usable[child]
    tile, bound, longer = np.ones(4, np.int64), np.ones(4, np.int64), np.zeros(4, np.int64)
    turns, cost = np.zeros(3, np.int64), np.zeros(3)
    # What everything but this boundary takes at the least, and what is left for it.
    base_pj = pool.price_pj[number] + f.rest_pj[child + 1] - f.first_pj[child]
    room_pj = energy_limit_pj(judge, f.least_cycles + p.latency) - f.leak * f.least_cycles - base_pj
    room_pj += 1e-12 * (base_pj + abs(room_pj))
    base_stall = 0.0
    if slowest >= 0:
        base_stall = pool.stall[number, slowest] + f.rest_stall[child + 1, slowest] - f.first_stall[child, slowest]
    least2, least3 = splits.pj[2, splits.number[2] - 1], splits.pj[3, splits.number[3] - 1]
    gain2, gain3 = splits.gain_pj[2].max(), splits.gain_pj[3].max()
    # Splits ascend by tile, so once a tile does not fit, no later one of the class that varies does.
    for i0 in range(splits.number[0]):
        tile[0], bound[0], longer[0] = splits.tile[0, i0], splits.bound[0, i0], splits.longer[0, i0]
        for i1 in range(splits.number[1]):
            tile[1], bound[1], longer[1] = splits.tile[1, i1], splits.bound[1, i1], splits.longer[1, i1]
            tile[2], tile[3] = splits.tile[2, 0], splits.tile[3, 0]
            if tile_words(keep, tile) > usable:
                break
            pj1, gain1 = splits.pj[1, i1], splits.gain_pj[1, i1]
            if pj1 + least2 + least3 - max(gain1, gain2, gain3) > room_pj:
                continue
            for i2 in range(splits.number[2]):
                tile[2], bound[2], longer[2] = splits.tile[2, i2], splits.bound[2, i2], splits.longer[2, i2]
                tile[3] = splits.tile[3, 0]
                if tile_words(keep, tile) > usable:
                    break
                pj2, gain12 = pj1 + splits.pj[2, i2], max(gain1, splits.gain_pj[2, i2])
                if pj2 + least3 - max(gain12, gain3) > room_pj:
                    continue
                for i3 in range(splits.number[3]):
                    # One class at the most has a run that spares its tensor something.
                    pj = pj2 + splits.pj[3, i3] - max(gain12, splits.gain_pj[3, i3])
                    if pj > room_pj:
                        continue
                    if slowest >= 0:
                        cycles = base_stall + splits.stall[1, i1] + splits.stall[2, i2] + splits.stall[3, i3]
                        cycles -= max(splits.gain_stall[1, i1], splits.gain_stall[2, i2], splits.gain_stall[3, i3])
                        cycles = max(f.least_cycles, cycles * _SHORT)
                        if is_beaten(judge, base_pj + pj + f.leak * cycles, cycles + p.latency):
                            continue
                    tile[3], bound[3], longer[3] = splits.tile[3, i3], splits.bound[3, i3], splits.longer[3, i3]
                    occupied = tile_words(keep, tile)
                    if occupied > usable:
                        break
                    if occupied < p.least[child]:
                        continue
                    moves = movable(keep, usable, tile, longer)
                    loops = (bound[0] > 1) + 2 * (bound[1] > 1) + 4 * (bound[2] > 1) + 8 * (bound[3] > 1)
                    if moves > 0 and (moves == loops or is_last):
                        continue
                    if made > room:
                        return pool, made
                    pool = with_room(pool, first, made, 4)
                    made = _settle(p, judge, f, level, number, tile, bound, moves, turns, cost, pool, made, follow)
    return pool, made


@njit(cache=True, error_model="numpy")
def _settle(
    p: Problem, judge: Judge, f: Frame, level: int, number: int, tile: Ints, bound: Ints, moves: int, turns: Ints,
    cost: Floats, pool: Pool, made: int, follow: bool,
) -> int:  # fmt: skip
    """Add the labels that these bounds lead to, one per innermost loop; return how many labels there are now.

    Args:
        p: The problem.
        judge: What was found so far.
        f: The structure.
        level: The level of the loops.
        number: The label outside it.
        tile: (4,) how far the classes run inside the next level.
        bound: (4,) in time at the level.
        moves: Classes of which a part could move inwards.
        turns: (3,) is overwritten; likewise the next.
        cost: (3,).
        pool: All labels.
        made: How many.
        follow: See `best_loops`.
    """
    child = level + 1
    run_class, run = pool.label[number, RUN_CLASS], pool.label[number, RUN]
    loops, only = 0, NO_RUN
    for c in range(4):
        if bound[c] > 1:
            loops += 1
            only = c
    # R of every tensor, and what it costs, if no loop here starts a run; one from outside may reach across the level.
    price = pool.price_pj[number]
    for t in range(3):
        turns[t] = 0
        if f.crosses[child, t]:
            c = irrelevant(t)
            turns[t] = turns_of(p, f, child, t, tile)
            if loops == 0 or (loops == 1 and only == c):
                turns[t] //= bound[c] * (run if run_class == c else 1)
            cost[t] = passing_pj(p, f, child, t, turns[t])
            price += cost[t]
    if loops == 0:
        return _add(p, judge, f, child, number, tile, price, turns, -1, run_class, run, 0, pool, made, follow)
    for q in range(4):
        if not may_be_innermost(p, level, q, bound, loops) or (moves >> q) & 1:
            continue
        owner = 1 if q == 1 else (0 if q == 2 else 2)
        total, without = price, turns[owner]
        if loops > 1 and q > 0 and f.crosses[child, owner]:
            turns[owner] = without // bound[q]
            total += passing_pj(p, f, child, owner, turns[owner]) - cost[owner]
        length = bound[q] * (run if loops == 1 and run_class == q else 1)
        passes = 1 if moves else 0
        made = _add(p, judge, f, child, number, tile, total, turns, q, q, length, passes, pool, made, follow)
        turns[owner] = without
    return made


@njit(cache=True, error_model="numpy")
def _add(
    p: Problem, judge: Judge, f: Frame, child: int, before: int, tile: Ints, price_pj: float, turns: Ints,
    innermost: int, run_class: int, run: int, passes: int, pool: Pool, made: int, follow: bool,
) -> int:  # fmt: skip
    """Add one label unless nothing good can come of it; return how many there are now."""
    stall = pool.stall[made]
    for j in range(len(stall)):
        stall[j] = pool.stall[before, j] - f.first_stall[child, j]
        for t in range(3):
            stall[j] += f.stall[child, j, t] * turns[t]
    if _is_done(p, judge, f, price_pj + f.rest_pj[child + 1], stall, f.rest_stall[child + 1], follow):
        return made
    if run_class == NO_RUN or child == len(f.keep) - 1:
        run_class, run = NO_RUN, 1
    label = pool.label[made]
    label[:4] = tile
    label[RUN_CLASS], label[RUN], label[PASSES] = run_class, run, passes
    label[INNERMOST], label[BEFORE] = innermost, before
    pool.price_pj[made] = price_pj
    return add_label(pool, made, follow)


@njit(cache=True, error_model="numpy")
def _nests(
    p: Problem, judge: Judge, f: Frame, pool: Pool, begin: int, end: int, follow: bool
) -> tuple[int, Floats, Floats, Ints, Ints, int]:
    """Return the nests of the labels begin..end - 1 at the innermost boundary: the cheapest, or all if followed."""
    levels, limits, made = len(f.keep), f.rest_stall.shape[1], end
    if not follow and end > begin:
        cheapest = begin
        for number in range(begin, end):
            if pool.price_pj[number] < pool.price_pj[cheapest]:
                cheapest = number
        begin, end = cheapest, cheapest + 1
    energy_pj, cycles = np.zeros(end - begin), np.zeros(end - begin)
    bounds, innermost = np.ones((end - begin, levels, 4), np.int64), np.full((end - begin, levels), -1, np.int64)
    count = 0
    for number in range(begin, end):
        price = pool.price_pj[number] + f.rest_pj[levels]
        if _is_done(p, judge, f, price, pool.stall[number], f.rest_stall[levels], follow):
            continue
        within = f.inside[levels - 1]
        at = number
        allowed = True
        for level in range(levels - 1, -1, -1):
            for c in range(4):
                bounds[count, level, c] = pool.label[at, c] // within[c]
                allowed = allowed and p.low[level, c] <= bounds[count, level, c] <= p.high[level, c]
            if level > 0:
                innermost[count, level - 1] = pool.label[at, INNERMOST]
                within = pool.label[at, :4] * f.spatial[level - 1]
                at = pool.label[at, BEFORE]
        cycles[count] = f.least_cycles
        for j in range(limits):
            cycles[count] = max(cycles[count], pool.stall[number, j] + f.rest_stall[levels, j])
        energy_pj[count] = price + f.leak * cycles[count]
        cycles[count] += p.latency
        count += allowed
    return count, energy_pj[:count], cycles[:count], bounds[:count], innermost[:count], made
