"""Format "dense": the matrix itself, ``Y[s,o1] = X[s,i1] * W[o1,i1]``. No ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

name = "dense"


def misfit(tensorization: Tensorization) -> str | None:
    """Return what the format expects of the modes, or None if these are fine."""
    return None if tensorization.ndim == 1 else "one output and one input mode"


def max_ranks(_tensorization: Tensorization) -> tuple[int, ...]:
    """Return the ranks at which nothing is lost: a dense matrix has none."""
    return ()


def core_specs(tensorization: Tensorization, _ranks: tuple[int, ...]) -> tuple[CoreSpec, ...]:
    """Return the one core ``W[o1,i1]``."""
    return (CoreSpec(name="W", dims=(("o1", tensorization.out_features), ("i1", tensorization.in_features))),)


def project(
    weight: NDArray[np.float64],
    _tensorization: Tensorization,
    *,
    ranks: tuple[int, ...],  # noqa: ARG001  the signature all formats share
    second_moment: NDArray[np.float64] | None,  # noqa: ARG001
) -> tuple[NDArray[np.float64], ...]:
    """Return a copy of the weight, (out_features, in_features)."""
    return (weight.copy(),)


def reconstruct(cores: Sequence[NDArray[np.float64]], _tensorization: Tensorization) -> NDArray[np.float64]:
    """Return a copy of the one core, (out_features, in_features)."""
    return cores[0].copy()


def tensorizations(out_features: int, in_features: int, *, keep: int | None = None) -> tuple[Tensorization, ...]:
    """Return the only tensorization: no split."""
    return enumerate_tensorizations(out_features, in_features, ndim=1, keep=keep)
