"""Format "btt", the block tensor train: two block-diagonal matrices and the permutation between them.

``T[s,i1,o2,r1] = X[s,i1,i2] * R[i1,o2,r1,i2]``, then ``Y[s,o1,o2] = T[s,i1,o2,r1] * L[o1,o2,i1,r1]`` (Qiu et al.
2024). With rank 1 it is a Monarch matrix (Dao et al. 2022): every block ``W[:,o2,i1,:]``, an (o1, i2) matrix, has
that rank.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.least_squares import fitted, near_plain
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

Array = NDArray[np.float64]

name = "btt"


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    two = len(tensorization.out_modes) == len(tensorization.in_modes) == 2
    return None if two else "two output and two input modes"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the rank at which nothing is lost: the shorter side of a block."""
    return (min(tensorization.out_modes[0], tensorization.in_modes[1]),)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``L[o1,o2,i1,r1]`` and ``R[i1,o2,r1,i2]``."""
    (o1, o2), (i1, i2), (rank,) = tensorization.out_modes, tensorization.in_modes, ranks
    cores = (
        CoreSpec(name="L", dims=(("o1", o1), ("o2", o2), ("i1", i1), ("r1", rank))),
        CoreSpec(name="R", dims=(("i1", i1), ("o2", o2), ("r1", rank), ("i2", i2))),
    )
    return (Term(out_vars=("o1", "o2"), in_vars=("i1", "i2"), cores=cores),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return the blocks: of the plain error the minimum, by one SVD a block; weighted least squares from there."""

    def start(matrix: Array) -> list[Array]:
        return _block_svd(matrix, tensorization, ranks)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def leading(
    weight: Array, tensorization: Tensorization, *, metric: Metric
) -> Callable[[tuple[int, ...]], tuple[Array, ...]]:
    """Return what cuts the blocks of full rank, decomposed where the metric is nearly plain."""
    full = max_ranks(tensorization)
    target, back = near_plain(weight, tensorization, terms(tensorization, full), metric)
    left, right = back(_block_svd(target, tensorization, full))
    return lambda ranks: (left[..., : ranks[0]], right[:, :, : ranks[0]])


def _block_svd(matrix: Array, tensorization: Tensorization, ranks: tuple[int, ...]) -> list[Array]:
    """Return ``L`` and ``R`` from the truncated SVD of every block."""
    (o1, o2), (i1, i2), (rank,) = tensorization.out_modes, tensorization.in_modes, ranks
    blocks = matrix.reshape(o1, o2, i1, i2).transpose(1, 2, 0, 3)  # (o2, i1, o1, i2)
    left, values, right = np.linalg.svd(blocks, full_matrices=False)
    first = left[..., :rank] * values[..., None, :rank]
    return [first.transpose(2, 0, 1, 3), right[..., :rank, :].transpose(1, 0, 2, 3)]


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with two modes a side, the most uniform first."""
    return enumerate_tensorizations(out_features, in_features, ndim=2, keep=keep)
