"""Words moved, per tensor and level (model sections 3 to 6).

Let L hand tiles of T to the next inner level. In the product form of a plain tensor the words one
instance of L hands over are::

    (words of T under one child) x (relevant spatial bounds at L) x (temporal bounds of L and outside it)

without the run of irrelevant temporal bounds that sits innermost at and above L (stationarity).
The compute units have no operand register, so nothing is left out below the innermost level.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@njit(cache=True)
def count_words(
    loop_var: Counts, loop_bound: Counts, spatial: Counts, relevant: NDArray[np.bool_], keep: NDArray[np.bool_]
) -> tuple[Counts, Counts, Counts, Counts, Counts]:
    """Return tiles, partitions, and words handed over, for one nest (see `Nest` for the arguments).

    Returns:
        Five (T, L) arrays, in words per instance:
        tile: words of the tensor under the level;
        partition: distinct words of the tensor that ever live in one instance;
        handed: words the level hands to its child by the tile deltas alone;
        served: the same after the accesses of bypassing levels further in are charged to it;
        received: words that arrive in the level from outside, 0 at the outermost keeping level.
    """
    levels, slots = loop_var.shape
    tensors, rank_vars = relevant.shape
    tile = np.ones((tensors, levels + 1), dtype=np.int64)
    partition = np.ones((tensors, levels), dtype=np.int64)
    handed = np.zeros((tensors, levels), dtype=np.int64)
    served = np.zeros((tensors, levels), dtype=np.int64)
    received = np.zeros((tensors, levels), dtype=np.int64)
    cycles = 1
    for level in range(levels):
        for slot in range(slots):
            cycles *= loop_bound[level, slot]
    for t in range(tensors):
        for level in range(levels - 1, -1, -1):
            words = tile[t, level + 1]
            for slot in range(slots):
                if relevant[t, loop_var[level, slot]]:
                    words *= loop_bound[level, slot]
            for var in range(rank_vars):
                if relevant[t, var]:
                    words *= spatial[level, var]
            tile[t, level] = words
        # Words of the whole tensor that one instance ever sees: relevant meshes above divide it.
        outermost = 0
        while not keep[t, outermost]:
            outermost += 1
        partition[t, outermost] = tile[t, 0]
        for level in range(outermost):
            for var in range(rank_vars):
                if relevant[t, var]:
                    partition[t, outermost] //= spatial[level, var]
        for level in range(outermost + 1, levels):
            partition[t, level] = partition[t, level - 1]
            for var in range(rank_vars):
                if relevant[t, var]:
                    partition[t, level] //= spatial[level - 1, var]
        for level in range(levels):
            handed[t, level] = _handed(t, level, tile[t, level + 1], loop_var, loop_bound, spatial, relevant, cycles)
        # A bypassed level's accesses are served by the next outer level that keeps the tensor.
        child = levels - 1
        for level in range(levels - 1, -1, -1):
            if level < levels - 1 and keep[t, level + 1]:
                child = level
            words = handed[t, child]
            for between in range(level, child):
                for var in range(rank_vars):
                    if relevant[t, var]:
                        words *= spatial[between, var]
            served[t, level] = words
        parent = outermost
        for level in range(outermost + 1, levels):
            if keep[t, level]:
                words = served[t, parent]
                for between in range(parent, level):
                    for var in range(rank_vars):
                        if relevant[t, var]:
                            words //= spatial[between, var]
                received[t, level] = words
                parent = level
    return tile[:, :levels], partition, handed, served, received


@njit(cache=True)
def _handed(
    t: int,
    level: int,
    child_tile: int,
    loop_var: Counts,
    loop_bound: Counts,
    spatial: Counts,
    relevant: NDArray[np.bool_],
    cycles: int,
) -> int:
    """Return the words one instance of `level` hands to its children over the whole run."""
    levels, slots = loop_var.shape
    words = child_tile
    for var in range(relevant.shape[1]):
        if relevant[t, var]:
            words *= spatial[level, var]
    if level == levels - 1:
        return words * cycles
    stationary = True
    for outer in range(level, -1, -1):
        for slot in range(slots - 1, -1, -1):
            bound = loop_bound[outer, slot]
            if bound == 1:
                continue
            if relevant[t, loop_var[outer, slot]]:
                stationary = False
            if not stationary:
                words *= bound
    return words
