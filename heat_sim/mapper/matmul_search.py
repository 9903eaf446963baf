"""The exact search for pairwise contractions: structures in the order of their bounds, each with its best loops."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import InfeasibleError
from heat_sim.mapper.inside import root_bound
from heat_sim.mapper.judge import ROUNDING, Judge, is_beaten, judge_of
from heat_sim.mapper.matmul import as_matmul
from heat_sim.mapper.matmul_problem import Problem, problem_of
from heat_sim.mapper.mesh import mesh_choices
from heat_sim.mapper.nest import build_mapping
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.result import MappedEinsum, MappingResult, front_of
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.structure import collect_structures
from heat_sim.mapper.temporal import best_loops
from heat_sim.mapping import Mapping
from heat_sim.model import evaluate

DEFAULT_BUDGET = 20_000_000
"""Labels and structure nodes: some seconds."""

_FIRST_GAP = 0.02
_MOST_STRUCTURES = 500_000

Ints = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class _Found:
    """What a search has found so far."""

    space: MapSpace
    objective: Objective
    mapped: list[MappedEinsum] = field(default_factory=list)
    best: float = math.inf
    costed: int = 0
    unmade: bool = False

    def judge(self) -> Judge:
        points = [(m.energy_pj, float(m.cycles)) for m in self.mapped]
        return judge_of(self.objective, best=self.best, points=points)

    def beats(self, energy_pj: float, cycles: float) -> bool:
        """Return whether something found is at least as good."""
        return bool(is_beaten(self.judge(), energy_pj, cycles))

    def add(self, mapping: Mapping | None) -> None:
        """Cost the mapping by the model and keep it if it is better than the best, or on the front."""
        if mapping is None:
            self.unmade = True
            return
        self.costed += 1
        try:
            report = evaluate(self.space.einsum, self.space.architecture, mapping, link_transfers=False)
        except InfeasibleError:
            return
        candidate = MappedEinsum(
            einsum=self.space.einsum, architecture=self.space.architecture, mapping=mapping,
            energy_pj=report.energy_pj, cycles=report.cycles,
        )  # fmt: skip
        self.mapped = list(front_of([*self.mapped, candidate], objective=self.objective))
        self.best = min(self.best, self.objective.value(report.energy_pj, report.cycles))


def matmul_cycles(p: Problem, spatial: Ints) -> int:
    """Return the cycles without stalls when the meshes are used like that, (L, 4)."""
    return math.ceil(int(p.extent.prod()) / int(spatial.prod()))


def search_matmul(
    space: MapSpace, *, objective: Objective, budget: int = DEFAULT_BUDGET, known: Sequence[MappedEinsum] = ()
) -> MappingResult:
    """Return the best mapping of a pairwise contraction, proven unless the budget ends the search.

    Args:
        space: Of a contraction of two plain tensors whose constraints speak of whole classes only.
        objective: What to minimise.
        budget: Labels and nodes of the search at the most.
        known: Mappings that the result has to beat; they count as found.

    Raises:
        InfeasibleError: No mapping of the space fits.
    """
    started = time.perf_counter()
    matmul = as_matmul(space.einsum)
    p = problem_of(space, matmul)
    choices = [mesh_choices(space, matmul, level=level) for level in range(len(p.usable))]
    first_mesh = np.cumsum([0, *map(len, choices)])
    meshes = np.concatenate(choices)
    found = _Found(space=space, objective=objective, mapped=list(known))
    found.best = min((objective.value(m.energy_pj, m.cycles) for m in known), default=math.inf)
    if not all(map(len, choices)):
        raise InfeasibleError("no use of the meshes meets the constraints", level="", need=0, capacity=0)
    root = objective.value(*root_bound(p, meshes, first_mesh))
    low, gap, pruned, open_bound = -1.0, _FIRST_GAP, 0, math.inf
    ran_through = False
    while True:
        high = root * (1 + gap) if root > 0 and gap < 1e6 else math.inf
        batch = collect_structures(p, found.judge(), meshes, first_mesh, low, high, _MOST_STRUCTURES, max(0, budget))
        budget -= batch.visits
        pruned += batch.pruned
        value = np.array([objective.value(e, t) for e, t in zip(batch.energy_pj, batch.cycles, strict=True)])
        if budget <= 0 or batch.found > len(value):
            open_bound = min(open_bound, max(low, root))
        order = np.argsort(value, kind="stable")
        for place, row in enumerate(order):
            judge = found.judge()
            if not objective.is_front and value[row] >= judge.best * (1 - ROUNDING):
                pruned += len(order) - place
                break
            if budget <= 0:
                open_bound = min(open_bound, float(value[row]))
                break
            spatial = meshes[batch.mesh[row]]
            waits = float(batch.cycles[row]) - p.latency > float(matmul_cycles(p, spatial))
            for follow in (True,) if waits else (False, True):
                count, energy_pj, cycles, bounds, innermost, made = best_loops(
                    p, found.judge(), batch.keep[row], spatial, follow, budget
                )
                budget -= made
                if count < 0:
                    open_bound = min(open_bound, float(value[row]))
                    break
                for nest in np.argsort(energy_pj * cycles, kind="stable"):
                    if not found.beats(float(energy_pj[nest]), math.ceil(cycles[nest] * (1 - 1e-12))):
                        found.add(
                            build_mapping(space, matmul, keep=batch.keep[row], spatial=spatial, temporal=bounds[nest],
                                          innermost=innermost[nest])
                        )  # fmt: skip
                # The nest of least energy is all there is, unless a bandwidth makes it wait.
                if count == 0 or float(cycles.min()) <= float(batch.cycles[row]):
                    break
        if budget <= 0 or batch.beyond == 0 or (not objective.is_front and high >= found.best):
            ran_through = math.isinf(open_bound) and not found.unmade and budget > 0
            break
        low, gap = high, 2 * gap
    if not found.mapped:
        raise InfeasibleError("no mapping fits", level="", need=0, capacity=0)
    best = min(found.mapped, key=lambda m: objective.value(m.energy_pj, m.cycles))
    return MappingResult(
        objective=objective,
        best=best,
        front=tuple(found.mapped),
        lower_bound=found.best if ran_through else min(found.best, max(open_bound, 0.0)),
        ran_through=ran_through,
        costed=found.costed,
        pruned=pruned,
        seconds=time.perf_counter() - started,
        space=space,
    )
