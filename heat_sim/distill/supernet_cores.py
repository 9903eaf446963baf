"""The cores that a SuperNet starts from, in falling order of importance along every rank.

How much a prefix is worth before any training, by format:

* low-rank: every prefix is the best matrix of its rank in the norm of the projection (a weighted SVD; Eckart-Young).
* btt: the same block by block for the plain norm, and near it where the moments are not the identity.
* tt-matrix, tucker: prefixes of a TT-SVD and of a higher-order SVD, whose squared error is at most the sum of the
  squared singular values dropped in the unfoldings (for the plain norm).
* cp, tensor-ring, block-low-rank, block-term, and any padded matrix: no guarantee. They are projected at the largest
  ranks and the summands are sorted by the product of their norms in the cores. Training orders what it samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.metric import checked_metric
from heat_sim.tensorize.projection import project

Array = NDArray[np.float64]


def ordered_cores(
    weight: NDArray[np.floating],
    factorization: Factorization,
    *,
    second_moment: NDArray[np.floating] | None = None,
    gradient_moment: NDArray[np.floating] | None = None,
) -> tuple[Array, ...]:
    """Return cores that approximate the weight, ordered as the module says, in the order of the factorization.

    Args:
        weight: (out_features, in_features), any float type.
        factorization: At the largest ranks.
        second_moment: E[x x^T] of the input, (in_features, in_features); None for the identity.
        gradient_moment: E[g g^T] of the loss's gradient at the output, (out_features, out_features); None likewise.

    Raises:
        SpecError: The weight or a moment does not fit.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(2,), in_modes=(2,))
    >>> first, _ = ordered_cores(np.diag([1.0, 4.0]), Factorization(format="low-rank", tensorization=modes, ranks=(2,)))
    >>> np.abs(first).round(6).tolist()
    [[0.0, 1.0], [2.0, 0.0]]
    """
    modes = factorization.tensorization
    if modes.padding == (0, 0) and weight.shape == (factorization.out_features, factorization.in_features):
        metric = checked_metric(second_moment, gradient_moment, shape=(weight.shape[0], weight.shape[1]))
        leading = FORMATS[factorization.format].leading(np.asarray(weight, dtype=np.float64), modes, metric=metric)
        if leading is not None:
            return tuple(np.ascontiguousarray(core) for core in leading(factorization.ranks))
    cores = project(weight, factorization, second_moment=second_moment, gradient_moment=gradient_moment)
    return sorted_summands(cores, factorization)


def sorted_summands(cores: Sequence[Array], factorization: Factorization) -> tuple[Array, ...]:
    """Return cores of the same matrix in which the summands along every rank have falling products of norms.

    The order of the values of a rank variable is free as long as it is the same in all cores that have it.

    Args:
        cores: In the order and of the shapes of the factorization.
        factorization: Format, modes and ranks.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(1,), in_modes=(2,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=modes, ranks=(1,))
    >>> [core.tolist() for core in sorted_summands([np.ones((1, 1)), np.ones((1, 2))], rank_1)]
    [[[1.0]], [[1.0, 1.0]]]
    """
    arrays = dict(zip(factorization.core_names, cores, strict=True))
    for term in factorization.terms:
        for var in (var for var in term.extents if var not in term.mode_vars):
            axes = {spec.name: spec.rank_vars.index(var) for spec in term.cores if var in spec.rank_vars}
            norms = [np.linalg.norm(_rows(arrays[name], axis), axis=1) for name, axis in axes.items()]
            order = np.argsort(-np.prod(norms, axis=0), kind="stable")
            arrays |= {name: np.take(arrays[name], order, axis=axis) for name, axis in axes.items()}
    return tuple(arrays.values())


def _rows(array: Array, axis: int) -> Array:
    """Return the array as a matrix with one row per place along the axis."""
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
