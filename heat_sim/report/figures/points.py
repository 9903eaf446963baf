"""The figure of all costed points of a search: its front, the dense point, the chosen designs, fronts of other runs."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.comparison import Searched, compare
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.pareto import non_dominated
from heat_sim.report.figures.style import COLOURS, COLUMN_IN, GREY, MARKERS, STYLE, gain_axis

_LABEL_OFFSET = (-3, 2)
"""From a chosen design to its label, in printer's points: up and to the left there is no point, for it would be on the
front."""


def points_figure(run: Searched, rows: Sequence[FrontRow], *, others: Sequence[Searched] = ()) -> Figure:
    """Return the figure: EDP gain over the dense network against estimated loss, one dot per costed design.

    Args:
        run: The search.
        rows: Its dense row and those of its chosen designs, which are labelled with their ids.
        others: Searches whose fronts are drawn beside its own; gains are over their own dense network.

    Raises:
        SpecError: A run cannot be compared with the first.

    >>> from heat_sim.codesign.points import Point
    >>> dense = FrontRow(design="dense", edp_gain=1.0, energy_pj=4.0, cycles=1, edp_pj_cycles=4.0, parameters=1,
    ...                  encoder_parameters=1, estimated_loss=0.0)
    >>> half = Point(energy_pj=2.0, cycles=1, matrix_parameters=1, estimated_loss=0.2)
    >>> run = Searched(name="a", arguments={}, dense_edp_pj_cycles=4.0, points=(half,))
    >>> [line.get_label() for line in points_figure(run, [dense]).axes[0].get_lines()]
    ['costed designs', 'front', 'dense']
    """
    compare([run, *others], losses=())  # refuses what cannot be compared
    costed = _gains_by_loss(run)
    fronts = [(f"front of {other.name}", _front(other)) for other in others]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_IN, 2.9 + 0.15 * len(others)), layout="constrained")
        axes = figure.subplots()
        axes.plot(
            *_columns(costed), ".", color=GREY, alpha=0.3, markersize=4, markeredgewidth=0, label="costed designs"
        )
        name = f"front of {run.name}" if others else "front"
        axes.plot(*_columns(_front(run)), "-", color=COLOURS[0], linewidth=1.2, label=name, zorder=2.5)
        for place, (label, front) in enumerate(fronts, start=1):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            axes.plot(
                *_columns(front), marker=marker, markersize=2.5, linewidth=0.9, linestyle="--", color=colour,
                label=label,
            )  # fmt: skip
        _chosen(axes, [row for row in rows if row.design != DENSE])
        dense = [(row.estimated_loss, row.edp_gain) for row in rows if row.design == DENSE]
        axes.plot(*_columns(dense), "s", color="black", markersize=5, linestyle="none", label="dense", zorder=2.6)
        estimate = run.arguments.get("estimate")
        axes.set_xlabel("estimated loss" if estimate is None else f"estimated loss ({estimate} estimate)")
        gain_axis(axes, [gain for _, gain in [*costed, *dense, *(point for _, front in fronts for point in front)]])
        axes.margins(y=0.1)
        legend = figure.legend(loc="outside lower center", ncols=1 if others else 2)  # names of runs are long
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)
    return figure


def _chosen(axes: Axes, rows: Sequence[FrontRow]) -> None:
    if not rows:
        return
    points = [(row.estimated_loss, row.edp_gain) for row in rows]
    axes.plot(
        *_columns(points),
        "o",
        color=COLOURS[0],
        markerfacecolor="white",
        markersize=4.5,
        zorder=2.6,
        label="chosen designs",
    )
    for row, point in zip(rows, points, strict=True):
        axes.annotate(
            row.design, point, xytext=_LABEL_OFFSET, textcoords="offset points", ha="right", va="bottom", fontsize=7,
            color=COLOURS[0],
        )  # fmt: skip


def _gains_by_loss(run: Searched) -> list[tuple[float, float]]:
    return [(point.estimated_loss, run.dense_edp_pj_cycles / point.edp_pj_cycles) for point in run.points]


def _front(run: Searched) -> list[tuple[float, float]]:
    """Return the points of the front, the least loss first."""
    return non_dominated(_gains_by_loss(run), lambda point: (point[0], -point[1]))


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [first for first, _ in points], [second for _, second in points]
