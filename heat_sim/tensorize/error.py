"""The error of an approximated weight matrix, weighted by the activations that meet it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe


def relative_error(
    weight: NDArray[np.floating],
    approximation: NDArray[np.floating],
    *,
    second_moment: NDArray[np.floating] | None = None,
) -> float:
    """Return ``||(W - W') C^(1/2)||_F / ||W C^(1/2)||_F``, dimensionless.

    Since C = E[x x^T], the square is the mean of ``|W x - W' x|^2`` over that of ``|W x|^2``.

    Args:
        weight: W, (out_features, in_features).
        approximation: W', the same shape.
        second_moment: C, (in_features, in_features), symmetric positive semidefinite; None for the identity.

    Raises:
        SpecError: The shapes do not fit, or C is not a second moment.

    >>> relative_error(np.eye(2), np.diag([1.0, 0.0]), second_moment=np.diag([3.0, 1.0]))
    0.5
    """
    if weight.shape != approximation.shape:
        raise SpecError(
            describe("relative_error", "the approximation has another shape", got=approximation.shape,
                     expected=weight.shape, remedy="Compare a matrix with its own reconstruction.")
        )  # fmt: skip
    exact = np.asarray(weight, dtype=np.float64)
    metric = None if second_moment is None else checked_second_moment(second_moment, in_features=weight.shape[1])
    squared = weighted_square(exact - approximation, metric)
    total = weighted_square(exact, metric)
    if total == 0.0:
        return 0.0 if squared == 0.0 else float("inf")
    return float(np.sqrt(squared / total))


def weighted_square(matrix: NDArray[np.float64], second_moment: NDArray[np.float64] | None) -> float:
    """Return ``||M C^(1/2)||_F^2 = trace(M C M^T)``, never below zero.

    >>> weighted_square(np.array([[1.0, 2.0]]), np.diag([1.0, 10.0]))
    41.0
    """
    right = matrix if second_moment is None else matrix @ second_moment
    return max(0.0, float(np.vdot(right, matrix)))


def weighted(matrix: NDArray[np.float64], second_moment: NDArray[np.floating] | None) -> NDArray[np.float64]:
    """Return ``M C^(1/2)`` up to a rotation of its columns, the shape of M.

    The root is taken as ``Q diag(sqrt(l))`` with ``C = Q diag(l) Q^T``. Eigenvalues below
    ``in_features * eps`` times the largest are rounding noise of the decomposition, possibly negative:
    they are raised to that floor, which lets directions no activation reaches count by their weights alone.

    >>> weighted(np.ones((1, 2)), np.diag([1.0, 4.0])).round(6).tolist()
    [[1.0, 2.0]]
    """
    if second_moment is None:
        return matrix
    values, vectors = np.linalg.eigh(checked_second_moment(second_moment, in_features=matrix.shape[1]))
    floor = len(values) * np.finfo(np.float64).eps * values[-1]
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, floor))
    return matrix @ root


def checked_second_moment(second_moment: NDArray[np.floating], *, in_features: int) -> NDArray[np.float64]:
    """Return the second moment as float64, (in_features, in_features), exactly symmetric.

    Raises:
        SpecError: Another shape, not finite, not symmetric, not positive semidefinite, or no energy at all.

    >>> checked_second_moment(np.eye(2), in_features=3)
    Traceback (most recent call last):
    heat_sim.errors.SpecError: second moment: not of this layer (got shape (2, 2), expected shape (3, 3)). ...
    """
    metric = np.asarray(second_moment, dtype=np.float64)
    if metric.shape != (in_features, in_features):
        raise SpecError(
            describe("second moment", "not of this layer", got=f"shape {metric.shape}",
                     expected=f"shape {(in_features, in_features)}", remedy="Give E[x x^T] of the layer's own input.")
        )  # fmt: skip
    scale = float(np.abs(metric).max(initial=0.0))
    if not np.isfinite(scale) or float(np.trace(metric)) <= 0.0:
        raise SpecError(
            describe("second moment", "not E[x x^T] of any input", got=f"trace {np.trace(metric)}",
                     expected="finite entries and a trace above 0", remedy="Calibrate on text that reaches the layer.")
        )  # fmt: skip
    if float(np.abs(metric - metric.T).max()) > 1e-6 * scale:
        raise SpecError(
            describe("second moment", "not symmetric", got=f"asymmetry {np.abs(metric - metric.T).max():.3g}",
                     expected="at most 1e-6 of the largest entry", remedy="Accumulate x x^T in float64.")
        )  # fmt: skip
    metric = (metric + metric.T) / 2
    try:
        np.linalg.cholesky(metric + 1e-6 * np.trace(metric) * np.eye(in_features))
    except np.linalg.LinAlgError:
        raise SpecError(
            describe("second moment", "not positive semidefinite", got="an eigenvalue below -1e-6 of the trace",
                     expected="none below 0 but for rounding", remedy="Accumulate x x^T; do not subtract anything.")
        ) from None  # fmt: skip
    return metric
