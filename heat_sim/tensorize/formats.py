"""The formats a weight matrix can take, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heat_sim.tensorize import block_low_rank, block_term, btt, cp, dense, low_rank, tensor_ring, tt_matrix, tucker
from heat_sim.tensorize.core_spec import Term
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.tensorization import Tensorization

Leading: TypeAlias = Callable[[tuple[int, ...]], tuple[NDArray[np.float64], ...]]
"""From ranks to cores."""


class Format(Protocol):
    """What a format provides; each is a module with these names at its top level.

    A new format is a new module and one more entry in `FORMATS`. Arrays are float64 in here.
    """

    name: str

    def misfit(self, tensorization: Tensorization, /) -> str | None:
        """Return what the format expects of the modes if they do not suit it, else None."""

    def max_ranks(self, tensorization: Tensorization, /) -> tuple[int, ...]:
        """Return the ranks at which every matrix is represented exactly; larger ones are refused."""

    def terms(self, tensorization: Tensorization, ranks: tuple[int, ...], /) -> tuple[Term, ...]:
        """Return the products of cores whose sum is the matrix: names, shapes and rank variables, no numbers."""

    def project(
        self, weight: NDArray[np.float64], tensorization: Tensorization, /, *, ranks: tuple[int, ...], metric: Metric
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the cores that approximate the weight, (out_features, in_features), term by term."""

    def leading(
        self, weight: NDArray[np.float64], tensorization: Tensorization, /, *, metric: Metric
    ) -> Leading | None:
        """Return a quick way from ranks to good cores, all from one decomposition; None if there is none.

        The cores are those of `project` before least squares, so their error is an upper bound of what it reaches.
        """

    def tensorizations(
        self, out_features: int, in_features: int, /, *, keep: int | None = None
    ) -> tuple[Tensorization, ...]:
        """Return the tensorizations worth searching, the most uniform first, at most `keep` per number of modes."""


_ALL: tuple[Format, ...] = (dense, low_rank, cp, tucker, tt_matrix, tensor_ring, btt, block_low_rank, block_term)

FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
"""Name to format: "dense", "low-rank", "cp", "tucker", "tt-matrix", "tensor-ring", "btt", "block-low-rank",
"block-term"."""
