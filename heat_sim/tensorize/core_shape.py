"""The ranks of a Tucker decomposition under a parameter budget, from the spectra of the mode unfoldings.

This is the "Tucker packing" of Ghadiri, Fahrbach, Fu and Mirrokni (2023). With s_k,1 >= s_k,2 >= .. the squared
singular values of the unfolding along mode k, the least squared error L(r) of a Tucker decomposition of ranks r obeys

    L(r) <= S(r) <= n L(r),    S(r) = sum over the n modes k and over i > r_k of s_k,i,

the left side because the truncated higher-order SVD loses no more than S (De Lathauwer, De Moor and Vandewalle
2000), the right side because no tensor of those ranks is nearer along one mode. So ranks that minimise S within a
budget lose at most n times the least loss within it, and S needs nothing but the singular values of each mode.
Where modes are padded, all of this is said of the padded tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.tensorize.tucker import max_ranks

Array = NDArray[np.float64]

_MOST_SHAPES = 5_000_000
"""Of all modes but the longest, judged at once; three arrays of 8-byte numbers."""


def mode_spectra(weight: NDArray[np.floating], tensorization: Tensorization) -> tuple[Array, ...]:
    """Return the squared singular values of the unfolding along every mode, falling: as many as the rank can be.

    Args:
        weight: (out_features, in_features), any float type.
        tensorization: Its modes; the tensor includes their padding.

    Raises:
        SpecError: The shape is another one, or the weight is not finite.

    >>> spectra = mode_spectra(np.diag([3.0, 2.0]), Tensorization(out_modes=(2,), in_modes=(2, 1)))
    >>> [spectrum.round(6).tolist() for spectrum in spectra]
    [[9.0, 4.0], [9.0, 4.0], [13.0]]
    """
    exact = np.asarray(weight, dtype=np.float64)
    expected = (tensorization.out_features, tensorization.in_features)
    if exact.shape != expected or not np.isfinite(exact).all():
        raise SpecError(
            describe("mode_spectra", "not a weight of these modes", got=f"shape {exact.shape}",
                     expected=f"finite numbers, shape {expected}", remedy="Rows are output features.")
        )  # fmt: skip
    tensor = np.pad(exact, [(0, more) for more in tensorization.padding]).reshape(tensorization.modes)
    spectra = []
    for k, mode in enumerate(tensorization.modes):
        unfolding = np.moveaxis(tensor, k, 0).reshape(mode, -1)
        short = unfolding if unfolding.shape[0] <= unfolding.shape[1] else unfolding.T
        spectra.append(np.maximum(np.linalg.eigvalsh(short @ short.T), 0.0)[::-1])
    return tuple(spectra)


def dropped_squares(spectra: Sequence[Array], ranks: Sequence[int]) -> float:
    """Return the surrogate loss S: the squared singular values beyond the rank of each mode, summed.

    >>> dropped_squares([np.array([9.0, 4.0]), np.array([12.0, 1.0])], (1, 1))
    5.0
    """
    return math.fsum(float(spectrum[rank:].sum()) for spectrum, rank in zip(spectra, ranks, strict=True))


def core_shape(
    weight: NDArray[np.floating], tensorization: Tensorization, *, budget: int, ratio: float = 1.0
) -> tuple[int, ...]:
    """Return Tucker ranks for a matrix that fit a budget of parameters: those that `core_shape_of_spectra` chooses.

    Args:
        weight: (out_features, in_features), any float type.
        tensorization: Its modes, at least 3 of them.
        budget: Parameters of core and factors, at most.
        ratio: Of neighbouring ranks that are tried; 1 for all.

    Raises:
        SpecError: The weight or its modes do not suit, the budget is too small, or there are too many shapes.

    >>> shape = Tensorization(out_modes=(2, 2), in_modes=(4,))
    >>> weight = np.outer([1.0, 2.0, 2.0, 4.0], [1.0, 0.0, 0.0, 0.0])  # of ranks (1, 1, 1)
    >>> core_shape(weight, shape, budget=9)  # 9 with a factor of the third mode, without it 1*1*4 + 2*1 + 2*1
    (1, 1, 4)
    """
    return core_shape_of_spectra(mode_spectra(weight, tensorization), tensorization, budget=budget, ratio=ratio)


def core_shape_of_spectra(
    spectra: Sequence[Array], tensorization: Tensorization, *, budget: int, ratio: float = 1.0
) -> tuple[int, ...]:
    """Return the ranks that keep the most squared singular values, summed over the modes, within a budget.

    What is kept and ``S(r)`` add up to n times the squared norm. All combinations of ranks of all modes but the longest
    are tried; the longest takes the largest rank that still fits. That is at most as many combinations as the
    matrix has entries, over its longest mode. With ratio 1 the minimum of S is exact, so the best Tucker decomposition
    of the ranks returned has at most n times the least squared error of any ranks within the budget.

    With a ratio a > 1 the ranks of all modes but the longest come from a geometric grid that includes 1 and the largest
    rank. The optimal ranks rounded down to it fit as well, and the first r / a values of a falling spectrum are at
    least 1 / a of the sum of the first r: what is kept is at least 1 / a of the most that can be. Ghadiri et al.
    promise as much by a knapsack of two dimensions; for the few modes of a matrix the grid is simpler. Nothing is
    promised of S itself then: at the optimum little may be dropped.

    Parameters are those of `Factorization`: a mode whose rank is its extent needs no factor.

    Args:
        spectra: Per mode the squared singular values of its unfolding, falling: as many as the rank can be.
        tensorization: The modes, at least 3 of them.
        budget: Parameters of core and factors, at most.
        ratio: Of neighbouring ranks that are tried; 1 for all.

    Raises:
        SpecError: The spectra or the modes do not suit, the budget is too small, or there are too many shapes.

    >>> spectra = [np.array([9.0, 1.0]), np.array([6.0, 4.0]), np.array([9.0, 1.0])]
    >>> core_shape_of_spectra(spectra, Tensorization(out_modes=(2, 2), in_modes=(2,)), budget=6)  # 2*2*1 + 2*1
    (2, 2, 1)
    """
    modes = tensorization.modes
    limits = max_ranks(tensorization)
    Factorization(format="tucker", tensorization=tensorization, ranks=(1,) * len(modes))  # refuses other modes
    _check(spectra, limits, ratio)
    last = max(range(len(modes)), key=lambda k: limits[k])
    others = [k for k in range(len(modes)) if k != last]
    grids = [_grid(limits[k], ratio) for k in others]
    if (count := math.prod(map(len, grids))) > _MOST_SHAPES:
        raise SpecError(
            describe("core_shape", "too many shapes to try", got=count, expected=f"at most {_MOST_SHAPES}",
                     remedy=f"Raise the ratio above {ratio}.")
        )  # fmt: skip
    core = reduce(np.multiply.outer, grids)  # (grid, grid, ..): one axis per other mode, as below
    factors = reduce(
        np.add.outer, [np.where(grid < modes[k], modes[k] * grid, 0) for k, grid in zip(others, grids, strict=True)]
    )
    kept = reduce(np.add.outer, [np.cumsum(spectra[k])[grid - 1] for k, grid in zip(others, grids, strict=True)])
    carried = limits[last] == modes[last]  # by the core, without a factor
    rank = np.clip((budget - factors) // (core + modes[last]), 0, limits[last])
    if carried:
        rank = np.where(factors + core * modes[last] <= budget, modes[last], rank)
    if not rank.any():
        least = min(
            int((factors + core + modes[last]).min()),
            *([int((factors + core * modes[last]).min())] if carried else []),
        )
        raise SpecError(
            describe(f"core_shape {tensorization}", "no ranks fit the budget", got=budget,
                     expected=f"at least {least} parameters", remedy="Raise the budget.")
        )  # fmt: skip
    kept = kept + np.concatenate(([-np.inf], np.cumsum(spectra[last])))[rank]
    best = np.unravel_index(int(np.argmax(kept)), kept.shape)
    ranks = {k: int(grid[place]) for k, grid, place in zip(others, grids, best, strict=True)} | {last: int(rank[best])}
    return tuple(ranks[k] for k in range(len(modes)))


def _grid(limit: int, ratio: float) -> NDArray[np.int64]:
    """Return ranks from 1 to the limit, neighbours one apart or at most a ratio."""
    ranks = [1]
    while ranks[-1] < limit:
        ranks.append(min(limit, max(ranks[-1] + 1, math.floor(ranks[-1] * ratio))))
    return np.array(ranks, dtype=np.int64)


def _check(spectra: Sequence[Array], limits: tuple[int, ...], ratio: float) -> None:
    lengths = tuple(len(spectrum) for spectrum in spectra)
    problems = []
    if lengths != limits:
        problems.append(
            describe("core_shape spectra", "not of these modes", got=f"lengths {lengths}", expected=f"lengths {limits}",
                     remedy="Give all squared singular values of every unfolding.")
        )  # fmt: skip
    if not 1.0 <= ratio < math.inf:
        problems.append(
            describe("core_shape ratio", "not a ratio of ranks", got=ratio, expected="a finite number >= 1",
                     remedy="Give 1 for all ranks.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)
