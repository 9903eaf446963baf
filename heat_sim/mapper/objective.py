"""What a mapping is judged by: functions of energy and cycles, and the fronts of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from heat_sim.errors import HeatError, describe

Kind = Literal["product", "sum", "pareto", "hull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A function of (energy in pJ, cycles) to minimise, monotone in both; or a whole front of them.

    Attributes:
        name: As the user writes it.
        kind: ``product`` is ``energy ** energy_exponent * cycles ** cycles_exponent``; ``sum`` is ``energy +
            pj_per_cycle * cycles``; ``pareto`` asks for every mapping that no other one beats in both, ``hull``
            for those of them that minimise some weighted sum, and both judge a single mapping by EDP.
        energy_exponent: See above.
        cycles_exponent: See above.
        pj_per_cycle: See above.
    """

    name: str
    kind: Kind = "product"
    energy_exponent: int = 1
    cycles_exponent: int = 1
    pj_per_cycle: float = 0.0

    @property
    def is_front(self) -> bool:
        """Whether more than one mapping is asked for."""
        return self.kind in ("pareto", "hull")

    def value(self, energy_pj: float, cycles: float) -> float:
        """Return the objective; smaller is better.

        >>> OBJECTIVES["edp"].value(10.0, 3), OBJECTIVES["ed2p"].value(10.0, 3), OBJECTIVES["cycles"].value(10.0, 3)
        (30.0, 90.0, 3.0)
        """
        if self.kind == "sum":
            return float(energy_pj + self.pj_per_cycle * cycles)
        return float(energy_pj**self.energy_exponent * cycles**self.cycles_exponent)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(name="edp"),
        Objective(name="energy", cycles_exponent=0),
        Objective(name="cycles", energy_exponent=0),
        Objective(name="ed2p", cycles_exponent=2),
        Objective(name="pareto", kind="pareto"),
        Objective(name="hull", kind="hull"),
    )
}
"""The objectives that need no number."""


def parse_objective(text: str) -> Objective:
    """Return the objective of this name, or of ``weighted:PJ`` the sum of energy and so many pJ per cycle.

    Raises:
        HeatError: No such objective.

    >>> parse_objective("weighted:2.5").value(10.0, 4)
    20.0
    """
    if text in OBJECTIVES:
        return OBJECTIVES[text]
    name, _, number = text.partition(":")
    try:
        pj_per_cycle = float(number)
    except ValueError:
        pj_per_cycle = math.nan
    if name != "weighted" or not (math.isfinite(pj_per_cycle) and pj_per_cycle >= 0):
        raise HeatError(
            describe("objective", "no such objective", got=text,
                     expected=f"{', '.join(OBJECTIVES)} or weighted:PJ_PER_CYCLE", remedy="Correct the name.")
        )  # fmt: skip
    return Objective(name=text, kind="sum", pj_per_cycle=pj_per_cycle)
