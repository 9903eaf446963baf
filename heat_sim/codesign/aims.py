"""What a search minimises, and what a design must keep to."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heat_sim.codesign.points import Point
from heat_sim.errors import SpecError, describe

Measure = Callable[[Point], float]

MEASURES: Mapping[str, Measure] = {
    "edp": lambda point: point.edp_pj_cycles,
    "energy": lambda point: point.energy_pj,
    "cycles": lambda point: float(point.cycles),
    "parameters": lambda point: float(point.matrix_parameters),
    "loss": lambda point: point.estimated_loss,
    "buffer": lambda point: float(point.buffer_bits),
    "area": lambda point: point.area_mm2,
}
"""Of one forward pass through the encoder: pJ x cycles, pJ, cycles; words of its stored weights; estimated loss; bits
occupied on the chip at the peak; area of the machine in mm2."""

_CONSTRAINT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+.\w]+)\s*")
_SENSES = {"<=": 1.0, ">=": -1.0}
_COMPARES = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A bound on a measure, or on the EDP gain over the dense network.

    Attributes:
        measure: A key of `MEASURES`, or "gain".
        sense: "<=" or ">=".
        bound: In the unit of the measure.
    """

    measure: str
    sense: str
    bound: float

    def violation(self, point: Point, dense: Point) -> float:
        """Return by how much the bound is missed, relative to it; at most 0 if it is kept."""
        value = _value(self.measure, point, dense)
        if _COMPARES[self.sense](value, self.bound):
            return 0.0
        return _SENSES[self.sense] * (value - self.bound) / (abs(self.bound) or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """Objectives and constraints of a search.

    Attributes:
        objectives: Two keys of `MEASURES` or more, minimised.
        constraints: What every design of the front keeps to.

    >>> aims = Aims(objectives=("edp", "loss"), constraints=parse_constraints(["loss <= 0.3", "gain >= 2"]))
    >>> dense = Point(energy_pj=8.0, cycles=10, matrix_parameters=9, estimated_loss=0.0)
    >>> half = Point(energy_pj=4.0, cycles=6, matrix_parameters=3, estimated_loss=0.45)
    >>> aims.values(half, dense), [round(each, 6) for each in aims.violations(half, dense)]
    ((0.3, 0.45), [0.5, 0.0])
    """

    objectives: tuple[str, ...] = ("edp", "loss")
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.objectives if name not in MEASURES]
        if unknown or len(set(self.objectives)) != len(self.objectives) or len(self.objectives) < 2:
            raise SpecError(
                describe("objectives", "unknown, repeated or too few", got=", ".join(self.objectives),
                         expected=f"two or more of {', '.join(MEASURES)}", remedy="Correct the names.")
            )  # fmt: skip

    def values(self, point: Point, dense: Point) -> tuple[float, ...]:
        """Return the objectives, each relative to that of the dense network unless that is 0."""
        return tuple(MEASURES[name](point) / (MEASURES[name](dense) or 1.0) for name in self.objectives)

    def violations(self, point: Point, dense: Point) -> tuple[float, ...]:
        """Return by how much each constraint is missed; at most 0 if it is kept."""
        return tuple(constraint.violation(point, dense) for constraint in self.constraints)

    @property
    def needs_area(self) -> bool:
        """Whether the area of the machine matters."""
        return "area" in self.objectives or any(each.measure == "area" for each in self.constraints)

    def keeps(self, point: Point, dense: Point) -> bool:
        """Return whether a design was costed and keeps to every constraint."""
        return point.failure is None and all(violation <= 0 for violation in self.violations(point, dense))


EDP_AND_LOSS = Aims()
"""What is aimed at unless said otherwise."""


def parse_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Return constraints such as ``loss <= 0.2`` or ``gain >= 5``.

    Raises:
        SpecError: All that are none, together.

    >>> parse_constraints(["parameters<=4e6"])
    (Constraint(measure='parameters', sense='<=', bound=4000000.0),)
    """
    found, problems = [], []
    for text in texts:
        match = _CONSTRAINT.fullmatch(text)
        measure, sense, number = match.groups() if match else ("", "", "")
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if (measure in MEASURES or measure == "gain") and math.isfinite(bound):
            found.append(Constraint(measure=measure, sense=sense, bound=bound))
        else:
            problems.append(
                describe("--constraint", "cannot be read", got=text, expected="MEASURE <= NUMBER or MEASURE >= NUMBER "
                         f"with {', '.join(MEASURES)} or gain", remedy="Correct it.")
            )  # fmt: skip
    if problems:
        raise SpecError(problems)
    return tuple(found)


def _value(measure: str, point: Point, dense: Point) -> float:
    if measure == "gain":
        return dense.edp_pj_cycles / point.edp_pj_cycles
    return MEASURES[measure](point)
