"""A plot of estimates against measured accuracy, one small panel per estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from heat_sim.report.files import replacing

_STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 9, "axes.labelsize": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.25,
}  # fmt: skip
_COLUMNS = 3
_LOG_FROM = 50.0
"""An axis is logarithmic if its largest value is so many times its smallest."""


def scatter_figure(
    estimates: Mapping[str, Sequence[float]], accuracies: Sequence[float], *, dense_accuracy: float
) -> Figure:
    """Return the figure: per estimate its value against the measured accuracy in per cent, a point per design.

    Args:
        estimates: Heading of the panel to one number per design.
        accuracies: Of the same designs, 0 to 1.
        dense_accuracy: Drawn as a dotted line.

    >>> len(scatter_figure({"weight": [0.1, 0.2]}, [0.8, 0.6], dense_accuracy=0.85).axes)
    1
    """
    columns = min(_COLUMNS, len(estimates))
    lines = -(-len(estimates) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.4 * columns, 2.2 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
        for (heading, values), axes in zip(estimates.items(), panels, strict=False):
            axes.plot(values, [100 * each for each in accuracies], "o", color="#0072B2", markersize=3.5)
            axes.axhline(100 * dense_accuracy, color="#555555", linewidth=0.8, linestyle=":")
            if min(values) > 0 and max(values) > _LOG_FROM * min(values):
                axes.set_xscale("log")
            axes.set_title(heading)
        for axes in panels:
            axes.remove()
        figure.supxlabel("estimate", fontsize=9)
        figure.supylabel("measured accuracy (%)", fontsize=9)
    return figure


def plot_scatter(figure: Figure, target: Path) -> None:
    """Write the figure as PNG, 200 dpi; the same figure is the same bytes."""
    with replacing(target) as draft:
        figure.savefig(draft, dpi=200, format="png")
