"""The figure of how far searches have come after each batch of designs: the hypervolume of their fronts."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from heat_sim.codesign.comparison import Searched, compare
from heat_sim.report.figures.hypervolume_history import hypervolume_history
from heat_sim.report.figures.style import COLOURS, COLUMN_IN, MARKERS, STYLE


def hypervolume_figure(runs: Sequence[Searched]) -> Figure:
    """Return the figure: hypervolume of (EDP over dense, estimated loss) towards (1, 1) against designs costed.

    A marker stands after each batch of as many designs as the run's population, and after the last design. Designs that
    a generation repeats are costed once, so that a batch takes one generation or more.

    Args:
        runs: At least one, with their points in the order in which they were costed.

    Raises:
        SpecError: A run cannot be compared with the first.

    >>> from heat_sim.codesign.points import Point
    >>> half = Point(energy_pj=2.0, cycles=1, matrix_parameters=1, estimated_loss=0.5)
    >>> run = Searched(name="a", arguments={"population": 2}, dense_edp_pj_cycles=4.0, points=(half,) * 3)
    >>> [float(each) for each in hypervolume_figure([run]).axes[0].get_lines()[0].get_xdata()]
    [2.0, 3.0]
    """
    compare(runs, losses=())  # refuses what cannot be compared
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_IN, 2.2 + (0.15 * len(runs) if len(runs) > 1 else 0)), layout="constrained")
        axes = figure.subplots()
        for place, run in enumerate(runs):
            ends, volumes = after_batches(run)
            axes.plot(
                ends, volumes, color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=3,
                linewidth=1, label=run.name,
            )  # fmt: skip
        axes.set_xlabel("designs costed")
        axes.set_ylabel("hypervolume towards (1, 1)")
        axes.set_xlim(left=0)
        if len(runs) > 1:
            figure.legend(loc="outside lower center", ncols=1)
    return figure


def after_batches(run: Searched) -> tuple[list[int], list[float]]:
    """Return how many designs were costed at the end of each batch, and the hypervolume of their front.

    A batch is the population in the run's arguments; one design, if they hold none.
    """
    found = ((point.edp_pj_cycles / run.dense_edp_pj_cycles, point.estimated_loss) for point in run.points)
    history = hypervolume_history(found, worst=(1.0, 1.0))
    population = run.arguments.get("population")
    batch = population if type(population) is int and population > 0 else 1
    ends = [*range(batch, len(history), batch), len(history)] if history else []
    return ends, [history[end - 1] for end in ends]
