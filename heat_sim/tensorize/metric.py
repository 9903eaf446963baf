"""The norm in which a matrix is approximated: plain, or weighted by its inputs, its outputs' gradients, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """The norm ``||D^(1/2) M C^(1/2)||_F``; either matrix may be missing and then counts as the identity.

    With C = E[x x^T] of a layer's input x it is the root mean square of what an error M of the weight adds to the
    output. With D = E[g g^T] of the gradient g of the loss at the output as well, its square is twice the
    Kronecker-factored Fisher estimate of what M adds to the loss (Martens and Grosse 2015).

    Attributes:
        inputs: C, (in_features, in_features), symmetric positive semidefinite.
        outputs: D, (out_features, out_features), likewise.
    """

    inputs: Array | None = None
    outputs: Array | None = None

    def times(self, matrix: Array) -> Array:
        """Return ``D M C``, the shape of M."""
        right = matrix if self.inputs is None else matrix @ self.inputs
        return right if self.outputs is None else self.outputs @ right

    def square(self, matrix: Array) -> float:
        """Return ``||D^(1/2) M C^(1/2)||_F^2 = trace(M^T D M C)``, never below zero.

        >>> Metric(inputs=np.diag([1.0, 10.0])).square(np.array([[1.0, 2.0]]))
        41.0
        """
        return max(0.0, float(np.vdot(self.times(matrix), matrix)))


PLAIN = Metric()
"""The Frobenius norm."""


def checked_metric(
    second_moment: NDArray[np.floating] | None,
    gradient_moment: NDArray[np.floating] | None,
    *,
    shape: tuple[int, int],
) -> Metric:
    """Return the metric of an input's second moment and of an output gradient's, both optional.

    Raises:
        SpecError: One is no second moment of that size.
    """
    out_features, in_features = shape
    return Metric(
        inputs=None
        if second_moment is None
        else checked_moment(second_moment, size=in_features, what="second moment", of="input"),
        outputs=None
        if gradient_moment is None
        else checked_moment(gradient_moment, size=out_features, what="gradient moment", of="output gradient"),
    )


def checked_moment(moment: NDArray[np.floating], *, size: int, what: str, of: str) -> Array:
    """Return a second moment as float64, (size, size), exactly symmetric.

    Args:
        moment: E[v v^T].
        size: Entries of v.
        what: What messages call the moment.
        of: What messages call v.

    Raises:
        SpecError: Another shape, not finite, not symmetric, not positive semidefinite, or no energy at all.

    >>> checked_moment(np.eye(2), size=3, what="second moment", of="input")
    Traceback (most recent call last):
    heat_sim.errors.SpecError: second moment: not of this layer (got shape (2, 2), expected shape (3, 3)). ...
    """
    metric = np.asarray(moment, dtype=np.float64)
    if metric.shape != (size, size):
        raise SpecError(
            describe(what, "not of this layer", got=f"shape {metric.shape}", expected=f"shape {(size, size)}",
                     remedy=f"Give E[v v^T] of the layer's own {of} v.")
        )  # fmt: skip
    scale = float(np.abs(metric).max(initial=0.0))
    if not np.isfinite(scale) or float(np.trace(metric)) <= 0.0:
        raise SpecError(
            describe(what, f"not E[v v^T] of any {of}", got=f"trace {np.trace(metric)}",
                     expected="finite entries and a trace above 0", remedy="Calibrate on text that reaches the layer.")
        )  # fmt: skip
    if float(np.abs(metric - metric.T).max()) > 1e-6 * scale:
        raise SpecError(
            describe(what, "not symmetric", got=f"asymmetry {np.abs(metric - metric.T).max():.3g}",
                     expected="at most 1e-6 of the largest entry", remedy="Accumulate v v^T in float64.")
        )  # fmt: skip
    metric = (metric + metric.T) / 2
    try:
        np.linalg.cholesky(metric + 1e-6 * np.trace(metric) * np.eye(size))
    except np.linalg.LinAlgError:
        raise SpecError(
            describe(what, "not positive semidefinite", got="an eigenvalue below -1e-6 of the trace",
                     expected="none below 0 but for rounding", remedy="Accumulate v v^T; do not subtract anything.")
        ) from None  # fmt: skip
    return metric


def root(moment: Array, *, floor: float) -> tuple[Array, Array]:
    """Return a square root R of a moment, ``R R^T = moment``, and its inverse.

    Eigenvalues below `floor` times the largest are raised to that: they may be rounding noise, possibly negative, and
    a direction that nothing reaches then counts by the weights alone.

    >>> [matrix.round(6).tolist() for matrix in root(np.diag([4.0, 1.0]), floor=1e-12)]
    [[[0.0, 2.0], [1.0, 0.0]], [[0.0, 1.0], [0.5, 0.0]]]
    """
    values, vectors = np.linalg.eigh(moment)
    scales = np.sqrt(np.maximum(values, floor * values[-1]))
    return vectors * scales, (vectors / scales).T
