"""Format "tt-matrix": a tensor train of d >= 2 cores, each with one output and one input mode.

``Y[s,o1,..,od] = X[s,i1,..,id] * G1[o1,i1,r1] * G2[r1,o2,i2,r2] * .. * Gd[r_{d-1},od,id]``. The ranks
are the full tuple ``(1, r1, .., r_{d-1}, 1)``; the ends, of extent 1, are not stored in the cores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize import tensor_train
from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

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


def core_specs(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[CoreSpec, ...]:
    """Return ``G1[o1,i1,r1], G2[r1,o2,i2,r2], .., Gd[r_{d-1},od,id]``."""
    last = len(ranks) - 1
    specs = []
    for k, (out, in_) in enumerate(zip(tensorization.out_modes, tensorization.in_modes, strict=True), start=1):
        before = ((f"r{k - 1}", ranks[k - 1]),) if k > 1 else ()
        after = ((f"r{k}", ranks[k]),) if k < last else ()
        specs.append(CoreSpec(name=f"G{k}", dims=(*before, (f"o{k}", out), (f"i{k}", in_), *after)))
    return tuple(specs)


def project(
    weight: NDArray[np.float64],
    tensorization: Tensorization,
    *,
    ranks: tuple[int, ...],
    second_moment: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], ...]:
    """Return the cores by TT-SVD, improved by least-squares sweeps if there is a second moment.

    Ranks that a core cannot use, because ``r_k > r_{k-1} o_k i_k`` or the like further in, are filled with zeros.
    """
    usable = _usable_ranks(tensorization, ranks)
    train = tensor_train.tt_svd(weight, tensorization, ranks=usable)
    if second_moment is not None:
        train = tensor_train.improve(train, weight, tensorization=tensorization, second_moment=second_moment)
    padded = [
        np.pad(core, [(0, ranks[k] - core.shape[0]), (0, 0), (0, 0), (0, ranks[k + 1] - core.shape[3])])
        for k, core in enumerate(tensor_train.balance(train))
    ]
    specs = core_specs(tensorization, ranks)
    return tuple(core.reshape(spec.shape) for core, spec in zip(padded, specs, strict=True))


def reconstruct(cores: Sequence[NDArray[np.float64]], tensorization: Tensorization) -> NDArray[np.float64]:
    """Return the matrix of the train, (out_features, in_features)."""
    return tensor_train.matrix_of(_with_ends(cores), tensorization)


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with 2, then those with 3 modes a side, each the most uniform first."""
    return tuple(
        itertools.chain.from_iterable(
            enumerate_tensorizations(out_features, in_features, ndim=ndim, keep=keep) for ndim in SEARCHED_NDIMS
        )
    )


def _with_ends(cores: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the cores with their ends of extent 1: every one (r_{k-1}, o_k, i_k, r_k)."""
    return [cores[0][None], *cores[1:-1], cores[-1][..., None]]


def _usable_ranks(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Return the ranks cut to what the neighbours can carry: r_k <= r_{k-1} o_k i_k, and from the other end."""
    usable = list(ranks)
    sizes = [o * i for o, i in zip(tensorization.out_modes, tensorization.in_modes, strict=True)]
    for k, size in enumerate(sizes):
        usable[k + 1] = min(usable[k + 1], usable[k] * size)
    for k, size in reversed(list(enumerate(sizes))):
        usable[k] = min(usable[k], usable[k + 1] * size)
    return tuple(usable)
