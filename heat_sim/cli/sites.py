"""Where the estimated loss of a search comes from: a calibration on disk, a configuration alone, or a SuperNet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heat_sim.cache_folder import cache_folder
from heat_sim.codesign.estimate import AdditiveEstimate
from heat_sim.codesign.joint import Groups, one_input, rows, stacked, unrelated
from heat_sim.codesign.matrix_errors import MatrixErrors, SquaredErrors
from heat_sim.codesign.sites import ERRORS_FILE, StandInSite
from heat_sim.codesign.stored_errors import StoredErrors
from heat_sim.distill.calibration import Calibration, load_calibration
from heat_sim.mapper.cache import MappingCache
from heat_sim.networks import Network
from heat_sim.tensorize.projection_cache import ProjectionCache

Cores: TypeAlias = Literal["activation", "frobenius"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedSite:
    """Errors of the matrices of a calibration.

    Attributes:
        path: Of the calibration.
        digest: Of what is in it.
        gradients: Whether the moments of the gradients are used.
        cores: What the projection approximates.
        cache_file: Where errors are kept.
        groups: Matrices that are stacked as well.
    """

    path: Path = field(compare=False)
    digest: str
    gradients: bool
    cores: Cores
    cache_file: Path
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def open(self) -> SquaredErrors:
        """Return the errors, with nothing in memory."""
        known, groups = load_calibration(self.path), dict(self.groups)
        weights = stacked(groups, {**known.weights}, together=rows)
        moments = stacked(groups, known.second_moments, together=one_input)
        gradients = stacked(groups, known.gradient_moments if self.gradients else {}, together=unrelated)
        errors = MatrixErrors(
            weights=weights, second_moments=moments, project=ProjectionCache(), gradient_moments=gradients,
            aware="activation" if self.cores == "activation" else "weight",
        )  # fmt: skip
        content = {
            name: f"{self.cores} {_digest([weights[name], moments[name], *_gradient(errors, name)])}"
            for name in weights
        }
        store = MappingCache(self.cache_file, max_entries=500_000)
        return StoredErrors(errors=errors, content=content, store=store)


LossSite: TypeAlias = CalibratedSite | StandInSite
"""Where errors of matrices come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNetSite:
    """An estimate that needs no errors of matrices: what a SuperNet was measured to lose.

    Attributes:
        estimate: Estimated loss of a design.
        digest: Of all figures in it.
    """

    estimate: AdditiveEstimate
    digest: str


def calibrated_site(path: Path, *, estimate: str, cores: Cores, groups: Groups | None = None) -> CalibratedSite:
    """Return where the errors of a calibrated model come from.

    Raises:
        SpecError: The file is no calibration.
    """
    return CalibratedSite(
        path=path, digest=calibration_digest(load_calibration(path)), gradients=estimate == "fisher", cores=cores,
        cache_file=cache_folder() / ERRORS_FILE, groups=tuple((groups or {}).items()),
    )  # fmt: skip


def stand_in_site(network: Network) -> StandInSite:
    """Return where the errors of a network come from of which only the configuration is known.

    Args:
        network: With all matrices that are asked about, stacked ones too.
    """
    return StandInSite(network=network, cache_file=cache_folder() / ERRORS_FILE)


def calibration_digest(calibration: Calibration) -> str:
    """Return a SHA-256 of all arrays."""
    groups: tuple[Mapping[str, NDArray[Any]], ...] = (
        calibration.weights, calibration.second_moments, calibration.gradient_moments
    )  # fmt: skip
    return _digest(arrays[name] for arrays in groups for name in sorted(arrays))


def _gradient(errors: MatrixErrors, name: str) -> list[NDArray[np.float64]]:
    return [errors.gradient_moments[name]] if errors.has_gradients else []


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()
