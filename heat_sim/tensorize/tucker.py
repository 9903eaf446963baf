"""Format "tucker": a core and one factor per mode, ``W[o1,..,i1,..] = G[r1,..] * F1[o1,r1] * .. * Fn[in,rn]``.

A mode whose rank is its whole extent has no factor: the core carries the mode itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term, mode_vars
from heat_sim.tensorize.leading_vectors import leading_vectors
from heat_sim.tensorize.least_squares import fitted, near_plain
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides

Array = NDArray[np.float64]

name = "tucker"

SEARCHED_SIDES = ((2, 1), (1, 2), (2, 2))
"""Output and input modes worth searching: each factor is one more operand of the contraction."""

_ITERATIONS = 3
"""Of higher-order orthogonal iteration."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if len(tensorization.modes) >= 3 else "at least 3 modes in all (with 2 it is low-rank)"


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the ranks at which nothing is lost: the ranks that the mode unfoldings can have."""
    size = math.prod(tensorization.modes)
    return tuple(min(mode, size // mode) for mode in tensorization.modes)


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G[r1,..]`` and the factors ``Fk[mode,rk]`` of the modes that are compressed."""
    outs, ins = mode_vars("o", tensorization.out_modes), mode_vars("i", tensorization.in_modes)
    core, factors = [], []
    for k, (var, mode, rank) in enumerate(zip(outs + ins, tensorization.modes, ranks, strict=True), start=1):
        if rank == mode:
            core.append((var, mode))
        else:
            core.append((f"r{k}", rank))
            factors.append(CoreSpec(name=f"F{k}", dims=((var, mode), (f"r{k}", rank))))
    return (Term(out_vars=outs, in_vars=ins, cores=(CoreSpec(name="G", dims=tuple(core)), *factors)),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return core and factors: higher-order orthogonal iteration, then weighted least squares."""

    def start(matrix: Array) -> list[Array]:
        return orthogonal_iteration(matrix.reshape(tensorization.modes), ranks)

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def leading(
    weight: Array, tensorization: Tensorization, *, metric: Metric
) -> Callable[[tuple[int, ...]], tuple[Array, ...]]:
    """Return what cuts a higher-order SVD of full ranks (De Lathauwer et al. 2000), taken where the metric is nearly
    plain.
    """
    modes, full = tensorization.modes, max_ranks(tensorization)
    with_factors = tuple(max(1, rank - 1) for rank in full)  # a mode of extent 1 never has one
    target, back = near_plain(weight, tensorization, terms(tensorization, with_factors), metric)
    tensor = target.reshape(modes)
    bases = [
        np.eye(1) if mode == 1 else np.linalg.svd(_unfolded(tensor, k), full_matrices=False)[0]
        for k, mode in enumerate(modes)
    ]
    core = _multiplied(tensor, [basis.T for basis in bases])
    inside, *factors = back([core, *(basis for basis, mode in zip(bases, modes, strict=True) if mode > 1)])
    left = iter(factors)
    bases = [np.eye(1) if mode == 1 else next(left) for mode in modes]

    def cut(ranks: tuple[int, ...]) -> tuple[Array, ...]:
        whole = [mode == rank for mode, rank in zip(modes, ranks, strict=True)]
        part = inside[tuple(map(slice, ranks))]
        part = _multiplied(part, [b if full else np.eye(r) for b, r, full in zip(bases, ranks, whole, strict=True)])
        return (part, *(b[:, :r] for b, r, full in zip(bases, ranks, whole, strict=True) if not full))

    return cut


def _multiplied(tensor: Array, matrices: Sequence[Array]) -> Array:
    """Return the tensor with every mode multiplied by its matrix."""
    return _along(tensor, dict(enumerate(matrices)))


def _along(tensor: Array, matrices: Mapping[int, Array]) -> Array:
    """Return the tensor with some modes multiplied by a matrix, those that shrink the most first."""
    for k in sorted(matrices, key=lambda k: len(matrices[k]) / tensor.shape[k]):
        tensor = np.moveaxis(np.tensordot(matrices[k], tensor, (1, k)), 0, k)
    return tensor


def orthogonal_iteration(tensor: Array, ranks: tuple[int, ...], *, iterations: int = _ITERATIONS) -> list[Array]:
    """Return the core and the factors of the compressed modes, each factor with orthonormal columns.

    Higher-order orthogonal iteration from the truncated higher-order SVD (De Lathauwer et al. 2000).
    """
    modes = [k for k, (mode, rank) in enumerate(zip(tensor.shape, ranks, strict=True)) if rank < mode]
    bases = {k: leading_vectors(_unfolded(tensor, k), ranks[k]) for k in modes}
    for _ in range(iterations):
        for k in modes:
            seen = _along(tensor, {other: bases[other].T for other in modes if other != k})
            found = leading_vectors(_unfolded(seen, k), min(ranks[k], seen.size // seen.shape[k]))
            if found.shape[1] < ranks[k]:  # the others leave no more; those of before fill up
                found = np.linalg.qr(np.hstack([found, bases[k]]))[0][:, : ranks[k]]
            bases[k] = found
    return [_along(tensor, {k: basis.T for k, basis in bases.items()}).copy(), *bases.values()]


def _unfolded(tensor: Array, mode: int) -> Array:
    """Return the tensor as a matrix whose rows are along a mode."""
    return np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with two modes on one side, then those with two on both, the most uniform first."""
    return by_sides(out_features, in_features, sides=SEARCHED_SIDES, keep=keep)
