"""What the levels further in cost at least, for every tile and configuration: the bounds of the general search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from heat_sim.mapper.general_problem import Floats, Ints, Problem
from heat_sim.model.traffic import box_words, distinct_boxes

SLACK = 1e-12
"""Share by which a bound may exceed what it bounds, because floats are summed in another order."""

_MOST_ENTRIES = 40_000_000
_MOST_STEPS = 2_000_000_000


class Table(NamedTuple):
    """The least energy in pJ that is still to come once the loops outside a level and what it keeps are decided.

    An entry of a level speaks of one configuration, one entry of `Problem.spread` and one tile: the part of the
    iteration space that lies in one instance of the level.

    Attributes:
        entries: (L, ...) one after another: configurations, in them spreads, in them tiles.
        base: (L,) where each level begins.
        width: (L,) its number of tiles; 1 if one entry holds for all.
        shared: (L, T) how many children can hold the same tile at most, which the entries take the meshes further out
            to do.
    """

    entries: Floats
    base: Ints
    width: Ints
    shared: Floats


def tabulate(problem: Problem) -> Table:
    """Return the table of bounds, made from the innermost level outwards.

    The energy is that of all instances together, of what moves between a level and the parents outside it or between
    levels further in, and of what the compute units ask for. Three things are left out or taken at their best, which
    makes the entries bounds: whole accesses; how far the run of loops that leaves a tile in place goes on outside the
    innermost loop of a level; how much the meshes further out share. A level whose table would be too large has one
    entry for all tiles.
    """
    levels, loops = len(problem.capacity), len(problem.extents)
    shared = most_shared(problem)
    after: Floats = np.zeros((1, 1, 1))
    parts: list[Floats] = []
    for level in range(levels - 1, -1, -1):
        is_last = level == levels - 1
        meshes, spreads, _, configurations = problem.counts[level].tolist()
        tiles = 1 if level == 0 else int(problem.radix[:, 1].prod())
        steps = meshes * (loops + 1) * configurations
        steps *= 1 if is_last else tiles * int(problem.counts[level + 1, 2])
        if configurations * spreads * tiles * (loops + 1) <= _MOST_ENTRIES and steps <= _MOST_STEPS:
            by_innermost = np.full((1 if is_last else loops + 1, configurations, spreads, tiles), np.inf)
            _gather(problem, level, shared, after, by_innermost)
            if level > 0:
                for place in range(len(by_innermost)):
                    _widen(problem, level, place - 1, by_innermost[place])
            after = by_innermost.min(axis=0)
        else:
            after = np.full((configurations, spreads, 1), _floor(problem, shared))
        parts.insert(0, after)
    sizes = [part.size for part in parts]
    return Table(
        entries=np.concatenate([part.ravel() for part in parts]),
        base=np.cumsum([0, *sizes[:-1]], dtype=np.int64),
        width=np.array([part.shape[2] for part in parts], dtype=np.int64),
        shared=shared,
    )


def most_shared(problem: Problem) -> Floats:
    """Return (L, T) how many children of an instance can hold the same tile at most."""
    shared = np.ones((len(problem.capacity), len(problem.plain)))
    for level in range(len(shared)):
        for t in range(len(problem.plain)):
            mesh = problem.mesh[level, : problem.counts[level, 0]]
            if problem.plain[t]:
                mesh = mesh[:, ~problem.relevant[t]]
            shared[level, t] = mesh.prod(axis=1).max(initial=1)
    return shared


def _floor(problem: Problem, shared: Floats) -> float:
    """Return the least energy of what the compute units ask for, wherever it is kept; elided reads are less than 0."""
    per_word = problem.hardware[:, 1:4] / problem.hardware[:, :1]
    asked = problem.ops / shared.prod(axis=0)
    energy = float((asked[:-1] * per_word[:, 0].min()).sum() + asked[-1] * per_word[:, 2].min())
    if not problem.plain[-1]:
        energy -= box_words(problem.coefficient[-1], problem.extents) * shared[:, -1].prod() * per_word[:, :2].sum()
    return energy


@njit(cache=True, error_model="numpy")
def allowed_bound(problem: Problem, level: int, innermost: int, var: int, bound: int) -> bool:
    """Return whether the rank variable may have the bound in time, given the innermost loop of the level (-1: none)."""
    if bound < problem.temporal[level, var, 0] or bound > problem.temporal[level, var, 1]:
        return False
    if level == len(problem.capacity) - 1:
        return True  # no order there, so nothing is known of the innermost loop
    if innermost < 0:
        return bound == 1
    if var == innermost:
        return bound > 1
    return bound == 1 or problem.inner[level, var] >= problem.inner[level, innermost]


@njit(cache=True, error_model="numpy")
def least_words(problem: Problem, t: int, tile: Ints, mesh: Ints, innermost: int) -> float:
    """Return the least number of words that all instances of a level together are handed.

    Args:
        problem: The space.
        t: The tensor.
        tile: (V,) of one instance.
        mesh: (V,) over which the instances are spread by the level before.
        innermost: Rank variable of the innermost loop in time of the level before; -1 if it has none.
    """
    loops = len(problem.extents)
    words = float(box_words(problem.coefficient[t], tile))
    steps, run = 1.0, 1.0  # of all loops outside; of those that may leave the tile in place
    for var in range(loops):
        rest = problem.extents[var] // tile[var]
        steps *= rest
        if not problem.relevant[t, var]:
            run *= rest // mesh[var]
    moved = innermost >= 0 and problem.relevant[t, innermost]
    if moved:
        run = 1.0
    if problem.plain[t]:
        return words * steps / run
    least = words
    for var in range(loops):
        moves = problem.relevant[t, var] and problem.extents[var] > tile[var] * mesh[var]
        if moves and (not moved or var == innermost):
            least = min(least, _least_share(problem, t, tile, mesh, var, words))
    return least * steps / run


@njit(cache=True, error_model="numpy")
def _least_share(problem: Problem, t: int, tile: Ints, mesh: Ints, first: int, words: float) -> float:
    """Return the words of a window per step of the loops, if `first` is the innermost relevant one.

    By the rule in `distinct_orders` a loop that does not cover the ranks of `first` fetches a whole box whenever it
    advances, the others possibly nothing, and `first` what is new to the box. So the words are at least (product of the
    bounds that do not cover `first`) boxes, and a new part in all steps of `first` but those that start it again.
    """
    covering = 1.0
    smallest = 2
    for var in range(len(problem.extents)):
        bound = problem.extents[var] // (tile[var] * mesh[var])
        if problem.covers[t, first, var]:
            covering *= bound
        if var == first:
            while bound % smallest:
                smallest += 1
    return words / covering + (1.0 - 1.0 / smallest) * new_words(problem.coefficient[t], tile, first, mesh[first])


@njit(cache=True, error_model="numpy")
def new_words(coefficient: Ints, tile: Ints, var: int, reach: int) -> int:
    """Return the words that are new to the box when the rank variable advances by `reach` tiles."""
    words, new, moved = 1, 1, 0
    for rank in range(coefficient.shape[0]):
        side = 1
        for other in range(coefficient.shape[1]):
            side += coefficient[rank, other] * (tile[other] - 1)
        words *= side
        if coefficient[rank, var]:
            moved += 1
            side = min(side, coefficient[rank, var] * tile[var] * reach)
        new *= side
    return new if moved == 1 else words


@njit(cache=True, error_model="numpy")
def count_groups(problem: Problem, t: int, level: int, row: int, tile: Ints) -> int:
    """Return how many children of one instance hold different tiles."""
    groups = 1
    if problem.plain[t]:
        for var in range(len(tile)):
            if problem.relevant[t, var]:
                groups *= problem.mesh[level, row, var]
        return groups
    inside = tile.copy()
    for mesh in range(problem.parts.shape[2] - 1, -1, -1):
        part = problem.parts[level, row, mesh]
        groups *= distinct_boxes(problem.coefficient[t], inside, part)
        inside *= part
    return groups


@njit(cache=True, error_model="numpy")
def fitting_choices(problem: Problem, level: int, tile: Ints, fits: Ints) -> int:
    """Fill in the numbers of the choices of what the level keeps that its capacity holds, and return how many."""
    found = 0
    for choice in range(problem.counts[level, 2]):
        words = 0
        for t in range(len(problem.plain)):
            if problem.keep[level, choice] >> t & 1:
                words += box_words(problem.coefficient[t], tile)
        if problem.capacity[level, 0] < 0 or problem.capacity[level, 1] <= words <= problem.capacity[level, 0]:
            fits[found] = choice
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def _gather(problem: Problem, level: int, shared: Floats, after: Floats, by_innermost: Floats) -> None:
    """Fill in the least energy for every innermost loop, for the smallest tile that has room for the child's."""
    levels, tensors, loops = len(problem.capacity), len(problem.plain), len(problem.extents)
    is_last = level == levels - 1
    tile, ratio, fits = np.ones(loops, np.int64), np.ones(loops, np.int64), np.zeros(problem.keep.shape[1], np.int64)
    # Per tensor and parent: of handing it to the next level, and of what the units ask for beyond what `after` takes.
    cost, extra = np.zeros((tensors, level + 2)), np.zeros((tensors, level + 2))
    groups = np.ones(tensors, np.int64)
    energy = np.zeros(1 << tensors)
    asked = least_asked(problem)
    still = after[:, :, 0].copy()
    for number in range(1 if is_last else problem.radix[:, 1].prod()):
        for var in range(loops):
            place = number // problem.radix[var, 0] % problem.radix[var, 1]
            tile[var] = problem.divisors[var, place]
        choices = 1 if is_last else fitting_choices(problem, level + 1, tile, fits)
        if choices == 0:
            continue
        if after.shape[2] > 1:
            still[:] = after[:, :, number]
        for row in range(problem.counts[level, 0]):
            mesh, units = problem.mesh[level, row], problem.units[level, row]
            outer = _number_of(problem, tile, mesh, ratio)
            if outer < 0:
                continue
            for t in range(tensors):
                groups[t] = count_groups(problem, t, level, row, tile)
                best = 1.0
                for parent in range(level, -1, -1):
                    best *= shared[parent, t]
                    if level == levels - 2:
                        sharing = best / shared[level, t] * units / groups[t]
                        extra[t, parent + 1] = dearer(problem, t, parent, asked[t], sharing, best, shared)
            for innermost in range(-1, 0 if is_last else loops):
                if innermost >= 0 and ratio[innermost] == 1:
                    continue
                if level == 0 and not _whole_allowed(problem, innermost, ratio):
                    continue
                for t in range(tensors):
                    words = float(problem.ops) if is_last else least_words(problem, t, tile, mesh, innermost)
                    for parent in range(level + 1):
                        cost[t, parent + 1] = _least_energy(problem, level, t, parent, words, groups[t], units, shared)
                for old in range(problem.counts[level, 3]):
                    parents = problem.parent[level, old]
                    if is_last:
                        total = 0.0
                        for t in range(tensors):
                            total += cost[t, parents[t] + 1] if parents[t] >= 0 else np.inf
                        energy[0] = total
                    else:
                        _sum_choices(cost, extra, parents, energy)
                    for inner in range(problem.counts[level + 1, 1]):
                        least = energy[0] if is_last else np.inf
                        for choice in range(0 if is_last else choices):
                            new = problem.step[level + 1, old, fits[choice]]
                            kept = problem.keep[level + 1, fits[choice]]
                            least = min(least, energy[kept] + still[new, inner])
                        spread, place = problem.spread_of[level, row, inner], outer if level > 0 else 0
                        if least < by_innermost[innermost + 1, old, spread, place]:
                            by_innermost[innermost + 1, old, spread, place] = least


