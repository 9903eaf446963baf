"""Estimates of the loss of accuracy: callables from a design to a number, smaller is better.

They are estimates; how well they rank designs is measured on real tasks (`heat-sim estimate-check`) and said where they
are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from heat_sim.codesign.joint import Groups
from heat_sim.codesign.matrix_errors import SquaredErrors
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization


class LossEstimate(Protocol):
    """What the search asks of an estimate."""

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the estimated loss of a design, given per matrix name."""


class AdditiveEstimate(LossEstimate, Protocol):
    """An estimate that grows with a sum over the matrices, so that the best ranks for a budget can be worked out."""

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return what one matrix adds to the sum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightError:
    """Root mean square over the matrices of ``||W - W'||_F / ||W||_F``: what HEAT projects by (Gu et al. 2022).

    Attributes:
        errors: Of single matrices.
        groups: What is stacked in a stacked matrix, which counts as often as it has members.
    """

    errors: SquaredErrors
    groups: Groups = field(default_factory=dict)

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return the squared relative error of one matrix, or of a stacked one times its members."""
        ratio = _ratio(self.errors(name, factorization).weight, self.errors.whole(name).weight)
        return _members(self.groups, name) * ratio

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the root mean square of the relative errors of the design's matrices."""
        squares = [self.squared(name, factorization) for name, factorization in design.items()]
        return _root_mean(squares, count=sum(_members(self.groups, name) for name in design))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationError:
    """Root mean square over the matrices of ``||(W - W') C^(1/2)||_F / ||W C^(1/2)||_F``: 0 is exact, 1 is all lost.

    C is the second moment of the matrix's input on calibration text: the square is what the output of the layer loses.

    Attributes:
        errors: Of single matrices.
        groups: What is stacked in a stacked matrix, which counts as often as it has members.
    """

    errors: SquaredErrors
    groups: Groups = field(default_factory=dict)

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return the squared relative error of one matrix, or of a stacked one times its members."""
        ratio = _ratio(self.errors(name, factorization).activation, self.errors.whole(name).activation)
        return _members(self.groups, name) * ratio

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the root mean square of the relative errors of the design's matrices."""
        squares = [self.squared(name, factorization) for name, factorization in design.items()]
        return _root_mean(squares, count=sum(_members(self.groups, name) for name in design))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FisherError:
    """Root of the sum over the matrices of ``||D^(1/2) (W - W') C^(1/2)||_F^2``, over that of the matrices themselves.

    With D the second moment of the loss's gradient at the layer's output, the sum is twice the increase of the loss in
    the Kronecker-factored Fisher approximation (Martens and Grosse 2015): unlike relative errors, those of different
    matrices can be added.

    Attributes:
        errors: Of single matrices, with gradient moments.
    """

    errors: SquaredErrors

    def __post_init__(self) -> None:
        if not self.errors.has_gradients:
            raise SpecError(
                describe("estimate fisher", "the calibration has no gradient moments", got="none",
                         expected="one for every matrix", remedy="Calibrate on labelled text, or choose activation.")
            )  # fmt: skip

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return ``||D^(1/2) (W - W') C^(1/2)||_F^2`` of one matrix."""
        return self.errors(name, factorization).fisher

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the root of the ratio of both sums."""
        lost = sum(self.squared(name, factorization) for name, factorization in design.items())
        whole = sum(self.errors.whole(name).fisher for name in design)
        return float(np.sqrt(lost / whole)) if whole > 0 else 0.0


ESTIMATES: Mapping[str, Callable[..., AdditiveEstimate]] = {
    "weight": WeightError,
    "activation": ActivationError,
    "fisher": FisherError,
}
"""Name to estimate, for those that need nothing but the errors of matrices."""


def search_estimate(name: str, *, errors: SquaredErrors, groups: Groups) -> AdditiveEstimate:
    """Return an estimate of designs that may stack matrices.

    Args:
        name: In `ESTIMATES`.
        errors: Of the matrices, the stacked ones included.
        groups: What is stacked. The errors of the Fisher norm add up without it.
    """
    return ESTIMATES[name](errors=errors, **({} if name == "fisher" else {"groups": groups}))


def _ratio(lost: float, whole: float) -> float:
    return lost / whole if whole > 0 else 0.0


def _root_mean(squares: list[float], *, count: int) -> float:
    return float(np.sqrt(np.sum(squares) / count))


def _members(groups: Groups, name: str) -> int:
    return len(groups.get(name, (name,)))
