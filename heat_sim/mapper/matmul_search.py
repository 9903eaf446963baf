"""The exact search for pairwise contractions: structures in the order of their bounds, each with its best loops."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.inside import root_bound
from heat_sim.mapper.judge import NO_LIMIT, ROUNDING, Judge, Limit, is_beaten, judge_of
from heat_sim.mapper.matmul import Matmul, as_matmul
from heat_sim.mapper.matmul_problem import Problem, problem_of
from heat_sim.mapper.mesh import mesh_choices
from heat_sim.mapper.nest import all_ways_tried, build_mapping
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.opening import DONE, NO_ROOM, open_structures
from heat_sim.mapper.result import MappedEinsum, MappingResult, front_of
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.structure import Structures, collect_structures
from heat_sim.mapping import Mapping
from heat_sim.model import evaluate

DEFAULT_BUDGET = 20_000_000
"""Nodes of the search for structures and labels of that for loops; some seconds."""

_FIRST_GAP = 0.02
"""Structures are first collected within so much of the bound of all of them, then within twice as much, and so on."""

_MOST_STRUCTURES = 500_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class _Search:
    """A search under way.

    Attributes:
        space: What is searched.
        matmul: Its classes.
        problem: The same as arrays.
        meshes: Choices of all meshes, as in `collect_structures`; likewise first_mesh.
        first_mesh: See above.
        objective: What to minimise.
        budget: Steps left.
        mapped: The front of what was found.
        best: Least objective found.
        costed: Mappings costed by the model.
        pruned: Branches set aside by bounds.
        open_bound: Nothing that was left out for want of budget has a smaller objective.
        limits: Of what the mapping is a part of.
        judge: Knows what was found.
    """

    space: MapSpace
    matmul: Matmul
    problem: Problem
    meshes: Ints
    first_mesh: Ints
    objective: Objective
    budget: int
    mapped: tuple[MappedEinsum, ...]
    best: float = math.inf
    costed: int = 0
    pruned: int = 0
    open_bound: float = math.inf
    limits: tuple[Limit, Limit] = (NO_LIMIT, NO_LIMIT)
    judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        self._judge_anew()

    def _judge_anew(self) -> None:
        points = [(each.energy_pj, float(each.cycles)) for each in self.mapped]
        self.best = min((self.objective.value(*point) for point in points), default=math.inf)
        self.judge = judge_of(self.objective, best=self.best, points=points, limits=self.limits)

    def run(self) -> bool:
        """Search until nothing is left or the budget ends; return whether nothing was left out."""
        root = self.objective.value(*root_bound(self.problem, self.meshes, self.first_mesh))
        low, gap = -1.0, _FIRST_GAP
        while True:
            # What is left of a front is found in one pass: the first points of it set most branches aside.
            limited = any(limit.times for limit in self.limits)
            ends = root == 0 or gap > 1e6 or limited or (self.objective.is_front and len(self.mapped) > 0)
            high = math.inf if ends else root * (1 + gap)
            beyond = self._search_between(low, high, root)
            if self.budget <= 0:
                self.open_bound = min(self.open_bound, max(high, root))
                return False
            if beyond == 0 or (not self.objective.is_front and high >= self.best):
                self.pruned += beyond
                return math.isinf(self.open_bound)
            low, gap = high, 2 * gap

    def _search_between(self, low: float, high: float, root: float) -> int:
        """Open the structures whose bound lies in (low, high]; return how many branches lie beyond."""
        found = collect_structures(
            self.problem, self.judge, self.meshes, self.first_mesh, low, high, _MOST_STRUCTURES, max(0, self.budget)
        )
        self.budget -= found.visits
        self.pruned += found.pruned
        if self.budget <= 0 or found.found > len(found.keep):
            self.open_bound = min(self.open_bound, max(low, root))
        points = zip(found.energy_pj.tolist(), found.cycles.tolist(), strict=True)
        bounds = np.array([self.objective.value(energy_pj, cycles) for energy_pj, cycles in points])
        order = np.argsort(bounds, kind="stable")
        self._open(found, order, bounds[order])
        return int(found.beyond)

    def _open(self, found: Structures, order: Ints, bounds: Floats) -> None:
        """Find the best loops of structures, in this order, and cost what is worth it."""
        keep, mesh = found.keep[order], found.mesh[order]
        energy_pj, cycles = found.energy_pj[order], found.cycles[order]
        place, again = 0, False
        while place < len(order):
            opened = open_structures(
                self.problem, self.judge, keep, self.meshes, mesh, energy_pj, cycles, bounds, place, again,
                max(0, self.budget),
            )  # fmt: skip
            self.budget -= opened.made
            self.pruned += opened.pruned
            if opened.status == DONE:
                return
            place = opened.place
            if opened.status == NO_ROOM:
                # What comes later has no smaller bound.
                self.open_bound = min(self.open_bound, float(bounds[place]))
                self.budget = min(self.budget, 0)
                return
            spatial = self.meshes[mesh[place]]
            for nest in np.argsort(opened.energy_pj * opened.cycles, kind="stable"):
                rounded = math.ceil(opened.cycles[nest] * (1 - ROUNDING))
                if not is_beaten(self.judge, opened.energy_pj[nest], rounded):
                    self._add(
                        build_mapping(self.space, self.matmul, keep=keep[place], spatial=spatial,
                                      temporal=opened.bounds[nest], innermost=opened.innermost[nest]),
                        float(bounds[place]),
                        spatial,
                    )  # fmt: skip
            again = opened.again
            place += not again

    def _add(self, mapping: Mapping | None, bound: float, spatial: Ints) -> None:
        """Cost a mapping by the model and keep it if it is better than the best, or on the front."""
        if mapping is None:
            # The members of a class cannot make these bounds along both axes, as far as that was tried.
            if not all_ways_tried(self.space, self.matmul, spatial=spatial):
                self.open_bound = min(self.open_bound, bound)
            return
        self.costed += 1
        report = evaluate(
            self.space.einsum, self.space.architecture, mapping, link_transfers=False,
            accumulates=self.space.accumulates,
        )  # fmt: skip
        candidate = MappedEinsum(
            einsum=self.space.einsum, architecture=self.space.architecture, mapping=mapping,
            energy_pj=report.energy_pj, cycles=report.cycles, accumulates=self.space.accumulates,
        )  # fmt: skip
        self.mapped = front_of([*self.mapped, candidate], objective=self.objective)
        self._judge_anew()


def bound_of(space: MapSpace) -> tuple[float, float]:
    """Return energy in pJ and cycles that no mapping of a space for `search_matmul` is below, in a millisecond."""
    matmul = as_matmul(space.einsum)
    choices = [mesh_choices(space, matmul, level=level) for level in range(len(space.architecture.levels))]
    if not all(map(len, choices)):
        return math.inf, math.inf
    problem = problem_of(space, matmul)
    return root_bound(problem, np.concatenate(choices), np.cumsum([0, *map(len, choices)]))


def search_matmul(
    space: MapSpace, *, objective: Objective, budget: int = DEFAULT_BUDGET, known: Sequence[MappedEinsum] = ()
) -> MappingResult:
    """Return the best mapping of a pairwise contraction, proven unless the budget ends the search.

    Args:
        space: Of a contraction of two plain tensors whose constraints speak of whole classes only.
        objective: What to minimise.
        budget: Nodes and labels of the search at the most.
        known: Mappings that the result has to beat; they count as found.

    Raises:
        HeatError: The budget ended before a mapping was found.
        InfeasibleError: No mapping of the space fits.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.objective import OBJECTIVES
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0, fanout_x=4),
    ...     StorageLevel(name="RF", capacity_words=9, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=8, n=8, k=8))
    >>> result = search_matmul(MapSpace(einsum=einsum, architecture=machine), objective=OBJECTIVES["edp"])
    >>> result.optimal, result.best.cycles
    (True, 128)
    """
    started = time.perf_counter()
    search = _search_of(space, objective, budget=budget, known=tuple(known))
    if search is None:
        raise InfeasibleError("no use of a mesh meets its constraints", level="", need=1, capacity=0)
    ran_through = search.run()
    if not search.mapped and not ran_through:
        raise HeatError(
            describe(f"mapping of {space.einsum.name}", "the budget ended before a mapping was found", got=budget,
                     expected="more steps", remedy="Raise the budget.")
        )  # fmt: skip
    if not search.mapped:
        raise InfeasibleError("no mapping fits", level="", need=1, capacity=0)
    return MappingResult(
        objective=objective,
        best=min(search.mapped, key=lambda each: objective.value(each.energy_pj, each.cycles)),
        front=search.mapped,
        lower_bound=search.best if ran_through else min(search.best, search.open_bound),
        ran_through=ran_through,
        costed=search.costed,
        pruned=search.pruned,
        seconds=time.perf_counter() - started,
        space=space,
    )


def hull_within(
    space: MapSpace,
    limits: tuple[Limit, Limit],
    *,
    objective: Objective = OBJECTIVES["hull"],
    budget: int = DEFAULT_BUDGET,
) -> tuple[tuple[MappedEinsum, ...], bool]:
    """Return the mappings on the hull that matter under the limits, and whether no other does; none may.

    Args:
        space: See `search_matmul`.
        limits: What the mapping is a part of.
        objective: The hull, or the whole Pareto front.
        budget: See `search_matmul`.
    """
    search = _search_of(space, objective, budget=budget, limits=limits)
    if search is None:
        return (), True
    ran_through = search.run()
    return search.mapped, ran_through


def _search_of(
    space: MapSpace,
    objective: Objective,
    *,
    budget: int,
    known: tuple[MappedEinsum, ...] = (),
    limits: tuple[Limit, Limit] = (NO_LIMIT, NO_LIMIT),
) -> _Search | None:
    """Return a search at its beginning; None if a mesh cannot be used as demanded."""
    matmul = as_matmul(space.einsum)
    choices = [mesh_choices(space, matmul, level=level) for level in range(len(space.architecture.levels))]
    if not all(map(len, choices)):
        return None
    return _Search(
        space=space, matmul=matmul, problem=problem_of(space, matmul), meshes=np.concatenate(choices),
        first_mesh=np.cumsum([0, *map(len, choices)]), objective=objective, budget=budget, mapped=known, limits=limits,
    )  # fmt: skip
