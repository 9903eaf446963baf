"""What a mapping search returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapper.edp import lower_left_hull
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import Mapping
from heat_sim.model import Report, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedEinsum:
    """One mapping and what it costs, without link transfers.

    Attributes:
        einsum: The workload.
        architecture: The hardware.
        mapping: The loop nest.
        energy_pj: By the model.
        cycles: By the model.
        accumulates: Whether partial sums of the output are there before the run.
    """

    einsum: Einsum
    architecture: Architecture
    mapping: Mapping
    energy_pj: float
    cycles: int
    accumulates: bool = False

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product."""
        return self.energy_pj * self.cycles

    @property
    def report(self) -> Report:
        """The model's report of the mapping, made anew each time."""
        return evaluate(
            self.einsum, self.architecture, self.mapping, link_transfers=False, accumulates=self.accumulates
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingResult:
    """The outcome of a search.

    Attributes:
        objective: What was minimised.
        best: The mapping with the least objective that was found; of a front, the one with the least EDP.
        front: Mappings that no other one beats in energy and cycles among those costed, fewest cycles first. The
            whole front if that was the objective and the search is `optimal`.
        lower_bound: No mapping of the space has a smaller objective (of a front: a smaller EDP).
        ran_through: Whether the search set nothing aside but by its bounds.
        costed: Complete mappings costed.
        pruned: Choices (of what is kept, what is spread over the meshes, and of tiles) set aside by a bound.
        seconds: Wall time.
        space: What was searched; all of it, unless there are paddings.
        paddings: The spaces of all choices of padded extents, where extents may be padded.
    """

    objective: Objective
    best: MappedEinsum
    front: tuple[MappedEinsum, ...]
    lower_bound: float
    ran_through: bool
    costed: int
    pruned: int
    seconds: float
    space: MapSpace
    paddings: tuple[MapSpace, ...] = ()

    @property
    def value(self) -> float:
        """The objective of `best`."""
        return self.objective.value(self.best.energy_pj, self.best.cycles)

    @property
    def optimal(self) -> bool:
        """Whether it is proven that nothing in the space is better (that the front is the whole front)."""
        return self.ran_through or (not self.objective.is_front and self.value <= self.lower_bound * (1 + 1e-12))

    @property
    def space_size(self) -> int:
        """How many mappings the space holds, fitting or not."""
        return sum(map(space_size, self.paddings or (self.space,)))

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the cost of the best mapping and how the search went."""
        return {
            "objective": self.objective.name,
            "energy_pJ": self.best.energy_pj,
            "cycles": self.best.cycles,
            "edp_pJ_cycles": self.best.edp_pj_cycles,
            "optimal": self.optimal,
            "lower_bound": self.lower_bound,
            "space_size": self.space_size,
            "pruned": self.pruned,
            "costed": self.costed,
            "seconds": self.seconds,
            "front": [{"energy_pJ": m.energy_pj, "cycles": m.cycles} for m in self.front],
            "mapping": str(self.best.mapping),
        }


def pareto_front(mapped: Sequence[MappedEinsum]) -> tuple[MappedEinsum, ...]:
    """Return the mappings that no other one beats in energy and cycles, fewest cycles first."""
    front: list[MappedEinsum] = []
    for candidate in sorted(mapped, key=lambda m: (m.cycles, m.energy_pj)):
        if not front or candidate.energy_pj < front[-1].energy_pj:
            front.append(candidate)
    return tuple(front)


def front_of(mapped: Sequence[MappedEinsum], *, objective: Objective) -> tuple[MappedEinsum, ...]:
    """Return the front of some mappings, or the vertices of its hull if the objective asks for those."""
    front = pareto_front(mapped)
    if objective.kind != "hull":
        return front
    return tuple(front[i] for i in lower_left_hull([(each.energy_pj, each.cycles) for each in front]))
