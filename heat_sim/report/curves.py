"""The course of a training as a table: one line a step."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text

_HEADINGS = ("stage", "step", "loss", "learning_rate_share", "dev_loss", "dev_accuracy")


class Course(Protocol):
    """How one stage of training went."""

    @property
    def stage(self) -> str:
        """Its name."""

    @property
    def losses(self) -> Sequence[float]:
        """Training loss of each step."""

    @property
    def rates(self) -> Sequence[float]:
        """Learning rate of each step, as a share of the peak."""

    @property
    def checks(self) -> Sequence[tuple[int, float, float]]:
        """Step, loss and accuracy of every look at the dev rows; step 0 is before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One stage, as it was written.

    Attributes:
        stage: Its name.
        losses: Training loss of each step.
        rates: Learning rate of each step, as a share of the peak.
        checks: Step, loss and accuracy of every look at the dev rows; step 0 is before the first.
    """

    stage: str
    losses: tuple[float, ...]
    rates: tuple[float, ...]
    checks: tuple[tuple[int, float, float], ...]


def write_curve(target: Path, stages: Sequence[Course]) -> None:
    """Write the course of a training."""
    lines = [",".join(_HEADINGS)]
    for stage in stages:
        checks = {step: (loss, accuracy) for step, loss, accuracy in stage.checks}
        steps = [f"{loss:.6g},{rate:.6g}" for loss, rate in zip(stage.losses, stage.rates, strict=True)]
        for step, trained in enumerate([",", *steps]):
            if step or step in checks:
                looked = ",".join(f"{value:.6g}" for value in checks[step]) if step in checks else ","
                lines.append(f"{stage.stage},{step},{trained},{looked}")
    write_text(target, "\n".join(lines) + "\n")


def read_curve(path: Path) -> tuple[Curve, ...]:
    """Return the course of a training, stage by stage.

    Raises:
        SpecError: The file is not one of ours.
    """
    found: dict[str, list[dict[str, str]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for record in csv.DictReader(file):
                found.setdefault(record["stage"], []).append(record)
        return tuple(
            Curve(
                stage=stage,
                losses=tuple(float(each["loss"]) for each in records if each["step"] != "0"),
                rates=tuple(float(each["learning_rate_share"]) for each in records if each["step"] != "0"),
                checks=tuple(
                    (int(each["step"]), float(each["dev_loss"]), float(each["dev_accuracy"]))
                    for each in records
                    if each["dev_loss"]
                ),
            )
            for stage, records in found.items()
        )
    except (OSError, KeyError, ValueError, TypeError) as problem:
        raise SpecError(
            describe(str(path), "not the course of a training", got=problem, expected="a file that distill wrote",
                     remedy="Delete it.")
        ) from None  # fmt: skip
