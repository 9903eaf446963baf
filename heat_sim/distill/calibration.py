"""What co-design needs to know of a model: its weight matrices and the moments of what meets them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Weight matrices and moments by matrix name. Matrices with one input share one array of second moments.

    Attributes:
        weights: W, (out_features, in_features) float32.
        second_moments: C = E[x x^T] over the tokens of the calibration text, (in_features, in_features) float64.
        tokens: How many tokens were averaged.
        gradient_moments: D = E[g g^T] of the gradient g of a sequence's loss at the output, over the same tokens,
            (out_features, out_features) float64; empty if the text had no labels.
    """

    weights: Mapping[str, NDArray[np.float32]]
    second_moments: Mapping[str, NDArray[np.float64]]
    tokens: int
    gradient_moments: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for name, (rows, columns) in ((name, weight.shape) for name, weight in self.weights.items()):
            wanted = [("second moment", self.second_moments, columns)]
            if self.gradient_moments:
                wanted.append(("gradient moment", self.gradient_moments, rows))
            for what, moments, size in wanted:
                moment = moments.get(name)
                if moment is None or moment.shape != (size, size):
                    problems.append(
                        describe(
                            f"calibration, matrix {name}",
                            f"no {what} that fits",
                            got="none" if moment is None else f"shape {moment.shape}",
                            expected=f"shape {(size, size)}",
                            remedy="Calibrate the same model.",
                        )
                    )
        if problems:
            raise SpecError(problems)


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
        if calibration.gradient_moments:
            arrays[f"gradient/{name}"] = calibration.gradient_moments[name]
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
            gradients = {name: arrays[f"gradient/{name}"] for name in weights if f"gradient/{name}" in arrays}
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
        gradient_moments=gradients,
    )
