"""The formats a weight matrix can take, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize import dense, low_rank, tt_matrix
from heat_sim.tensorize.core_spec import CoreSpec
from heat_sim.tensorize.tensorization import Tensorization


class Format(Protocol):
    """What a format provides; each is a module with these names at its top level.

    A new format is a new module and one more entry in `FORMATS`. Arrays are float64 in here.
    """

    name: str

    def misfit(self, tensorization: Tensorization, /) -> str | None:
        """Return what the format expects of the modes if they do not suit it, else None."""

    def max_ranks(self, tensorization: Tensorization, /) -> tuple[int, ...]:
        """Return the ranks at which every matrix is represented exactly; larger ones are refused."""

    def core_specs(self, tensorization: Tensorization, ranks: tuple[int, ...], /) -> tuple[CoreSpec, ...]:
        """Return name and rank variables of every core; "s", "o1".., "i1".. are the activations'."""

    def project(
        self,
        weight: NDArray[np.float64],
        tensorization: Tensorization,
        /,
        *,
        ranks: tuple[int, ...],
        second_moment: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the cores that approximate the weight, (out_features, in_features)."""

    def reconstruct(self, cores: Sequence[NDArray[np.float64]], tensorization: Tensorization, /) -> NDArray[np.float64]:
        """Return the matrix that the cores stand for, (out_features, in_features)."""

    def tensorizations(
        self, out_features: int, in_features: int, /, *, keep: int | None = None
    ) -> tuple[Tensorization, ...]:
        """Return the tensorizations worth searching, the most uniform first, at most `keep` per number of modes."""


_ALL: tuple[Format, ...] = (dense, low_rank, tt_matrix)

FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
"""Name to format: "dense", "low-rank", "tt-matrix"."""
