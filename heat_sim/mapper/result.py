"""What a mapping search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heat_sim.mapping import Mapping
from heat_sim.model import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedEinsum:
    """One mapping and what the model says of it.

    Attributes:
        mapping: The loop nest.
        report: The model's report of it.
    """

    mapping: Mapping
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingResult:
    """The outcome of a search.

    Attributes:
        best: The mapping with the least objective that was found.
        front: Mappings that are Pareto-optimal in (energy, cycles) among those costed, fewest cycles first.
        value: The objective of `best`.
        lower_bound: No perfect-factor mapping has a smaller objective.
        costed: Complete mappings evaluated by the model.
        solved: Spatial choices whose best temporal loops were found.
        pruned: Spatial choices set aside by their bounds.
        seconds: Wall time.
    """

    best: MappedEinsum
    front: tuple[MappedEinsum, ...]
    value: float
    lower_bound: float
    costed: int
    solved: int
    pruned: int
    seconds: float

    @property
    def optimal(self) -> bool:
        """Whether the lower bound proves that nothing in the space is better."""
        return self.value <= self.lower_bound * (1 + 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the report's totals and how the search went."""
        report = self.best.report
        return {
            "energy_pJ": report.energy_pj,
            "cycles": report.cycles,
            "edp_pJ_cycles": report.edp_pj_cycles,
            "optimal": self.optimal,
            "lower_bound": self.lower_bound,
            "pruned": self.pruned,
            "solved": self.solved,
            "costed": self.costed,
            "seconds": self.seconds,
            "mapping": str(self.best.mapping),
        }
