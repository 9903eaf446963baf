"""Format "tensor-ring": a closed chain of cores, one per mode,
``W[..] = sum G1[r0,o1,r1] * G2[r1,o2,r2] * .. * Gn[r_{n-1},in,r0]``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term, mode_vars
from heat_sim.tensorize.leading_vectors import leading_vectors
from heat_sim.tensorize.least_squares import fitted
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides

Array = NDArray[np.float64]

name = "tensor-ring"

SEARCHED_SIDES = ((2, 1), (1, 2), (2, 2))
"""Output and input modes worth searching."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if len(tensorization.modes) >= 3 else "at least 3 modes in all (with 2 it is low-rank)"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return ``(r0, r1, ..)``: those of a tensor train, a ring with r0 = 1; r0 at most the shorter end mode."""
    modes = tensorization.modes
    inner = [min(math.prod(modes[:k]), math.prod(modes[k:])) for k in range(1, len(modes))]
    return (min(modes[0], modes[-1]), *inner)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G1[r0,o1,r1], .., Gn[r_{n-1},in,r0]``: the outputs first."""
    outs, ins = mode_vars("o", tensorization.out_modes), mode_vars("i", tensorization.in_modes)
    after = (*ranks[1:], ranks[0])
    count = len(ranks)
    cores = tuple(
        CoreSpec(name=f"G{k + 1}", dims=((f"r{k}", ranks[k]), (var, mode), (f"r{(k + 1) % count}", after[k])))
        for k, (var, mode) in enumerate(zip(outs + ins, tensorization.modes, strict=True))
    )
    return (Term(out_vars=outs, in_vars=ins, cores=cores),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return the cores: the better of two truncations, then weighted least squares."""

    def start(matrix: Array) -> list[Array]:
        tensor = matrix.reshape(tensorization.modes)
        return ring_svd(tensor, ranks)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def ring_svd(tensor: Array, ranks: tuple[int, ...]) -> list[Array]:
    """Return a ring by truncated SVDs from the first mode on (Zhao et al. 2016, algorithm 1).

    tensorly's `tensor_ring` refuses r0 * r1 above the first mode; here ranks that the SVD cannot fill stay zero, and
    if all of them can be filled only without the ring, the tensor train is returned where it is nearer.
    """
    candidates = [_ring(tensor, ranks, closing=closing) for closing in dict.fromkeys((1, ranks[0]))]
    errors = [float(np.linalg.norm(tensor - _whole(cores))) for cores in candidates]
    return candidates[errors.index(min(errors))]


def _ring(tensor: Array, ranks: tuple[int, ...], *, closing: int) -> list[Array]:
    """Return a ring whose rank r0 is used up to `closing`."""
    modes = tensor.shape
    left, rest = _cut(tensor.reshape(modes[0], -1), closing * ranks[1])
    first = _padded(left, 1, closing * ranks[1]).reshape(modes[0], closing, ranks[1])
    rest = _padded(rest, 0, closing * ranks[1])
    rest = np.moveaxis(rest.reshape(closing, ranks[1], -1), 0, 2)  # (r1, everything else, r0)
    cores = [_padded(first.transpose(1, 0, 2), 0, ranks[0])]
    for k in range(1, len(modes) - 1):
        left, rest = _cut(rest.reshape(ranks[k] * modes[k], -1), ranks[k + 1])
        cores.append(_padded(left, 1, ranks[k + 1]).reshape(ranks[k], modes[k], ranks[k + 1]))
        rest = _padded(rest, 0, ranks[k + 1])
    return [*cores, _padded(rest.reshape(ranks[-1], modes[-1], closing), 2, ranks[0])]


def _cut(matrix: Array, rank: int) -> tuple[Array, Array]:
    """Return the factors of the truncated SVD, the singular values in the right one."""
    left = leading_vectors(matrix, min(*matrix.shape, rank))
    return left, left.T @ matrix


def _padded(array: Array, axis: int, size: int) -> Array:
    """Return the array with zeros appended along an axis up to a size."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return np.pad(array, widths)


def _whole(cores: list[Array]) -> Array:
    chain = cores[0]
    for core in cores[1:-1]:
        chain = np.tensordot(chain, core, 1)
    return np.tensordot(chain, cores[-1], ((chain.ndim - 1, 0), (0, 2)))


def leading(_weight: Array, _tensorization: Tensorization, *, metric: Metric) -> None:
    """Return None: cores of fewer ranks are no part of those of more."""


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with two modes on one side, then those with two on both, the most uniform first."""
    return by_sides(out_features, in_features, sides=SEARCHED_SIDES, keep=keep)
