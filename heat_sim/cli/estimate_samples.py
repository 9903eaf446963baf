"""The file of an estimate check: what was asked, and what was measured of each random design so far."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
        distilled_accuracy: The same share after distillation; None where it was not distilled.
    """

    factorizations: tuple[Factorization, ...]
    accuracy: float
    estimates: Mapping[str, float]
    milliseconds: Mapping[str, float | None]
    distilled_accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is known so far.

    Attributes:
        arguments: All that decides what is measured, as given on the command line.
        teacher: Name of the cached teacher's folder, which holds the hash of all that made it.
        dense_accuracy: Of the teacher, 0 to 1.
        samples: In the order of the designs.
        supernet: Name of the cached SuperNet's folder, if some samples have its estimate.
        supernet_seconds: That its projection and training took.
        distilled: How samples were distilled, if some were.
    """

    arguments: Mapping[str, object]
    teacher: str
    dense_accuracy: float
    samples: tuple[Sample, ...]
    supernet: str | None = None
    supernet_seconds: float | None = None
    distilled: Mapping[str, object] | None = None

    @property
    def losses(self) -> list[float]:
        """Accuracy of the dense model minus that of each sample."""
        return [self.dense_accuracy - sample.accuracy for sample in self.samples]

    @property
    def estimates(self) -> dict[str, list[float]]:
        """The estimates that all samples have, by name, in the order of the samples."""
        first, *others = self.samples
        return {
            name: [sample.estimates[name] for sample in self.samples]
            for name in first.estimates
            if all(name in sample.estimates for sample in others)
        }

    @property
    def of_distilled(self) -> Check:
        """The check of the distilled samples alone, whose accuracies are those after distillation."""
        found = [
            replace(sample, accuracy=sample.distilled_accuracy)
            for sample in self.samples
            if sample.distilled_accuracy is not None
        ]
        return replace(self, samples=tuple(found))


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
                distilled_accuracy=_number_or_none(sample.get("distilled_accuracy")),
            )
            for sample in data["samples"]
        ),
        supernet=None if data.get("supernet") is None else str(data["supernet"]),
        supernet_seconds=_number_or_none(data.get("supernet_seconds")),
        distilled=None if data.get("distilled") is None else dict(data["distilled"]),
    )


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)
