"""The mapspace: which mappings of an einsum on an architecture a search may return.

Every perfect factorisation of every rank variable over every level in time and every mesh (along one axis of it, or
both by option), every loop order, every choice of what is kept where; less what the constraints forbid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import SpecError, describe
from heat_sim.mapping import Dimension, LevelConstraints, Mapping, resolve_constraints


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """Tensors that are on the chip before the einsum runs, or stay there after it.

    They are kept at the level in full, whatever the tiles, and at no level further out.

    Attributes:
        level: 0 the outermost.
        tensors: Their names.
        reserved_words: Words of one instance of the level that others have taken.
        accumulates: Whether the output, which resides, holds partial sums before the einsum runs.
    """

    level: int
    tensors: frozenset[str]
    reserved_words: int = 0
    accumulates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpace:
    """The mappings among which a search looks for the best; whether one fits is the model's to say.

    Attributes:
        einsum: The workload.
        architecture: The hardware.
        demands: Level name to what is demanded there, with what depends on the einsum spelled out.
        both_axes: Whether a rank variable may run along x and y of one mesh.
        min_parallelism: Share of the compute units that must be used at least.
        residence: What stays on the chip beyond the einsum; None is nothing.
    """

    einsum: Einsum
    architecture: Architecture
    demands: AbstractMapping[str, LevelConstraints] = field(default_factory=dict)
    both_axes: bool = False
    min_parallelism: float = 0.0
    residence: Residence | None = None

    def demand(self, level: int) -> LevelConstraints:
        """Return what is demanded at the level, 0 the outermost."""
        return self.demands.get(self.architecture.levels[level].name, LevelConstraints())

    def keep_options(self, level: int) -> tuple[frozenset[str], ...]:
        """Return the sets of tensors that the level may keep; the outermost keeps all it is not told to bypass.

        >>> from heat_sim.architecture import StorageLevel
        >>> from heat_sim.einsum import parse_einsum
        >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
        ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF")))
        >>> space = MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 4}), architecture=machine)
        >>> [sorted(keep) for keep in space.keep_options(0)], [sorted(keep) for keep in space.keep_options(1)]
        ([['a', 'z']], [['a', 'z'], ['a'], ['z'], []])
        """
        storage, demand = self.architecture.levels[level], self.demand(level)
        if storage.is_virtual:
            return (frozenset(),)
        options = [frozenset[str]()]
        for tensor in reversed(self.einsum.tensors):
            name = frozenset((tensor.name,))
            may_keep = not name <= demand.bypass
            may_bypass = not name <= demand.keep and (level > 0 or not may_keep)
            if self.residence is not None and name <= self.residence.tensors and level <= self.residence.level:
                may_keep = may_keep and level == self.residence.level
                may_bypass = level < self.residence.level
            options = [
                *(option | name for option in options if may_keep),
                *(option for option in options if may_bypass),
            ]
        return tuple(options)

    @property
    def accumulates(self) -> bool:
        """Whether partial sums of the output are there before the einsum runs."""
        return self.residence is not None and self.residence.accumulates

    def room_words(self, level: int) -> int | None:
        """Return the words of one instance that tiles may fill; None is unbounded.

        Where tensors reside, their words and the reserved ones are taken off, and their tiles do not count.
        """
        usable = self.architecture.levels[level].usable_words
        if usable is None or self.residence is None or level != self.residence.level:
            return usable
        return usable - self.residence.reserved_words - sum(map(self.einsum.words, self.residence.tensors))

    def temporal_limit(self, level: int, rank_var: str) -> tuple[int, int]:
        """Return the least and the most that the bound in time may be; a virtual level has no loops in time."""
        demand, extent = self.demand(level), self.einsum.extent(rank_var)
        if self.architecture.levels[level].is_virtual:
            return 1, 1
        if rank_var in demand.temporal_bounds:
            return demand.temporal_bounds[rank_var], demand.temporal_bounds[rank_var]
        least, most = demand.temporal_limits.get(rank_var, (1, None))
        return least, extent if most is None else min(most, extent)

    def spatial_limit(self, level: int, rank_var: str) -> tuple[int, int]:
        """Return the least and the most that the bound over the children may be, both axes together."""
        demand, storage = self.demand(level), self.architecture.levels[level]
        if rank_var in demand.spatial_bounds:
            return demand.spatial_bounds[rank_var], demand.spatial_bounds[rank_var]
        least, most = demand.spatial_limits.get(rank_var, (1, None))
        return least, min(storage.fanout, self.einsum.extent(rank_var) if most is None else most)

    def axes(self, level: int, rank_var: str) -> tuple[Dimension, ...]:
        """Return the axes along which the rank variable may run over the children.

        A demand lists loops from the innermost outwards and lays the first `split` of them along x; rank variables
        that it does not list are further out.
        """
        demand = self.demand(level)
        if demand.split is None or demand.spatial_order is None:
            return ("x", "y") if demand.split is None or demand.split > 0 else ("y",)
        inner_first = demand.spatial_order[::-1]
        if rank_var in inner_first:
            return ("x",) if inner_first.index(rank_var) < demand.split else ("y",)
        return ("y",) if demand.split <= len(inner_first) else ("x", "y")

    def inner_order(self, level: int) -> tuple[str, ...]:
        """Return the rank variables whose loops in time are the innermost ones, innermost first; the rest is free."""
        order = self.demand(level).temporal_order
        return () if order is None else order[::-1]

    def holds(self, mapping: Mapping) -> bool:
        """Return whether the mapping is in the space, fitting or not.

        Args:
            mapping: Of the einsum on the architecture, as `check_mapping` accepts it.
        """
        if not mapping.is_perfect:
            return False
        return all(self._holds_level(mapping, level) for level in range(len(mapping.levels))) and (
            math.prod(loop.bound for level in mapping.levels for loop in level.spatial)
            >= self.min_parallelism * self.architecture.peak_ops_per_cycle
        )

    def _holds_level(self, mapping: Mapping, level: int) -> bool:
        here = mapping.levels[level]
        if here.keep not in self.keep_options(level):
            return False
        for var in self.einsum.rank_vars:
            in_time = math.prod(loop.bound for loop in here.temporal if loop.rank_var == var)
            along = {
                axis: math.prod(loop.bound for loop in here.spatial if (loop.rank_var, loop.dimension) == (var, axis))
                for axis in ("x", "y")
            }
            least, most = self.temporal_limit(level, var)
            least_over, most_over = self.spatial_limit(level, var)
            if not (least <= in_time <= most and least_over <= along["x"] * along["y"] <= most_over):
                return False
            if min(along.values()) > 1 and not self.both_axes:
                return False
            allowed = self.axes(level, var)
            if any(bound > 1 and axis not in allowed for axis, bound in along.items()):
                return False
        inner_first = [loop.rank_var for loop in reversed(here.temporal) if loop.bound > 1]
        listed = [var for var in self.inner_order(level) if var in inner_first]
        return inner_first[: len(listed)] == listed


def map_space(
    einsum: Einsum,
    architecture: Architecture,
    *,
    constraints: AbstractMapping[str, LevelConstraints] | None = None,
    both_axes: bool = False,
    min_parallelism: float = 0.0,
) -> MapSpace:
    """Return the space of the einsum on the architecture under the constraints.

    Raises:
        SpecError: A constraint names a level, tensor or rank variable that is not there.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"),))
    >>> map_space(parse_einsum("z[m] = a[m]", extents={"m": 4}), machine,
    ...           constraints={"DRAM": LevelConstraints(temporal_bounds={"q": 2})})
    Traceback (most recent call last):
    heat_sim.errors.SpecError: constraints at DRAM: unknown rank variable (got q, expected one of m). Correct the name.
    """
    problems: list[str] = []

    def check(where: str, what: str, got: str, known: tuple[str, ...]) -> None:
        if got not in known:
            problems.append(describe(where, what, got=got, expected=f"one of {', '.join(known)}",
                                     remedy="Correct the name."))  # fmt: skip

    levels = tuple(level.name for level in architecture.levels)
    tensors = tuple(tensor.name for tensor in einsum.tensors)
    for level, demand in (constraints or {}).items():
        where = f"constraints at {level}"
        check("constraints", "unknown level", level, levels)
        for name in sorted(demand.keep | demand.bypass):
            check(where, "unknown tensor", name, tensors)
        for name in dict.fromkeys((
            *demand.temporal_bounds, *demand.temporal_limits, *(demand.temporal_order or ()),
            *demand.spatial_bounds, *demand.spatial_limits, *(demand.spatial_order or ()),
        )):  # fmt: skip
            check(where, "unknown rank variable", name, einsum.rank_vars)
    if problems:
        raise SpecError(problems)
    return MapSpace(
        einsum=einsum,
        architecture=architecture,
        demands=resolve_constraints(constraints or {}, einsum=einsum),
        both_axes=both_axes,
        min_parallelism=min_parallelism,
    )
