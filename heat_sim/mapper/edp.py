"""The least energy-delay product of a whole network, from the fronts of its parts.

EDP is (sum of energies) x (sum of delays). E x T is quasi-concave for positive E and T, so over the
sums of one point per part its minimum lies at a vertex of the lower-left convex hull of those sums;
and the vertices come from merging the edges of the parts' own hulls by slope (docs/model.md).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""(energy, delay) in any fixed units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One point per part, summed.

    Attributes:
        energy: Sum over parts, each times its count.
        delay: Likewise.
        chosen: Index of the point chosen in each part.
    """

    energy: float
    delay: float
    chosen: tuple[int, ...]

    @property
    def edp(self) -> float:
        """Energy times delay."""
        return self.energy * self.delay


def lower_left_hull(points: Sequence[Point]) -> list[int]:
    """Return the indices of the vertices of the lower-left convex hull, least delay first.

    >>> lower_left_hull([(5, 1), (3, 2), (2.9, 3), (1, 4), (6, 6)])
    [0, 1, 3]
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0]))
    hull: list[int] = []
    for i in order:
        if hull and points[i][0] >= points[hull[-1]][0]:
            continue
        while len(hull) >= 2:
            (e0, t0), (e1, t1) = points[hull[-2]], points[hull[-1]]
            energy, delay = points[i]
            if (e1 - e0) * (delay - t0) >= (energy - e0) * (t1 - t0):
                hull.pop()
            else:
                break
        hull.append(i)
    return hull


def sum_vertices(parts: Sequence[Sequence[Point]], counts: Sequence[int]) -> list[Combination]:
    """Return the vertices of the lower-left hull of the sums of one point per part, least delay first.

    Args:
        parts: For each part its (energy, delay) options, all positive.
        counts: How many times each part occurs; at a vertex equal parts choose alike.

    >>> [(v.energy, v.delay) for v in sum_vertices([[(4, 1), (1, 3)], [(2, 2)]], [2, 1])]
    [(10, 4), (4, 8)]
    """
    hulls = [lower_left_hull(part) for part in parts]
    chosen = [hull[0] for hull in hulls]
    energy = sum(n * part[i][0] for n, part, i in zip(counts, parts, chosen, strict=True))
    delay = sum(n * part[i][1] for n, part, i in zip(counts, parts, chosen, strict=True))
    # From the fastest vertex along the merged edges: the steepest drop in energy per delay first. They are merged, not
    # sorted: where rounding makes two slopes of one part equal, its edges still come in order.
    edges = heapq.merge(
        *(
            [((part[b][0] - part[a][0]) / (part[b][1] - part[a][1]), p, a, b) for a, b in itertools.pairwise(hull)]
            for p, (part, hull) in enumerate(zip(parts, hulls, strict=True))
        ),
        key=lambda edge: edge[:2],
    )
    vertices = [Combination(energy=energy, delay=delay, chosen=tuple(chosen))]
    for _, p, a, b in edges:
        energy += counts[p] * (parts[p][b][0] - parts[p][a][0])
        delay += counts[p] * (parts[p][b][1] - parts[p][a][1])
        chosen[p] = b
        vertices.append(Combination(energy=energy, delay=delay, chosen=tuple(chosen)))
    return vertices


def least_edp(parts: Sequence[Sequence[Point]], counts: Sequence[int]) -> Combination:
    """Return the exact minimum of the summed energy times the summed delay.

    >>> least_edp([[(4, 1), (1, 3)], [(2, 2)]], [1, 1]).edp
    15
    """
    return min(sum_vertices(parts, counts), key=lambda vertex: vertex.edp)