@njit(cache=True, error_model="numpy")
def _whole_allowed(problem: Problem, innermost: int, ratio: Ints) -> bool:
    """Return whether the outermost level may have these bounds in time."""
    for var in range(len(ratio)):  # noqa: SIM110 - numba compiles no generators
        if not allowed_bound(problem, 0, innermost, var, ratio[var]):
            return False
    return True


@njit(cache=True, error_model="numpy")
def _sum_choices(cost: Floats, extra: Floats, parents: Ints, energy: Floats) -> None:
    """Fill in the energy for every set of tensors that the next level keeps, one bit each."""
    energy[0] = 0.0
    for t in range(len(parents)):
        energy[0] += extra[t, parents[t] + 1]
    for t in range(len(parents)):
        more = cost[t, parents[t] + 1] - extra[t, parents[t] + 1]
        for kept in range(1 << t):
            energy[kept + (1 << t)] = energy[kept] + more


@njit(cache=True, error_model="numpy")
def _number_of(problem: Problem, tile: Ints, mesh: Ints, ratio: Ints) -> int:
    """Return the number of the tile that the children make together, or -1; fill in how often it fits the extents."""
    number = 0
    for var in range(len(tile)):
        product = tile[var] * mesh[var]
        if problem.extents[var] % product:
            return -1
        ratio[var] = problem.extents[var] // product
        place = 0
        while problem.divisors[var, place] != product:
            place += 1
        number += place * problem.radix[var, 0]
    return number


