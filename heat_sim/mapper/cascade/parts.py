"""The hulls of the parts of plans, each searched once.

A part is known by the shape of its contraction and by role (`heat_sim.mapper.roles`): names do not matter. Less room at
home leaves fewer mappings. So the hull with all the room of home (`relaxed`) bounds every other one, and is the hull
wherever it fits; where it does not, only what can still matter is searched for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.cascade.plan import Part
from heat_sim.mapper.cascade.plans import homes
from heat_sim.mapper.cascade.vector_unit import MappedVectorOp, map_vector_op
from heat_sim.mapper.edp import Point, lower_left_hull
from heat_sim.mapper.judge import Limit
from heat_sim.mapper.matmul import is_matmul
from heat_sim.mapper.matmul_search import DEFAULT_BUDGET, bound_of, hull_within, search_matmul
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.result import MappedEinsum, pareto_front
from heat_sim.mapper.roles import Shape, matmul_shape, role_einsum
from heat_sim.mapper.search import map_einsum, search_space
from heat_sim.mapper.space import MapSpace, Residence, map_space
from heat_sim.mapping import LevelConstraints
from heat_sim.vector_op import VectorOp, VectorUnit

HULL, PARETO = OBJECTIVES["hull"], OBJECTIVES["pareto"]

Mapped: TypeAlias = MappedEinsum | MappedVectorOp
"""An einsum or vector operation, how it runs and what that costs."""

_ROLES = ("Inputs", "Weights", "Outputs")


class _Key(NamedTuple):
    """What tells parts apart, but for the room they have."""

    shape: Shape
    home: int | None
    resident: frozenset[str]
    accumulates: bool


_PLENTY = 2**60
"""More words than any level has."""


class _Hull(NamedTuple):
    """The hull of a part, and the words that the tiles of its vertices take at home beside what resides."""

    mapped: tuple[MappedEinsum, ...]
    occupied_words: int


@dataclass(slots=True, kw_only=True, eq=False)
class PartSearch:
    """What is known of parts on one machine.

    Attributes:
        architecture: The hardware; its constraints name Inputs, Weights and Outputs.
        constraints: Demands per level.
        vector_unit: For vector operations; None if there is none.
        budget: Steps of one search at the most; None is some seconds.
        merged: Whether the rank variables of a class count as one, which lies along one axis of a mesh only: faster.
        cache: Where the hulls of einsums by themselves are looked up and kept, beyond this run.
        searches: How many there were.
        proven: How many of them ran through.
        constrains_loops: Whether a constraint demands more than what is kept.
    """

    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints] = field(default_factory=dict)
    vector_unit: VectorUnit | None = None
    budget: int | None = None
    merged: bool = False
    cache: MappingCache | None = None
    searches: int = 0
    proven: int = 0
    constrains_loops: bool = field(init=False)
    _hulls: dict[_Key, _Hull] = field(default_factory=dict)
    _bounds: dict[_Key, Point] = field(default_factory=dict)
    _kept: dict[tuple[int, str], frozenset[bool]] = field(default_factory=dict)
    _spaces: dict[Shape, MapSpace] = field(default_factory=dict)
    _bests: dict[tuple[_Key, Objective], MappedEinsum | None] = field(default_factory=dict)
    _partial: dict[tuple[_Key, int | None, Objective], list[tuple[_Hull, tuple[Limit, Limit]]]] = field(
        default_factory=dict
    )
    _others: dict[Einsum, tuple[MappedEinsum, ...]] = field(default_factory=dict)

    @property
    def homes(self) -> tuple[int, ...]:
        """Levels that can be home to what stays on the chip; none where networks cost energy (bounds leave it out)."""
        networks_cost = any(level.hop_energy_pj or level.router_energy_pj for level in self.architecture.levels)
        return () if networks_cost else homes(self.architecture)

    def __post_init__(self) -> None:
        self.constrains_loops = any(demand.speaks_of_loops for demand in self.constraints.values())

    @property
    def is_proven(self) -> bool:
        """Whether every search so far ran through."""
        return self.proven == self.searches

    @property
    def may_split(self) -> bool:
        """Whether a mapping may have any loops at the outermost level, and tiles of any size."""
        return not self.constrains_loops and not any(level.min_utilization for level in self.architecture.levels)

    def alone(self, einsum: Einsum, objective: Objective, *, weights: frozenset[str] | None) -> Mapped | None:
        """Return the best way to run an einsum by itself; None if there is none.

        Args:
            einsum: Finds nothing at home.
            objective: No front.
            weights: Names of all tensors that play Weights beside one that does not; None for the second operand.
        """
        part = Part(einsum, None, 1)
        if isinstance(einsum, VectorOp) or not is_matmul(einsum):
            ways: tuple[Mapped, ...] = self.relaxed(part, weights=weights)
        else:
            ways = tuple(
                mapped for key in self._keys(part, weights) if (mapped := self._best(key, objective)) is not None
            )
        return min(ways, key=lambda each: objective.value(each.energy_pj, each.cycles), default=None)

    def _best(self, key: _Key, objective: Objective) -> MappedEinsum | None:
        if (key, objective) not in self._bests:
            self.searches += 1
            try:
                result = search_space(self._space(key, None), objective, budget=self.budget)
            except InfeasibleError:
                self.proven += 1
                self._bests[key, objective] = None
            else:
                self.proven += result.optimal
                self._bests[key, objective] = result.best
        return self._bests[key, objective]

    def relaxed(self, part: Part, *, weights: frozenset[str] | None) -> tuple[Mapped, ...]:
        """Return the hull of a part if the tiles of what does not reside had all the room of home."""
        if isinstance(part.einsum, VectorOp):
            free = part.residence and replace(part.residence, reserved_words=-_PLENTY)
            return self._vector_hull(part.einsum, free)
        if not is_matmul(part.einsum):
            return self._other_hull(part.einsum)
        return _hull_of([self._relaxed(key).mapped for key in self._keys(part, weights)])

    def relaxed_within(
        self, part: Part, limits: tuple[Limit, Limit], *, weights: frozenset[str] | None
    ) -> tuple[tuple[Mapped, ...], bool]:
        """Return what of the relaxed hull of a part matters under the limits, at least, and whether that fits.

        Args:
            part: Of a group.
            limits: What it is a part of.
            weights: See `alone`.
        """
        assert part.residence is not None
        if isinstance(part.einsum, VectorOp):
            relaxed = self.relaxed(part, weights=weights)
            return relaxed, self._vector_hull(part.einsum, part.residence) == relaxed
        found: list[tuple[MappedEinsum, ...]] = []
        fits = True
        for key in self._keys(part, weights):
            hull = self._limited(key, None, limits)
            room = self._space(key, part.residence.reserved_words).room_words(part.residence.level)
            fits = fits and (room is None or hull.occupied_words <= room)
            found.append(hull.mapped)
        return _hull_of(found), fits

    def hull_within(
        self, part: Part, limits: tuple[Limit, Limit], *, weights: frozenset[str] | None
    ) -> tuple[Mapped, ...]:
        """Return what of the hull of a part matters under the limits, at least; arguments as in `relaxed_within`."""
        if isinstance(part.einsum, VectorOp):
            return self._vector_hull(part.einsum, part.residence)
        if not is_matmul(part.einsum):
            return self._other_hull(part.einsum)
        reserved = None if part.residence is None else part.residence.reserved_words
        return _hull_of([self._limited(key, reserved, limits).mapped for key in self._keys(part, weights)])

    def pareto_within(
        self, part: Part, limits: tuple[Limit, Limit], *, weights: frozenset[str] | None
    ) -> tuple[Mapped, ...]:
        """Return what of the Pareto front of a part matters under the limits; arguments as in `relaxed_within`."""
        assert part.residence is not None
        if isinstance(part.einsum, VectorOp):
            return self._vector_hull(part.einsum, part.residence)
        reserved = part.residence.reserved_words
        found = [self._limited(key, reserved, limits, PARETO).mapped for key in self._keys(part, weights)]
        return pareto_front([mapped for front in found for mapped in front])

    def _limited(
        self, key: _Key, reserved_words: int | None, limits: tuple[Limit, Limit], objective: Objective = HULL
    ) -> _Hull:
        """Return what matters under the limits; None for the words that others have taken is all the room of home."""
        if reserved_words is None and objective == HULL and key in self._hulls:
            return self._hulls[key]
        known = self._partial.setdefault((key, reserved_words, objective), [])
        for hull, old in known:
            if all(map(_is_narrower, limits, old)):
                return hull
        space = self._roomy_space(key) if reserved_words is None else self._space(key, reserved_words)
        budget = DEFAULT_BUDGET if self.budget is None else self.budget
        self.searches += 1
        mapped, proven = hull_within(space, limits, objective=objective, budget=budget)
        self.proven += proven
        hull = self._hull_of_front(mapped, key, space)
        known.append((hull, limits))
        return hull

    def _roomy_space(self, key: _Key) -> MapSpace:
        """Return the space of a part if what resides took no room at home."""
        space = self._space(key, None)
        if key.home is None:
            return space
        near = self.architecture.levels[key.home]
        if near.usable_words is None:
            return space
        words = near.usable_words + sum(map(space.einsum.words, key.resident))
        roomy = replace(near, capacity_words=words, multiple_buffering=1, min_utilization=0.0)
        levels = (*self.architecture.levels[: key.home], roomy, *self.architecture.levels[key.home + 1 :])
        return replace(space, architecture=replace(self.architecture, levels=levels))

    def _hull_of_front(self, front: Sequence[MappedEinsum], key: _Key, space: MapSpace) -> _Hull:
        """Return a hull found in a space with more room as one on the machine itself."""
        occupied = max((_occupied(each, space.residence) for each in front), default=0)
        if key.home is not None and self.architecture.levels[key.home].min_utilization:
            occupied = _PLENTY  # not known to fill what has to be filled
        return _Hull(tuple(replace(each, architecture=self.architecture) for each in front), occupied)

    def _relaxed(self, key: _Key) -> _Hull:
        if key not in self._hulls:
            self._hulls[key] = self._search(key)
        return self._hulls[key]

    def _search(self, key: _Key) -> _Hull:
        self.searches += 1
        space = self._roomy_space(key)
        try:
            if key.home is None:
                result = map_einsum(
                    space.einsum, self.architecture, objective=HULL, constraints=self.constraints, budget=self.budget,
                    cache=self.cache,
                )  # fmt: skip
            else:
                budget = DEFAULT_BUDGET if self.budget is None else self.budget
                result = search_matmul(space, objective=HULL, budget=budget)
        except InfeasibleError:
            self.proven += 1
            return _Hull((), 0)
        self.proven += result.optimal
        return self._hull_of_front(result.front, key, space)

    def bound(self, part: Part, *, weights: frozenset[str] | None) -> Point:
        """Return energy and cycles that no mapping of a part is below."""
        if not isinstance(part.einsum, VectorOp) and is_matmul(part.einsum):
            points = [self._matmul_bound(key) for key in self._keys(part, weights)]
        else:
            points = [(each.energy_pj, float(each.cycles)) for each in self.relaxed(part, weights=weights)]
        if not points:
            return math.inf, math.inf
        return min(energy_pj for energy_pj, _ in points), min(cycles for _, cycles in points)

    def free(self, einsum: Einsum, *, weights: frozenset[str] | None) -> Point:
        """Return energy and cycles that an einsum takes at the least, fused or not."""
        everything = frozenset(tensor.name for tensor in einsum.tensors)
        residences = [
            None,
            *(Residence(level=home, tensors=everything, reserved_words=-_PLENTY) for home in self.homes),
        ]
        least = [self.bound(Part(einsum, residence, 1), weights=weights) for residence in residences]
        return min(energy for energy, _ in least), min(cycles for _, cycles in least)

    def is_kept(self, level: int, einsum: Einsum, tensor: str, *, weights: frozenset[str] | None) -> bool | None:
        """Return whether an operand is always kept at the level (True), never (False), or either (None)."""
        answers: set[bool] = set()
        for inputs in self._inputs(einsum, weights):
            role = _ROLES[0] if tensor == inputs else _ROLES[1]
            if (level, role) not in self._kept:  # whatever the shape
                space = self._space(self._key(Part(einsum, None, 1), inputs), None)
                self._kept[level, role] = frozenset(role in option for option in space.keep_options(level))
            answers |= self._kept[level, role]
        return answers.pop() if len(answers) == 1 else None

    def why_not(self, einsum: Einsum, *, weights: frozenset[str] | None) -> None:
        """Raise the error that says why an einsum by itself has no mapping."""
        if not isinstance(einsum, VectorOp) and is_matmul(einsum):
            for key in self._keys(Part(einsum, None, 1), weights):
                search_space(self._space(key, None), HULL)

    def _keys(self, part: Part, weights: frozenset[str] | None) -> tuple[_Key, ...]:
        """Return the ways in which the operands of a contraction can play their roles."""
        return tuple(self._key(part, name) for name in self._inputs(part.einsum, weights))

    def _inputs(self, einsum: Einsum, weights: frozenset[str] | None) -> tuple[str, ...]:
        """Return the operands that may play Inputs."""
        first, second = (tensor.name for tensor in einsum.inputs)
        if weights is None or (second in weights and first not in weights):
            return (first,)
        if first in weights and second not in weights:
            return (second,)
        return (first, second) if self.constraints else (first,)

    def _key(self, part: Part, inputs: str) -> _Key:
        shape = matmul_shape(part.einsum, inputs=inputs, merged=self.merged or self.constrains_loops)
        if part.residence is None:
            return _Key(shape, None, frozenset(), False)
        first, second = (tensor.name for tensor in part.einsum.inputs)
        names = (inputs, second if inputs == first else first, part.einsum.output.name)
        resident = frozenset(role for name, role in zip(names, _ROLES, strict=True) if name in part.residence.tensors)
        return _Key(shape, part.residence.level, resident, part.residence.accumulates)

    def _space(self, key: _Key, reserved_words: int | None) -> MapSpace:
        space = self._spaces.get(key.shape)
        if space is None:
            space = map_space(role_einsum(key.shape), self.architecture, constraints=self.constraints)
            self._spaces[key.shape] = space
        if key.home is None:
            return space
        return replace(
            space,
            residence=Residence(
                level=key.home, tensors=key.resident, reserved_words=reserved_words or 0, accumulates=key.accumulates
            ),
        )

    def _matmul_bound(self, key: _Key) -> Point:
        if known := self._hulls.get(key):
            if not known.mapped:
                return math.inf, math.inf
            return min(each.energy_pj for each in known.mapped), min(float(each.cycles) for each in known.mapped)
        if key not in self._bounds:
            self._bounds[key] = bound_of(self._space(key, None))
        return self._bounds[key]

    def _vector_hull(self, op: VectorOp, residence: Residence | None) -> tuple[MappedVectorOp, ...]:
        if self.vector_unit is None:
            raise HeatError(
                describe(f"vector operation {op.name}", "nothing is known of a vector unit", got=op,
                         expected="its energy per operation and its operations per cycle",
                         remedy="Add vector_unit: {energy_pj: ..., operations_per_cycle: ...}.")
            )  # fmt: skip
        home = self.homes[0] if residence is None and self.homes else None if residence is None else residence.level
        return map_vector_op(op, self.architecture, self.vector_unit, home=home, residence=residence)

    def _other_hull(self, einsum: Einsum) -> tuple[MappedEinsum, ...]:
        if einsum not in self._others:
            space = map_space(einsum, self.architecture, constraints=self.constraints)
            self.searches += 1
            result = search_space(space, HULL, budget=self.budget)
            self.proven += result.optimal
            self._others[einsum] = result.front
        return self._others[einsum]


def _hull_of(fronts: Sequence[tuple[MappedEinsum, ...]]) -> tuple[MappedEinsum, ...]:
    """Return the hull of several hulls."""
    if len(fronts) == 1:
        return fronts[0]
    found = [mapped for front in fronts for mapped in front]
    return tuple(found[i] for i in lower_left_hull([(each.energy_pj, float(each.cycles)) for each in found]))


def _is_narrower(limit: Limit, old: Limit) -> bool:
    """Return whether all that one limit leaves, an older one left too."""
    if old.times == 0:
        return True
    if limit.times < old.times or limit.with_pj < old.with_pj or limit.with_cycles < old.with_cycles:
        return False
    if limit.front != old.front or limit.front == 1:
        return False
    same = (limit.energy_exponent, limit.cycles_exponent, limit.pj_per_cycle) == (
        old.energy_exponent, old.cycles_exponent, old.pj_per_cycle
    )  # fmt: skip
    if limit.front == 0:
        return same and limit.best <= old.best
    # Convex and falling: one hull is nowhere above the other if it is not at the vertices of both.
    at = np.concatenate([limit.cycles, old.cycles])
    return bool((_hull_pj(limit, at) <= _hull_pj(old, at)).all())


def _hull_pj(limit: Limit, cycles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least energy that a hull has at so many cycles, infinite where it has none."""
    if not len(limit.cycles):
        return np.full(len(cycles), np.inf)
    energy_pj = np.interp(cycles, limit.cycles, limit.energy_pj)
    return np.where(cycles < limit.cycles[0], np.inf, energy_pj)


def _occupied(mapped: MappedEinsum, residence: Residence | None) -> int:
    """Return the words that the tiles of tensors that do not reside take at home."""
    if residence is None:
        return 0
    extents = dict.fromkeys(mapped.einsum.rank_vars, 1) | mapped.mapping.tile_extents(residence.level)
    kept = mapped.mapping.levels[residence.level].keep - residence.tensors
    return sum(math.prod(mapped.einsum.tensor(name).shape(extents)) for name in kept)
