"""Plots for papers: the front of EDP gain against what it costs in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import replacing

# Okabe and Ito's colours: told apart by colour-blind readers and in grey.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
_DENSE = "dense"
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "pdf.fonttype": 42, "figure.dpi": 110,
}  # fmt: skip


class Point(Protocol):
    """What a row must have to be drawn."""

    @property
    def design(self) -> str:
        """Id; "dense" is the point of reference."""

    @property
    def edp_gain(self) -> float:
        """Over the dense network."""

    @property
    def estimated_loss(self) -> float:
        """By the estimate of the search."""

    @property
    def projected_accuracy(self) -> float | None:
        """Measured before training, 0 to 1."""

    @property
    def distilled_accuracy(self) -> float | None:
        """Measured after distillation, 0 to 1."""


def front_figure(rows: Sequence[Point]) -> Figure:
    """Return the figure of a front: EDP gain against estimated loss and, where measured, against accuracy.

    Args:
        rows: One of them the dense network, `design` "dense".
    """
    measured = [row for row in rows if row.projected_accuracy is not None]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.0 if measured else 3.5, 2.9), layout="constrained")
        axes = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
        _estimated(axes[0], rows)
        if measured:
            _measured(axes[1], measured)
    return figure


def plot_front(rows: Sequence[Point], target: Path) -> None:
    """Write the figure of a front as PNG (200 dpi) or PDF, by the ending of the target.

    Raises:
        SpecError: Another ending.
    """
    if target.suffix not in (".png", ".pdf"):
        raise SpecError(
            describe("plot", "unknown kind of picture", got=target.name, expected="a name ending in .png or .pdf",
                     remedy="Rename it.")
        )  # fmt: skip
    # No dates in the file: the same front is the same bytes.
    metadata = {"CreationDate": None} if target.suffix == ".pdf" else {}
    with replacing(target) as draft:
        front_figure(rows).savefig(draft, dpi=200, format=target.suffix[1:], metadata=metadata)


def _estimated(axes: Axes, rows: Sequence[Point]) -> None:
    designs = sorted((row for row in rows if row.design != _DENSE), key=lambda row: row.edp_gain)
    axes.plot(
        [row.estimated_loss for row in designs], [row.edp_gain for row in designs], "o-", color=_BLUE, markersize=4,
        linewidth=1, label="front",
    )  # fmt: skip
    for row in rows:
        if row.design == _DENSE:
            axes.plot([row.estimated_loss], [row.edp_gain], "s", color=_GREY, markersize=5, label="dense")
    axes.set_xlabel("estimated loss")
    _gain_axis(axes, rows)
    axes.legend(frameon=False)


def _measured(axes: Axes, rows: Sequence[Point]) -> None:
    for field, colour, marker, label in (
        ("projected_accuracy", _ORANGE, "o", "projected"),
        ("distilled_accuracy", _GREEN, "^", "distilled"),
    ):
        points = [
            (100 * getattr(row, field), row.edp_gain)
            for row in rows
            if row.design != _DENSE and getattr(row, field) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=label)
    for row in rows:
        if row.design == _DENSE and row.projected_accuracy is not None:
            axes.plot([100 * row.projected_accuracy], [row.edp_gain], "s", color=_GREY, markersize=5, label="dense")
            axes.axvline(100 * row.projected_accuracy, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xlabel("measured accuracy (%)")
    _gain_axis(axes, rows)
    axes.legend(frameon=False)


def _gain_axis(axes: Axes, rows: Sequence[Point]) -> None:
    axes.set_yscale("log")
    top = max(row.edp_gain for row in rows)
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= 1.5 * top]
    axes.set_yticks(ticks, [f"{tick}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylabel("EDP gain over dense")