@njit(cache=True, error_model="numpy")
def least_asked(problem: Problem) -> Floats:
    """Return (T,) the least words that the compute units ask of the innermost level and those outside it."""
    level = len(problem.capacity) - 1
    tile = np.ones(len(problem.extents), np.int64)
    asked = np.full(len(problem.plain), np.inf)
    for t in range(len(asked)):
        for row in range(problem.counts[level, 0]):
            groups = count_groups(problem, t, level, row, tile)
            asked[t] = min(asked[t], problem.ops * groups / problem.units[level, row])
    return asked


@njit(cache=True, error_model="numpy")
def dearer(problem: Problem, t: int, parent: int, asked: float, sharing: float, best: float, shared: Floats) -> float:
    """Return how much more the parent pays if so many children share a word, than if the best possible number do.

    Serving costs a convex function of the words served, so the difference is least for the least words.

    Args:
        problem: The space.
        t: The tensor.
        parent: The level that serves the compute units.
        asked: Words they ask for, at least.
        sharing: Units of the meshes from the parent to the innermost level that share a word.
        best: The same at most, as the table has it.
        shared: See `Table`.
    """
    return _serving(problem, t, parent, asked / sharing, shared) - _serving(problem, t, parent, asked / best, shared)


@njit(cache=True, error_model="numpy")
def _serving(problem: Problem, t: int, parent: int, up: float, shared: Floats) -> float:
    """Return the least energy that the parent takes to hand out, or take in, so many words in all."""
    row = problem.hardware[parent]
    words = float(box_words(problem.coefficient[t], problem.extents))
    if problem.plain[t]:
        up = max(up, words)  # each word is asked for once
    if t < len(problem.plain) - 1:
        return up * row[1] / row[0]
    # The first arrival of each element in an instance is not read back (model 5.2).
    for outside in range(parent):
        words *= shared[outside, t]
    read = max(up - words, 0.0) if problem.plain[t] else up - words
    return (up * row[3] + read * row[1]) / row[0]


