"""The error of an approximated weight matrix, weighted by what meets it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.metric import checked_metric


def relative_error(
    weight: NDArray[np.floating],
    approximation: NDArray[np.floating],
    *,
    second_moment: NDArray[np.floating] | None = None,
    gradient_moment: NDArray[np.floating] | None = None,
) -> float:
    """Return ``||D^(1/2) (W - W') C^(1/2)||_F / ||D^(1/2) W C^(1/2)||_F``, dimensionless.

    With C = E[x x^T] alone, the square is the mean of ``|W x - W' x|^2`` over that of ``|W x|^2``.

    Args:
        weight: W, (out_features, in_features).
        approximation: W', the same shape.
        second_moment: C, (in_features, in_features), symmetric positive semidefinite; None for the identity.
        gradient_moment: D, (out_features, out_features), likewise.

    Raises:
        SpecError: The shapes do not fit, or C or D is not a second moment.

    >>> relative_error(np.eye(2), np.diag([1.0, 0.0]), second_moment=np.diag([3.0, 1.0]))
    0.5
    """
    if weight.shape != approximation.shape:
        raise SpecError(
            describe("relative_error", "the approximation has another shape", got=approximation.shape,
                     expected=weight.shape, remedy="Compare a matrix with its own reconstruction.")
        )  # fmt: skip
    exact = np.asarray(weight, dtype=np.float64)
    metric = checked_metric(second_moment, gradient_moment, shape=(exact.shape[0], exact.shape[1]))
    squared, total = metric.square(exact - approximation), metric.square(exact)
    if total == 0.0:
        return 0.0 if squared == 0.0 else float("inf")
    return float(np.sqrt(squared / total))
