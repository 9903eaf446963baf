"""The best loops in time of one structure: labels from the outermost level inwards.

A label stands at the boundary outside a level. It knows how far each class still runs inside, the run of loops that is
innermost outside (a class and its length), and what all boundaries further out cost. Of two labels with the same
future the dearer is dropped, so the work grows with the divisors of the extents and not with the number of nests.

Only nests in which nothing can be moved inwards are looked at (`_movable`). Moving the innermost loop outside a level
into it, or another loop if no run breaks on that, enlarges the level's tiles and leaves all else as it was or better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import irrelevant, tile_words
from heat_sim.mapper.frame import Frame, frame_of, passing_pj, rest_of_label, turns_of
from heat_sim.mapper.judge import Judge, energy_limit_pj, is_beaten
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NO_RUN = 0
"""Class of the run where there is none; a run of batch loops spares no tensor anything."""

# Columns of a label: tile extents of the classes, then these.
_RUN_CLASS, _RUN, _PASSES, _INNERMOST, _BEFORE, _NEXT, _COLUMNS = 4, 5, 6, 7, 8, 9, 10


class Pool(NamedTuple):
    """Labels, and a hash table of those of one boundary.

    Attributes:
        label: (N, 10) tile extents; class and length of the run; whether only the run's class may have loops at the
            level; class of the innermost loop (-1 if none); the label it came from; the next one in its slot.
        price_pj: (N,) compute, and what all boundaries so far cost.
        stall: (N, J) cycles that each bandwidth asks for so far.
        table: (S,) first label of each slot, -1 if none.
    """

    label: Ints
    price_pj: Floats
    stall: Floats
    table: Ints


class Options(NamedTuple):
    """Where one level may put the loops in time of each class; C options at the most.

    Attributes:
        count: (4,) options.
        tile: (4, C) how far the class runs inside the next level, ascending.
        bound: (4, C) its bound in time at the level.
        longer: (4, C) how far it would run inside if the smallest part of the bound moved there; 0 if none may.
        pj: (4, C) no less is spent on the tensor without the class for what passes into the next level, if it has
            no run; accesses in fractions, first reads not taken off.
        gain_pj: (4, C) what its longest run would spare it.
        stall: (4, C) the same in cycles of the bandwidth that is the slowest one by its bound.
        gain_stall: (4, C) likewise.
    """

    count: Ints
    tile: Ints
    bound: Ints
    longer: Ints
    pj: Floats
    gain_pj: Floats
    stall: Floats
    gain_stall: Floats


@njit(cache=True, error_model="numpy")
def best_loops(
    p: Problem, judge: Judge, keep: Ints, spatial: Ints, divisor: Ints, divisors: Ints, smallest_prime: Ints,
    follow: bool, room: int,
) -> tuple[int, Floats, Floats, Ints, Ints, int]:  # fmt: skip
    """Return the loops in time that are worth costing for one structure.

    Args:
        p: The problem.
        judge: What was found so far; what it beats is left out.
        keep: (L,) masks.
        spatial: (L, 4) bounds over the children.
        divisor: (4, D) divisors of the extents, ascending.
        divisors: (4,) how many.
        smallest_prime: (4, D) smallest prime factor of each divisor, 1 for 1.
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
    f = frame_of(p, keep, spatial, divisor, divisors)
    levels, limits = len(keep), f.rest_stall.shape[1]
    pool = Pool(np.zeros((1024, _COLUMNS), np.int64), np.zeros(1024), np.zeros((1024, limits)), np.zeros(0, np.int64))
    pool.label[0, :4] = p.extent
    pool.label[0, _RUN_CLASS], pool.label[0, _RUN], pool.label[0, _INNERMOST], pool.label[0, _BEFORE] = NO_RUN, 1, -1, -1
    pool.price_pj[0] = p.compute_pj
    begin, end = 0, 1
    width = divisor.shape[1]
    options = Options(np.zeros(4, np.int64), np.ones((4, width), np.int64), np.ones((4, width), np.int64),
                      np.zeros((4, width), np.int64), np.zeros((4, width)), np.zeros((4, width)), np.zeros((4, width)),
                      np.zeros((4, width)))  # fmt: skip
    count, value, bound = options.count, options.tile, options.bound
    tile, step, longer = np.ones(4, np.int64), np.ones(4, np.int64), np.zeros(4, np.int64)
    turns, cost = np.zeros(3, np.int64), np.zeros(3)
    rest_stall = np.zeros(limits)
    slowest = np.argmax(f.rest_stall[0]) if follow and limits else -1
    most_pj = energy_limit_pj(judge, f.least_cycles + p.latency) - f.leak * f.least_cycles
    for level in range(levels - 1):
        child = level + 1
        pool = Pool(pool.label, pool.price_pj, pool.stall, np.full(_slots(end - begin), -1, np.int64))
        made = end
        filled = 0
        for number in range(begin, end):
            label = pool.label[number]
            rest = rest_of_label(p, f, level, label[:4], label[_RUN_CLASS], label[_RUN], divisor, divisors, tile, cost,
                                 turns, rest_stall)  # fmt: skip
            if _is_done(p, judge, f, pool.price_pj[number] + rest, pool.stall[number], rest_stall, follow):
                continue
            for c in range(4):
                _candidates(p, f, level, c, label, divisor, divisors, smallest_prime, slowest, options)
            if count.min() == 0:
                continue
            # What the tensors may cost at the most, each with the longest tile that any candidate has.
            base_pj = pool.price_pj[number] + f.rest_pj[child + 1] - f.first_pj[child]
            room_pj = most_pj - base_pj
            base_stall = 0.0
            if slowest >= 0:
                base_stall = pool.stall[number, slowest] + f.rest_stall[child + 1, slowest]
                base_stall -= f.first_stall[child, slowest]
            room_pj += abs(room_pj) * 1e-12
            least1, least2, least3 = options.pj[1, count[1] - 1], options.pj[2, count[2] - 1], options.pj[3, count[3] - 1]
            gain1, gain2, gain3 = options.gain_pj[1].max(), options.gain_pj[2].max(), options.gain_pj[3].max()
            gain = max(gain1, gain2, gain3)
            # Candidates ascend, so once a tile does not fit, no later one of the class that varies does.
            for i0 in range(count[0]):
                tile[0], step[0], longer[0] = value[0, i0], bound[0, i0], options.longer[0, i0]
                for i1 in range(count[1]):
                    tile[1], step[1], longer[1] = value[1, i1], bound[1, i1], options.longer[1, i1]
                    tile[2], tile[3] = value[2, 0], value[3, 0]
                    if tile_words(keep[child], tile) > p.usable[child]:
                        break
                    pj1 = options.pj[1, i1]
                    if pj1 + least2 + least3 - gain > room_pj:
                        continue
                    for i2 in range(count[2]):
                        tile[2], step[2], longer[2] = value[2, i2], bound[2, i2], options.longer[2, i2]
                        tile[3] = value[3, 0]
                        if tile_words(keep[child], tile) > p.usable[child]:
                            break
                        pj2 = pj1 + options.pj[2, i2]
                        gain12 = max(options.gain_pj[1, i1], options.gain_pj[2, i2])
                        if pj2 + least3 - max(gain12, gain3) > room_pj:
                            continue
                        for i3 in range(count[3]):
                            pj = pj2 + options.pj[3, i3] - max(gain12, options.gain_pj[3, i3])
                            if pj > room_pj:
                                continue
                            if slowest >= 0:
                                gain_stall = max(options.gain_stall[1, i1], options.gain_stall[2, i2],
                                                 options.gain_stall[3, i3])  # fmt: skip
                                cycles = base_stall - gain_stall + options.stall[1, i1] + options.stall[2, i2]
                                cycles = max(f.least_cycles, (cycles + options.stall[3, i3]) * (1 - 1e-12))
                                if is_beaten(judge, base_pj + pj + f.leak * cycles, cycles + p.latency):
                                    continue
                            tile[3], step[3] = value[3, i3], bound[3, i3]
                            occupied = tile_words(keep[child], tile)
                            if occupied > p.usable[child]:
                                break
                            if occupied < p.least[child]:
                                continue
                            longer[3] = options.longer[3, i3]
                            movable = _movable(keep[child], p.usable[child], tile, longer)
                            loops = (step[0] > 1) + 2 * (step[1] > 1) + 4 * (step[2] > 1) + 8 * (step[3] > 1)
                            if movable > 0 and (movable == loops or child == levels - 1):
                                continue
                            if made + 4 > room:
                                none = np.zeros(0)
                                return -1, none, none, np.zeros((0, levels, 4), np.int64), np.zeros(
                                    (0, levels), np.int64
                                ), made  # fmt: skip
                            if made + 4 > len(pool.price_pj):
                                pool = _larger(pool)
                            if 2 * filled + 8 > len(pool.table):
                                pool = _rehashed(pool, end, made)
                            before = made
                            made = _settle(p, judge, f, level, number, tile, step, movable, turns, cost, pool,
                                           made, follow)  # fmt: skip
                            filled += made - before
        begin, end = end, made
        if begin == end:
            break
    return _chosen(p, judge, f, pool, begin, end, follow)


