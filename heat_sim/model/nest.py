"""An einsum and its mapping as the plain arrays the traffic kernel runs on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, describe
from heat_sim.mapping import Mapping

_LARGEST = 2**62
"""Counts are 64-bit integers; a workload whose counts could reach this is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nest:
    """The loop nest as arrays: L levels, T tensors of at most D ranks, V rank variables, P loops at the fullest level.

    Attributes:
        loop_var: (L, P) rank variable of each temporal loop, outermost first.
        loop_bound: (L, P) its bound; 1 where there is no loop.
        mesh: (L, V) product of the spatial bounds of each rank variable below each level.
        coefficient: (T, D, V) of the projection; unused ranks are all 0.
        plain: (T,) whether every rank is indexed by one rank variable.
        keep: (T, L) whether the level holds the tensor.
    """

    loop_var: NDArray[np.int64]
    loop_bound: NDArray[np.int64]
    mesh: NDArray[np.int64]
    coefficient: NDArray[np.int64]
    plain: NDArray[np.bool_]
    keep: NDArray[np.bool_]


def lower(einsum: Einsum, mapping: Mapping) -> Nest:
    """Return the arrays of a mapping that `check_mapping` has accepted; residuals are not in them.

    Raises:
        HeatError: The counts exceed 64 bits.
    """
    place = {var: index for index, var in enumerate(einsum.rank_vars)}
    width = max(1, *(len(level.temporal) for level in mapping.levels))
    levels = len(mapping.levels)
    loop_var = np.zeros((levels, width), dtype=np.int64)
    loop_bound = np.ones((levels, width), dtype=np.int64)
    mesh = np.ones((levels, len(place)), dtype=np.int64)
    for row, level in enumerate(mapping.levels):
        for column, loop in enumerate(level.temporal):
            loop_var[row, column] = place[loop.rank_var]
            loop_bound[row, column] = loop.bound
        for loop in level.spatial:
            mesh[row, place[loop.rank_var]] *= loop.bound
    coefficient, plain = coefficients_of(einsum)
    return Nest(
        loop_var=loop_var,
        loop_bound=loop_bound,
        mesh=mesh,
        coefficient=coefficient,
        plain=plain,
        keep=np.array(
            [[t.name in level.keep for level in mapping.levels] for t in einsum.tensors], dtype=np.bool_
        ),
    )  # fmt: skip


def check_countable(einsum: Einsum) -> None:
    """Raise if counts of the einsum could exceed 64 bits (model section 1).

    Raises:
        HeatError: They could.
    """
    if einsum.ops * 2 >= _LARGEST:
        raise HeatError(
            describe(f"einsum {einsum.name}", "counts exceed 64 bits", got=f"{einsum.ops} ops",
                     expected=f"fewer than {_LARGEST // 2}", remedy="Split the workload.")
        )  # fmt: skip


def coefficients_of(einsum: Einsum) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the coefficients (T, D, V) of the projections, and whether each tensor is plain (T,).

    Raises:
        HeatError: Counts could exceed 64 bits.
    """
    check_countable(einsum)
    place = {var: index for index, var in enumerate(einsum.rank_vars)}
    ranks = max(1, *(len(tensor.projection) for tensor in einsum.tensors))
    coefficient = np.zeros((len(einsum.tensors), ranks, len(place)), dtype=np.int64)
    for t, tensor in enumerate(einsum.tensors):
        for row, terms in enumerate(tensor.projection):
            for var, factor in terms:
                coefficient[t, row, place[var]] = factor
    return coefficient, np.array([tensor.is_plain for tensor in einsum.tensors], dtype=np.bool_)
