"""The table of `heat-sim decompose`: formats by compression by projection, and by how much each beats the baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from heat_sim.cli.format_cells import Cell, Record
from heat_sim.cli.format_plan import FROBENIUS, Plan
from heat_sim.report.tables import Column, to_csv, to_markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRow:
    """One row; numbers are None where nothing was measured.

    Attributes:
        format: Name of the format.
        compression: What was asked: dense parameters over those allowed.
        kept: Dense parameters over those that the cores have.
        projection: How the matrices were projected, or why they were not.
        weight_error: As in `Cell`.
        activation_error: As in `Cell`.
        accuracy: Share of the test rows classified as labelled, 0 to 1.
        gain: Accuracy less that of the Frobenius row, in points; None in that row.
        gain_error: Standard error of the gain, in points.
        seconds: As in `Cell`.
    """

    format: str
    compression: float
    projection: str
    kept: float | None = None
    weight_error: float | None = None
    activation_error: float | None = None
    accuracy: float | None = None
    gain: float | None = None
    gain_error: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One projection against Frobenius projection, over the pairs of format and compression that have both.

    Attributes:
        projection: The one that is compared.
        pairs: How many there are.
        lower_activation_error: In how many its activation error is lower.
        higher_accuracy: In how many its accuracy is higher.
        clearly_higher: In how many it is higher by more than two standard errors.
        median_gain: In points.
        worst_gain: In points.
        worst: Format and compression of the worst gain.
    """

    projection: str
    pairs: int
    lower_activation_error: int
    higher_accuracy: int
    clearly_higher: int
    median_gain: float
    worst_gain: float
    worst: str

    def __str__(self) -> str:
        return (
            f"{self.projection} against {FROBENIUS}, {self.pairs} pairs of format and compression: activation error "
            f"lower in {self.lower_activation_error}, accuracy higher in {self.higher_accuracy} "
            f"({self.clearly_higher} by more than two standard errors); gain in points: median "
            f"{self.median_gain:+.1f}, worst {self.worst_gain:+.1f} ({self.worst})"
        )


def paired_standard_error(one: str, other: str) -> float:
    """Return the standard error of the difference of two accuracies measured on the same rows, as a share.

    With b rows that only the one gets right, c that only the other does, n in all:
    ``sqrt(b + c - (b - c)^2 / n) / n``, the standard deviation of the n differences over the root of n (McNemar's
    comparison; Agresti 2002, section 10.1).

    Args:
        one: One 0 or 1 per row: whether it is classified as labelled.
        other: The same of the other model, row by row.

    >>> paired_standard_error("1100", "1100"), paired_standard_error("1100", "0011")
    (0.0, 0.5)
    """
    rows = len(one)
    only_one = sum(a > b for a, b in zip(one, other, strict=True))
    only_other = sum(a < b for a, b in zip(one, other, strict=True))
    return math.sqrt(only_one + only_other - (only_one - only_other) ** 2 / rows) / rows


def accuracy(right: str) -> float:
    """Return the share of ones, 0 to 1.

    >>> accuracy("1101")
    0.75
    """
    return right.count("1") / len(right)


def format_rows(record: Record, plan: Plan) -> list[FormatRow]:
    """Return the rows in the order of the plan, of the cells there are; a pair that cannot be is one row.

    >>> cells = [Cell(format="cp", compression=2.0, projection=p, parameters=4, right=right)
    ...          for p, right in (("frobenius", "1000"), ("activation", "1110"))]
    >>> record = Record(arguments={}, dense_parameters=9, dense_right="1111", cells=tuple(cells))
    >>> plan = Plan(formats=("cp",), compressions=(2.0,), projections=("frobenius", "activation"))
    >>> [(row.projection, row.kept, row.accuracy, row.gain) for row in format_rows(record, plan)]
    [('frobenius', 2.25, 0.25, None), ('activation', 2.25, 0.75, 50.0)]
    """
    cells = {cell.key: cell for cell in record.cells}
    rows = []
    for form, compression in plan.pairs:
        base = cells.get((form, compression, FROBENIUS))
        found = [cells[key] for name in plan.projections if (key := (form, compression, name)) in cells]
        if found and (reason := found[0].reason) is not None:
            rows.append(FormatRow(format=form, compression=compression, projection=f"none: {reason}"))
        else:
            rows += [_row(cell, base, dense_parameters=record.dense_parameters) for cell in found]
    return rows


