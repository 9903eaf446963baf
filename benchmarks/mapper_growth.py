"""How the time of a mapping search grows with the divisors of the extents and with the levels of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.mapper_cases import MATMUL, THREE_LEVELS, Case, level, machine, matmul, timed
from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapper import MappingResult
from heat_sim.mapper.mesh import divisors

EXTENTS = (127, 509, 2039, 64, 512, 384, 576, 864, 1152, 1728, 3456, 5184)
"""Three primes, two powers of 2, then 2^a * 3^b."""

LEVELS = (2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One search.

    Attributes:
        extent: Of m, n and k; 0 if they differ.
        divisors: Of the extent.
        levels: Storage levels.
        cpu_seconds: The least of three fresh searches.
        result: What was found.
    """

    extent: int
    divisors: int
    levels: int
    cpu_seconds: float
    result: MappingResult


def by_divisors(extents: Sequence[int] = EXTENTS, *, budget: int | None = None) -> list[Point]:
    """Return a point per extent N of an N x N x N matmul, fewest divisors first."""
    points = [_point(matmul(n, n, n), THREE_LEVELS, extent=n, budget=budget) for n in extents]
    return sorted(points, key=lambda point: (point.divisors, point.extent))


def by_levels(levels: Sequence[int] = LEVELS, *, einsum: Einsum = MATMUL, budget: int | None = None) -> list[Point]:
    """Return a point per number of levels."""
    return [_point(einsum, hierarchy(count), extent=0, budget=budget) for count in levels]


def hierarchy(levels: int) -> Architecture:
    """Return a machine of so many levels: memory, then buffers from 65,536 down to 256 words at equal ratios.

    256 units sit side by side below the last but one; a word costs 6 pJ in the largest buffer and 0.5 pJ in the
    smallest.
    """
    steps = max(1, levels - 2)
    buffers = [
        level(
            f"L{place + 1}",
            0.5 * 12 ** (1 - share),
            round(256 * 256 ** (1 - share)),
            fanout_x=16 if place == levels - 3 else 1,
            fanout_y=16 if place == levels - 3 else 1,
        )
        for place, share in enumerate((place / steps if levels > 2 else 0.0) for place in range(levels - 1))
    ]
    mesh = 16 if levels == 2 else 1
    return machine(f"{levels} levels", level("DRAM", 64.0, fanout_x=mesh, fanout_y=mesh), *buffers)


def _point(einsum: Einsum, architecture: Architecture, *, extent: int, budget: int | None) -> Point:
    case = Case(name=architecture.name, einsum=einsum, architecture=architecture)
    timing = timed(case, repeat=3, budget=budget, most_s=5.0)
    return Point(
        extent=extent, divisors=len(divisors(extent)) if extent else 0, levels=len(architecture.levels),
        cpu_seconds=timing.cpu_seconds[0], result=timing.result,
    )  # fmt: skip


def draw(by_divisor: Sequence[Point], by_level: Sequence[Point], path: Path) -> None:
    """Write the figure: CPU seconds against divisors, and against levels; hollow where the optimum is not proven."""
    figure = Figure(figsize=(7.0, 2.9), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    _panel(left, [(point.divisors, point) for point in by_divisor], "divisors of N in an N x N x N matmul, 3 levels")
    _panel(right, [(point.levels, point) for point in by_level], f"storage levels, matmul {MATMUL.name}")
    right.set_xticks([point.levels for point in by_level])
    for point in by_divisor:
        left.annotate(str(point.extent), (point.divisors, point.cpu_seconds), xytext=(3, 3), fontsize=6,
                      textcoords="offset points")  # fmt: skip
    left.set_ylabel("CPU seconds")
    figure.savefig(path, format="png")


def _panel(axes: Axes, points: Sequence[tuple[int, Point]], label: str) -> None:
    axes.set_yscale("log")
    for proven, fill in ((True, "#0072B2"), (False, "white")):
        chosen = [(x, point.cpu_seconds) for x, point in points if point.result.optimal == proven]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), "o", color="#0072B2", markerfacecolor=fill, markersize=5)
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
