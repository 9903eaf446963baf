"""Format "block-term": a sum of Tucker decompositions of equal ranks (De Lathauwer 2008).

``W[o1,..,i1,..] = sum_t G[t,r1,..] * F1[t,o1,r1] * .. * Fn[t,in,rn]``. The ranks are ``(t, r1, .., rn)``; a mode
whose rank is its whole extent has no factor, as in Tucker.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize import tucker
from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.least_squares import fitted
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, by_sides

Array = NDArray[np.float64]

name = "block-term"

SEARCHED_SIDES = ((2, 1), (1, 2))
"""Output and input modes worth searching: with two on both sides a contraction has six operands."""


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return tucker.misfit(tensorization)


def max_ranks(tensorization: Tensorization) -> tuple[int, ...]:
    """Return the largest ranks: of a block those of Tucker, which are enough alone; blocks up to the longest mode."""
    return (max(tensorization.modes), *tucker.max_ranks(tensorization))


def terms(tensorization: Tensorization, ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return ``G[t1,r1,..]`` and the factors ``Fk[t1,mode,rk]`` of the modes that are compressed."""
    (one,) = tucker.terms(tensorization, ranks[1:])
    cores = tuple(CoreSpec(name=core.name, dims=(("t1", ranks[0]), *core.dims)) for core in one.cores)
    return (Term(out_vars=one.out_vars, in_vars=one.in_vars, cores=cores),)


def project(
    weight: Array, tensorization: Tensorization, *, ranks: tuple[int, ...], metric: Metric
) -> tuple[Array, ...]:
    """Return core and factors: one block after the other from what the earlier ones leave, then least squares of all.

    tensorly has no block-term decomposition.
    """
    (one,) = tucker.terms(tensorization, ranks[1:])

    def start(matrix: Array) -> list[Array]:
        rest, blocks = matrix.reshape(tensorization.modes), []
        for _ in range(ranks[0]):
            block = tucker.orthogonal_iteration(rest, ranks[1:], iterations=1)
            blocks.append(block)
            rest = rest - _whole(block, one)
        return [np.stack(cores) for cores in zip(*blocks, strict=True)]

    return fitted(weight, tensorization, terms(tensorization, ranks), metric, start=start)


def _whole(block: list[Array], term: Term) -> Array:
    tensor = block[0]
    for factor, spec in zip(block[1:], term.cores[1:], strict=True):
        axis = term.mode_vars.index(spec.rank_vars[0])
        tensor = np.moveaxis(np.tensordot(factor, tensor, (1, axis)), 0, axis)
    return tensor


def leading(_weight: Array, _tensorization: Tensorization, *, metric: Metric) -> None:
    """Return None: cores of fewer ranks are no part of those of more."""


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the tensorizations with two modes on one side, the most uniform first."""
    return by_sides(out_features, in_features, sides=SEARCHED_SIDES, keep=keep)
