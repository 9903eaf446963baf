"""What single matrices lose by a factorization, quickly enough for a search, in three norms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS, Leading
from heat_sim.tensorize.metric import checked_metric, root
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.projection_cache import Project
from heat_sim.tensorize.tensorization import Tensorization

Array = NDArray[np.float64]


class Squares(NamedTuple):
    """Squared norms of a matrix M of one layer.

    Attributes:
        weight: ``||M||_F^2``.
        activation: ``||M C^(1/2)||_F^2``, C the second moment of the layer's input.
        fisher: ``||D^(1/2) M C^(1/2)||_F^2``, D that of the loss's gradient at its output; 0 if D is not known.
    """

    weight: float
    activation: float
    fisher: float


class SquaredErrors(Protocol):
    """What single matrices lose, by name and factorization: what an estimate is made of."""

    @property
    def has_gradients(self) -> bool:
        """Whether the third norm is known."""

    def __call__(self, name: str, factorization: Factorization, /) -> Squares:
        """Return the squared errors of one matrix."""

    def whole(self, name: str, /) -> Squares:
        """Return the squared norms of the matrix itself."""

    def knows(self, name: str, factorization: Factorization, /) -> bool:
        """Return whether the errors are at hand, so that asking for them takes no time."""

    def learn(self, name: str, factorization: Factorization, squares: Squares, /) -> None:
        """Take in errors that were worked out elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixErrors:
    """Squared errors of activation-aware projections, by matrix name and factorization; each is worked out once.

    Low-rank, activation-aware: those of the best projection, of all ranks from one decomposition. Formats with leading
    parts: those of the parts, upper bounds of what the projection of a chosen design reaches, at a small part of its
    time. All others: those of the projection itself, so give a `ProjectionCache`.

    Attributes:
        weights: W, (out_features, in_features), by matrix name.
        second_moments: C, (in_features, in_features), of the same names.
        gradient_moments: D, (out_features, out_features), of the same names; or empty.
        project: For formats without leading parts.
        aware: What the projection approximates: the outputs, or, as a plain one does, the weights. The errors are in
            all three norms either way.
    """

    weights: Mapping[str, NDArray[np.floating]]
    second_moments: Mapping[str, NDArray[np.float64]]
    gradient_moments: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    project: Project = project
    aware: Literal["activation", "weight"] = "activation"
    _found: dict[tuple[str, Factorization], Squares] = field(default_factory=dict)
    _by_rank: dict[str, list[Squares]] = field(default_factory=dict)
    _wholes: dict[str, Squares] = field(default_factory=dict)
    _leading: dict[tuple[str, str, Tensorization], Leading | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, moments in (("second", self.second_moments), ("gradient", self.gradient_moments)):
            missing = sorted(set(self.weights) - set(moments))
            if missing and (moments or what == "second"):
                raise SpecError(
                    describe("calibration", f"no {what} moment for some matrices", got=", ".join(missing[:5]),
                             expected=f"one for each of {len(self.weights)} matrices", remedy="Calibrate anew.")
                )  # fmt: skip

    @property
    def has_gradients(self) -> bool:
        """Whether the third norm is known."""
        return bool(self.gradient_moments)

    def knows(self, name: str, factorization: Factorization) -> bool:
        """Return whether the errors are at hand."""
        return factorization.format == "dense" or (name, factorization) in self._found

    def learn(self, name: str, factorization: Factorization, squares: Squares) -> None:
        """Take in errors that another process worked out."""
        self._found[name, factorization] = squares

    def __call__(self, name: str, factorization: Factorization) -> Squares:
        """Return the squared errors of one matrix.

        Raises:
            SpecError: The name is unknown.
        """
        key = (name, factorization)
        if key not in self._found:
            if name not in self.weights:
                raise SpecError(
                    describe("estimate", "unknown matrix", got=name, expected=f"one of {len(self.weights)} matrices",
                             remedy="Use the weights of the network that is searched.")
                )  # fmt: skip
            self._found[key] = self._measure(name, factorization)
        return self._found[key]

    def whole(self, name: str) -> Squares:
        """Return the squared norms of the matrix itself."""
        if name not in self._wholes:
            self._wholes[name] = self._squares(name, np.asarray(self.weights[name], dtype=np.float32))
        return self._wholes[name]

    def _measure(self, name: str, factorization: Factorization) -> Squares:
        if factorization.format == "dense":
            return Squares(0.0, 0.0, 0.0)
        plain = factorization.tensorization.padding == (0, 0)
        if factorization.format == "low-rank" and plain and self.aware == "activation":
            if name not in self._by_rank:
                self._by_rank[name] = self._all_ranks(name)
            return self._by_rank[name][factorization.ranks[0] - 1]
        cut = self._cut(name, factorization)
        cores = (
            self.project(self.weights[name], factorization, second_moment=self._moment(name))
            if cut is None
            else cut(factorization.ranks)
        )
        return self._squares(name, (self.weights[name] - reconstruct(cores, factorization)).astype(np.float32))

    def _cut(self, name: str, factorization: Factorization) -> Leading | None:
        modes = factorization.tensorization
        key = (name, factorization.format, modes)
        if key not in self._leading:
            weight = np.asarray(self.weights[name], dtype=np.float64)
            metric = checked_metric(self._moment(name), None, shape=(weight.shape[0], weight.shape[1]))
            padded = modes.padding != (0, 0)
            self._leading[key] = None if padded else FORMATS[factorization.format].leading(weight, modes, metric=metric)
        return self._leading[key]

    def _moment(self, name: str) -> NDArray[np.float64] | None:
        """Return what the projection knows of the inputs."""
        return self.second_moments[name] if self.aware == "activation" else None

    def _all_ranks(self, name: str) -> list[Squares]:
        """Return the squared errors of the best approximation of every rank.

        It drops ``sum over k > rank of u_k u_k^T W`` with u_k the left singular vectors of ``W C^(1/2)``, whose rows
        are orthogonal under C; so the squares of the dropped parts add up in the first two norms, and with D in the
        third.
        """
        weight = np.asarray(self.weights[name], dtype=np.float64)
        floor = weight.shape[1] * float(np.finfo(np.float64).eps)
        left, values, _ = np.linalg.svd(weight @ root(self.second_moments[name], floor=floor)[0], full_matrices=False)
        parts = [np.square(left.T @ weight).sum(axis=1), values**2]
        gradients = self.gradient_moments.get(name)
        parts.append(np.zeros_like(values) if gradients is None else values**2 * _along_diagonal(left, gradients))
        dropped = [np.append(np.cumsum(part[::-1])[::-1][1:], 0.0).tolist() for part in parts]
        return [Squares(*each) for each in zip(*dropped, strict=True)]

    def _squares(self, name: str, matrix: NDArray[np.float32]) -> Squares:
        """Return the three squares; single precision is far finer than an estimate."""
        right = matrix @ self.second_moments[name].astype(np.float32)
        gradients = self.gradient_moments.get(name)
        fisher = 0.0 if gradients is None else float(np.vdot(gradients.astype(np.float32) @ right, matrix))
        return Squares(
            float(np.vdot(matrix, matrix)), max(0.0, float(np.vdot(right, matrix))), max(0.0, fisher)
        )  # fmt: skip


def _along_diagonal(vectors: Array, moment: Array) -> Array:
    """Return ``v_k^T D v_k`` for every column v_k."""
    result: Array = np.einsum("ok,op,pk->k", vectors, moment, vectors, optimize=True)
    return result
