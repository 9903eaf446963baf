"""The best way to run a cascade: which einsums form fused groups, how those are tiled, and every mapping.

For each run of consecutive einsums the lower-left hull of (energy, cycles) is found, shortest first: over all ways to
part it in two, whose hulls are known, and over all plans of it as one fused group. Energies and cycles add up, so the
hull of a sum comes from the hulls of its parts (model section 10.2), and the least of any objective that is
quasi-concave - EDP, energy, cycles, their products and weighted sums - lies on a vertex of the hull of the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Cascade, Einsum
from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.edp import Point, lower_left_hull, sum_vertices
from heat_sim.mapper.fusion import GroupPlan, group_plans, homes
from heat_sim.mapper.judge import is_beaten, judge_of
from heat_sim.mapper.matmul_search import bound_of, search_matmul
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapper.roles import matmul_extents, role_einsum
from heat_sim.mapper.search import search_space
from heat_sim.mapper.space import MapSpace, Residence, map_space
from heat_sim.mapping import LevelConstraints

HULL = OBJECTIVES["hull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedGroup:
    """A group of einsums, fused unless it is one, with the mapping of each.

    Attributes:
        plan: How it runs.
        mapped: Mapping and cost of each einsum in one iteration.
        load_pj: Energy of bringing the residents home.
        load_cycles: Cycles of that.
    """

    plan: GroupPlan
    mapped: tuple[MappedEinsum, ...]
    load_pj: float = 0.0
    load_cycles: int = 0

    @property
    def energy_pj(self) -> float:
        """Of all iterations, loads included."""
        return self.plan.iterations * sum(each.energy_pj for each in self.mapped) + self.load_pj

    @property
    def cycles(self) -> int:
        """Of all iterations, loads included."""
        return self.plan.iterations * sum(each.cycles for each in self.mapped) + self.load_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedCascade:
    """Groups that together run a cascade, in order.

    Attributes:
        groups: At least one.
    """

    groups: tuple[MappedGroup, ...]

    @property
    def energy_pj(self) -> float:
        """Sum over the groups."""
        return sum(group.energy_pj for group in self.groups)

    @property
    def cycles(self) -> int:
        """Sum over the groups, which run one after another."""
        return sum(group.cycles for group in self.groups)


Extents = tuple[int, int, int, int]


class _Hull(NamedTuple):
    """The hull of one part under a residence, and the words that the tiles of its vertices take at home."""

    room_words: int | None
    mapped: tuple[MappedEinsum, ...]
    occupied_words: int


@dataclass(slots=True, kw_only=True)
class _Search:
    """A search under way: the hulls of the parts that were mapped so far.

    Parts are known by the extents of their classes and by role (`heat_sim.mapper.roles`): names do not matter.

    Attributes:
        architecture: The hardware; its constraints name Inputs, Weights and Outputs.
        constraints: Demands per level.
        hulls: By extents, home and roles of the residents, those with the most room first.
        bounds: Energy in pJ and cycles, by extents, home and roles.
        is_proven: Whether every search so far ran through.
    """

    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints]
    hulls: dict[tuple[Extents, int | None, frozenset[str]], list[_Hull]] = field(default_factory=dict)
    bounds: dict[tuple[Extents, int | None, frozenset[str]], Point] = field(default_factory=dict)
    is_proven: bool = True

    def space(self, extents: Extents, residence: Residence | None) -> MapSpace:
        space = map_space(role_einsum(extents), self.architecture, constraints=self.constraints)
        return replace(space, residence=residence)

    def bound(self, extents: Extents, residence: Residence | None) -> Point:
        """Return energy and cycles that no mapping is below: of the hull with more room if one is known."""
        key = (extents, None if residence is None else residence.level, _residents(residence))
        if known := self.hulls.get(key):
            mapped = known[0].mapped
            if not mapped:
                return math.inf, math.inf
            return min(each.energy_pj for each in mapped), min(float(each.cycles) for each in mapped)
        if key not in self.bounds:
            self.bounds[key] = bound_of(self.space(extents, residence))
        return self.bounds[key]

    def hull(self, extents: Extents, residence: Residence | None) -> tuple[MappedEinsum, ...]:
        """Return the hull of one part, empty if no mapping fits.

        Less room leaves fewer mappings. So a hull that is known for more room, and fits, is the hull; and what does
        not fit in more room does not fit in less.
        """
        key = (extents, None if residence is None else residence.level, _residents(residence))
        room = None if residence is None else self.space(extents, residence).room_words(residence.level)
        known = self.hulls.setdefault(key, [])
        for hull in known:
            has_more = room is None or hull.room_words is None or hull.room_words >= room
            if has_more and (room is None or not hull.mapped or hull.occupied_words <= room):
                return hull.mapped
        if not known and residence is not None and residence.reserved_words:
            # With all the room first: what is found there often serves every smaller one.
            self.hull(extents, replace(residence, reserved_words=0))
            return self.hull(extents, residence)
        space = self.space(extents, residence)
        try:
            result = search_matmul(space, objective=HULL)
        except InfeasibleError:
            mapped: tuple[MappedEinsum, ...] = ()
        else:
            self.is_proven = self.is_proven and result.optimal
            mapped = result.front
        occupied = max((_occupied(each, residence) for each in mapped), default=0)
        known.append(_Hull(room_words=room, mapped=mapped, occupied_words=occupied))
        return mapped

    def group(self, plan: GroupPlan, known: Sequence[MappedCascade], limit: _Limit) -> list[MappedCascade]:
        """Return the hull of one plan; empty if nothing fits or none of it can matter."""
        load_pj, load_cycles = _load(plan, self.architecture)
        judge = judge_of(HULL, best=math.inf, points=[(each.energy_pj, float(each.cycles)) for each in known])
        parts = [_in_roles(plan, place) for place in range(len(plan.einsums))]
        least = [self.bound(*part) for part in parts]
        hulls: list[tuple[MappedEinsum, ...]] = []
        for place, part in enumerate(parts):
            energy_pj = load_pj + plan.iterations * sum(energy for energy, _ in least)
            cycles = load_cycles + plan.iterations * sum(cycles for _, cycles in least)
            if is_beaten(judge, energy_pj, cycles) or limit.is_beyond(energy_pj, cycles):
                return []
            hull = self.hull(*part)
            if not hull:
                return []
            hulls.append(hull)
            least[place] = min(each.energy_pj for each in hull), min(float(each.cycles) for each in hull)
        points = [[(each.energy_pj, float(each.cycles)) for each in hull] for hull in hulls]
        return [
            MappedCascade(
                groups=(
                    MappedGroup(
                        plan=plan,
                        mapped=tuple(hull[i] for hull, i in zip(hulls, vertex.chosen, strict=True)),
                        load_pj=load_pj,
                        load_cycles=load_cycles,
                    ),
                )
            )
            for vertex in sum_vertices(points, [1] * len(points))
        ]

    def plan_bound(self, plan: GroupPlan) -> Point:
        load_pj, load_cycles = _load(plan, self.architecture)
        least = [self.bound(*_in_roles(plan, place)) for place in range(len(plan.einsums))]
        return (
            load_pj + plan.iterations * sum(energy for energy, _ in least),
            load_cycles + plan.iterations * sum(cycles for _, cycles in least),
        )

    def free(self, einsum: Einsum) -> Point:
        """Return energy and cycles that an einsum takes at the least, fused or not."""
        everything = frozenset(("Inputs", "Weights", "Outputs"))
        least = [
            self.bound(_extents(einsum), None if home is None else Residence(level=home, tensors=everything))
            for home in (None, *homes(self.architecture))
        ]
        return min(energy for energy, _ in least), min(cycles for _, cycles in least)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """A value that a cascade has to beat, and what its other einsums take at the least.

    Attributes:
        objective: What is minimised.
        value: Of the best known.
        energy_pj: Of the einsums outside the group.
        cycles: Likewise.
    """

    objective: Objective
    value: float
    energy_pj: float
    cycles: float

    def is_beyond(self, energy_pj: float, cycles: float) -> bool:
        return self.objective.value(self.energy_pj + energy_pj, self.cycles + cycles) >= self.value


def _residents(residence: Residence | None) -> frozenset[str]:
    return frozenset() if residence is None else residence.tensors


def _operands(einsum: Einsum) -> tuple[str, str]:
    """Return the names of the inputs in the roles of Inputs and Weights: as they are written."""
    return einsum.inputs[0].name, einsum.inputs[1].name


def _extents(einsum: Einsum) -> Extents:
    return matmul_extents(einsum, inputs=_operands(einsum)[0])


def _in_roles(plan: GroupPlan, place: int) -> tuple[Extents, Residence | None]:
    """Return the extents of one part of a plan, and its residence by role."""
    einsum, residence = plan.einsums[place], plan.residence(place)
    if residence is None:
        return _extents(einsum), None
    roles = dict(zip((*_operands(einsum), einsum.output.name), ("Inputs", "Weights", "Outputs"), strict=True))
    return _extents(einsum), replace(residence, tensors=frozenset(roles[name] for name in residence.tensors))


def _occupied(mapped: MappedEinsum, residence: Residence | None) -> int:
    """Return the words that the tiles of tensors that do not reside take at home."""
    if residence is None:
        return 0
    extents = dict.fromkeys(mapped.einsum.rank_vars, 1) | mapped.mapping.tile_extents(residence.level)
    kept = mapped.mapping.levels[residence.level].keep - residence.tensors
    return sum(math.prod(mapped.einsum.tensor(name).shape(extents)) for name in kept)


def _load(plan: GroupPlan, architecture: Architecture) -> tuple[float, int]:
    """Return energy in pJ and cycles of reading the residents once and writing them once at home."""
    if plan.home is None:
        return 0.0, 0
    main, home = architecture.levels[0], architecture.levels[plan.home]
    energy_pj, cycles = 0.0, 0
    for words in map(plan.words, sorted(plan.residents)):
        energy_pj += -(-words // main.words_per_access) * main.read_energy_pj
        energy_pj += -(-words // home.words_per_access) * home.write_energy_pj
        cycles += math.ceil(max(words / rate for rate in _rates(main, home)))
    return energy_pj, cycles


def _rates(main: StorageLevel, home: StorageLevel) -> tuple[float, ...]:
    rates = (
        main.read_bandwidth_words_per_cycle, main.shared_bandwidth_words_per_cycle,
        home.write_bandwidth_words_per_cycle, home.shared_bandwidth_words_per_cycle,
    )  # fmt: skip
    return tuple(math.inf if rate is None else rate for rate in rates)


def _hull(cascades: Sequence[MappedCascade]) -> list[MappedCascade]:
    return [cascades[i] for i in lower_left_hull([(each.energy_pj, float(each.cycles)) for each in cascades])]


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """The outcome of a search over a cascade.

    Attributes:
        objective: What was minimised.
        best: The way to run it with the least objective.
        unfused: The same among the ways that fuse nothing.
        optimal: Whether nothing under the rules is better.
        plans: Ways of running a group that were looked at.
        seconds: Wall time.
    """

    objective: Objective
    best: MappedCascade
    unfused: MappedCascade
    optimal: bool
    plans: int
    seconds: float

    @property
    def value(self) -> float:
        """The objective of the best."""
        return self.objective.value(self.best.energy_pj, self.best.cycles)


def map_cascade(
    cascade: Cascade,
    architecture: Architecture,
    *,
    constraints: AbstractMapping[str, LevelConstraints] | None = None,
    objective: Objective = OBJECTIVES["edp"],
    fuse: bool = True,
) -> CascadeResult:
    """Return the best way to run a cascade.

    Args:
        cascade: Pairwise contractions of plain tensors, in order. Constraints call the operands of each Inputs and
            Weights, in the order in which they are written, and its result Outputs.
        architecture: The hardware.
        constraints: Demands per level.
        objective: EDP, energy, cycles, their products or a weighted sum; no front.
        fuse: Whether groups of more than one einsum are looked at.

    Raises:
        HeatError: An einsum is not a pairwise contraction, or the objective is a front.
        InfeasibleError: An einsum has no mapping.

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
    if objective.is_front:
        raise HeatError(describe("objective", "a cascade has no such objective", got=objective.name,
                                 expected="edp, energy, cycles, ed2p or weighted:PJ_PER_CYCLE",
                                 remedy="Choose one."))  # fmt: skip
    search = _Search(architecture=architecture, constraints=constraints or {})
    einsums = cascade.einsums
    hulls: dict[tuple[int, int], list[MappedCascade]] = {}
    for place, einsum in enumerate(einsums):
        hulls[place, place] = search.group(GroupPlan(einsums=(einsum,)), [], _NO_LIMIT)
        if not hulls[place, place]:
            search_space(search.space(_extents(einsum), None), HULL)  # says why
    unfused = _best(_sums([hulls[place, place] for place in range(len(einsums))]), objective)
    best, plans = unfused, len(einsums)
    free = [search.free(einsum) for einsum in einsums]
    for length in range(2, len(einsums) + 1):
        for first in range(len(einsums) - length + 1):
            last = first + length - 1
            known: list[MappedCascade] = []
            for cut in range(first, last):
                known += _sums([hulls[first, cut], hulls[cut + 1, last]])
            known = _hull(known)
            outside = free[:first] + free[last + 1 :]
            found = list(group_plans(cascade, first, last, architecture)) if fuse else []
            bounds = {plan: search.plan_bound(plan) for plan in found}
            plans += len(found)
            for plan in sorted(found, key=lambda each: objective.value(*bounds[each])):
                limit = _Limit(
                    objective=objective, value=objective.value(best.energy_pj, best.cycles),
                    energy_pj=sum(energy for energy, _ in outside), cycles=sum(cycles for _, cycles in outside),
                )  # fmt: skip
                known = _hull([*known, *search.group(plan, known, limit)])
                if length == len(einsums):
                    best = _best([best, *known], objective)
            hulls[first, last] = known
    best = _best([best, *hulls[0, len(einsums) - 1]], objective)
    return CascadeResult(objective=objective, best=best, unfused=unfused, optimal=search.is_proven, plans=plans,
                         seconds=time.perf_counter() - started)  # fmt: skip


_NO_LIMIT = _Limit(objective=OBJECTIVES["edp"], value=math.inf, energy_pj=0.0, cycles=0.0)


def _sums(parts: Sequence[Sequence[MappedCascade]]) -> list[MappedCascade]:
    """Return the hull of running one choice of each part after another."""
    points = [[(each.energy_pj, float(each.cycles)) for each in part] for part in parts]
    return [
        MappedCascade(
            groups=tuple(
                group for part, i in zip(parts, vertex.chosen, strict=True) for group in part[i].groups
            )
        )
        for vertex in sum_vertices(points, [1] * len(parts))
    ]  # fmt: skip


def _best(cascades: Sequence[MappedCascade], objective: Objective) -> MappedCascade:
    return min(cascades, key=lambda each: objective.value(each.energy_pj, each.cycles))
