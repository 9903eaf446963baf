"""The best way to run a cascade: which einsums form fused groups, how those are tiled, and every mapping.

For each run of consecutive einsums the lower-left hull of (energy, cycles) is found, shortest first: over all ways to
part it in two, whose hulls are known, and over all plans of it as one fused group. Energies and cycles add up, so the
hull of a sum comes from the hulls of its parts (model section 10.2), and the least of any objective that is
quasi-concave - EDP, energy, cycles, their products and weighted sums - lies on a vertex of the hull of the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

import numpy as np

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum
from heat_sim.errors import HeatError, describe
from heat_sim.mapper.cascade.incumbent import Incumbent, hull_of, sums_of
from heat_sim.mapper.cascade.parts import HULL, Mapped, PartSearch
from heat_sim.mapper.cascade.pipeline import Pipeline, StageSearch, choices, least_cycles, pipelines, stage_part
from heat_sim.mapper.cascade.plan import GroupPlan, Part
from heat_sim.mapper.cascade.plans import MOST_LOOPS, group_of
from heat_sim.mapper.cascade.result import CascadeResult, MappedCascade, MappedGroup, transfers_cost
from heat_sim.mapper.cascade.table import PlanBatch, PlanKey, plan_batches
from heat_sim.mapper.edp import Point, sum_vertices
from heat_sim.mapper.judge import NO_LIMIT, Judge, Limit, beaten, is_beaten, limit_of
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapping import LevelConstraints
from heat_sim.vector_op import VectorUnit


def search_cascade(
    cascade: Cascade,
    parts: PartSearch,
    incumbent: Incumbent,
    *,
    fuse: bool,
    weights: frozenset[str] | None = None,
    most_loops: int = MOST_LOOPS,
    stages: StageSearch | None = None,
) -> bool:
    """Offer the incumbent every way to run the cascade that may be better; return whether it took one.

    Args:
        cascade: In order.
        parts: Knows the machine.
        incumbent: The best so far.
        fuse: Whether groups of more than one einsum are looked at.
        weights: Names of all tensors that play Weights beside one that does not; None for the second operand.
        most_loops: Common loops of a group at the most.
        stages: Fronts for pipelined groups; None is no pipelines.
    """
    run = _Run(
        cascade=cascade, parts=parts, incumbent=incumbent, weights=weights, most_loops=most_loops, stages=stages
    )  # fmt: skip
    return run.search(fuse=fuse)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One cascade under search; see `search_cascade`."""

    cascade: Cascade
    parts: PartSearch
    incumbent: Incumbent
    weights: frozenset[str] | None
    most_loops: int
    stages: StageSearch | None = None

    def search(self, *, fuse: bool) -> bool:
        einsums = self.cascade.einsums
        free = [self.parts.free(einsum, weights=self.weights) for einsum in einsums]
        if self.incumbent.beats(*_total(free)):
            return False
        better = self._offer_singles() if not self.incumbent.front else False
        hulls: dict[tuple[int, int], list[MappedCascade]] = {}
        least = list(free)
        # The dearest einsum first: what its bound leaves out weighs most.
        for place in sorted(range(len(einsums)), key=lambda place: -free[place][0]):
            self.incumbent.plans += 1
            found = self.alone(einsums[place], _total(least[:place] + least[place + 1 :]))
            hulls[place, place] = found
            if not fuse:
                if not found:
                    return better
                # Nothing is fused, so none of the others meets a cheaper one of this.
                least[place] = min(each.energy_pj for each in found), min(float(each.cycles) for each in found)
        alone = [hulls[place, place] for place in range(len(einsums))]
        if all(alone):
            better = self.incumbent.offer(sums_of(alone)) or better
        elif not fuse:
            return better
        for length in range(2, len(einsums) + 1 if fuse else 0):
            for first in range(len(einsums) - length + 1):
                last = first + length - 1
                known: list[MappedCascade] = []
                for cut in range(first, last):
                    if hulls[first, cut] and hulls[cut + 1, last]:
                        known += sums_of([hulls[first, cut], hulls[cut + 1, last]])
                known = hull_of(known)
                outside = _total(free[:first] + free[last + 1 :])
                known, found_better = self._fuse(first, last, known, outside)
                better = better or found_better
                hulls[first, last] = known
        if fuse and hulls[0, len(einsums) - 1]:
            better = self.incumbent.offer(hulls[0, len(einsums) - 1]) or better
        return better

    def _offer_singles(self) -> bool:
        """Offer the incumbent the best of each einsum by itself, which is found fast."""
        if self.incumbent.objective.is_front:
            return False
        chosen: list[MappedCascade] = []
        for einsum in self.cascade.einsums:
            each = self.parts.alone(einsum, self.incumbent.objective, weights=self.weights)
            if each is None:
                return False
            plan = GroupPlan(einsums=(einsum,))
            chosen.append(self._mapped(plan, tuple(plan.parts()), (each,)))
        return self.incumbent.offer(sums_of([[each] for each in chosen]))

    def _fuse(
        self, first: int, last: int, known: list[MappedCascade], outside: Point
    ) -> tuple[list[MappedCascade], bool]:
        """Return the hull of einsums first..last with them in one group as well, and whether the best is a better one.

        Plans are looked at in the order of their bounds.
        """
        group, better = group_of(self.cascade, first, last), False
        batches = list(plan_batches(group, self.parts, weights=self.weights, most_loops=self.most_loops))
        judge = self.incumbent.hull_judge(known)
        rows: list[tuple[float, int, int, int]] = []
        for number, batch in enumerate(batches):
            self.incumbent.plans += int(np.isfinite(batch.energy_pj).sum())
            hopeful = np.isfinite(batch.energy_pj) & ~beaten(judge, batch.energy_pj, batch.cycles)
            hopeful &= ~beaten(self.incumbent.judge, outside[0] + batch.energy_pj, outside[1] + batch.cycles)
            rows += [
                (
                    self.incumbent.objective.value(batch.energy_pj[row, column], batch.cycles[row, column]),
                    number,
                    row,
                    column,
                )
                for row, column in np.argwhere(hopeful).tolist()
            ]
        settled: set[PlanKey] = set()  # nothing that only splits the nest of one of these is better
        for _, number, row, column in sorted(rows):
            batch = batches[number]
            key = batch.key(row, column)
            if self.parts.may_split and any(each in settled for each in key.coarser(group)):
                continue
            energy_pj, cycles = float(batch.energy_pj[row, column]), float(batch.cycles[row, column])
            if is_beaten(judge, energy_pj, cycles) or self.incumbent.beats(outside[0] + energy_pj, outside[1] + cycles):
                continue
            found, is_settled = self.group(batch.plan(row, column), judge, outside)
            if is_settled:
                settled.add(key)
            if found:
                known = hull_of([*known, *found])
                judge = self.incumbent.hull_judge(known)
                if len(group.einsums) == len(self.cascade.einsums):
                    better = self.incumbent.offer(found) or better
        if self.stages is not None:
            for found in self._pipelined(batches, known, outside):
                known = hull_of([*known, *found])
                if len(group.einsums) == len(self.cascade.einsums):
                    better = self.incumbent.offer(found) or better
        return known, better

    def _pipelined(
        self, batches: Sequence[PlanBatch], known: Sequence[MappedCascade], outside: Point
    ) -> Iterator[list[MappedCascade]]:
        """Yield what pipelines of the plans have to offer, those first that have the least bound of energy."""
        judge, machine = self.incumbent.hull_judge(known), self.parts.architecture
        rows = [
            (float(batch.energy_pj[row, column]), number, row, column)
            for number, batch in enumerate(batches)
            for row, column in np.argwhere(np.isfinite(batch.energy_pj)).tolist()
        ]
        for energy_pj, number, row, column in sorted(rows):
            plan = batches[number].plan(row, column)
            _, moved = transfers_cost(plan, machine)
            for pipeline in pipelines(plan, machine):
                cycles = float(moved + least_cycles(plan, pipeline, machine))
                if is_beaten(judge, energy_pj, cycles) or self.incumbent.beats(
                    outside[0] + energy_pj, outside[1] + cycles
                ):
                    continue
                self.incumbent.plans += 1
                if found := self._pipeline(plan, pipeline, judge, outside):
                    known = hull_of([*known, *found])
                    judge = self.incumbent.hull_judge(known)
                    yield found

    def _pipeline(self, plan: GroupPlan, pipeline: Pipeline, judge: Judge, outside: Point) -> list[MappedCascade]:
        """Return every length of a step that matters, with the einsums of least energy that keep to it."""
        assert self.stages is not None
        moved = transfers_cost(plan, self.parts.architecture)
        parts = [stage_part(plan, pipeline, place, self.parts.architecture) for place in range(pipeline.stages)]
        searches = [self.stages.on(pipeline, columns) for columns in pipeline.columns]
        known_parts = [part for part in parts if part is not None]
        if len(known_parts) < len(parts):
            return []
        least = [search.bound(part, weights=self.weights) for search, part in zip(searches, known_parts, strict=True)]
        fronts: list[tuple[Mapped, ...]] = []
        for place, (search, part) in enumerate(zip(searches, known_parts, strict=True)):
            others_pj = sum(energy_pj for at, (energy_pj, _) in enumerate(least) if at != place)
            rest_pj = moved[0] + plan.iterations * others_pj
            # A step is at least as long as this einsum, and there are more of them than iterations.
            rest_cycles = moved[1] + (pipeline.stages - 1) * least[place][1]
            limits = (
                limit_of(self.incumbent.judge, times=plan.iterations, with_pj=outside[0] + rest_pj,
                         with_cycles=outside[1] + rest_cycles),
                limit_of(judge, times=plan.iterations, with_pj=rest_pj, with_cycles=rest_cycles),
            )  # fmt: skip
            front = search.pareto_within(part, limits, weights=self.weights)
            if not front:
                return []
            fronts.append(front)
            least[place] = min(each.energy_pj for each in front), min(float(each.cycles) for each in front)
        return [self._mapped(plan, tuple(known_parts), chosen, pipeline=pipeline) for chosen in choices(fronts)]

    def alone(self, einsum: Einsum, outside: Point) -> list[MappedCascade]:
        """Return what matters of the hull of an einsum by itself, if the others take so much at the least."""
        plan = GroupPlan(einsums=(einsum,))
        (part,) = plan.parts()
        if self.incumbent.objective.is_front and self.parts.cache is not None:
            hull = self.parts.relaxed(part, weights=self.weights)  # found once for all cascades
        else:
            limit = limit_of(self.incumbent.judge, times=1, with_pj=outside[0], with_cycles=outside[1])
            hull = self.parts.hull_within(part, (limit, NO_LIMIT), weights=self.weights)
        return [self._mapped(plan, (part,), (each,)) for each in hull]

    def group(self, plan: GroupPlan, judge: Judge, outside: Point) -> tuple[list[MappedCascade], bool]:
        """Return what of the hull of one plan matters, and whether plans that only split its nest do not.

        Args:
            plan: Of more than one einsum.
            judge: Knows the hull of the group so far.
            outside: Energy and cycles of the other einsums at the least.
        """
        moved = transfers_cost(plan, self.parts.architecture)
        parts = tuple(plan.parts())
        counts = [part.count for part in parts]
        least = [self.parts.bound(part, weights=self.weights) for part in parts]
        # With all the room of home first: what that costs, plans that only split the nest cost as well.
        # The dearest part first: what its bound leaves out weighs most.
        order = sorted(range(len(parts)), key=lambda place: -counts[place] * least[place][0])
        is_settled, hulls = True, [tuple[Mapped, ...]()] * len(parts)
        for place in order:
            part = parts[place]
            limits = self._limits(judge, outside, moved, counts, least, place)
            if self._is_beaten(judge, outside, moved, counts, least):
                return [], True
            relaxed, fits = self.parts.relaxed_within(part, limits, weights=self.weights)
            if not relaxed:
                return [], True
            is_settled = is_settled and fits
            hulls[place] = relaxed
            least[place] = min(each.energy_pj for each in relaxed), min(float(each.cycles) for each in relaxed)
        if self._is_beaten(judge, outside, moved, counts, least):
            return [], True
        for place in order if not is_settled else ():
            part = parts[place]
            limits = self._limits(judge, outside, moved, counts, least, place)
            hulls[place] = self.parts.hull_within(part, limits, weights=self.weights)
            if not hulls[place]:
                return [], False
            least[place] = min(e.energy_pj for e in hulls[place]), min(float(e.cycles) for e in hulls[place])
            if self._is_beaten(judge, outside, moved, counts, least):
                return [], False
        points = [[(each.energy_pj, float(each.cycles)) for each in hull] for hull in hulls]
        found = [
            self._mapped(plan, parts, tuple(hull[i] for hull, i in zip(hulls, vertex.chosen, strict=True)))
            for vertex in sum_vertices(points, counts)
        ]
        return found, is_settled

    def _limits(
        self, judge: Judge, outside: Point, moved: Point, counts: Sequence[int], least: Sequence[Point], place: int
    ) -> tuple[Limit, Limit]:
        """Return what one part must undercut, with all others at their least."""
        energy_pj, cycles = _sum(moved, counts, least, but=place)
        return (
            limit_of(self.incumbent.judge, times=counts[place], with_pj=outside[0] + energy_pj,
                     with_cycles=outside[1] + cycles),
            limit_of(judge, times=counts[place], with_pj=energy_pj, with_cycles=cycles),
        )  # fmt: skip

    def _is_beaten(
        self, judge: Judge, outside: Point, moved: Point, counts: Sequence[int], least: Sequence[Point]
    ) -> bool:  # fmt: skip
        energy_pj, cycles = _sum(moved, counts, least)
        return is_beaten(judge, energy_pj, cycles) or self.incumbent.beats(outside[0] + energy_pj, outside[1] + cycles)

    def _mapped(
        self, plan: GroupPlan, parts: tuple[Part, ...], mapped: tuple[Mapped, ...], *, pipeline: Pipeline | None = None
    ) -> MappedCascade:
        group = MappedGroup(
            plan=plan, parts=parts, mapped=mapped, architecture=self.parts.architecture, pipeline=pipeline
        )
        return MappedCascade(groups=(group,), energy_pj=group.energy_pj, cycles=group.cycles)


