"""Weights that stand in for those of a model of which only the configuration is known.

A configuration tells what a design costs, not what it loses. Designs can still be ranked by the error of their weights
if the matrices have the spectra of trained ones: random matrices have not, they are far harder to approximate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heat_sim.codesign.matrix_errors import Squares
from heat_sim.errors import SpecError, describe
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS, Leading
from heat_sim.tensorize.metric import PLAIN
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.projection_cache import Project
from heat_sim.tensorize.tensorization import Tensorization

Shape = tuple[int, int]
"""(out_features, in_features)."""

_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SQUARE = (3.02, 2.591, 2.379, 1.988, 1.688, 1.291, 1.026, 0.803, 0.617, 0.456, 0.303, 0.184, 0.081, 0.039, 0.001)
_OBLONG = (3.947, 2.127, 1.962, 1.672, 1.434, 1.212, 1.064, 0.933, 0.824, 0.723, 0.626, 0.54, 0.443, 0.39, 0.187)
"""Singular values at these shares of their number, over their root mean square: medians over the 24 matrices of
384 x 384 and the 12 of 384 x 1536 in the encoder of all-MiniLM-L6-v2 (`python -m benchmarks.spectra`)."""


def stand_in_spectrum(out_features: int, in_features: int) -> NDArray[np.float64]:
    """Return the singular values of a stand-in, falling, with a root mean square of about 1.

    >>> stand_in_spectrum(384, 384)[[0, -1]].tolist()
    [3.02, 0.001]
    """
    table = _SQUARE if out_features == in_features else _OBLONG
    return np.interp(np.linspace(0.0, 1.0, min(out_features, in_features)), _SHARES, table)


def stand_in_weight(out_features: int, in_features: int) -> NDArray[np.float64]:
    """Return a matrix with that spectrum and random singular vectors; the same for equal sizes.

    >>> bool(np.array_equal(stand_in_weight(6, 4), stand_in_weight(6, 4)))
    True
    """
    rng = np.random.default_rng([out_features, in_features])
    values = stand_in_spectrum(out_features, in_features)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(values))))[0] for size in (out_features, in_features))
    return np.asarray((left * values) @ right.T)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StandInErrors:
    """Squared errors of plain projections of stand-ins, one per shape, by matrix name.

    All three norms of `Squares` are the Frobenius norm: there are no inputs and no gradients.

    Attributes:
        shapes: Of the matrices, by name.
        project: For formats without leading parts.
    """

    shapes: Mapping[str, Shape]
    project: Project = project
    _weights: dict[Shape, NDArray[np.float64]] = field(default_factory=dict)
    _found: dict[Factorization, Squares] = field(default_factory=dict)
    _wholes: dict[Shape, Squares] = field(default_factory=dict)
    _leading: dict[tuple[str, Tensorization], Leading | None] = field(default_factory=dict)

    @property
    def has_gradients(self) -> bool:
        """There are none."""
        return False

    def knows(self, name: str, factorization: Factorization) -> bool:
        """Return whether the errors are at hand."""
        return name in self.shapes and (factorization.format == "dense" or factorization in self._found)

    def learn(self, name: str, factorization: Factorization, squares: Squares) -> None:
        """Take in errors that another process worked out."""
        if name in self.shapes:
            self._found[factorization] = squares

    def __call__(self, name: str, factorization: Factorization) -> Squares:
        """Return the squared errors of one matrix.

        Raises:
            SpecError: The name is unknown.
        """
        shape = self._shape(name)
        if factorization not in self._found:
            self._found[factorization] = self._measure(shape, factorization)
        return self._found[factorization]

    def whole(self, name: str) -> Squares:
        """Return the squared norms of the matrix itself."""
        shape = self._shape(name)
        if shape not in self._wholes:
            square = float(np.square(stand_in_spectrum(*shape)).sum())
            self._wholes[shape] = Squares(square, square, square)
        return self._wholes[shape]

    def _shape(self, name: str) -> Shape:
        if name not in self.shapes:
            raise SpecError(
                describe("estimate", "unknown matrix", got=name, expected=f"one of {len(self.shapes)} matrices",
                         remedy="Use the network that is searched.")
            )  # fmt: skip
        return self.shapes[name]

    def _measure(self, shape: Shape, factorization: Factorization) -> Squares:
        if factorization.format == "dense":
            return Squares(0.0, 0.0, 0.0)
        modes = factorization.tensorization
        padded = modes.padding != (0, 0)
        if factorization.format == "low-rank" and not padded:
            square = float(np.square(stand_in_spectrum(*shape))[factorization.ranks[0] :].sum())
        else:
            if shape not in self._weights:
                self._weights[shape] = stand_in_weight(*shape)
            weight = self._weights[shape]
            key = (factorization.format, modes)
            if key not in self._leading:
                self._leading[key] = None if padded else FORMATS[key[0]].leading(weight, modes, metric=PLAIN)
            cut = self._leading[key]
            cores = self.project(weight, factorization) if cut is None else cut(factorization.ranks)
            square = float(np.square(weight - reconstruct(cores, factorization)).sum())
        return Squares(square, square, square)


def stand_in_errors(network: Network, *, project: Project = project) -> StandInErrors:
    """Return the errors of stand-ins for the matrices of a network.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> network = network_from_config(SIZES["bert-base"], tokens=128, name="bert-base")
    >>> errors = stand_in_errors(network)
    >>> modes = Tensorization(out_modes=(768,), in_modes=(768,))
    >>> half = Factorization(format="low-rank", tensorization=modes, ranks=(192,))
    >>> lost = errors(network.matrices[0].name, half).weight / errors.whole(network.matrices[0].name).weight
    >>> round(lost**0.5, 2)
    0.5
    """
    return StandInErrors(
        shapes={matrix.name: (matrix.out_features, matrix.in_features) for matrix in network.matrices},
        project=project,
    )
