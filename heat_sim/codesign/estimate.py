"""Estimates of the loss of accuracy: callables from a design to a number, smaller is better.

They are estimates; how well they rank designs is measured on real tasks and said where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.low_rank import rank_errors
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.tensorization import Tensorization


class LossEstimate(Protocol):
    """What the search asks of an estimate."""

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the estimated loss of a design, given per matrix name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationError:
    """Root mean square over the matrices of ``||(W - W') C^(1/2)||_F / ||W C^(1/2)||_F``: 0 is exact, 1 is all lost.

    C is the second moment of the matrix's input on calibration text. Low-rank errors are those of the
    best projection. Other formats are projected once, at full rank and without regard to C; smaller
    ranks take the leading parts of those cores and are judged with C. That is an upper bound of what
    the activation-aware projection of a chosen design reaches, at a small part of its time.

    Attributes:
        weights: Matrix name to W, (out_features, in_features).
        second_moments: Matrix name to C, (in_features, in_features).
    """

    weights: Mapping[str, NDArray[np.floating]]
    second_moments: Mapping[str, NDArray[np.float64]]
    _errors: dict[tuple[str, Factorization], float] = field(default_factory=dict)
    _by_rank: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _totals: dict[str, float] = field(default_factory=dict)
    _full: dict[tuple[str, str, Tensorization], tuple[NDArray[np.float64], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := sorted(set(self.weights) - set(self.second_moments)):
            raise SpecError(
                describe("calibration", "no second moment for some matrices", got=", ".join(missing[:5]),
                         expected=f"one for each of {len(self.weights)} matrices", remedy="Calibrate the same model.")
            )  # fmt: skip

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the root mean square of the relative errors of the design's matrices."""
        errors = np.array([self._error(name, factorization) for name, factorization in design.items()])
        return float(np.sqrt(np.mean(errors**2)))

    def _error(self, name: str, factorization: Factorization) -> float:
        key = (name, factorization)
        if key not in self._errors:
            if name not in self.weights:
                raise SpecError(
                    describe("estimate", "unknown matrix", got=name, expected=f"one of {len(self.weights)} matrices",
                             remedy="Use the weights of the network that is searched.")
                )  # fmt: skip
            self._errors[key] = self._measure(name, factorization)
        return self._errors[key]

    def _measure(self, name: str, factorization: Factorization) -> float:
        weight, moment = self.weights[name], self.second_moments[name]
        if factorization.format == "dense":
            return 0.0
        if factorization.format == "low-rank":
            if name not in self._by_rank:
                self._by_rank[name] = rank_errors(weight, second_moment=moment)
            return float(self._by_rank[name][factorization.ranks[0] - 1])
        key = (name, factorization.format, factorization.tensorization)
        if key not in self._full:
            limits = FORMATS[factorization.format].max_ranks(factorization.tensorization)
            self._full[key] = project(weight, replace(factorization, ranks=limits))
        leading = [
            core[tuple(map(slice, shape))]
            for core, shape in zip(self._full[key], factorization.core_shapes, strict=True)
        ]
        residual = (weight - reconstruct(leading, factorization)).astype(np.float32)
        return float(np.sqrt(self._square(name, residual) / self._total(name)))

    def _total(self, name: str) -> float:
        if name not in self._totals:
            self._totals[name] = self._square(name, self.weights[name].astype(np.float32))
        return self._totals[name]

    def _square(self, name: str, matrix: NDArray[np.float32]) -> float:
        """Return ``||M C^(1/2)||_F^2 = trace(M C M^T)``; single precision is far finer than the estimate."""
        moment = self.second_moments[name].astype(np.float32)
        return max(0.0, float(np.vdot(matrix @ moment, matrix)))
