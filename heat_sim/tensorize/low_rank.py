"""Format "low-rank": two matrices, ``Y[s,o1] = X[s,i1] * G1[o1,r1] * G2[r1,i1]``.

Its ranks are the one number ``(r1,)``: there is nothing at the ends as a tensor train has it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.least_squares import balanced
from heat_sim.tensorize.metric import Metric, checked_metric, root
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

Array = NDArray[np.float64]

name = "low-rank"


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if tensorization.ndim == 1 else "one output and one input mode"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the rank at which nothing is lost: the shorter side of the matrix."""
    return (min(*tensorization.out_modes, *tensorization.in_modes),)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G1[o1,r1]`` and ``G2[r1,i1]``."""
    (out,), (in_,), (rank,) = tensorization.out_modes, tensorization.in_modes, ranks
    cores = (
        CoreSpec(name="G1", dims=(("o1", out), ("r1", rank))),
        CoreSpec(name="G2", dims=(("r1", rank), ("i1", in_))),
    )
    return (Term(out_vars=("o1",), in_vars=("i1",), cores=cores),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return ``G1`` (out_features, r1) and ``G2`` (r1, in_features) with the least weighted error.

    With U the first r1 left singular vectors of ``D^(1/2) W C^(1/2)``, the minimum of
    ``||D^(1/2) (W - W') C^(1/2)||_F`` over all matrices of rank r1 is at ``W' = D^(-1/2) U U^T D^(1/2) W`` (Eckart
    and Young 1936 applied to the weighted matrix; without D the data-aware form is DRONE's, Chen et al. 2021). C is
    never inverted, so it may be singular.

    Column k of G1 and row k of G2 have equal norms, in falling order of what they contribute: the
    cores of a smaller rank are the leading parts of those of a larger one.
    """
    (rank,) = ranks
    left, back = (None, None) if metric.outputs is None else root(metric.outputs, floor=_floor(weight.shape[0]))
    weighed = weight if left is None else left.T @ weight
    # For a tall matrix W = Q R, the left singular vectors are Q times those of R: smaller, and at full rank exact.
    tall = weight.shape[0] > weight.shape[1]
    basis, small = np.linalg.qr(weighed) if tall else (None, weighed)
    vectors, _, _ = np.linalg.svd(_times_root(small, metric), full_matrices=False)
    second = vectors[:, :rank].T @ small  # (r1, in_features)
    first = vectors[:, :rank] if basis is None else basis @ vectors[:, :rank]  # (out_features, r1)
    if back is not None:
        first = back.T @ first
    return tuple(balanced([first, second], terms(tensorization, ranks)))


def leading(
    weight: Array, tensorization: Tensorization, *, metric: Metric
) -> Callable[[tuple[int, ...]], tuple[Array, ...]]:
    """Return what cuts both factors of full rank: exactly those of `project`."""
    first, second = project(weight, tensorization, ranks=max_ranks(tensorization), metric=metric)
    return lambda ranks: (first[:, : ranks[0]], second[: ranks[0]])


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the only tensorization: no split."""
    return enumerate_tensorizations(out_features, in_features, ndim=1, keep=keep)


def rank_errors(
    weight: NDArray[np.floating], *, second_moment: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Return the relative error of the best approximation of every rank, from one decomposition.

    Args:
        weight: (out_features, in_features), any float type.
        second_moment: (in_features, in_features), E[x x^T] of the input; None for the identity.

    Returns:
        (max rank,): entry k is the relative error at rank k + 1, as `relative_error` measures it.

    >>> rank_errors(np.diag([2.0, 1.0])).round(4).tolist()
    [0.4472, 0.0]
    """
    exact = np.asarray(weight, dtype=np.float64)
    metric = checked_metric(second_moment, None, shape=(exact.shape[0], exact.shape[1]))
    values = np.linalg.svd(_times_root(exact, metric), compute_uv=False)
    squares = values**2
    dropped = np.append(np.cumsum(squares[::-1])[::-1][1:], 0.0)
    total = squares.sum()
    return np.sqrt(dropped / total) if total > 0 else np.zeros_like(values)


def _times_root(matrix: Array, metric: Metric) -> Array:
    """Return ``M C^(1/2)`` up to a rotation of its columns, the shape of M."""
    return matrix if metric.inputs is None else matrix @ root(metric.inputs, floor=_floor(matrix.shape[1]))[0]


def _floor(size: int) -> float:
    """Return the share of the largest eigenvalue below which those of a decomposition are rounding noise."""
    return size * float(np.finfo(np.float64).eps)
