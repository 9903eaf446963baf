"""What co-design needs to know of a model: its weight matrices and the second moments of their inputs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Weight matrices and second moments by matrix name. Matrices with one input share one array object.

    Attributes:
        weights: W, (out_features, in_features) float32.
        second_moments: C = E[x x^T] over the tokens of the calibration text, (in_features, in_features) float64.
        tokens: How many tokens were averaged.
    """

    weights: Mapping[str, NDArray[np.float32]]
    second_moments: Mapping[str, NDArray[np.float64]]
    tokens: int

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            moment = self.second_moments.get(name)
            if moment is None or moment.shape != (weight.shape[1], weight.shape[1]):
                raise SpecError(
                    describe(
                        f"calibration, matrix {name}",
                        "no second moment that fits",
                        got="none" if moment is None else f"shape {moment.shape}",
                        expected=f"shape {(weight.shape[1], weight.shape[1])}",
                        remedy="Calibrate the same model.",
                    )
                )


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as one `.npz` file, atomically; a shared second moment is stored once."""
    arrays: dict[str, NDArray[np.float64] | NDArray[np.float32]] = {}
    places: dict[int, int] = {}
    moment_of = {}
    for name, weight in calibration.weights.items():
        moment = calibration.second_moments[name]
        moment_of[name] = places.setdefault(id(moment), len(places))
        arrays[f"weight/{name}"] = weight
        arrays[f"moment/{moment_of[name]}"] = moment
    index = json.dumps({"tokens": calibration.tokens, "moment_of": moment_of})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, index=np.array(index), **arrays)  # type: ignore[arg-type]  # its allow_pickle flag
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def load_calibration(path: Path) -> Calibration:
    """Return the calibration that `save_calibration` wrote.

    Raises:
        SpecError: Not such a file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "calibration.npz"
    ...     one = Calibration(weights={"a": np.ones((2, 3), np.float32)}, second_moments={"a": np.eye(3)}, tokens=7)
    ...     save_calibration(one, path)
    ...     load_calibration(path).weights["a"].shape
    (2, 3)
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            index = json.loads(str(arrays["index"]))
            moments = {place: arrays[f"moment/{place}"] for place in sorted(set(index["moment_of"].values()))}
            weights = {name: arrays[f"weight/{name}"] for name in index["moment_of"]}
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, TypeError) as problem:
        raise SpecError(
            describe(
                str(path),
                "not a calibration",
                got=problem,
                expected="a file written by save_calibration",
                remedy="Delete it and calibrate again.",
            )
        ) from None
    return Calibration(
        weights=weights,
        second_moments={name: moments[place] for name, place in index["moment_of"].items()},
        tokens=int(index["tokens"]),
    )
