"""Format "cp": one factor per mode, all sharing one rank:
``W[o1,..,i1,..] = sum_r F1[o1,r] * F2[o2,r] * .. * Fn[in,r]``.

Either side may stay whole: (16*24)x(1536) has three factors, as in HEAT's worked example (Gu et al. 2022, figure 2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term, mode_vars
from heat_sim.tensorize.least_squares import fitted
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides

Array = NDArray[np.float64]

name = "cp"

SEARCHED_SIDES = ((2, 1), (1, 2), (2, 2))
"""Output and input modes worth searching."""

_ITERATIONS = 8
"""Of tensorly's alternating least squares, before ours."""

_RIDGE = 1e-9
"""On its normal equations, of a tensor of norm 1: they are singular where a lower rank is enough."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if len(tensorization.modes) >= 3 else "at least 3 modes in all (with 2 it is low-rank)"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the rank at which nothing is lost: one summand per fibre along the longest mode."""
    return (math.prod(tensorization.modes) // max(tensorization.modes),)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``F1[o1,r1], F2[o2,r1], ..``: the outputs first."""
    (rank,) = ranks
    outs, ins = mode_vars("o", tensorization.out_modes), mode_vars("i", tensorization.in_modes)
    cores = tuple(
        CoreSpec(name=f"F{k}", dims=((var, mode), ("r1", rank)))
        for k, (var, mode) in enumerate(zip(outs + ins, tensorization.modes, strict=True), start=1)
    )
    return (Term(out_vars=outs, in_vars=ins, cores=cores),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return the factors: alternating least squares from a random start of a fixed seed.

    The start is tensorly's `parafac`. Its start by singular vectors is not used: at large ranks it takes minutes and
    ends no better.
    """
    (rank,) = ranks
    if rank == max_ranks(tensorization)[0]:
        return _exact(weight, tensorization)

    def start(matrix: Array) -> list[Array]:
        return _parafac(matrix.reshape(tensorization.modes), rank)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def leading(_weight: Array, _tensorization: Tensorization, *, metric: Metric) -> None:
    """Return None: cores of fewer ranks are no part of those of more."""


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with two modes on one side, then those with two on both, the most uniform first."""
    return by_sides(out_features, in_features, sides=SEARCHED_SIDES, keep=keep)


def _parafac(tensor: Array, rank: int) -> list[Array]:
    from tensorly.decomposition import parafac  # imported where it is used: it takes longer than heat_sim's own

    scale = float(np.linalg.norm(tensor)) or 1.0
    found = parafac(
        tensor / scale, rank=rank, n_iter_max=_ITERATIONS, init="random", random_state=0, tol=0, l2_reg=_RIDGE
    )  # fmt: skip
    factors = [np.asarray(factor, dtype=np.float64) for factor in found.factors]
    factors[0] = factors[0] * scale
    return factors


def _exact(weight: Array, tensorization: Tensorization) -> tuple[Array, ...]:
    """Return the factors of full rank: the longest mode's holds the numbers, the others select a fibre."""
    modes = tensorization.modes
    longest = modes.index(max(modes))
    others = [k for k in range(len(modes)) if k != longest]
    fibres = np.moveaxis(weight.reshape(modes), longest, 0).reshape(modes[longest], -1)
    places = np.unravel_index(np.arange(fibres.shape[1]), [modes[k] for k in others])
    factors = {longest: fibres}
    for k, index in zip(others, places, strict=True):
        factors[k] = (np.arange(modes[k])[:, None] == index).astype(np.float64)
    return tuple(factors[k] for k in range(len(modes)))
