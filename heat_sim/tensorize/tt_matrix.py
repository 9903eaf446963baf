"""Format "tt-matrix": a tensor train of d >= 2 cores, each with one output and one input mode.

``Y[s,o1,..,od] = X[s,i1,..,id] * G1[o1,i1,r1] * G2[r1,o2,i2,r2] * .. * Gd[r_{d-1},od,id]``. The ranks
are the full tuple ``(1, r1, .., r_{d-1}, 1)``; the ends, of extent 1, are not stored in the cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term, mode_vars
from heat_sim.tensorize.leading_vectors import leading_vectors
from heat_sim.tensorize.least_squares import fitted, near_plain
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides

Array = NDArray[np.float64]

name = "tt-matrix"

SEARCHED_NDIMS = (2, 3)
"""Modes worth searching: with four cores an inference has 105 contraction trees and no fewer words."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    if len(tensorization.out_modes) == len(tensorization.in_modes) >= 2:
        return None
    return "as many output as input modes, at least 2 of each"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the TT-ranks at which nothing is lost: the ranks that the unfoldings can have."""
    sizes = [o * i for o, i in zip(tensorization.out_modes, tensorization.in_modes, strict=True)]
    return tuple(min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(len(sizes) + 1))


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G1[o1,i1,r1], G2[r1,o2,i2,r2], .., Gd[r_{d-1},od,id]``."""
    last = len(ranks) - 1
    cores = []
    for k, (out, in_) in enumerate(zip(tensorization.out_modes, tensorization.in_modes, strict=True), start=1):
        before = ((f"r{k - 1}", ranks[k - 1]),) if k > 1 else ()
        after = ((f"r{k}", ranks[k]),) if k < last else ()
        cores.append(CoreSpec(name=f"G{k}", dims=(*before, (f"o{k}", out), (f"i{k}", in_), *after)))
    outs, ins = mode_vars("o", tensorization.out_modes), mode_vars("i", tensorization.in_modes)
    return (Term(out_vars=outs, in_vars=ins, cores=tuple(cores)),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return the cores by TT-SVD (Oseledets 2011, algorithm 1), then weighted least squares.

    The squared error of the TT-SVD is at most the sum over the unfoldings of the squared singular values they drop.
    Ranks that a core cannot use, because ``r_k > r_{k-1} o_k i_k`` or the like further in, are filled with zeros.
    tensorly's TT-matrix decomposition does the same; it neither cuts nor fills such ranks.
    """

    def start(matrix: Array) -> list[Array]:
        return _tt_svd(matrix, tensorization, ranks)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def leading(
    weight: Array, tensorization: Tensorization, *, metric: Metric
) -> Callable[[tuple[int, ...]], tuple[Array, ...]]:
    """Return what cuts the cores of a TT-SVD of full ranks, taken where the metric is nearly plain."""
    full = max_ranks(tensorization)
    target, back = near_plain(weight, tensorization, terms(tensorization, full), metric)
    cores = back(_tt_svd(target, tensorization, full))

    def cut(ranks: tuple[int, ...]) -> tuple[Array, ...]:
        (term,) = terms(tensorization, ranks)
        return tuple(core[tuple(map(slice, spec.shape))] for core, spec in zip(cores, term.cores, strict=True))

    return cut


def _tt_svd(matrix: Array, tensorization: Tensorization, ranks: tuple[int, ...]) -> list[Array]:
    usable = _usable_ranks(tensorization, ranks)
    ndim = tensorization.ndim
    interleaved = [axis for k in range(ndim) for axis in (k, ndim + k)]
    rest = matrix.reshape(tensorization.modes).transpose(interleaved)
    train = []
    pairs = list(zip(tensorization.out_modes, tensorization.in_modes, strict=True))
    for k, (out, in_) in enumerate(pairs[:-1]):
        unfolding = rest.reshape(usable[k] * out * in_, -1)
        left = leading_vectors(unfolding, usable[k + 1])
        train.append(left.reshape(usable[k], out, in_, -1))
        rest = left.T @ unfolding  # (r_k, everything to the right)
    train.append(rest.reshape(usable[-2], *pairs[-1], 1))
    (term,) = terms(tensorization, ranks)
    padded = [
        np.pad(core, [(0, ranks[k] - core.shape[0]), (0, 0), (0, 0), (0, ranks[k + 1] - core.shape[3])])
        for k, core in enumerate(train)
    ]
    return [core.reshape(spec.shape) for core, spec in zip(padded, term.cores, strict=True)]


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with 2, then those with 3 modes a side, each the most uniform first."""
    return by_sides(out_features, in_features, sides=tuple((ndim, ndim) for ndim in SEARCHED_NDIMS), keep=keep)


def _usable_ranks(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the ranks cut to what the neighbours can carry: r_k <= r_{k-1} o_k i_k, and from the other end."""
    usable = list(ranks)
    sizes = [o * i for o, i in zip(tensorization.out_modes, tensorization.in_modes, strict=True)]
    for k, size in enumerate(sizes):
        usable[k + 1] = min(usable[k + 1], usable[k] * size)
    for k, size in reversed(list(enumerate(sizes))):
        usable[k] = min(usable[k], usable[k + 1] * size)
    return tuple(usable)
