"""Measured accuracy: EDP gain against it, and the estimate beside it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.heat_rows import BERT, TOKENS, heat_row
from heat_sim.report.accuracy_table import AccuracyRow
from heat_sim.report.figures.style import COLOURS, GREY, PAGE_IN, STYLE, gain_axis

_BY_HAND = tuple(zip((COLOURS[1], COLOURS[2], COLOURS[3], COLOURS[7]), "^Dvs", strict=True))
"""Colours and markers of the baselines; the others are taken."""

_HEAT = tuple(heat_row(BERT, task, "cp", setting) for task in TOKENS for setting in ("a1", "a2", "a3"))
"""HEAT's best rows: CP on BERT-base."""


def accuracy_figure(rows: Sequence[AccuracyRow]) -> Figure:
    """Return EDP gain against the metric: as projected, and after training with 95 % intervals; baselines apart.

    Args:
        rows: One of them the dense model.
    """
    dense = next(row for row in rows if row.design == DENSE)
    base = dense.projected or 0.0
    searched = [row for row in rows if row.design != DENSE and "-" not in row.design]
    by_hand = [row for row in rows if "-" in row.design]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_IN, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.axvline(100 * base, color=GREY, linewidth=0.8, linestyle=":")
        axes.plot([100 * base], [1.0], marker="*", markersize=9, color=GREY, linestyle="", label="dense")
        axes.plot(
            [100 * base + row.metric_change for row in _HEAT], [row.edp_gain for row in _HEAT], marker="P",
            color=COLOURS[4], linestyle="", label="HEAT, CP on BERT-base\n(published, same points lost)",
        )  # fmt: skip
        _projected(axes, searched, colour=COLOURS[5], label="searched, as projected")
        _trained(axes, searched, base, colour=COLOURS[0], marker="o", label="searched, distilled")
        for place, form in enumerate(sorted({row.design.partition("-")[2] for row in by_hand})):
            of_form = [row for row in by_hand if row.design.partition("-")[2] == form]
            colour, marker = _BY_HAND[place % len(_BY_HAND)]
            _trained(axes, of_form, base, colour=colour, marker=marker, label=f"uniform {form}")
        gain_axis(axes, [row.edp_gain for row in rows])
        axes.set_xlabel("measured on the test rows (%)")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def estimate_figure(rows: Sequence[AccuracyRow]) -> Figure:
    """Return measured loss, in points, against the estimate: as projected and after training, with rank correlations.

    Args:
        rows: One of them the dense model.
    """
    dense = next(row for row in rows if row.design == DENSE)
    base = dense.projected or 0.0
    searched = [row for row in rows if row.design != DENSE]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_IN / 2, 2.8), layout="constrained")
        axes = figure.subplots()
        for name, values, colour, marker in (
            ("as projected", [row.projected for row in searched], COLOURS[5], "o"),
            ("distilled", [row.both for row in searched], COLOURS[0], "s"),
        ):
            pairs = [
                (row.estimated_loss, 100 * (base - value))
                for row, value in zip(searched, values, strict=True)
                if value is not None
            ]
            if pairs:
                x, y = np.array(pairs).T
                label = name
                if len(set(x)) > 2 and len(set(y)) > 1:
                    label += f" (Spearman {stats.spearmanr(x, y).statistic:.2f})"
                axes.plot(x, y, marker=marker, color=colour, linestyle="", label=label)
        axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("estimated loss")
        axes.set_ylabel("measured loss (points)")
        axes.legend()
    return figure


def _projected(axes: Axes, rows: Sequence[AccuracyRow], *, colour: str, label: str) -> None:
    points = [(100 * row.projected, row.edp_gain) for row in rows if row.projected is not None]
    if points:
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, linestyle="--", linewidth=0.8,
                  label=label)  # fmt: skip


def _trained(
    axes: Axes, rows: Sequence[AccuracyRow], base: float, *, colour: str, marker: str, label: str
) -> None:  # fmt: skip
    trained = [row for row in rows if row.seeds and row.change is not None]
    if not trained:
        return
    centres = [100 * (base + (row.change or 0.0)) for row in trained]
    errors = [
        [100 * ((row.change or 0.0) - (row.low or 0.0)) for row in trained],
        [100 * ((row.high or 0.0) - (row.change or 0.0)) for row in trained],
    ]
    axes.errorbar(centres, [row.edp_gain for row in trained], xerr=errors, marker=marker, markersize=4, color=colour,
                  linestyle="", linewidth=0.8, capsize=2, label=label)  # fmt: skip
    for row, centre in zip(trained, centres, strict=True):
        # A baseline's format is in the legend; below its point, as its size is that of a design beside it.
        name, _, form = row.design.partition("-")
        axes.annotate(
            name, (centre, row.edp_gain), textcoords="offset points", xytext=(3, -8 if form else 3), fontsize=6
        )
