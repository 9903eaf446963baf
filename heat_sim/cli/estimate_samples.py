"""The file of an estimate check: what was asked, and what was measured of each random design so far."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text
from heat_sim.report.run_folder import check_is_new
from heat_sim.tensorize.factorization import Factorization

SAMPLES_FILE = "samples.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was measured of one design.

    Attributes:
        factorizations: One per slot of the design space.
        accuracy: Share of the test rows classified as labelled, as projected, 0 to 1.
        estimates: By name of the estimate.
        milliseconds: Time of each estimate; None where its projections were on disk already.
    """

    factorizations: tuple[Factorization, ...]
    accuracy: float
    estimates: Mapping[str, float]
    milliseconds: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is known so far.

    Attributes:
        arguments: All that decides what is measured, as given on the command line.
        teacher: Name of the cached teacher's folder, which holds the hash of all that made it.
        dense_accuracy: Of the teacher, 0 to 1.
        samples: In the order of the designs.
    """

    arguments: Mapping[str, object]
    teacher: str
    dense_accuracy: float
    samples: tuple[Sample, ...]

    @property
    def losses(self) -> list[float]:
        """Accuracy of the dense model minus that of each sample."""
        return [self.dense_accuracy - sample.accuracy for sample in self.samples]


def write_check(folder: Path, check: Check) -> None:
    """Write the file into the folder, whole or not at all."""
    samples = [
        asdict(sample) | {"factorizations": [each.to_json() for each in sample.factorizations]}
        for sample in check.samples
    ]
    data = {**asdict(check), "samples": samples}
    write_text(folder / SAMPLES_FILE, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_check(folder: Path, *, arguments: Mapping[str, object]) -> Check | None:
    """Return what an earlier call with the same arguments left in the folder; None if the folder is new or empty.

    Args:
        folder: Of the check.
        arguments: Of this call.

    Raises:
        SpecError: The folder holds something else, or the file is damaged or of a call with other arguments.
    """
    path = folder / SAMPLES_FILE
    if not path.is_file():
        check_is_new(folder)
        return None
    try:
        check = _check(json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            describe(str(path), "not the samples of an estimate check", got=error, expected="a file it wrote",
                     remedy="Delete it, or give another --out.")
        ) from None  # fmt: skip
    names = sorted(arguments.keys() | check.arguments.keys())
    if differing := [name for name in names if arguments.get(name) != check.arguments.get(name)]:
        raise SpecError([
            describe(f"{folder}, {name}", "the folder is of a check with other arguments", got=arguments.get(name),
                     expected=check.arguments.get(name), remedy="Give the same, or another --out.")
            for name in differing
        ])  # fmt: skip
    return check


def _check(data: Any, *, where: str) -> Check:
    return Check(
        arguments=dict(data["arguments"]),
        teacher=str(data["teacher"]),
        dense_accuracy=_number(data["dense_accuracy"]),
        samples=tuple(
            Sample(
                factorizations=tuple(Factorization.from_json(each, where=where) for each in sample["factorizations"]),
                accuracy=_number(sample["accuracy"]),
                estimates={name: _number(value) for name, value in sample["estimates"].items()},
                milliseconds={
                    name: None if value is None else _number(value) for name, value in sample["milliseconds"].items()
                },
            )
            for sample in data["samples"]
        ),
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