@njit(cache=True, error_model="numpy")
def _least_energy(
    problem: Problem, level: int, t: int, parent: int, words: float, groups: int, units: int, shared: Floats
) -> float:
    """Return the least energy of handing so many words to the children of the level, from the parent."""
    levels, output = len(problem.capacity), len(problem.plain) - 1
    up = words * groups / units
    for between in range(parent, level):
        up /= shared[between, t]
    energy = _serving(problem, t, parent, up, shared)
    received = words
    if t == output:
        # Nor is it fetched (model 5.3).
        distinct = float(box_words(problem.coefficient[t], problem.extents))
        for outside in range(level):
            distinct *= shared[outside, t]
        received -= distinct * (units // groups if problem.plain[t] else units)
        if problem.plain[t]:
            received = max(received, 0.0)
    if level < levels - 1:
        energy += received * problem.hardware[level + 1, 2] / problem.hardware[level + 1, 0]
    return energy


def _widen(problem: Problem, level: int, innermost: int, entries: Floats) -> None:
    """Let every tile do what a tile inside it can, if the loops in time that this takes are allowed."""
    for var, (stride, count) in enumerate(problem.radix.tolist()):
        by_place = entries.reshape(*entries.shape[:2], -1, count, stride)
        sizes = problem.divisors[var, :count].tolist()
        # From the largest on, so that what the smaller ones can do by themselves is still there.
        for place in range(count - 1, -1, -1):
            inside = [
                smaller
                for smaller in range(place + 1)
                if sizes[place] % sizes[smaller] == 0
                and allowed_bound.py_func(problem, level, innermost, var, sizes[place] // sizes[smaller])
            ]
            by_place[..., place, :] = by_place[..., inside, :].min(axis=-2, initial=np.inf)