@njit(cache=True, error_model="numpy")
def _candidates(
    p: Problem, f: Frame, level: int, c: int, label: Ints, divisor: Ints, divisors: Ints, smallest_prime: Ints,
    slowest: int, o: Options,
) -> None:  # fmt: skip
    """Fill the options of one class at the level."""
    child = level + 1
    levels = len(f.keep)
    side, over = f.inside[child, c], f.spatial[level, c]
    frozen = label[_PASSES] == 1 and c != label[_RUN_CLASS]
    # Where the child has room for everything, nothing that may be moved into it stays outside.
    frozen = frozen or (f.keep[child] == 0 and _all_move_freely(p, level, levels))
    owner = 1 if c == 1 else (0 if c == 2 else 2)
    slope_pj = f.slope_pj[child, owner] if c > 0 else 0.0
    slope_stall = f.stall[child, slowest, owner] if c > 0 and slowest >= 0 else 0.0
    run = label[_RUN] if label[_RUN_CLASS] == c else 1
    moves = _moves_freely(p, level, c, levels)
    count = 0
    o.gain_pj[c], o.gain_stall[c] = 0.0, 0.0
    for i in range(divisors[c]):
        tile = divisor[c, i]
        if tile * over > label[c]:
            break
        if tile % side != 0 or label[c] % (tile * over) != 0:
            continue
        times = label[c] // (tile * over)
        if times < p.low[level, c] or times > p.high[level, c] or (frozen and times > 1):
            continue
        if child == levels - 1 and not p.low[child, c] <= tile // side <= p.high[child, c]:
            continue
        o.tile[c, count], o.bound[c, count] = tile, times
        part = smallest_prime[c, np.searchsorted(divisor[c, : divisors[c]], times)]
        o.longer[c, count] = tile * part if times > 1 and moves else 0
        o.pj[c, count] = slope_pj * (p.extent[c] // (f.above[child, c] * tile))
        o.gain_pj[c, count] = o.pj[c, count] * (1.0 - 1.0 / (times * run))
        o.stall[c, count] = slope_stall * (p.extent[c] // (f.above[child, c] * tile))
        o.gain_stall[c, count] = o.stall[c, count] * (1.0 - 1.0 / (times * run))
        count += 1
    o.count[c] = count


@njit(cache=True, error_model="numpy")
def _moves_freely(p: Problem, level: int, c: int, levels: int) -> bool:
    """Return whether no constraint hinders a loop in time of the class from moving one level inwards."""
    child = level + 1
    ordered = child < levels - 1 and p.order[child, 0] >= 0
    return p.low[level, c] <= 1 and p.high[child, c] >= p.extent[c] and not ordered


@njit(cache=True, error_model="numpy")
def _all_move_freely(p: Problem, level: int, levels: int) -> bool:
    for c in range(4):
        if p.extent[c] > 1 and not _moves_freely(p, level, c, levels):
            return False
    return True


@njit(cache=True, error_model="numpy")
def _movable(keep: int, room: int, tile: Ints, longer: Ints) -> int:
    """Return the classes, bit c for class c, of whose loops here some part could move into the next level.

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
def _may_be_innermost(p: Problem, level: int, c: int, step: Ints, loops: int) -> bool:
    """Return whether the loop of the class may be the innermost one here and is worth trying."""
    if step[c] == 1:
        return False
    for place in range(4):
        first = p.order[level, place]
        if first >= 0 and step[first] > 1:
            return bool(first == c)
    return bool(c != 0 or loops == 1)


@njit(cache=True, error_model="numpy")
def _is_done(
    p: Problem, judge: Judge, f: Frame, energy_pj: float, stall: Floats, rest_stall: Floats, follow: bool
) -> bool:
    """Return whether nothing with at least this energy and these cycles for the bandwidths can be better."""
    cycles = f.least_cycles
    if follow:
        for j in range(len(stall)):
            cycles = max(cycles, (stall[j] + rest_stall[j]) * (1 - 1e-12))
    return is_beaten(judge, energy_pj + f.leak * cycles, cycles + p.latency)


@njit(cache=True, error_model="numpy")
def _settle(
    p: Problem, judge: Judge, f: Frame, level: int, number: int, tile: Ints, step: Ints, movable: int, turns: Ints,
    cost: Floats, pool: Pool, made: int, follow: bool,
) -> int:  # fmt: skip
    """Add the labels that these loops at the level lead to, one per innermost loop; return how many there are now."""
    child = level + 1
    run_class, run = pool.label[number, _RUN_CLASS], pool.label[number, _RUN]
    loops, only = 0, NO_RUN
    for c in range(4):
        if step[c] > 1:
            loops += 1
            only = c
    # R of every tensor, and what it costs, if no loop here starts a run; a run may reach across the level.
    price = pool.price_pj[number]
    for t in range(3):
        if f.crosses[child, t]:
            c = irrelevant(t)
            turns[t] = turns_of(p, f, child, t, tile)
            if loops == 0 or (loops == 1 and only == c):
                turns[t] //= step[c] * (run if run_class == c else 1)
            cost[t] = passing_pj(p, f, child, t, turns[t])
            price += cost[t]
    if loops == 0:
        return _add(p, judge, f, child, number, tile, price, turns, -1, run_class, run, 0, pool, made, follow)
    for q in range(4):
        if not _may_be_innermost(p, level, q, step, loops) or (movable >> q) & 1:
            continue
        owner = 1 if q == 1 else (0 if q == 2 else 2)
        starts = loops > 1 and q > 0 and f.crosses[child, owner]
        total, without = price, turns[owner]
        if starts:
            turns[owner] = without // step[q]
            total += passing_pj(p, f, child, owner, turns[owner]) - cost[owner]
        length = step[q] * (run if loops == 1 and run_class == q else 1)
        made = _add(p, judge, f, child, number, tile, total, turns, q, q, length, 1 if movable else 0, pool, made,
                    follow)  # fmt: skip
        turns[owner] = without
    return made


@njit(cache=True, error_model="numpy")
def _add(
    p: Problem, judge: Judge, f: Frame, child: int, before: int, tile: Ints, price_pj: float, turns: Ints,
    innermost: int, run_class: int, run: int, passes: int, pool: Pool, made: int, follow: bool,
) -> int:  # fmt: skip
    """Add one label unless it is beaten; return how many there are now."""
    if run_class == NO_RUN or child == len(f.keep) - 1:
        run_class, run = NO_RUN, 1
    stall = pool.stall[made]
    for j in range(len(stall)):
        stall[j] = pool.stall[before, j] - f.first_stall[child, j]
        for t in range(3):
            if f.crosses[child, t]:
                stall[j] += f.stall[child, j, t] * turns[t]
    if _is_done(p, judge, f, price_pj + f.rest_pj[child + 1], stall, f.rest_stall[child + 1], follow):
        return made
    label = pool.label[made]
    label[:4] = tile
    label[_RUN_CLASS], label[_RUN], label[_PASSES] = run_class, run, passes
    slot = _slot(pool, label)
    other = pool.table[slot]
    while other >= 0:
        beats, beaten = pool.price_pj[other] <= price_pj, price_pj <= pool.price_pj[other]
        for j in range(len(stall) if follow else 0):
            beats = beats and pool.stall[other, j] <= stall[j]
            beaten = beaten and stall[j] <= pool.stall[other, j]
        if beats:
            return made
        if beaten:
            # It takes the other's place.
            pool.price_pj[other] = price_pj
            pool.stall[other] = stall
            pool.label[other, _INNERMOST], pool.label[other, _BEFORE] = innermost, before
            return made
        other = pool.label[other, _NEXT]
    label[_INNERMOST], label[_BEFORE], label[_NEXT] = innermost, before, pool.table[slot]
    pool.price_pj[made] = price_pj
    pool.table[slot] = made
    return made + 1


@njit(cache=True, error_model="numpy")
def _slots(labels: int) -> int:
    size = 1024
    while size < 4 * labels:
        size *= 2
    return size


@njit(cache=True, error_model="numpy")
def _slot(pool: Pool, label: Ints) -> int:
    """Return the slot of the labels with the same future: the first free one, or theirs."""
    size = len(pool.table)
    number = 0
    for column in range(_PASSES + 1):
        number = (number * 1000003) ^ label[column]
    number ^= number >> 29
    slot = number & (size - 1)
    while True:
        other = pool.table[slot]
        if other < 0:
            return slot
        same = True
        for column in range(_PASSES + 1):
            same = same and pool.label[other, column] == label[column]
        if same:
            return slot
        slot = (slot + 1) & (size - 1)


@njit(cache=True, error_model="numpy")
def _larger(pool: Pool) -> Pool:
    size = len(pool.price_pj)
    label, price = np.zeros((2 * size, _COLUMNS), np.int64), np.zeros(2 * size)
    stall = np.zeros((2 * size, pool.stall.shape[1]))
    label[:size], price[:size], stall[:size] = pool.label, pool.price_pj, pool.stall
    return Pool(label, price, stall, pool.table)


@njit(cache=True, error_model="numpy")
def _rehashed(pool: Pool, begin: int, end: int) -> Pool:
    larger = Pool(pool.label, pool.price_pj, pool.stall, np.full(2 * len(pool.table), -1, np.int64))
    for number in range(begin, end):
        slot = _slot(larger, larger.label[number])
        larger.label[number, _NEXT] = larger.table[slot]
        larger.table[slot] = number
    return larger


@njit(cache=True, error_model="numpy")
def _chosen(
    p: Problem, judge: Judge, f: Frame, pool: Pool, begin: int, end: int, follow: bool
) -> tuple[int, Floats, Floats, Ints, Ints, int]:
    """Return the nests of the labels at the innermost boundary: the cheapest, or all if bandwidths are followed."""
    levels, limits, made = len(f.keep), f.rest_stall.shape[1], end
    if not follow and end > begin:
        begin += np.argmin(pool.price_pj[begin:end])
        end = begin + 1
    energy_pj, cycles = np.zeros(end - begin), np.zeros(end - begin)
    bounds, innermost = np.ones((end - begin, levels, 4), np.int64), np.full((end - begin, levels), -1, np.int64)
    count = 0
    for number in range(begin, end):
        if _is_done(p, judge, f, pool.price_pj[number] + f.rest_pj[levels], pool.stall[number],
                    f.rest_stall[levels], follow):  # fmt: skip
            continue
        within = f.inside[levels - 1]
        at = number
        fits = True
        for level in range(levels - 1, -1, -1):
            for c in range(4):
                bounds[count, level, c] = pool.label[at, c] // within[c]
                fits = fits and p.low[level, c] <= bounds[count, level, c] <= p.high[level, c]
            if level > 0:
                innermost[count, level - 1] = pool.label[at, _INNERMOST]
                within = pool.label[at, :4] * f.spatial[level - 1]
                at = pool.label[at, _BEFORE]
        cycles[count] = f.least_cycles
        for j in range(limits):
            cycles[count] = max(cycles[count], pool.stall[number, j] + f.rest_stall[levels, j])
        energy_pj[count] = pool.price_pj[number] + f.rest_pj[levels] + f.leak * cycles[count]
        cycles[count] += p.latency
        count += fits
    return count, energy_pj[:count], cycles[:count], bounds[:count], innermost[:count], made
