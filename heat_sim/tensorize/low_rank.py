"""Format "low-rank": two matrices, ``Y[s,o1] = X[s,i1] * G1[o1,r1] * G2[r1,i1]``.

Its ranks are the one number ``(r1,)``: there is nothing at the ends as a tensor train has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.error import weighted
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

name = "low-rank"


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if tensorization.ndim == 1 else "one output and one input mode"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the rank at which nothing is lost: the shorter side of the matrix."""
    return (min(tensorization.out_features, tensorization.in_features),)


def core_specs(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[CoreSpec, ...]:
    """Return ``G1[o1,r1]`` and ``G2[r1,i1]``."""
    (rank,) = ranks
    return (
        CoreSpec(name="G1", dims=(("o1", tensorization.out_features), ("r1", rank))),
        CoreSpec(name="G2", dims=(("r1", rank), ("i1", tensorization.in_features))),
    )


def project(
    weight: NDArray[np.float64],
    _tensorization: Tensorization,
    *,
    ranks: tuple[int, ...],
    second_moment: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], ...]:
    """Return ``G1`` (out_features, r1) and ``G2`` (r1, in_features) with the least weighted error.

    With U the first r1 left singular vectors of ``W C^(1/2)``, the minimum of ``||(W - W') C^(1/2)||_F``
    over all matrices of rank r1 is at ``W' = U U^T W`` (Eckart and Young 1936 applied to ``W C^(1/2)``;
    the data-aware form is DRONE's, Chen et al. 2021). C is never inverted, so it may be singular.

    Column k of G1 and row k of G2 have equal norms, in falling order of what they contribute: the
    cores of a smaller rank are the leading parts of those of a larger one.
    """
    (rank,) = ranks
    # For a tall matrix W = Q R, the left singular vectors are Q times those of R: smaller, and at full rank exact.
    tall = weight.shape[0] > weight.shape[1]
    basis, small = np.linalg.qr(weight) if tall else (None, weight)
    left, _, _ = np.linalg.svd(weighted(small, second_moment), full_matrices=False)
    right = left[:, :rank].T @ small  # (r1, in_features)
    left = left[:, :rank] if basis is None else basis @ left[:, :rank]  # (out_features, r1)
    norms = np.linalg.norm(right, axis=1)
    scale = np.sqrt(np.where(norms > 0, norms, 1.0))
    return left * scale, right / scale[:, None]


def reconstruct(cores: Sequence[NDArray[np.float64]], _tensorization: Tensorization) -> NDArray[np.float64]:
    """Return ``G1 @ G2``, (out_features, in_features)."""
    return cores[0] @ cores[1]


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the only tensorization: no split."""
    return enumerate_tensorizations(out_features, in_features, ndim=1, keep=keep)


def rank_errors(
    weight: NDArray[np.floating], *, second_moment: NDArray[np.float64] | None = None
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
    values = np.linalg.svd(weighted(np.asarray(weight, dtype=np.float64), second_moment), compute_uv=False)
    squares = values**2
    dropped = np.append(np.cumsum(squares[::-1])[::-1][1:], 0.0)
    total = squares.sum()
    return np.sqrt(dropped / total) if total > 0 else np.zeros_like(values)