def _sum(moved: Point, counts: Sequence[int], least: Sequence[Point], *, but: int = -1) -> Point:
    """Return what moves and parts cost together, but for one part."""
    others = [(n, point) for place, (n, point) in enumerate(zip(counts, least, strict=True)) if place != but]
    return moved[0] + sum(n * e for n, (e, _) in others), moved[1] + sum(n * t for n, (_, t) in others)


def _total(points: Sequence[Point]) -> Point:
    return sum(energy_pj for energy_pj, _ in points), sum(cycles for _, cycles in points)


def map_cascade(
    cascade: Cascade,
    architecture: Architecture,
    *,
    constraints: AbstractMapping[str, LevelConstraints] | None = None,
    objective: Objective = OBJECTIVES["edp"],
    fuse: bool = True,
    vector_unit: VectorUnit | None = None,
    weights: Collection[str] | None = None,
    most_loops: int = MOST_LOOPS,
    pipelined: bool = False,
) -> CascadeResult:
    """Return the best way to run a cascade.

    Args:
        cascade: Contractions and vector operations, in order. Constraints call the operands of each contraction Inputs
            and Weights, in the order in which they are written unless `weights` says otherwise, and its result Outputs.
        architecture: The hardware.
        constraints: Demands per level.
        objective: EDP, energy, cycles, their products or a weighted sum; or "hull", all vertices of the lower-left hull
            of energy and cycles.
        fuse: Whether groups of more than one einsum are looked at.
        vector_unit: For vector operations.
        weights: Names of the tensors that play Weights; where both operands do, or neither, either may.
        most_loops: Common loops of a group at the most.
        pipelined: Whether the einsums of a group may also be at work at the same time, each on its share of the array
            (`heat_sim.mapper.cascade.pipeline`).

    Raises:
        HeatError: The objective is the Pareto front, or there is a vector operation and no vector unit.
        InfeasibleError: An einsum has no mapping.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_cascade
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, write_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="GLB", capacity_words=64, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> chain = parse_cascade(["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    ...                       extents={"m": 8, "k": 8, "f": 2, "n": 8}, name="low-rank")
    >>> result = map_cascade(chain, machine)
    >>> result.optimal, [len(group.mapped) for group in result.best.groups]  # one group of two: H never leaves the chip
    (True, [2])
    """
    started = time.perf_counter()
    if objective.is_front and objective != HULL:
        raise HeatError(describe("objective", "a cascade has no such objective", got=objective.name,
                                 expected="edp, energy, cycles, ed2p, weighted:PJ_PER_CYCLE or hull",
                                 remedy="Choose one."))  # fmt: skip
    parts = PartSearch(architecture=architecture, constraints=constraints or {}, vector_unit=vector_unit)
    incumbent = Incumbent(objective=objective)
    names = None if weights is None else frozenset(weights)
    stages = StageSearch(parts=parts) if pipelined else None
    search_cascade(cascade, parts, incumbent, fuse=fuse, weights=names, most_loops=most_loops, stages=stages)
    if incumbent.unfused is None:
        for einsum in cascade.einsums:
            parts.why_not(einsum, weights=names)
    return result_of(incumbent, parts, started=started, is_whole=stages is None or stages.is_proven)


def result_of(
    incumbent: Incumbent, parts: PartSearch, *, started: float, is_whole: bool = True
) -> CascadeResult:  # fmt: skip
    """Return the outcome of a search.

    Args:
        incumbent: At its end.
        parts: Those it used.
        started: `time.perf_counter()` at its beginning.
        is_whole: Whether every order was looked at.
    """
    assert incumbent.unfused is not None
    return CascadeResult(
        objective=incumbent.objective,
        best=min(incumbent.front, key=incumbent.value),
        front=tuple(incumbent.front),
        unfused=incumbent.unfused,
        optimal=parts.is_proven and is_whole and incumbent.gap == 0,
        gap=incumbent.gap if parts.is_proven and is_whole else math.inf,
        plans=incumbent.plans,
        seconds=time.perf_counter() - started,
    )
