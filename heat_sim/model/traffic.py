"""Words moved, per tensor and level (model sections 3 to 6).

A level hands each child the tiles of a tensor, one after another. What is handed over when the tile
moves is the part of the new box that the old one did not hold, if both moves went the same way along
one rank, else the whole box. A plain tensor (each rank indexed by one rank variable) never overlaps,
and the sum over all moves is a product of bounds; for a sliding window the moves are walked.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def count_words(
    loop_var: Counts, loop_bound: Counts, mesh: Counts, coefficient: Counts, plain: Flags, keep: Flags
) -> tuple[Counts, Counts, Counts, Counts, Counts]:
    """Return tiles, partitions, and words handed over, for one nest (see `Nest` for the arguments).

    Returns:
        Five (T, L) arrays, in words per instance, but for the fourth:
        tile: words of the box that the tensor has under the level;
        partition: words of the tensor that ever live in one instance;
        delta: words one child of the level is handed, by the moves of its tile alone;
        groups: children of one instance whose tiles differ, so that they cannot share a read;
        served: words the level hands out, accesses of bypassing levels further in included.
    """
    levels = loop_var.shape[0]
    tensors, _, rank_vars = coefficient.shape
    tile, partition = np.ones((tensors, levels), np.int64), np.ones((tensors, levels), np.int64)
    delta, groups = np.zeros((tensors, levels), np.int64), np.ones((tensors, levels), np.int64)
    served = np.zeros((tensors, levels), np.int64)
    inside, fan = np.ones((levels + 1, rank_vars), np.int64), np.ones((levels, rank_vars), np.int64)
    count_words_into(
        loop_var, loop_bound, mesh, coefficient, plain, keep, inside, fan, tile, partition, delta, groups, served
    )
    return tile, partition, delta, groups, served


@njit(cache=True, error_model="numpy")
def count_words_into(
    loop_var: Counts,
    loop_bound: Counts,
    mesh: Counts,
    coefficient: Counts,
    plain: Flags,
    keep: Flags,
    inside: Counts,
    fan: Counts,
    tile: Counts,
    partition: Counts,
    delta: Counts,
    groups: Counts,
    served: Counts,
) -> int:
    """Fill the arrays that `count_words` returns, and return the cycles without stalls.

    Args:
        loop_var: See `Nest`; likewise the next five.
        loop_bound: See `Nest`.
        mesh: See `Nest`.
        coefficient: See `Nest`.
        plain: See `Nest`.
        keep: See `Nest`.
        inside: (L + 1, V) is filled with how far each rank variable runs at and inside each level.
        fan: (L, V) is filled with the same without the loops in time at the level.
        tile: See `count_words`; likewise the rest.
        partition: See `count_words`.
        delta: See `count_words`.
        groups: See `count_words`.
        served: See `count_words`.
    """
    levels, slots = loop_var.shape
    tensors, _, rank_vars = coefficient.shape
    inside[levels] = 1
    cycles = 1
    for level in range(levels - 1, -1, -1):
        for var in range(rank_vars):
            fan[level, var] = inside[level + 1, var] * mesh[level, var]
            inside[level, var] = fan[level, var]
        for slot in range(slots):
            inside[level, loop_var[level, slot]] *= loop_bound[level, slot]
            cycles *= loop_bound[level, slot]
    for t in range(tensors):
        if plain[t]:
            _count_plain(t, loop_var, loop_bound, mesh, coefficient, inside, tile, partition, delta, groups)
        else:
            _count_sliding(t, loop_var, loop_bound, mesh, coefficient, inside, fan, tile, partition, delta, groups)
        # Compute units hold nothing: one word each, in every cycle.
        delta[t, levels - 1] = cycles
        # A bypassed level's accesses are served by the next outer level that keeps the tensor.
        words = delta[t, levels - 1]
        for level in range(levels - 1, -1, -1):
            if level < levels - 1 and keep[t, level + 1]:
                words = delta[t, level]
            words *= groups[t, level]
            served[t, level] = words
    return cycles


@njit(cache=True, error_model="numpy")
def _count_plain(
    t: int,
    loop_var: Counts,
    loop_bound: Counts,
    mesh: Counts,
    coefficient: Counts,
    inside: Counts,
    tile: Counts,
    partition: Counts,
    delta: Counts,
    groups: Counts,
) -> None:
    """Fill the rows of a plain tensor, where everything is a product of bounds of relevant rank variables."""
    levels, slots = loop_var.shape
    _, ranks, rank_vars = coefficient.shape
    for level in range(levels):
        tile[t, level] = 1
        groups[t, level] = 1
    relevant = 0  # one bit per rank variable
    for var in range(rank_vars):
        for rank in range(ranks):
            if coefficient[t, rank, var]:
                relevant |= 1 << var
        if relevant >> var & 1:
            for level in range(levels):
                tile[t, level] *= inside[level, var]
                groups[t, level] *= mesh[level, var]
    words = tile[t, 0]
    for level in range(levels):
        # Relevant meshes above divide what one instance ever sees of the tensor.
        partition[t, level] = words
        if groups[t, level] > 1:
            words //= groups[t, level]
    for level in range(levels - 1):
        product = tile[t, level + 1]
        stationary = True
        for outer in range(level, -1, -1):
            for slot in range(slots - 1, -1, -1):
                bound = loop_bound[outer, slot]
                if bound > 1:
                    if relevant >> loop_var[outer, slot] & 1:
                        stationary = False
                    if not stationary:
                        product *= bound
        delta[t, level] = product


@njit(cache=True, error_model="numpy")
def _count_sliding(
    t: int,
    loop_var: Counts,
    loop_bound: Counts,
    mesh: Counts,
    coefficient: Counts,
    inside: Counts,
    fan: Counts,
    tile: Counts,
    partition: Counts,
    delta: Counts,
    groups: Counts,
) -> None:
    """Fill the rows of a tensor whose boxes may overlap."""
    levels = loop_var.shape[0]
    words = box_words(coefficient[t], inside[0])
    for level in range(levels):
        tile[t, level] = box_words(coefficient[t], inside[level])
        partition[t, level] = words
        words = words * box_words(coefficient[t], inside[level + 1]) // box_words(coefficient[t], fan[level])
        groups[t, level] = distinct_boxes(coefficient[t], inside[level + 1], mesh[level])
        if level < levels - 1:
            _, _, words_by_move = walk_moves(coefficient[t], level, loop_var, loop_bound, mesh, False)
            delta[t, level] = words_by_move.sum()


@njit(cache=True, error_model="numpy")
def box_words(coefficient: Counts, extent: Counts) -> int:
    """Return the words of the box that a tensor has when the rank variables run this far.

    Args:
        coefficient: (D, V) of one tensor.
        extent: (V,) values each rank variable takes.
    """
    words = 1
    for rank in range(coefficient.shape[0]):
        side = 1
        for var in range(coefficient.shape[1]):
            side += coefficient[rank, var] * (extent[var] - 1)
        words *= side
    return words


@njit(cache=True, error_model="numpy")
def is_relevant(coefficient: Counts, var: int) -> bool:
    """Return whether the rank variable indexes the tensor."""
    for rank in range(coefficient.shape[0]):  # noqa: SIM110 - numba compiles no generators
        if coefficient[rank, var]:
            return True
    return False


@njit(cache=True, error_model="numpy")
def distinct_boxes(coefficient: Counts, child_extent: Counts, mesh: Counts) -> int:
    """Return how many different boxes the children of one instance hold.

    Args:
        coefficient: (D, V) of one tensor.
        child_extent: (V,) how far each rank variable runs inside a child.
        mesh: (V,) spatial bounds below the level.
    """
    ranks, rank_vars = coefficient.shape
    relevant = 1
    for var in range(rank_vars):
        if mesh[var] > 1 and is_relevant(coefficient, var):
            relevant *= mesh[var]
    if relevant == 1:
        return 1
    # The corner of each child's box, as one number in the strides of a box that holds them all.
    corners = np.zeros(relevant, dtype=np.int64)
    stride = 1
    for rank in range(ranks):
        step = 1  # children that the rank variables seen so far tell apart
        reach = 0
        for var in range(rank_vars):
            if mesh[var] > 1 and is_relevant(coefficient, var):
                shift = coefficient[rank, var] * child_extent[var]
                for place in range(relevant):
                    corners[place] += stride * shift * ((place // step) % mesh[var])
                reach += shift * (mesh[var] - 1)
                step *= mesh[var]
        stride *= reach + 1
    corners = np.sort(corners)
    distinct = 1
    for place in range(1, relevant):
        if corners[place] != corners[place - 1]:
            distinct += 1
    return distinct


@njit(cache=True, error_model="numpy")
def moving_bounds(coefficient: Counts, level: int, loop_var: Counts, loop_bound: Counts) -> int:
    """Return the bounds in time at and above the level, without the innermost run of irrelevant ones."""
    product = 1
    stationary = True
    for outer in range(level, -1, -1):
        for slot in range(loop_var.shape[1] - 1, -1, -1):
            bound = loop_bound[outer, slot]
            if bound > 1:
                stationary = stationary and not is_relevant(coefficient, loop_var[outer, slot])
                if not stationary:
                    product *= bound
    return product


@njit(cache=True, error_model="numpy")
def walk_moves(
    coefficient: Counts, level: int, loop_var: Counts, loop_bound: Counts, spatial: Counts, is_innermost: bool
) -> tuple[int, Counts, Counts]:
    """Return what one child of the level is handed, summed by how it moved.

    Iterations 0 and 1 of every loop in time at and above the level are walked; iteration 1 stands for
    all the later ones, as in Timeloop.

    Args:
        coefficient: (D, V) of one tensor.
        level: Whose children are visited.
        loop_var: See `Nest`.
        loop_bound: See `Nest`.
        spatial: (L, V) product of the spatial bounds of each rank variable below each level.
        is_innermost: Children are compute units, which hold nothing and need one word in every visit.

    Returns:
        kinds: How many rows of the next two are in use; row 0 is for visits without a predecessor of equal shape;
        behind: (K, D) corner of the box handed over less that of the one handed over in the visit before, negated;
        words: (K,) handed over in the visits of this kind.
    """
    levels, slots = loop_var.shape
    ranks, rank_vars = coefficient.shape
    reach = np.ones(rank_vars, dtype=np.int64)
    for inner in range(levels - 1, level, -1):
        for var in range(rank_vars):
            reach[var] *= spatial[inner, var]
        for slot in range(slots):
            reach[loop_var[inner, slot]] *= loop_bound[inner, slot]
    side = np.ones(ranks, dtype=np.int64)
    for rank in range(ranks):
        for var in range(rank_vars):
            side[rank] += coefficient[rank, var] * (reach[var] - 1)
    # Loops above the child, innermost first: how far one step of each moves the box along every rank.
    count = 0
    bounds = np.ones((level + 1) * slots, dtype=np.int64)
    shifts = np.zeros(((level + 1) * slots, ranks), dtype=np.int64)
    for outer in range(level, -1, -1):
        for var in range(rank_vars):
            reach[var] *= spatial[outer, var]
        for slot in range(slots - 1, -1, -1):
            bound = loop_bound[outer, slot]
            var = loop_var[outer, slot]
            if bound > 1:
                bounds[count] = bound
                for rank in range(ranks):
                    shifts[count, rank] = coefficient[rank, var] * reach[var]
                count += 1
            reach[var] *= bound
    # A move depends on the loop that advances and on the shape fetched, so there are few kinds.
    behind = np.zeros((8 * count + 8, ranks), dtype=np.int64)
    words = np.zeros(8 * count + 8, dtype=np.int64)
    kinds = 1
    before, now, remembered = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    corner, sides = np.zeros(ranks, np.int64), side.copy()
    old_corner, old_sides = np.zeros(ranks, np.int64), np.zeros(ranks, np.int64)
    knows = False
    for point in range(1 << count):
        now[:] = 0
        weight = 1
        for loop in range(count):
            if (point >> loop) & 1:
                weight *= bounds[loop] - 1
                for rank in range(ranks):
                    now[rank] += shifts[loop, rank]
        moved, along, same_way = 0, 0, True
        for rank in range(ranks):
            if now[rank] != before[rank]:
                moved += 1
                along = rank
            if now[rank] - before[rank] != remembered[rank]:
                same_way = False
        corner[:] = now
        sides[:] = side
        if point > 0 and not is_innermost:
            if moved == 0:
                sides[:] = 0
            elif not knows or same_way:
                step = now[along] - before[along]
                if moved == 1 and abs(step) < side[along]:
                    sides[along] = abs(step)
                    if step > 0:
                        corner[along] += side[along] - step
                for rank in range(ranks):
                    remembered[rank] = now[rank] - before[rank]
                knows = True
            else:
                knows = False
        before[:] = now
        handed = weight
        equal_shape = point > 0
        for rank in range(ranks):
            handed *= sides[rank]
            equal_shape = equal_shape and sides[rank] == old_sides[rank]
        if handed > 0:
            kind = 0
            if equal_shape:
                kind = kinds
                for known in range(1, kinds):
                    same = True
                    for rank in range(ranks):
                        same = same and behind[known, rank] == old_corner[rank] - corner[rank]
                    if same:
                        kind = known
                if kind == kinds:
                    for rank in range(ranks):
                        behind[kind, rank] = old_corner[rank] - corner[rank]
                    kinds += 1
            words[kind] += handed
        old_corner[:] = corner
        old_sides[:] = sides
    return kinds, behind, words
