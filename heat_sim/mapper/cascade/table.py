"""All plans of a group at once, as arrays: what no mapping of a plan can be below, before any is looked at by itself.

A plan costs at least what its einsums cost with all the room there is, plus what its common loops add: an input that
does not reside is read from the outermost level in every iteration anew, what resides is loaded as often as its part
changes, and partial sums that leave home come back. The compute units may also be served from the outermost level
directly, where an iteration more adds nothing: then at least the reads are added that this costs over a copy at home.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heat_sim.einsum import Einsum
from heat_sim.mapper.cascade.parts import PartSearch
from heat_sim.mapper.cascade.plan import GroupPlan, Part, names_of
from heat_sim.mapper.cascade.plans import Group, part_of
from heat_sim.mapper.mesh import divisors
from heat_sim.mapper.space import Residence
from heat_sim.vector_op import VectorOp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class PlanKey(NamedTuple):
    """What tells the plans of a group apart.

    Attributes:
        home: Level of what stays on the chip.
        tiles: Rank variables of the common loops, outermost first, with their extents in one iteration.
        residents: Inputs that are brought home in steps of their own.
    """

    home: int
    tiles: tuple[tuple[str, int], ...]
    residents: frozenset[str]

    def coarser(self, group: Group) -> Iterator[PlanKey]:
        """Yield the plans whose nest this one only splits: the first loops of it, the last of them shorter.

        With all the room there is, such a plan is never dearer: its einsums can have the missing loops at the outermost
        level of their own mappings, in the same order, and read, write and hold then just what this plan does. What
        does not change with the missing loops resides in both or in neither; what resides here and is another part in
        every iteration there is as good as read anew.
        """
        for count in range(len(self.tiles) + 1):
            kept = self.tiles[:count]
            last, size = kept[-1] if kept else ("", 0)
            sizes = [s for s in divisors(group.extents[last]) if s % size == 0][:-1] if kept else [0]
            for larger in sizes:
                if count == len(self.tiles) and larger == size:
                    continue
                tiles = (*kept[:-1], (last, larger)) if kept else ()
                order = [var for var, _ in tiles]
                residents = frozenset(
                    name
                    for name in self.residents
                    if name in group.shared or _innermost(order, group.rank_vars[name]) < len(order) - 1
                )
                yield PlanKey(self.home, tiles, residents)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanBatch:
    """Plans with loops over the same rank variables in the same order: P tile sizes times R sets of residents.

    Attributes:
        group: Of einsums.
        home: Level of what stays on the chip.
        order: Rank variables of the common loops, outermost first.
        tiles: (P, len(order)) their extents in one iteration, all below the whole.
        residents: R sets.
        energy_pj: (P, R) bounds; infinite where what lives at home does not fit there.
        cycles: (P, R) bounds.
    """

    group: Group
    home: int
    order: tuple[str, ...]
    tiles: Ints
    residents: tuple[frozenset[str], ...]
    energy_pj: Floats
    cycles: Floats

    def key(self, row: int, column: int) -> PlanKey:
        """Return what tells one of the plans apart."""
        return PlanKey(
            self.home, tuple(zip(self.order, map(int, self.tiles[row]), strict=True)), self.residents[column]
        )

    def plan(self, row: int, column: int) -> GroupPlan:
        """Return one of the plans."""
        sizes = dict(zip(self.order, map(int, self.tiles[row]), strict=True))
        loops = tuple((var, self.group.extents[var] // size) for var, size in sizes.items())
        looped = set(self.order)
        return GroupPlan(
            einsums=tuple(part_of(einsum, sizes) for einsum in self.group.einsums),
            loops=loops,
            home=self.home,
            intermediates=self.group.intermediates,
            stored=self.group.stored,
            residents=self.residents[column],
            accumulators=frozenset(e.output.name for e in self.group.einsums if looped & set(e.contracted)),
        )


def plan_batches(
    group: Group, parts: PartSearch, *, weights: frozenset[str] | None, most_loops: int
) -> Iterator[PlanBatch]:
    """Yield every plan of a group, as `heat_sim.mapper.cascade.plans.group_plans` does one by one.

    Args:
        group: More than one einsum.
        parts: Knows the machine.
        weights: See `PartSearch.hull`.
        most_loops: Common loops at the most.
    """
    if not group.can_fuse:
        return
    for home in parts.homes:
        for count in range(min(most_loops, len(group.common)) + 1):
            for chosen in itertools.combinations(group.common, count):
                grid = np.array(
                    list(itertools.product(*(divisors(group.extents[var])[:-1] for var in chosen))), np.int64
                )
                seen: set[tuple[int, ...]] = set()
                for places in itertools.permutations(range(count)):
                    order = tuple(chosen[place] for place in places)
                    signature = _signature(group, order)
                    if len(grid) and signature not in seen:
                        seen.add(signature)
                        tiles = grid[:, list(places)] if count else grid.reshape(1, 0)
                        yield _Bounds(group, parts, weights, home, order, tiles).batch()


def _signature(group: Group, order: Sequence[str]) -> tuple[int, ...]:
    """Return what tells orders of the same loops apart: the innermost loop that touches each tensor."""
    return tuple(_innermost(order, group.rank_vars[name]) for name in sorted(group.rank_vars))


def _innermost(order: Sequence[str], rank_vars: Sequence[str]) -> int:
    return max((place for place, var in enumerate(order) if var in rank_vars), default=-1)


class _Bounds:
    """One batch under way; arrays of P tile sizes."""

    def __init__(
        self, group: Group, parts: PartSearch, weights: frozenset[str] | None, home: int, order: tuple[str, ...],
        tiles: Ints,
    ) -> None:  # fmt: skip
        self.group, self.parts, self.weights, self.home = group, parts, weights, home
        self.order, self.tiles = order, tiles
        extents = np.array([group.extents[var] for var in order], np.int64)
        self.loop_bounds = extents // tiles
        self.iterations = self.loop_bounds.prod(axis=1)
        looped = set(order)
        self.accumulators = frozenset(e.output.name for e in group.einsums if looped & set(e.contracted))
        last = len(order) - 1
        self.stays = {name: _innermost(order, ranks) < last for name, ranks in group.rank_vars.items()}
        self.words = {name: self._words(name) for name in group.rank_vars}

    def _words(self, name: str) -> Ints:
        """Return the words of a tensor in one iteration."""
        words = np.full(len(self.tiles), self.group.words[name], np.int64)
        for place, var in enumerate(self.order):
            if var in self.group.rank_vars[name]:
                words //= self.loop_bounds[:, place]
        return words

    def _visits(self, name: str) -> Ints:
        innermost = _innermost(self.order, self.group.rank_vars[name])
        return self.loop_bounds[:, : innermost + 1].prod(axis=1)

    def batch(self) -> PlanBatch:
        candidates = [name for name in self.group.inputs if self.stays[name] or name in self.group.shared]
        subsets = [
            frozenset(names)
            for size in range(len(candidates) + 1)
            for names in itertools.combinations(candidates, size)
            if self.group.intermediates or self.group.shared & set(names)
        ]
        chosen = np.array([[name in subset for subset in subsets] for name in candidates], np.float64)
        chosen = chosen.reshape(len(candidates), len(subsets))
        energy_pj, cycles = self._fixed(subsets)
        for row, name in enumerate(candidates):
            load_pj, load_cycles = self._load()
            moved = self._visits(name) * self.words[name]
            energy_pj += np.outer(moved * load_pj, chosen[row])
            cycles += np.outer(moved * load_cycles, chosen[row])
        for name in self.group.inputs:
            away = 1 - chosen[candidates.index(name)] if name in candidates else np.ones(len(subsets))
            energy_pj += np.outer(self._streamed_pj(name), away)
        peak = self._peak(candidates, chosen)
        usable = self.parts.architecture.levels[self.home].usable_words
        if usable is not None:
            energy_pj[peak > usable] = np.inf
        return PlanBatch(
            group=self.group, home=self.home, order=self.order, tiles=self.tiles, residents=tuple(subsets),
            energy_pj=energy_pj, cycles=cycles,
        )  # fmt: skip

    def _fixed(self, subsets: Sequence[frozenset[str]]) -> tuple[Floats, Floats]:
        """Return (P, R): the einsums with all room, and what intermediates and partial sums move."""
        at_home = self.group.intermediates | self.accumulators
        energy_pj = np.zeros((len(self.tiles), len(subsets)))
        cycles = np.zeros((len(self.tiles), len(subsets)))
        rate = _least(
            self.parts.architecture.levels[0].read_bandwidth_words_per_cycle,
            self.parts.architecture.levels[0].shared_bandwidth_words_per_cycle,
        )
        for column, subset in enumerate(subsets):
            for einsum in self.group.einsums:
                residence = Residence(level=self.home, tensors=(at_home | subset) & names_of(einsum))
                least_pj, least_cycles = self._whole(einsum, residence)
                energy_pj[:, column] += least_pj
                read = sum(self.words[t.name] for t in einsum.inputs if t.name not in residence.tensors)
                cycles[:, column] += np.maximum(least_cycles, self.iterations * read / rate)
        load_pj, load_cycles = self._load()
        store_pj, store_cycles = self._store()
        for name in self.group.stored:
            moved = self.iterations * self.words[name]
            energy_pj += (moved * store_pj)[:, None]
            cycles += (moved * store_cycles)[:, None]
        for name in self.accumulators:
            stores = self._visits(name) * self.words[name]
            loads = stores - self.group.words[name]
            energy_pj += (loads * load_pj + stores * store_pj)[:, None]
            cycles += (loads * load_cycles + stores * store_cycles)[:, None]
        return energy_pj, cycles

    def _whole(self, einsum: Einsum, residence: Residence) -> tuple[float, float]:
        """Return a bound of all iterations of an einsum, whatever the tiles."""
        if not isinstance(einsum, VectorOp):
            return self.parts.bound(Part(einsum, residence, 1), weights=self.weights)
        # In parts it fits where the whole does not: its row count is what matters.
        free = Residence(level=residence.level, tensors=residence.tensors, reserved_words=-(2**60))
        return self.parts.bound(Part(einsum, free, 1), weights=self.weights)

    def _load(self) -> tuple[float, float]:
        """Return energy in pJ and cycles per word that is brought home."""
        main, near = self.parts.architecture.levels[0], self.parts.architecture.levels[self.home]
        rate = _least(
            main.read_bandwidth_words_per_cycle, main.shared_bandwidth_words_per_cycle,
            near.write_bandwidth_words_per_cycle, near.shared_bandwidth_words_per_cycle,
        )  # fmt: skip
        return main.read_energy_pj / main.words_per_access + near.write_energy_pj / near.words_per_access, 1 / rate

    def _store(self) -> tuple[float, float]:
        main = self.parts.architecture.levels[0]
        rate = _least(main.write_bandwidth_words_per_cycle, main.shared_bandwidth_words_per_cycle)
        return main.update_energy_pj / main.words_per_access, 1 / rate

    def _streamed_pj(self, name: str) -> Floats:
        """Return (P,) what reading an input anew in every iteration adds to reading it once."""
        main, near = self.parts.architecture.levels[0], self.parts.architecture.levels[self.home]
        read, near_read = (level.read_energy_pj / level.words_per_access for level in (main, near))
        added = np.zeros(len(self.tiles))
        for einsum in self.group.einsums:
            if name not in names_of(einsum) or isinstance(einsum, VectorOp):
                continue
            whole = self.group.words[name]
            again = (self.iterations * self.words[name] - whole) * read
            levels = range(1, len(self.parts.architecture.levels))
            kept = {level: self.parts.is_kept(level, einsum, name, weights=self.weights) for level in levels}
            if True in kept.values():  # the compute units are never served from outside
                added += np.maximum(0.0, again)
            elif kept[self.home] is None:
                # Served directly, a word is read once per unit that the mesh cannot serve together.
                irrelevant = einsum.ops // whole
                asked = whole * irrelevant / min(irrelevant, self.parts.architecture.peak_ops_per_cycle)
                dearer = asked * (read - near_read) - whole * (read + near.write_energy_pj / near.words_per_access)
                added += np.maximum(0.0, np.minimum(again, dearer))
        return added

    def _peak(self, candidates: Sequence[str], chosen: Floats) -> Floats:
        """Return (P, R) words at home when most is live."""
        einsums = self.group.einsums
        uses = {
            name: [place for place, einsum in enumerate(einsums) if name in names_of(einsum)]
            for name in self.group.rank_vars
        }  # fmt: skip
        peak = np.zeros((len(self.tiles), chosen.shape[1]))
        for place in range(len(einsums)):
            live = np.zeros((len(self.tiles), chosen.shape[1]))
            for name in self.group.intermediates | self.accumulators:
                stays = name in self.accumulators and self.stays[name]
                if stays or uses[name][0] <= place <= uses[name][-1]:
                    live += self.words[name][:, None]
            live -= self._taken_over(place, uses)[:, None]
            for row, name in enumerate(candidates):
                if self.stays[name] or uses[name][0] <= place <= uses[name][-1]:
                    live += np.outer(self.words[name], chosen[row])
            peak = np.maximum(peak, live)
        return peak

    def _taken_over(self, place: int, uses: dict[str, list[int]]) -> Ints:
        """See `GroupPlan`: vector operations work in place."""
        einsum = self.group.einsums[place]
        out = einsum.output.name
        if isinstance(einsum, VectorOp) and out in self.group.intermediates:
            for tensor in einsum.inputs:
                name = tensor.name
                same = self.group.words[name] == self.group.words[out]
                if name in self.group.intermediates and uses[name][-1] == place and same:
                    return self.words[out]
        return np.zeros(len(self.tiles), np.int64)


def _least(*rates: float | None) -> float:
    return min((rate for rate in rates if rate is not None), default=np.inf)
