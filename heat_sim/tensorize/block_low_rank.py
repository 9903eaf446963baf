"""Format "block-low-rank": a block-diagonal matrix plus a low-rank one.

``Y[s,o1,o2] = X[s,i1,i2] * G1[o1,o2,r1] * G2[r1,i1,i2]``, plus ``Y[s,b1,o2] = X[s,b1,i2] * B[b1,o2,i2]``. Both sides
are split into the same number of blocks; the low-rank part is that of the whole matrix.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.least_squares import fitted
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization

Array = NDArray[np.float64]

name = "block-low-rank"

FEWEST_BLOCKS = 4
"""Worth searching: fewer blocks save too little."""

_ROUNDS = 20
"""Of the alternation between the two parts at the start."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    outs, ins = tensorization.out_modes, tensorization.in_modes
    return None if len(outs) == len(ins) == 2 and outs[0] == ins[0] else "two modes a side, the first ones equal"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the rank at which nothing is lost: the shorter side of the matrix."""
    return (min(math.prod(tensorization.out_modes), math.prod(tensorization.in_modes)),)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G1[o1,o2,r1], G2[r1,i1,i2]``, and ``B[b1,o2,i2]``."""
    (blocks, out), (_, in_), (rank,) = tensorization.out_modes, tensorization.in_modes, ranks
    diagonal = CoreSpec(name="B", dims=(("b1", blocks), ("o2", out), ("i2", in_)))
    left = CoreSpec(name="G1", dims=(("o1", blocks), ("o2", out), ("r1", rank)))
    right = CoreSpec(name="G2", dims=(("r1", rank), ("i1", blocks), ("i2", in_)))
    return (
        Term(out_vars=("o1", "o2"), in_vars=("i1", "i2"), cores=(left, right)),
        Term(out_vars=("b1", "o2"), in_vars=("b1", "i2"), cores=(diagonal,)),
    )


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return both parts: each in turn the best for what the other leaves, then weighted least squares."""
    (rank,) = ranks

    def start(matrix: Array) -> list[Array]:
        return _alternation(matrix, tensorization, rank)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def _alternation(matrix: Array, tensorization: Tensorization, rank: int) -> list[Array]:
    """Return ``G1, G2, B``: a truncated SVD, then in turn the block diagonal and either factor, each the best for what
    the others leave; every round lowers the plain error.
    """
    (blocks, out), (_, in_) = tensorization.out_modes, tensorization.in_modes
    diagonal = np.zeros((blocks, out, in_))
    each = np.arange(blocks)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    first, second = left[:, :rank] * values[:rank], right[:rank]
    for _ in range(0 if rank == max_ranks(tensorization)[0] else _ROUNDS):
        whole = matrix.reshape(blocks, out, blocks, in_).copy()
        gap = (matrix - first @ second).reshape(blocks, out, blocks, in_)
        diagonal = gap[each, :, each]  # (blocks, out, in)
        whole[each, :, each] -= diagonal
        rest = whole.reshape(matrix.shape)
        first, _ = np.linalg.qr(rest @ second.T)  # spans the best left factor for this right one
        second = first.T @ rest
    return [first.reshape(blocks, out, rank), second.reshape(rank, blocks, in_), diagonal]


def leading(_weight: Array, _tensorization: Tensorization, *, metric: Metric) -> None:
    """Return None: cores of fewer ranks are no part of those of more."""


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return those with a common number of blocks, the fewest first, none with blocks of a single row or column."""
    common = math.gcd(out_features, in_features)
    counts = [
        count
        for count in range(FEWEST_BLOCKS, common + 1)
        if common % count == 0 and min(out_features, in_features) > count
    ]
    return tuple(
        Tensorization(out_modes=(count, out_features // count), in_modes=(count, in_features // count))
        for count in counts[:keep]
    )
