"""The table of measured accuracy seed by seed: what every single training reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.report.measured import Measured, Stage
from heat_sim.report.paired import paired_change
from heat_sim.report.tables import Column, as_percent, as_points

_TRAINED: tuple[Stage, ...] = ("layers", "logits", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRow:
    """One training of one design.

    Attributes:
        design: Its id.
        edp_gain: EDP of the dense encoder over that of the design.
        seed: Of the training.
        stage: How far it went when this was measured.
        value: The metric, 0 to 1.
        change: Mean difference from the dense model on the same rows.
        low: Lower end of its 95 % confidence interval over the rows.
        high: Upper end.
        seconds: Of the training up to there; None if it was not noted.
    """

    design: str
    edp_gain: float
    seed: int
    stage: Stage
    value: float
    change: float
    low: float
    high: float
    seconds: float | None


def seed_rows(front: Sequence[FrontRow], records: Sequence[Measured]) -> tuple[SeedRow, ...]:
    """Return a row per training and stage, by falling EDP gain, then design, seed and stage.

    Trainings of designs that are not of the front, and all of them without a measured dense model, are left out.

    >>> seed_rows((), ())
    ()
    """
    gains = {row.design: row.edp_gain for row in front}
    dense = next((record for record in records if record.stage == DENSE), None)
    if dense is None:
        return ()
    rows = []
    for record in records:
        if record.stage in _TRAINED and record.seed is not None and record.design in gains:
            change = paired_change(dense.per_row, [record.per_row])
            rows.append(
                SeedRow(
                    design=record.design, edp_gain=gains[record.design], seed=record.seed, stage=record.stage,
                    value=record.value, change=change.mean, low=change.low, high=change.high, seconds=record.seconds,
                )
            )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-row.edp_gain, row.design, row.seed, _TRAINED.index(row.stage))))


SEED_COLUMNS = (
    Column(field="design", heading="design", is_text=True),
    Column(field="edp_gain", heading="EDP gain", show="{:.2f}x".format),
    Column(field="seed", heading="seed", show=str),
    Column(field="stage", heading="trained", is_text=True),
    Column(field="value", heading="metric (%)", show=as_percent),
    Column(field="change", heading="change (points)", show=as_points),
    Column(field="low", heading="95 % from", show=as_points),
    Column(field="high", heading="to", show=as_points),
    Column(field="seconds", heading="training (s)", show="{:.0f}".format, optional=True),
)
"""Metrics in percent, changes in points against the dense model row by row; the intervals are over test rows only."""
