"""Training curves: loss and accuracy over the steps of both stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from heat_sim.report.curves import Curve
from heat_sim.report.figures.style import COLOURS, PAGE_IN, STYLE

_SMOOTHED = 50
"""Steps over which a training loss is averaged for the eye."""


def training_figure(trainings: Mapping[str, Sequence[Curve]]) -> Figure:
    """Return the training loss of every stage and the accuracy on the dev rows, over the steps, a colour a training.

    Args:
        trainings: Name of each training to its stages.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE_IN, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, (name, stages) in enumerate(sorted(trainings.items())):
            colour = COLOURS[place % len(COLOURS)]
            start = 0
            label: str | None = name
            for curve in stages:
                width = max(1, min(_SMOOTHED, len(curve.losses) // 4))
                smooth = np.convolve(curve.losses, np.full(width, 1 / width), mode="valid")
                left.plot(start + width + np.arange(len(smooth)) - 1, smooth, color=colour, linewidth=0.8, label=label)
                label = None
                looks = [(start + step, 100 * accuracy) for step, _, accuracy in curve.checks if np.isfinite(accuracy)]
                if looks:
                    right.plot(*zip(*looks, strict=True), color=colour, marker="o", markersize=3, linewidth=0.8)
                start += len(curve.losses)
        left.set_yscale("log")
        left.set_xlabel("step")
        left.set_ylabel("training loss (of the stage)")
        right.set_xlabel("step")
        right.set_ylabel("accuracy on dev rows (%)")
        if len(trainings) <= len(COLOURS):
            left.legend()
    return figure
