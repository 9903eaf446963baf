"""From a weight matrix to cores and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.error import checked_second_moment
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS


def project(
    weight: NDArray[np.floating], factorization: Factorization, *, second_moment: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float64], ...]:
    """Return the cores that approximate the weight, float64, in the order of `factorization.core_names`.

    They make ``||(W - W') C^(1/2)||_F`` small: low-rank exactly minimal; tt-matrix by TT-SVD without a
    second moment (within sqrt(d - 1) of the minimum, Oseledets 2011, corollary 2.4) and by alternating
    least squares from there with one, never worse than the TT-SVD.

    Args:
        weight: W, (out_features, in_features), any float type.
        factorization: Format, modes and ranks.
        second_moment: C = E[x x^T] of the layer's input, (in_features, in_features); None for the identity.

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
    metric = None if second_moment is None else checked_second_moment(second_moment, in_features=expected[1])
    form = FORMATS[factorization.format]
    return form.project(exact, factorization.tensorization, ranks=factorization.ranks, second_moment=metric)


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
    form = FORMATS[factorization.format]
    return form.reconstruct([np.asarray(core, dtype=np.float64) for core in cores], factorization.tensorization)
