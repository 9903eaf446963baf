"""The hulls of the parts of plans, each searched once.

A part is known by the shape of its contraction and by role (`heat_sim.mapper.roles`): names do not matter. Less room at
home leaves fewer mappings. So a hull that is known for more room, and fits, is the hull; and what does not fit in more
room does not fit in less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.cascade.plan import Part
from heat_sim.mapper.cascade.plans import homes
from heat_sim.mapper.cascade.vector_unit import MappedVectorOp, VectorUnit, map_vector_op
from heat_sim.mapper.edp import Point, lower_left_hull
from heat_sim.mapper.matmul import is_matmul
from heat_sim.mapper.matmul_search import bound_of, search_matmul
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapper.roles import Shape, matmul_shape, role_einsum
from heat_sim.mapper.search import search_space
from heat_sim.mapper.space import MapSpace, Residence, map_space
from heat_sim.mapping import LevelConstraints
from heat_sim.vector_op import VectorOp

HULL = OBJECTIVES["hull"]

Mapped: TypeAlias = MappedEinsum | MappedVectorOp
"""An einsum or vector operation, how it runs and what that costs."""

_ROLES = ("Inputs", "Weights", "Outputs")


class _Key(NamedTuple):
    """What tells parts apart, but for the room they have."""

    shape: Shape
    home: int | None
    resident: frozenset[str]
    accumulates: bool


class _Hull(NamedTuple):
    """The hull of a part, and the words that the tiles of its vertices take at home beside what resides."""

    room_words: int | None
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
        is_proven: Whether every search so far ran through.
        searches: How many there were.
    """

    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints] = field(default_factory=dict)
    vector_unit: VectorUnit | None = None
    budget: int | None = None
    is_proven: bool = True
    searches: int = 0
    _hulls: dict[_Key, list[_Hull]] = field(default_factory=dict)
    _bounds: dict[_Key, Point] = field(default_factory=dict)
    _spaces: dict[Shape, MapSpace] = field(default_factory=dict)
    _others: dict[Einsum, tuple[MappedEinsum, ...]] = field(default_factory=dict)

    @property
    def homes(self) -> tuple[int, ...]:
        """Levels that can be home to what stays on the chip; none where networks cost energy, which bounds leave out."""
        networks_cost = any(level.hop_energy_pj or level.router_energy_pj for level in self.architecture.levels)
        return () if networks_cost else homes(self.architecture)

    def hull(self, part: Part, *, weights: frozenset[str] | None) -> tuple[Mapped, ...]:
        """Return the hull of one part, empty if no mapping fits.

        Args:
            part: An einsum and what it finds at home.
            weights: Names of all tensors that play Weights beside one that does not; None for the second operand.
        """
        if isinstance(part.einsum, VectorOp):
            return self._vector_hull(part.einsum, part.residence)
        if not is_matmul(part.einsum):
            return self._other_hull(part.einsum)
        keys = self._keys(part, weights)
        if len(keys) == 1:
            return self._matmul_hull(keys[0], part.residence)
        found = [mapped for key in keys for mapped in self._matmul_hull(key, part.residence)]
        return tuple(found[i] for i in lower_left_hull([(each.energy_pj, float(each.cycles)) for each in found]))

    def bound(self, part: Part, *, weights: frozenset[str] | None) -> Point:
        """Return energy and cycles that no mapping of a part is below."""
        if not isinstance(part.einsum, VectorOp) and is_matmul(part.einsum):
            points = [self._matmul_bound(key) for key in self._keys(part, weights)]
        else:
            points = [(each.energy_pj, float(each.cycles)) for each in self.hull(part, weights=weights)]
        if not points:
            return math.inf, math.inf
        return min(energy_pj for energy_pj, _ in points), min(cycles for _, cycles in points)

    def free(self, einsum: Einsum, *, weights: frozenset[str] | None) -> Point:
        """Return energy and cycles that an einsum takes at the least, fused or not."""
        everything = frozenset(tensor.name for tensor in einsum.tensors)
        residences = [None, *(Residence(level=home, tensors=everything, reserved_words=-(2**60)) for home in self.homes)]
        least = [self.bound(Part(einsum, residence, 1), weights=weights) for residence in residences]
        return min(energy for energy, _ in least), min(cycles for _, cycles in least)

    def is_kept(self, level: int, einsum: Einsum, tensor: str, *, weights: frozenset[str] | None) -> bool | None:
        """Return whether an operand is always kept at the level (True), never (False), or either (None)."""
        answers: set[bool] = set()
        for inputs in self._inputs(einsum, weights):
            role = _ROLES[0] if tensor == inputs else _ROLES[1]
            space = self._space(self._key(Part(einsum, None, 1), inputs), None)
            answers |= {role in option for option in space.keep_options(level)}
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
        merged = any(demand.speaks_of_loops for demand in self.constraints.values())
        shape = matmul_shape(part.einsum, inputs=inputs, merged=merged)
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
            mapped = known[0].mapped  # that with the most room
            least = (math.inf, math.inf)
            if mapped:
                least = min(each.energy_pj for each in mapped), min(float(each.cycles) for each in mapped)
            return least
        if key not in self._bounds:
            self._bounds[key] = bound_of(self._space(key, None))
        return self._bounds[key]

    def _matmul_hull(self, key: _Key, residence: Residence | None) -> tuple[MappedEinsum, ...]:
        reserved = None if residence is None else residence.reserved_words
        room = None if key.home is None else self._space(key, reserved).room_words(key.home)
        known = self._hulls.setdefault(key, [])
        for hull in known:
            has_more = room is None or hull.room_words is None or hull.room_words >= room
            if has_more and (room is None or not hull.mapped or hull.occupied_words <= room):
                return hull.mapped
        if not known and residence is not None and residence.reserved_words > 0:
            # With all the room first: what is found there often serves every smaller one.
            self._matmul_hull(key, replace(residence, reserved_words=0))
            return self._matmul_hull(key, residence)
        limit = {} if self.budget is None else {"budget": self.budget}
        space = self._space(key, reserved)
        self.searches += 1
        try:
            search = search_space if residence is None else search_matmul
            result = search(space, objective=HULL, **limit)
        except InfeasibleError:
            mapped: tuple[MappedEinsum, ...] = ()
        else:
            self.is_proven = self.is_proven and result.optimal
            mapped = result.front
        known.append(_Hull(room, mapped, max((_occupied(each, space.residence) for each in mapped), default=0)))
        known.sort(key=lambda hull: math.inf if hull.room_words is None else hull.room_words, reverse=True)
        return mapped

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
            limit = {} if self.budget is None else {"budget": self.budget}
            result = search_space(space, HULL, **limit)
            self.is_proven = self.is_proven and result.optimal
            self._others[einsum] = result.front
        return self._others[einsum]


def _occupied(mapped: MappedEinsum, residence: Residence | None) -> int:
    """Return the words that the tiles of tensors that do not reside take at home."""
    if residence is None:
        return 0
    extents = dict.fromkeys(mapped.einsum.rank_vars, 1) | mapped.mapping.tile_extents(residence.level)
    kept = mapped.mapping.levels[residence.level].keep - residence.tensors
    return sum(math.prod(mapped.einsum.tensor(name).shape(extents)) for name in kept)
