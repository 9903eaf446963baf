"""The energy of a batched matmul as a sum of one small term per tensor and keeping level.

Let T be kept at P and, next further in, at C. Over the run P hands T to C ``|T| * R`` words per
copy, where R is the product of the temporal bounds outside C of the class irrelevant to T, without
the run of them innermost above C (docs/model.md). Everything else is fixed by the spatial bounds, so::

    energy = constant + sum over (T, C) of coefficient(T, C) * R(T, C)

Accesses are counted in fractions here; whole accesses, networks and leakage only add to it, so the
value is a lower bound of the model's energy and equals it where a word is an access.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.mapper.matmul import IRRELEVANT, Matmul


def energy_terms(
    matmul: Matmul, architecture: Architecture, *, spatial: NDArray[np.int64], keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the constant, the coefficients and the least cycles of every spatial choice.

    Args:
        matmul: The workload.
        architecture: The hardware.
        spatial: (choices, L, 4) bounds below each level.
        keep: (3, L) which levels hold A, B and Z.

    Returns:
        constant: (choices,) energy in pJ that no temporal choice changes;
        coefficient: (choices, 3, L) energy in pJ per unit of R of the tensor at this child level;
        cycles: (choices,) no fewer cycles, by compute or by the bandwidth that R = 1 asks of a level.
    """
    choices, levels, _ = spatial.shape
    constant = np.full(choices, matmul.einsum.ops * architecture.compute_energy_pj, dtype=np.float64)
    coefficient = np.zeros((choices, 3, levels))
    read, write, update = (
        [getattr(level, f"{kind}_energy_pj") / level.words_per_access for level in architecture.levels]
        for kind in ("read", "write", "update")
    )
    ops = float(matmul.einsum.ops)
    # Words over all instances that each level reads, and takes in, when every R is 1.
    reads = np.zeros((choices, levels))
    writes = np.zeros((choices, levels))
    for t, words in enumerate(matmul.words):
        along = spatial[:, :, IRRELEVANT[t]].astype(np.float64)
        # copies[:, l]: instances of level l that hold the same words.
        copies = np.concatenate([np.ones((choices, 1)), np.cumprod(along, axis=1)], axis=1)
        kept = [int(level) for level in np.flatnonzero(keep[t])]
        is_output = t == 2
        for parent, child in itertools.pairwise(kept):
            at_parent, at_child = words * copies[:, parent], words * copies[:, child]
            coefficient[:, t, child] = at_child * write[child]
            if is_output:
                writes[:, parent] += at_parent
                coefficient[:, t, child] += at_parent * (update[parent] + read[parent])
                constant -= at_parent * read[parent] + at_child * write[child]
            else:
                coefficient[:, t, child] += at_parent * read[parent]
                reads[:, parent] += at_parent
                writes[:, child] += at_child
        inner = kept[-1]
        accesses = ops / (copies[:, levels] / copies[:, inner])
        if is_output:
            constant += accesses * (update[inner] + read[inner]) - words * copies[:, inner] * read[inner]
            reads[:, inner] += accesses - words * copies[:, inner]
            writes[:, inner] += accesses
        else:
            constant += accesses * read[inner]
            reads[:, inner] += accesses
    return constant, coefficient, _least_cycles(matmul, architecture, spatial, reads, writes)


def stall_terms(
    matmul: Matmul, architecture: Architecture, *, spatial: NDArray[np.int64], keep: NDArray[np.bool_], level: int
) -> NDArray[np.float64]:
    """Return the cycles that each unit of R adds at a level whose bandwidth is the limit, as a (3, L) array.

    Args:
        matmul: The workload.
        architecture: The hardware.
        spatial: (L, 4) bounds below each level.
        keep: (3, L) which levels hold A, B and Z.
        level: The level that is too slow.
    """
    storage = architecture.levels[level]
    per_read, per_write = (
        sum(1.0 / limit for limit in (own, storage.shared_bandwidth_words_per_cycle) if limit is not None)
        for own in (storage.read_bandwidth_words_per_cycle, storage.write_bandwidth_words_per_cycle)
    )
    result = np.zeros(keep.shape)
    instances = float(spatial[:level].prod())
    for t, words in enumerate(matmul.words):
        along = spatial[:, IRRELEVANT[t]]
        kept = [int(row) for row in np.flatnonzero(keep[t])]
        for parent, child in itertools.pairwise(kept):
            if level not in (parent, child):
                continue
            moved = words * float(along[:level].prod()) / instances
            if level == child:
                result[t, child] += moved * per_write
            elif t == 2:
                result[t, child] += moved * (per_read + per_write)
            else:
                result[t, child] += moved * per_read
    return result


def _least_cycles(
    matmul: Matmul,
    architecture: Architecture,
    spatial: NDArray[np.int64],
    reads: NDArray[np.float64],
    writes: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return the larger of the compute cycles and of what each bandwidth makes of these words."""
    side_by_side = spatial.prod(axis=2)
    instances = np.concatenate(
        [np.ones((len(spatial), 1), dtype=np.int64), np.cumprod(side_by_side, axis=1)], axis=1
    )  # fmt: skip
    least = matmul.einsum.ops // instances[:, -1]
    for place, level in enumerate(architecture.levels):
        for bandwidth, words in (
            (level.read_bandwidth_words_per_cycle, reads[:, place]),
            (level.write_bandwidth_words_per_cycle, writes[:, place]),
            (level.shared_bandwidth_words_per_cycle, reads[:, place] + writes[:, place]),
        ):
            if bandwidth is not None:
                # Rounded down, so that it stays a bound whatever the last digit of the division.
                least = np.maximum(least, np.floor(words / instances[:, place] / bandwidth).astype(np.int64))
    return least
