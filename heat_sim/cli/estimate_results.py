"""What an estimate check ends with: a table of estimates, a plot, and the numbers as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from heat_sim.cli.estimate_samples import Check
from heat_sim.report.correlation import CORRELATION_COLUMNS, SMALL_LOSS, CorrelationRow, correlation_rows
from heat_sim.report.files import write_text
from heat_sim.report.scatter import plot_scatter, scatter_figure
from heat_sim.report.tables import to_csv, to_markdown

RESULT_FILES = ("estimates.csv", "estimates.md", "scatter.png")


def write_results(folder: Path, check: Check, *, rng: np.random.Generator) -> tuple[CorrelationRow, ...]:
    """Write table and plot into the folder; return the rows of the table, the best estimate first.

    Args:
        folder: Of the check.
        check: With all designs measured.
        rng: Draws the resamples of the intervals.
    """
    estimates = {name: [each.estimates[name] for each in check.samples] for name in check.samples[0].estimates}
    rows = correlation_rows(
        estimates, check.losses, milliseconds={name: _median(check, name) for name in estimates}, rng=rng
    )  # fmt: skip
    write_text(folder / "estimates.csv", to_csv(rows, CORRELATION_COLUMNS))
    write_text(folder / "estimates.md", results_text(check, rows))
    figure = scatter_figure(
        {_heading(row): estimates[row.estimate] for row in rows},
        [each.accuracy for each in check.samples],
        dense_accuracy=check.dense_accuracy,
    )
    plot_scatter(figure, folder / "scatter.png")
    return rows


def results_text(check: Check, rows: Sequence[CorrelationRow]) -> str:
    """Return the table, and a line on the designs below it."""
    percent = sorted(100 * each.accuracy for each in check.samples)
    small = sum(loss < SMALL_LOSS for loss in check.losses)
    return (
        f"{to_markdown(rows, CORRELATION_COLUMNS)}\n"
        f"{len(percent)} designs; dense accuracy {100 * check.dense_accuracy:.1f} %; as projected {percent[0]:.1f} to "
        f"{percent[-1]:.1f} %, median {statistics.median(percent):.1f} %; {small} lose less than 10 points\n"
    )


def as_json(check: Check, rows: Sequence[CorrelationRow]) -> dict[str, object]:
    """Return the table with what it is of; accuracies are fractions of 1."""
    return {
        "arguments": dict(check.arguments),
        "teacher": check.teacher,
        "dense_accuracy": check.dense_accuracy,
        "accuracies": [each.accuracy for each in check.samples],
        "estimates": [asdict(row) for row in rows],
    }


def _heading(row: CorrelationRow) -> str:
    return row.estimate if row.rho is None else f"{row.estimate}, rho {row.rho:.2f}"


def _median(check: Check, estimate: str) -> float | None:
    known = [each for sample in check.samples if (each := sample.milliseconds[estimate]) is not None]
    return statistics.median(known) if known else None
