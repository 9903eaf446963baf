"""The table of measured accuracy: what a design gains, and what each stage of training makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.report.measured import Measured, Stage
from heat_sim.report.paired import paired_change
from heat_sim.report.tables import Column, as_percent, as_points


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """One design. Metrics are means over seeds, 0 to 1; changes are against the dense model on the same rows.

    Attributes:
        design: Its id.
        edp_gain: EDP of the dense encoder over that of the design.
        encoder_parameters: Weights of the encoder as they are stored.
        parameters: Of the whole model.
        estimated_loss: By the estimate of the search.
        seeds: How many trainings of both stages, or of the one that was run.
        projected: The metric without training; of the dense model its own.
        layers: After stage 1 alone.
        logits: After stage 2 alone.
        both: After both stages.
        spread: Standard deviation over seeds of the last of these; None with fewer than two.
        change: Of the last of these.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        seconds: Mean time of a training.
    """

    design: str
    edp_gain: float
    encoder_parameters: int
    parameters: int
    estimated_loss: float
    seeds: int
    projected: float | None = None
    layers: float | None = None
    logits: float | None = None
    both: float | None = None
    spread: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None


def accuracy_rows(front: Sequence[FrontRow], records: Sequence[Measured]) -> tuple[AccuracyRow, ...]:
    """Return a row per design that was measured, the dense model first, then by falling EDP gain."""
    dense = next((record for record in records if record.stage == DENSE), None)
    rows = [_row(row, [each for each in records if each.design == row.design], dense) for row in front]
    measured = [row for row in rows if row.projected is not None or row.both is not None or row.layers is not None]
    return tuple(sorted(measured, key=lambda row: (row.design != DENSE, -row.edp_gain)))


def _row(row: FrontRow, records: Sequence[Measured], dense: Measured | None) -> AccuracyRow:
    def of(stage: Stage) -> list[Measured]:
        return [record for record in records if record.stage == stage]

    def mean(stage: Stage) -> float | None:
        found = of(stage)
        return float(np.mean([record.value for record in found])) if found else None

    order: tuple[Stage, ...] = ("both", "logits", "layers", "projected")
    last = next((found for stage in order if (found := of(stage))), [])
    change = paired_change(dense.per_row, [each.per_row for each in last]) if dense and last else None
    times = [record.seconds for record in last if record.seconds is not None]
    return AccuracyRow(
        design=row.design, edp_gain=row.edp_gain, encoder_parameters=row.encoder_parameters,
        parameters=row.parameters, estimated_loss=row.estimated_loss,
        seeds=sum(record.seed is not None for record in last),
        projected=mean("dense") if row.design == DENSE else mean("projected"),
        layers=mean("layers"), logits=mean("logits"), both=mean("both"),
        spread=None if change is None else change.spread, change=None if change is None else change.mean,
        low=None if change is None else change.low, high=None if change is None else change.high,
        seconds=float(np.mean(times)) if times else None,
    )  # fmt: skip


def _millions(value: object) -> str:
    return f"{int(str(value)) / 1e6:.2f}"


ACCURACY_COLUMNS = (
    Column(field="design", heading="design", is_text=True),
    Column(field="edp_gain", heading="EDP gain", show="{:.2f}x".format),
    Column(field="encoder_parameters", heading="encoder (M)", show=_millions),
    Column(field="parameters", heading="params (M)", show=_millions),
    Column(field="estimated_loss", heading="est. loss", show="{:.3f}".format),
    Column(field="projected", heading="projected (%)", show=as_percent),
    Column(field="layers", heading="stage 1 (%)", show=as_percent, optional=True),
    Column(field="logits", heading="stage 2 alone (%)", show=as_percent, optional=True),
    Column(field="both", heading="both (%)", show=as_percent, optional=True),
    Column(field="spread", heading="sd of seeds", show=as_percent, optional=True),
    Column(field="seeds", heading="seeds", show=str),
    Column(field="change", heading="change (points)", show=as_points),
    Column(field="low", heading="95 % from", show=as_points),
    Column(field="high", heading="to", show=as_points),
    Column(field="seconds", heading="training (s)", show="{:.0f}".format, optional=True),
)
"""Metrics in percent, changes in points; of the last stage that was trained, against the dense model row by row."""