def _row(cell: Cell, base: Cell | None, *, dense_parameters: int) -> FormatRow:
    gain = gain_error = None
    if base is not None and base is not cell:
        gain = 100 * (accuracy(cell.right) - accuracy(base.right))
        gain_error = 100 * paired_standard_error(cell.right, base.right)
    return FormatRow(
        format=cell.format,
        compression=cell.compression,
        projection=cell.projection,
        kept=dense_parameters / cell.parameters,
        weight_error=cell.weight_error,
        activation_error=cell.activation_error,
        accuracy=accuracy(cell.right),
        gain=gain,
        gain_error=gain_error,
        seconds=cell.seconds,
    )


def summaries(rows: Sequence[FormatRow]) -> list[Summary]:
    """Return one summary per projection that is compared with Frobenius projection; none if that was not measured.

    >>> base = FormatRow(format="cp", compression=2.0, projection="frobenius", activation_error=0.5, accuracy=0.6)
    >>> other = FormatRow(format="cp", compression=2.0, projection="activation", activation_error=0.4, accuracy=0.7,
    ...                   gain=10.0, gain_error=6.0)
    >>> [summary] = summaries([base, other])
    >>> summary.lower_activation_error, summary.higher_accuracy, summary.clearly_higher, summary.worst
    (1, 1, 0, 'cp 2x')
    """
    base = {(row.format, row.compression): row for row in rows if row.projection == FROBENIUS}
    compared: dict[str, list[FormatRow]] = {}
    for row in rows:
        if row.gain is not None:
            compared.setdefault(row.projection, []).append(row)
    return [_summary(name, found, [base[row.format, row.compression] for row in found])
            for name, found in compared.items()]  # fmt: skip


def _summary(projection: str, rows: Sequence[FormatRow], bases: Sequence[FormatRow]) -> Summary:
    gains = [(row.gain or 0.0, row.gain_error or 0.0) for row in rows]
    errors = [row.activation_error or 0.0 for row in rows]
    plain = [base.activation_error or 0.0 for base in bases]
    worst = min(rows, key=lambda row: row.gain or 0.0)
    return Summary(
        projection=projection,
        pairs=len(rows),
        lower_activation_error=sum(own < other for own, other in zip(errors, plain, strict=True)),
        higher_accuracy=sum(gain > 0 for gain, _ in gains),
        clearly_higher=sum(gain > 2 * error for gain, error in gains),
        median_gain=statistics.median(gain for gain, _ in gains),
        worst_gain=worst.gain or 0.0,
        worst=f"{worst.format} {_times(worst.compression)}",
    )


def _times(value: object) -> str:
    return f"{value:.3g}x"


FORMAT_COLUMNS = (
    Column(field="format", heading="format", is_text=True),
    Column(field="compression", heading="asked", show=_times),
    Column(field="kept", heading="true ratio", show="{:.2f}x".format),
    Column(field="projection", heading="projection", is_text=True),
    Column(field="weight_error", heading="weight error", show="{:.3f}".format),
    Column(field="activation_error", heading="activation error", show="{:.3f}".format),
    Column(field="accuracy", heading="accuracy (%)", show=lambda value: f"{100 * float(str(value)):.1f}"),
    Column(field="gain", heading="gain over Frobenius (points)", show="{:+.1f}".format),
    Column(field="gain_error", heading="its standard error", show="{:.1f}".format),
)
"""The columns that are printed."""


def as_markdown(record: Record, plan: Plan) -> str:
    """Return the dense model in one line, the table and one line per summary.

    >>> record = Record(arguments={}, dense_parameters=9000, dense_right="1101")
    >>> plan = Plan(formats=("cp",), compressions=(2.0,), projections=("frobenius",))
    >>> print(as_markdown(record, plan).splitlines()[0])
    dense: 9,000 parameters in the encoder matrices, accuracy 75.0 % on 4 test rows
    """
    rows = format_rows(record, plan)
    dense = (
        f"dense: {record.dense_parameters:,} parameters in the encoder matrices, accuracy "
        f"{100 * accuracy(record.dense_right):.1f} % on {len(record.dense_right):,} test rows"
    )
    lines = [f"* {summary}" for summary in summaries(rows)]
    return "\n".join([dense, "", to_markdown(rows, FORMAT_COLUMNS), *lines]) + "\n"


def exact_csv(record: Record, plan: Plan) -> str:
    """Return every field of the rows in full precision as CSV."""
    return to_csv(format_rows(record, plan), [Column(field=each.name, heading=each.name) for each in fields(FormatRow)])


def as_json(record: Record, plan: Plan) -> dict[str, Any]:
    """Return arguments, dense model, rows and summaries as plain values."""
    rows = format_rows(record, plan)
    return {
        "arguments": dict(record.arguments),
        "dense_parameters": record.dense_parameters,
        "dense_accuracy": accuracy(record.dense_right),
        "rows": [asdict(row) for row in rows],
        "summaries": [asdict(summary) for summary in summaries(rows)],
    }
