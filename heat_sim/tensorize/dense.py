"""Format "dense": the matrix itself, ``Y[s,o1] = X[s,i1] * W[o1,i1]``. No ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec, Term
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

name = "dense"


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if tensorization.ndim == 1 else "one output and one input mode"


def max_ranks(_tensorization: Tensorization) -> tuple[int, ...]:
    """Return the ranks at which nothing is lost: a dense matrix has none."""
    return ()


def terms(tensorization: Tensorization, _ranks: tuple[int, ...]) -> tuple[Term, ...]:
    """Return the one core ``W[o1,i1]``."""
    (out,), (in_,) = tensorization.out_modes, tensorization.in_modes
    return (
        Term(out_vars=("o1",), in_vars=("i1",), cores=(CoreSpec(name="W", dims=(("o1", out), ("i1", in_))),)),
    )  # fmt: skip


def project(
    weight: NDArray[np.float64],
    _tensorization: Tensorization,
    *,
    ranks: tuple[int, ...],  # noqa: ARG001  the signature all formats share
    metric: Metric,  # noqa: ARG001  likewise
) -> tuple[NDArray[np.float64], ...]:
    """Return a copy of the weight, (out_features, in_features)."""
    return (weight.copy(),)


def leading(
    weight: NDArray[np.float64],
    _tensorization: Tensorization,
    *,
    metric: Metric,  # noqa: ARG001  the signature all formats share
) -> Callable[[tuple[int, ...]], tuple[NDArray[np.float64], ...]]:
    """Return what gives the weight itself."""
    return lambda _ranks: (weight.copy(),)


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the only tensorization: no split."""
    return enumerate_tensorizations(out_features, in_features, ndim=1, keep=keep)
