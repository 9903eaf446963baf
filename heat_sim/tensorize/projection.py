"""From a weight matrix to cores and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.metric import Metric, checked_metric
from heat_sim.tensorize.term_arrays import matrix_of

Array = NDArray[np.float64]


def project(
    weight: NDArray[np.floating],
    factorization: Factorization,
    *,
    second_moment: NDArray[np.floating] | None = None,
    gradient_moment: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.float64], ...]:
    """Return the cores that approximate the weight, float64, in the order of `factorization.core_names`.

    They make ``||D^(1/2) (W - W') C^(1/2)||_F`` small: low-rank exactly minimal; the other formats by a decomposition
    that makes the plain error small (TT-SVD within sqrt(d - 1) of the minimum, Oseledets 2011, corollary 2.4) and
    alternating least squares from there, never worse than the decomposition nor, by the given norm, than the
    projection without moments. Rows that padding appends are zeros to be met like the others.

    Args:
        weight: W, (out_features, in_features), any float type.
        factorization: Format, modes and ranks.
        second_moment: C = E[x x^T] of the layer's input, (in_features, in_features); None for the identity.
        gradient_moment: D = E[g g^T] of the loss's gradient at the layer's output, (out_features, out_features); None
            for the identity.

    Raises:
        SpecError: The shapes do not fit, or the weight is not finite.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(2,), in_modes=(2,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=shape, ranks=(1,))
    >>> weight = np.array([[2.0, 2.0], [1.0, 1.0]])
    >>> bool(np.allclose(reconstruct(project(weight, rank_1), rank_1), weight))
    True
    """
    exact = np.asarray(weight, dtype=np.float64)
    expected = (factorization.out_features, factorization.in_features)
    if exact.shape != expected:
        raise SpecError(
            describe(f"project {factorization.format}", "the weight does not fit the modes", got=f"shape {exact.shape}",
                     expected=f"shape {expected}", remedy="Rows are output features, columns input features.")
        )  # fmt: skip
    if not np.isfinite(exact).all():
        raise SpecError(
            describe(f"project {factorization.format}", "the weight is not finite", got="NaN or infinity",
                     expected="finite numbers", remedy="Check where the weight was read from.")
        )  # fmt: skip
    metric = checked_metric(second_moment, gradient_moment, shape=expected)
    form, modes = FORMATS[factorization.format], factorization.tensorization
    if modes.padding != (0, 0):
        exact = np.pad(exact, [(0, more) for more in modes.padding])
        metric = Metric(
            inputs=_with_zeros(metric.inputs, modes.padding[1]), outputs=_with_zeros(metric.outputs, modes.padding[0])
        )  # fmt: skip
    return form.project(exact, modes.padded, ranks=factorization.ranks, metric=metric)


def _with_zeros(moment: Array | None, more: int) -> Array | None:
    """Return the moment of a vector to which zeros are appended."""
    return None if moment is None else np.pad(moment, (0, more))


def reconstruct(cores: Sequence[NDArray[np.floating]], factorization: Factorization) -> NDArray[np.float64]:
    """Return the weight matrix that the cores stand for, (out_features, in_features), float64.

    Args:
        cores: In the order and of the shapes of the factorization, any float type.
        factorization: Format, modes and ranks.

    Raises:
        SpecError: A core is missing or has another shape.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(2,), in_modes=(3,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=shape, ranks=(1,))
    >>> reconstruct([np.ones((2, 1)), np.ones((1, 3))], rank_1).shape
    (2, 3)
    """
    shapes = tuple(core.shape for core in cores)
    if shapes != factorization.core_shapes:
        raise SpecError(
            describe(f"reconstruct {factorization.format}", "cores of other shapes", got=shapes,
                     expected=factorization.core_shapes, remedy="Give the cores in the order of core_names.")
        )  # fmt: skip
    arrays = iter(np.asarray(core, dtype=np.float64) for core in cores)
    matrices = [matrix_of(term, [next(arrays) for _ in term.cores]) for term in factorization.terms]
    whole = matrices[0] if len(matrices) == 1 else np.sum(matrices, axis=0)
    return np.ascontiguousarray(whole[: factorization.out_features, : factorization.in_features])
