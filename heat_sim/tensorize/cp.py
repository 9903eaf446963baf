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
from heat_sim.tensorize.metric import PLAIN, Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides
from heat_sim.tensorize.term_arrays import matrix_of

Array = NDArray[np.float64]

name = "cp"

SEARCHED_SIDES = ((2, 1), (1, 2), (2, 2))
"""Output and input modes worth searching."""

_SWEEPS = 6
"""Of plain alternating least squares from random factors, there and back."""

_LARGEST_TENSORLY = 128
"""Rank up to which tensorly's parafac is tried too: seconds for thousands of rows; with more, minutes."""

_ITERATIONS = 8
"""Of parafac."""

_RIDGE = 1e-9
"""On its normal equations, of a tensor of norm 1: they are singular where a lower rank is enough."""

_LARGEST_RANDOM = 1024
"""Rank up to which random factors are tried: with more, the blocks come nearer and the sweeps take long."""


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
    """Return the factors: the best of some starts, then weighted least squares.

    One start cuts the matrix into blocks and keeps the largest singular triples of all of them: good at large ranks,
    exact at the largest. The others are alternating least squares from random factors of a fixed seed, good at small
    ranks: our own, and up to rank 128 tensorly's. Beyond it takes minutes, as its start by the singular vectors of the
    unfoldings does at any large rank; ours goes on to rank 1024.
    """
    (rank,) = ranks
    whole = terms(tensorization, ranks)

    def start(matrix: Array) -> list[Array]:
        tensor = matrix.reshape(tensorization.modes)
        blocks = _block_svd(tensor, rank)
        if rank > _LARGEST_RANDOM:
            return blocks
        rng = np.random.default_rng(0)
        random = [rng.standard_normal((mode, rank)) for mode in tensorization.modes]
        found = fitted(matrix, tensorization, whole, PLAIN, start=lambda _: random, sweeps=_SWEEPS)
        candidates = [list(found), blocks]
        if rank <= _LARGEST_TENSORLY:
            candidates.append(_parafac(tensor, rank))
        errors = [float(np.linalg.norm(matrix - matrix_of(whole[0], cores))) for cores in candidates]
        return candidates[errors.index(min(errors))]

    return fitted(weight, tensorization, whole, metric, start=start)


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


def _block_svd(tensor: Array, rank: int) -> list[Array]:
    """Return factors of the largest singular triples of all blocks: matrices along the two longest modes, one block for
    every place along the others.
    """
    modes = tensor.shape
    *others, rows, columns = sorted(range(len(modes)), key=lambda k: modes[k])
    blocks = tensor.transpose(*others, rows, columns).reshape(-1, modes[rows], modes[columns])
    left, values, right = np.linalg.svd(blocks, full_matrices=False)
    block, triple = np.unravel_index(np.argsort(-values, axis=None, kind="stable")[:rank], values.shape)
    factors = {rows: left[block, :, triple].T * values[block, triple], columns: right[block, triple].T}
    for k, places in zip(others, np.unravel_index(block, [modes[k] for k in others]), strict=True):
        factors[k] = (np.arange(modes[k])[:, None] == places).astype(np.float64)
    return [factors[k] for k in range(len(modes))]
