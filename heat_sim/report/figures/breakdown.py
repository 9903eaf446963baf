"""The figure of where energy and cycles of designs go: stacked bars per storage level and per part of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from heat_sim.codesign.network_cost import NetworkCost
from heat_sim.networks import Network, Role
from heat_sim.report.figures.style import COLOURS, PAGE_IN, STYLE
from heat_sim.tensorize.factorization import Factorization

PARTS: dict[Role, str] = {
    "query": "query, key, value", "key": "query, key, value", "value": "query, key, value",
    "query_key_value": "query, key, value", "attention_output": "attention output", "up": "FFN up", "gate": "FFN gate",
    "down": "FFN down",
}  # fmt: skip
"""Role of a matrix to the part of the network that it is counted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBar:
    """Where energy and cycles of one forward pass go.

    Attributes:
        name: Of the design.
        energy_pj_by_level: By name of the storage level or compute units, the outermost first.
        energy_pj_by_part: By part of the network, in the order in which they run.
        cycles_by_part: Likewise.
    """

    name: str
    energy_pj_by_level: Mapping[str, float]
    energy_pj_by_part: Mapping[str, float]
    cycles_by_part: Mapping[str, int]

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product."""
        return sum(self.energy_pj_by_part.values()) * sum(self.cycles_by_part.values())


def cost_bar(name: str, *, network: Network, factorizations: Mapping[str, Factorization], cost: NetworkCost) -> CostBar:
    """Return the bar of a design.

    Args:
        name: Of the design.
        network: What was costed.
        factorizations: Of every weight matrix, by its name.
        cost: What `NetworkCoster.cost` found for them without a vector unit: a part per factorization, in the order in
            which the matrices have them first, then a part per attention einsum.
    """
    levels: dict[str, float] = {}
    for _, times, option in cost.parts:
        for row in option.rows():
            for level, energy_pj in row.energy_pj.items():
                levels[level] = levels.get(level, 0.0) + times * energy_pj
    different = list(dict.fromkeys(factorizations[matrix.name] for matrix in network.matrices))
    options = dict(zip(different, cost.parts, strict=False))
    attention = cost.parts[len(different) :]
    if [part for part, _, _ in attention] != [einsum.name for einsum in network.attention]:
        raise AssertionError("parts are not in the order of the matrices")
    found = [(PARTS[matrix.role], 1, options[factorizations[matrix.name]][2]) for matrix in network.matrices]
    energies: dict[str, float] = {}
    cycles: dict[str, int] = {}
    for part, times, option in [*found, *((f"attention {part}", times, option) for part, times, option in attention)]:
        energies[part] = energies.get(part, 0.0) + times * option.energy_pj
        cycles[part] = cycles.get(part, 0) + times * option.cycles
    return CostBar(name=name, energy_pj_by_level=levels, energy_pj_by_part=energies, cycles_by_part=cycles)


def breakdown_figure(bars: Sequence[CostBar]) -> Figure:
    """Return the figure: energy by level, energy by part and cycles by part, one bar per design with its EDP gain over
    the first.

    Args:
        bars: At least one, the dense network first.

    >>> dense = CostBar(name="dense", energy_pj_by_level={"DRAM": 2e6, "MAC": 1e6}, energy_pj_by_part={"FFN up": 3e6},
    ...                 cycles_by_part={"FFN up": 1000})
    >>> [axes.get_xlabel() for axes in breakdown_figure([dense]).axes]
    ['energy (uJ)', 'energy (uJ)', 'cycles (thousand)']
    """
    labels = [f"{bar.name}  {bars[0].edp_pj_cycles / bar.edp_pj_cycles:.1f}x" for bar in bars]
    with mpl.rc_context({**STYLE, "axes.grid.axis": "x"}):
        figure = Figure(figsize=(PAGE_IN, 1.35 + 0.2 * len(bars)), layout="constrained")
        left, middle, right = figure.subplots(1, 3, sharey=True)
        names = list(dict.fromkeys(name for bar in bars for name in bar.energy_pj_by_level))
        shades = mpl.colormaps["cividis"].resampled(max(2, len(names)))  # from the outermost level inwards
        levels = {name: to_hex(shades(place)) for place, name in enumerate(names)}
        names = list(dict.fromkeys(name for bar in bars for name in bar.cycles_by_part))
        parts = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
        _stack(left, [bar.energy_pj_by_level for bar in bars], levels, unit=1e6)
        _stack(middle, [bar.energy_pj_by_part for bar in bars], parts, unit=1e6)
        _stack(right, [bar.cycles_by_part for bar in bars], parts, unit=1e3)
        for axes, title, label in (
            (left, "by level", "energy (uJ)"),
            (middle, "by part", "energy (uJ)"),
            (right, "by part", "cycles (thousand)"),
        ):
            axes.set_title(title)
            axes.set_xlabel(label)
        left.set_yticks(range(len(bars)), labels)
        left.invert_yaxis()
        left.set_ylabel("design, EDP gain")
        _legends(figure, levels, parts)
    return figure


def _stack(axes: Axes, values: Sequence[Mapping[str, float]], colours: Mapping[str, str], *, unit: float) -> None:
    """Draw one stacked bar per mapping, in the order of the colours."""
    ends = [0.0] * len(values)
    for name, colour in colours.items():
        widths = [each.get(name, 0.0) / unit for each in values]
        axes.barh(range(len(values)), widths, left=ends, height=0.7, color=colour, label=name, linewidth=0)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]


def _legends(figure: Figure, levels: Mapping[str, str], parts: Mapping[str, str]) -> None:
    """Put one legend in each lower corner; matplotlib keeps room for the one that is outside: the taller."""
    left, right = ([Patch(color=colour, label=name) for name, colour in colours.items()] for colours in (levels, parts))
    left_is_taller = -(-len(left) // 2) >= -(-len(right) // 3)
    figure.legend(handles=left, loc="outside lower left" if left_is_taller else "lower left", ncols=2)
    figure.legend(handles=right, loc="lower right" if left_is_taller else "outside lower right", ncols=3)
