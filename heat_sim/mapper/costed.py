"""What a baseline has found so far: of the mappings it costed, those that no other one beats."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import InfeasibleError, describe
from heat_sim.mapper.candidates import Candidates, Ints, join, mapping_of
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.result import MappedEinsum, MappingResult, pareto_front
from heat_sim.mapper.space import MapSpace
from heat_sim.model import BatchResult, evaluate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costed:
    """A search under way.

    Attributes:
        count: Mappings costed, valid or not.
        best: Those that no other one beats in energy and cycles, fewest cycles first; None before the first valid one.
        energy_pj: (N,) of `best`.
        cycles: (N,) of `best`.
    """

    count: int
    best: Candidates | None
    energy_pj: NDArray[np.float64]
    cycles: Ints


NOTHING = Costed(count=0, best=None, energy_pj=np.zeros(0), cycles=np.zeros(0, dtype=np.int64))
"""The state of every search at its beginning."""


def add(so_far: Costed, candidates: Candidates, costs: BatchResult) -> Costed:
    """Return the state after these mappings have been costed as well; of equals the first one stays."""
    valid = candidates.take(costs.valid)
    best = valid if so_far.best is None else join([so_far.best, valid])
    energy_pj = np.concatenate([so_far.energy_pj, costs.energy_pj[costs.valid]])
    cycles = np.concatenate([so_far.cycles, costs.cycles[costs.valid]])
    order = np.lexsort((energy_pj, cycles))
    least = np.minimum.accumulate(energy_pj[order])
    unbeaten = order[np.flatnonzero(np.diff(least, prepend=np.inf) < 0)]
    return Costed(
        count=so_far.count + len(candidates),
        best=best.take(unbeaten) if len(unbeaten) else None,
        energy_pj=energy_pj[unbeaten],
        cycles=cycles[unbeaten],
    )


def result_of(
    found: Costed, *, space: MapSpace, objective: Objective, ran_through: bool, started_s: float
) -> MappingResult:
    """Return the outcome, each mapping of it costed once more by itself.

    The least objective of all is among those that nothing beats, because every objective is monotone.

    Args:
        found: The search at its end.
        space: What was searched.
        objective: What is minimised.
        ran_through: Whether every mapping of the space was costed.
        started_s: `time.perf_counter` at the beginning.

    Raises:
        InfeasibleError: None of the mappings was valid.
    """
    if found.best is None:
        where = f"mapspace of {space.einsum.name} on {space.architecture.name}"
        raise InfeasibleError(
            describe(where, "no mapping that was costed is valid", got=f"0 of {found.count:,}", expected="at least 1",
                     remedy="Enlarge a level, free a constraint, or raise the budget of a search that samples."),
            level=space.architecture.levels[0].name, need=1, capacity=0,
        )  # fmt: skip
    mapped: list[MappedEinsum] = []
    for row in range(len(found.best)):
        mapping = mapping_of(space, found.best, row)
        report = evaluate(space.einsum, space.architecture, mapping, link_transfers=False)
        mapped.append(
            MappedEinsum(
                einsum=space.einsum,
                architecture=space.architecture,
                mapping=mapping,
                energy_pj=report.energy_pj,
                cycles=report.cycles,
            )
        )
    front = pareto_front(mapped)
    best = min(front, key=lambda each: objective.value(each.energy_pj, each.cycles))
    return MappingResult(
        objective=objective,
        best=best,
        front=front,
        lower_bound=objective.value(best.energy_pj, best.cycles) if ran_through else 0.0,
        ran_through=ran_through,
        costed=found.count,
        pruned=0,
        seconds=time.perf_counter() - started_s,
        space=space,
    )
