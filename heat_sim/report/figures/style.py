"""What the figures of a run share: colours, sizes for a paper, the axis of gains, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import replacing

COLUMN_IN = 3.5
"""Width of a column of a paper, in inches."""

PAGE_IN = 7.16
"""Width of two columns and the gap between them, in inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's: told apart by colour-blind readers."""

GREY = "#555555"

MARKERS = "o^Dv<>ps"

STYLE: dict[Any, Any] = {
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.frameon": False, "legend.handlelength": 1.4, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.25, "pdf.fonttype": 42,
    "figure.dpi": 110,
}  # fmt: skip
"""Settings of matplotlib; letters stay letters in a PDF."""

_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def gain_axis(axes: Axes, gains: Sequence[float]) -> None:
    """Make the vertical axis one of EDP gains, logarithmic, with ticks such as 2x.

    Args:
        axes: Where the gains are drawn.
        gains: All of them, positive.
    """
    axes.set_yscale("log")
    ticks = [tick for tick in _TICKS if min(*gains, 1.0) / 1.5 <= tick <= 1.5 * max(gains)]
    axes.set_yticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylabel("EDP gain over dense")


def check_picture(target: Path) -> None:
    """Raise SpecError if the name of a file is not that of a PNG or a PDF.

    >>> check_picture(Path("front.pdf"))
    """
    if target.suffix not in (".png", ".pdf"):
        raise SpecError(
            describe("plot", "unknown kind of picture", got=target.name, expected="a name ending in .png or .pdf",
                     remedy="Rename it.")
        )  # fmt: skip


def save_figure(figure: Figure, target: Path) -> None:
    """Write a figure as PNG (200 dpi) or PDF, by the ending of the target; the same figure is the same bytes.

    Raises:
        SpecError: Another ending.
        OSError: The file cannot be written.
    """
    check_picture(target)
    metadata = {"CreationDate": None} if target.suffix == ".pdf" else {}
    with replacing(target) as draft:
        figure.savefig(draft, dpi=200, format=target.suffix[1:], metadata=metadata)
