"""Labels of the search for loops in time, and the hash table that finds those with the same future."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NO_RUN = 0
"""Class of the run where there is none; a run of batch loops spares no tensor anything."""

# Columns of a label: tile extents of the four classes, then these. Those up to PASSES decide its future.
RUN_CLASS, RUN, PASSES, INNERMOST, BEFORE, NEXT, COLUMNS = 4, 5, 6, 7, 8, 9, 10


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


@njit(cache=True, error_model="numpy")
def pool_of(extent: Ints, price_pj: float, limits: int) -> Pool:
    """Return a pool with the one label that stands outside everything.

    Args:
        extent: (4,) of the classes.
        price_pj: What is spent whatever the loops.
        limits: Bandwidths to keep count of.
    """
    pool = Pool(np.zeros((1024, COLUMNS), np.int64), np.zeros(1024), np.zeros((1024, limits)), np.zeros(0, np.int64))
    root = pool.label[0]
    root[:4] = extent
    root[RUN_CLASS], root[RUN], root[INNERMOST], root[BEFORE] = NO_RUN, 1, -1, -1
    pool.price_pj[0] = price_pj
    return pool


@njit(cache=True, error_model="numpy")
def with_new_table(pool: Pool, labels: int) -> Pool:
    """Return the pool with an empty table that begins with room for about so many labels."""
    size = 1024
    while size < 4 * labels:
        size *= 2
    return Pool(pool.label, pool.price_pj, pool.stall, np.full(size, -1, np.int64))


@njit(cache=True, error_model="numpy")
def with_room(pool: Pool, first: int, made: int, more: int) -> Pool:
    """Return the pool with room for some more labels.

    Args:
        pool: Of `made` labels.
        first: The first label of the boundary that the table is for.
        made: See above.
        more: See above.
    """
    size = len(pool.price_pj)
    if made + more > size:
        label, price_pj = np.zeros((2 * size, COLUMNS), np.int64), np.zeros(2 * size)
        stall = np.zeros((2 * size, pool.stall.shape[1]))
        label[:size], price_pj[:size], stall[:size] = pool.label, pool.price_pj, pool.stall
        pool = Pool(label, price_pj, stall, pool.table)
    if 2 * (made - first + more) > len(pool.table):
        pool = Pool(pool.label, pool.price_pj, pool.stall, np.full(2 * len(pool.table), -1, np.int64))
        for number in range(first, made):
            slot = slot_of(pool, pool.label[number])
            pool.label[number, NEXT] = pool.table[slot]
            pool.table[slot] = number
    return pool


@njit(cache=True, error_model="numpy")
def slot_of(pool: Pool, label: Ints) -> int:
    """Return the slot of the labels with the same future: theirs, or the first free one."""
    size = len(pool.table)
    number = 0
    for column in range(PASSES + 1):
        number = (number * 1000003) ^ label[column]
    number ^= number >> 29
    slot = number & (size - 1)
    while True:
        other = pool.table[slot]
        if other < 0:
            return slot
        same = True
        for column in range(PASSES + 1):
            same = same and pool.label[other, column] == label[column]
        if same:
            return slot
        slot = (slot + 1) & (size - 1)


@njit(cache=True, error_model="numpy")
def add_label(pool: Pool, made: int, follow: bool) -> int:
    """Keep the label written at place `made`, unless one with the same future beats it; return how many there are now.

    Args:
        pool: With room for it.
        made: Labels so far.
        follow: Whether a label must be no worse in every stall, too, to beat another.
    """
    label, price_pj, stall = pool.label[made], pool.price_pj[made], pool.stall[made]
    slot = slot_of(pool, label)
    other = pool.table[slot]
    while other >= 0:
        beaten, beats = pool.price_pj[other] <= price_pj, price_pj <= pool.price_pj[other]
        for j in range(len(stall) if follow else 0):
            beaten = beaten and pool.stall[other, j] <= stall[j]
            beats = beats and stall[j] <= pool.stall[other, j]
        if beaten:
            return made
        if beats:
            # It takes the other's place; both have the same future.
            pool.price_pj[other] = price_pj
            pool.stall[other] = stall
            pool.label[other, INNERMOST], pool.label[other, BEFORE] = label[INNERMOST], label[BEFORE]
            return made
        other = pool.label[other, NEXT]
    label[NEXT] = pool.table[slot]
    pool.table[slot] = made
    return made + 1
