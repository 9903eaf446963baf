"""What was measured of the designs of a run: one record per design, stage and seed, in a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text

MEASURED = "measured.jsonl"

Stage = Literal["dense", "projected", "layers", "logits", "both"]
"""How far training went: the dense model; the design as projected; after stage 1 only, stage 2 only, or both."""

_STAGES: tuple[str, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement on the test rows.

    Attributes:
        design: Id; "dense" for the dense model.
        stage: How far training went.
        seed: Of the training; None where nothing was trained.
        metric: Name of the metric.
        value: The metric, 0 to 1.
        per_row: The metric of every test row, 0 to 1, in the order of the task.
        dev_value: Share of places of the dev rows that are right, 0 to 1, at the weights kept; None if not watched.
        seconds: Of the training up to there, all its sessions together; None where nothing was trained.
        settings: Key of the training's settings; of a projection its name.
    """

    design: str
    stage: Stage
    seed: int | None
    metric: str
    value: float
    per_row: tuple[float, ...]
    dev_value: float | None = None
    seconds: float | None = None
    settings: str = ""

    @property
    def what(self) -> tuple[str, str, int | None]:
        """Design, stage and seed: a later measurement of the same replaces an earlier one."""
        return self.design, self.stage, self.seed


def dump_measured(record: Measured) -> str:
    """Return one line; rows that are right or wrong are written as digits.

    >>> dump_measured(Measured(design="d01", stage="both", seed=0, metric="accuracy", value=0.5, per_row=(1.0, 0.0)))
    ... # doctest: +ELLIPSIS
    '{"design": "d01", "stage": "both", "seed": 0, "metric": "accuracy", "value": 0.5, "per_row": "10", ...}'
    """
    rows = record.per_row
    text = "".join(str(int(each)) for each in rows) if set(rows) <= {0.0, 1.0} else [round(each, 6) for each in rows]
    return json.dumps({**asdict(record), "per_row": text})


def write_measured(folder: Path, records: Sequence[Measured]) -> None:
    """Write the records of a run, whole or not at all; of several of the same design, stage and seed the last one."""
    latest = {record.what: record for record in records}
    ordered = sorted(latest.values(), key=_place)
    write_text(folder / MEASURED, "".join(dump_measured(record) + "\n" for record in ordered))


def _place(record: Measured) -> tuple[bool, str, int, int]:
    return record.stage != "dense", record.design, _STAGES.index(record.stage), record.seed or 0


def read_measured(folder: Path) -> list[Measured]:
    """Return the records of a run, none if nothing was measured.

    Raises:
        SpecError: The file is not one of ours.
    """
    path = folder / MEASURED
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            data: dict[str, Any] = json.loads(line)
            rows = data.pop("per_row")
            record = Measured(per_row=tuple(map(float, rows)), **data)
            if record.stage not in _STAGES or not 0 <= record.value <= 1:
                raise ValueError(f"stage {record.stage}, value {record.value}")
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise SpecError(
                describe(f"{path}:{number}", "not a measurement", got=problem, expected="a line that distill wrote",
                         remedy="Delete the line: it is measured again by heat-sim distill.")
            ) from None  # fmt: skip
        records.append(record)
    return records
