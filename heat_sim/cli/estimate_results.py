"""What an estimate check ends with: tables of estimates, a plot, and the numbers as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from heat_sim.cli.estimate_gain import Gain, rank_gain
from heat_sim.cli.estimate_samples import Check
from heat_sim.report.correlation import CORRELATION_COLUMNS, SMALL_LOSS, CorrelationRow, correlation_rows
from heat_sim.report.files import write_text
from heat_sim.report.scatter import plot_scatter, scatter_figure
from heat_sim.report.tables import to_csv, to_markdown

RESULT_FILES = ("estimates.csv", "estimates.md", "scatter.png")
DISTILLED_FILES = ("distilled.csv", "distilled.png")
"""Written besides if designs were distilled."""

FEWEST_DISTILLED = 3
"""With fewer distilled designs there is no second table."""
_TRAINED, _BASELINES = "supernet", ("activation", "fisher")
"""The estimate whose gain is reported, and over which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The tables of a check.

    Attributes:
        rows: Estimates against the accuracy as projected, the best one first.
        distilled_rows: The same against the accuracy after distillation; empty if too few designs were distilled.
        gains: Of the SuperNet over other estimates; empty without one.
    """

    rows: tuple[CorrelationRow, ...]
    distilled_rows: tuple[CorrelationRow, ...]
    gains: tuple[Gain, ...]


def write_results(folder: Path, check: Check, *, rng: np.random.Generator) -> Results:
    """Write tables and plots into the folder; return the tables.

    Args:
        folder: Of the check.
        check: With all designs measured.
        rng: Draws the resamples of the intervals.
    """
    rows = _rows(check, rng)
    distilled = check.of_distilled
    enough = len(distilled.samples) >= FEWEST_DISTILLED
    distilled_rows = _rows(distilled, rng) if enough else ()
    against = [("as projected", check), *([("after distillation", distilled)] if enough else [])]
    gains = tuple(gain for text, each in against for gain in _gains(each, text, rng))
    results = Results(rows=rows, distilled_rows=distilled_rows, gains=gains)
    write_text(folder / "estimates.csv", to_csv(rows, CORRELATION_COLUMNS))
    write_text(folder / "estimates.md", results_text(check, results))
    _plot(folder / "scatter.png", check, rows)
    if enough:
        write_text(folder / "distilled.csv", to_csv(distilled_rows, CORRELATION_COLUMNS))
        _plot(folder / "distilled.png", distilled, distilled_rows)
    return results


def results_text(check: Check, results: Results) -> str:
    """Return the tables, and lines on the designs below them."""
    text = _table(check, results.rows, "as projected")
    if results.distilled_rows:
        text += f"\n{_table(check.of_distilled, results.distilled_rows, 'after distillation')}"
    lines = [str(gain) for gain in results.gains]
    if check.supernet is not None and check.supernet_seconds is not None:
        lines.append(f"SuperNet {check.supernet}: projected and trained in {check.supernet_seconds:,.0f} s")
    return text + ("\n" + "".join(f"{line}\n" for line in lines) if lines else "")


def as_json(check: Check, results: Results) -> dict[str, object]:
    """Return the tables with what they are of; accuracies are fractions of 1."""
    data: dict[str, object] = {
        "arguments": dict(check.arguments),
        "teacher": check.teacher,
        "dense_accuracy": check.dense_accuracy,
        "accuracies": [each.accuracy for each in check.samples],
        "estimates": [asdict(row) for row in results.rows],
    }
    if check.supernet is not None:
        data |= {"supernet": check.supernet, "gains": [asdict(gain) for gain in results.gains]}
    if check.distilled is not None:
        data |= {
            "distilled": dict(check.distilled),
            "distilled_accuracies": [each.distilled_accuracy for each in check.samples],
            "distilled_estimates": [asdict(row) for row in results.distilled_rows],
        }
    return data


def _rows(check: Check, rng: np.random.Generator) -> tuple[CorrelationRow, ...]:
    estimates = check.estimates
    return correlation_rows(
        estimates, check.losses, milliseconds={name: _median(check, name) for name in estimates}, rng=rng
    )  # fmt: skip


def _gains(check: Check, against: str, rng: np.random.Generator) -> list[Gain]:
    estimates = check.estimates
    if _TRAINED not in estimates:
        return []
    found = [
        rank_gain((_TRAINED, name), (estimates[_TRAINED], estimates[name]), check.losses, against=against, rng=rng)
        for name in _BASELINES
    ]
    return [gain for gain in found if gain is not None]


def _table(check: Check, rows: tuple[CorrelationRow, ...], what: str) -> str:
    percent = sorted(100 * each.accuracy for each in check.samples)
    small = sum(loss < SMALL_LOSS for loss in check.losses)
    return (
        f"{to_markdown(rows, CORRELATION_COLUMNS)}\n"
        f"{len(percent)} designs; dense accuracy {100 * check.dense_accuracy:.1f} %; {what} {percent[0]:.1f} to "
        f"{percent[-1]:.1f} %, median {statistics.median(percent):.1f} %; {small} lose less than 10 points\n"
    )


def _plot(target: Path, check: Check, rows: tuple[CorrelationRow, ...]) -> None:
    estimates = check.estimates
    figure = scatter_figure(
        {_heading(row): estimates[row.estimate] for row in rows},
        [each.accuracy for each in check.samples],
        dense_accuracy=check.dense_accuracy,
    )
    plot_scatter(figure, target)


def _heading(row: CorrelationRow) -> str:
    return row.estimate if row.rho is None else f"{row.estimate}, rho {row.rho:.2f}"


def _median(check: Check, estimate: str) -> float | None:
    known = [each for sample in check.samples if (each := sample.milliseconds[estimate]) is not None]
    return statistics.median(known) if known else None
