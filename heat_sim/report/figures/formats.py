"""The figure of what designs make of the weight matrices: share of the parameters kept, format, rank, as heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from heat_sim.report.figures.matrix_formats import ABBREVIATIONS, MatrixFormat, matrix_formats
from heat_sim.report.figures.style import COLUMN_IN, PAGE_IN, STYLE
from heat_sim.tensorize.design import Design

_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_WIDE = 9
"""A map with more columns takes the width of a page."""

_MANY = 3
"""More maps than these stand in two columns, if they are not wide."""

_LETTERS_PER_INCH = 16
"""At 7 printer's points."""


def formats_figure(designs: Sequence[Design]) -> Figure:
    """Return the figure: a row per role of a matrix; colour is the share of the dense parameters kept.

    The text of a cell is the format, and below it the rank.

    If in every design all layers are alike there is one map with a column per design, else a map per design with a
    column per layer.

    Args:
        designs: At least one.

    >>> from heat_sim.tensorize.design import LayerDesign
    >>> from heat_sim.tensorize.factorization import Factorization
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> f = Factorization(format="low-rank", tensorization=Tensorization(out_modes=(8,), in_modes=(6,)), ranks=(2,))
    >>> layers = (("h.0.mlp.c_fc", LayerDesign(factorization=f, trees=((("X", "G2"), "G1"),))),)
    >>> design = Design(id="d01", model="tiny", tokens=16, architecture="edge", layers=layers)
    >>> [text.get_text() for text in formats_figure([design]).axes[0].texts][0].split()
    ['LR', '2']
    """
    matrices = {design.id: matrix_formats(design) for design in designs}
    every = [each for found in matrices.values() for each in found]
    scale = LogNorm(max(share for share in _SHARES if share <= max(_SHARES[0], min(each.share for each in every))), 1.0)
    maps = _maps(matrices)
    roles = list(dict.fromkeys(each.role for each in every))
    columns = max(len(columns) for columns, _ in maps.values())
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        beside = 2 if len(maps) > _MANY and columns <= _WIDE else 1
        lines = -(-len(maps) // beside)
        width = COLUMN_IN if beside == 1 and columns <= _WIDE else PAGE_IN
        figure = Figure(figsize=(width, 0.6 + (0.25 * len(roles) + 0.45) * lines), layout="constrained")
        grid = list(figure.subplots(lines, beside, squeeze=False, sharey=True).flat)
        panels = grid[: len(maps)]
        for spare in grid[len(maps) :]:
            spare.remove()
        for axes, (title, (names, cells)) in zip(panels, maps.items(), strict=True):
            _draw(axes, roles, names, cells, scale=scale)
            axes.set_title(title)
        for axes in panels[-beside:]:
            axes.set_xlabel("design, all layers alike" if "" in maps else "layer")
        _colour_bar(figure, panels, scale, aspect=25 * lines)
        used = {each.format: ABBREVIATIONS[each.format] for each in every}
        note = ", ".join(f"{short} {name}" for name, short in used.items()) + "; below it the rank"
        figure.supxlabel(fill(note, width=round(_LETTERS_PER_INCH * width)), fontsize=7)
    return figure


_Cells = Mapping[tuple[str, int], MatrixFormat]


def _maps(matrices: Mapping[str, Sequence[MatrixFormat]]) -> dict[str, tuple[list[str], _Cells]]:
    """Return names of the columns, and cells by role and column, by title of the map; "" if there is one for all."""
    if all(_is_alike(found) for found in matrices.values()):
        columns = [{each.role: each for each in found} for found in matrices.values()]
        return {"": (list(matrices), {(role, n): each for n, of in enumerate(columns) for role, each in of.items()})}
    return {
        design: (
            [str(layer) for layer in range(max(each.layer for each in found) + 1)],
            {(each.role, each.layer): each for each in found},
        )
        for design, found in matrices.items()
    }


def _is_alike(found: Sequence[MatrixFormat]) -> bool:
    looks: dict[str, set[tuple[float, str, str]]] = {}
    for each in found:
        looks.setdefault(each.role, set()).add(each.look)
    return all(len(of) == 1 for of in looks.values())


def _draw(axes: Axes, roles: Sequence[str], names: Sequence[str], cells: _Cells, *, scale: LogNorm) -> None:
    shares = np.full((len(roles), len(names)), np.nan)
    for (role, column), each in cells.items():
        shares[roles.index(role), column] = each.share
    image = axes.imshow(shares, norm=scale, cmap="cividis", aspect="auto")
    for (role, column), each in cells.items():
        red, green, blue, _ = image.cmap(scale(min(each.share, 1.0)))
        axes.text(
            column, roles.index(role), f"{ABBREVIATIONS[each.format]}\n{each.rank}".rstrip(), ha="center", va="center",
            fontsize=6, linespacing=0.95, color="white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(roles)), roles)
    for edges, line in ((range(1, len(names)), axes.axvline), (range(1, len(roles)), axes.axhline)):
        for edge in edges:
            line(edge - 0.5, color="white", linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _colour_bar(figure: Figure, panels: Sequence[Axes], scale: LogNorm, *, aspect: int) -> None:
    bar = figure.colorbar(ScalarMappable(norm=scale, cmap="cividis"), ax=panels, pad=0.02, aspect=aspect)
    ticks = [share for share in _SHARES if scale.vmin is not None and scale.vmin <= share]
    bar.set_ticks(ticks, labels=[f"{100 * share:g}%" for share in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label("parameters kept")
