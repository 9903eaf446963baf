"""The best ways to run a cascade that were found so far, and what they beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from heat_sim.mapper.cascade.parts import HULL
from heat_sim.mapper.cascade.result import MappedCascade
from heat_sim.mapper.edp import Point, lower_left_hull, sum_vertices
from heat_sim.mapper.judge import Judge, is_beaten, judge_of
from heat_sim.mapper.objective import Objective


@dataclass(slots=True, kw_only=True, eq=False)
class Incumbent:
    """The best that was found so far, over one cascade or several that do the same.

    Attributes:
        objective: What is minimised; the hull keeps all its vertices.
        gap: What is better by no more than this share may be left out.
        front: Ways to run the whole, fewest cycles first.
        unfused: The best that fuses nothing.
        plans: Ways of running a group that were looked at.
    """

    objective: Objective
    gap: float = 0.0
    front: list[MappedCascade] = field(default_factory=list)
    unfused: MappedCascade | None = None
    plans: int = 0
    _judge: Judge | None = None

    def offer(self, cascades: Sequence[MappedCascade]) -> bool:
        """Take over what is better; return whether anything was."""
        before = self.front
        if self.objective.is_front:
            self.front = hull_of([*self.front, *cascades])
        else:
            self.front = sorted([*self.front, *cascades], key=self.value)[:1]
        for each in cascades:
            if not each.is_fused and (self.unfused is None or self.value(each) < self.value(self.unfused)):
                self.unfused = each
        self._judge = None
        return before != self.front

    def found(self) -> list[MappedCascade]:
        """Return the front, and the best that fuses nothing."""
        return [*self.front, *([] if self.unfused is None else [self.unfused])]

    def value(self, cascade: MappedCascade) -> float:
        """Return the objective, that of a hull being EDP."""
        return self.objective.value(cascade.energy_pj, cascade.cycles)

    @property
    def judge(self) -> Judge:
        """What the search for mappings sees of it."""
        if self._judge is None:
            best = min(map(self.value, self.front), default=math.inf) * (1 - self.gap)
            self._judge = judge_of(self.objective, best=best, points=self._points(self.front))
        return self._judge

    def hull_judge(self, known: Sequence[MappedCascade]) -> Judge:
        """Return the judge of a group that knows the hull so far."""
        return judge_of(HULL, best=math.inf, points=self._points(known))

    def _points(self, cascades: Sequence[MappedCascade]) -> list[Point]:
        # At as many cycles, less energy by the gap: so the hull of the whole is within the gap of the true one.
        return [(each.energy_pj * (1 - self.gap), float(each.cycles)) for each in cascades]

    def beats(self, energy_pj: float, cycles: float) -> bool:
        """Return whether nothing with at least so much energy and so many cycles is worth looking at."""
        return is_beaten(self.judge, energy_pj, cycles)


def hull_of(cascades: Sequence[MappedCascade]) -> list[MappedCascade]:
    """Return the vertices of the lower-left hull, fewest cycles first."""
    return [cascades[i] for i in lower_left_hull([each.point for each in cascades])]


def sums_of(parts: Sequence[Sequence[MappedCascade]]) -> list[MappedCascade]:
    """Return the hull of running one choice of each part after another."""
    points = [[each.point for each in part] for part in parts]
    found: list[MappedCascade] = []
    for vertex in sum_vertices(points, [1] * len(parts)):
        chosen = [part[i] for part, i in zip(parts, vertex.chosen, strict=True)]
        found.append(
            MappedCascade(
                groups=tuple(group for each in chosen for group in each.groups),
                energy_pj=sum(each.energy_pj for each in chosen),
                cycles=sum(each.cycles for each in chosen),
            )
        )
    return found
