"""The walker of fused groups: executes every iteration of the common loops and counts the words that move.

The planner multiplies loop bounds (`heat_sim.mapper.cascade.plan`). This file knows none of its formulas: it runs the
common loops index by index, writes down which box of every tensor an iteration touches, in coordinates of the whole
tensor, and keeps a picture of what is at home. The nest of each einsum is run by `tests.oracles.loop_nest`. Only
contractions of plain tensors are run; vector operations are left out.

How a group is pictured (docs/model.md, section 10):

* The outputs that a later einsum of the group reads are *intermediates*. They are at home from the einsum that writes
  them to the last one that reads them, in one and the same iteration; those that others read too (*stored*) are also
  written to the outermost level, once per iteration.
* The outputs that a common loop contracts are *accumulators*. The first time that a box of one is visited, nothing is
  there and nothing is loaded. When it gives way to another box it is stored, and it is loaded when it comes back. An
  einsum that finds its box begun adds to partial sums from its first arrival on.
* Some inputs are *residents*: they are loaded when the box that is needed is not the one at home.
* A box of a resident or an accumulator that serves several iterations in a row is at home from the beginning of the
  first of them to the end of the last; one that serves a single iteration from the first einsum that uses it to the
  last.
* All other tensors move as the nest of their einsum says, in every iteration anew.
* A load is a read at the outermost level and a fill at home, a store an update at the outermost level; the read that
  drains home is not counted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum, TensorAccess
from heat_sim.mapping import Mapping
from heat_sim.vector_op import VectorOp
from tests.oracles.loop_nest import Box, Counts, Walk, walk

Spans = dict[str, tuple[int, int]]
"""Rank variable -> its first value in an iteration and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What was seen while a group ran.

    Attributes:
        counts: (level name, tensor name) -> words moved, where any were.
        ops: Points of the iteration spaces executed.
        steps: Steps of the compute units, one einsum after another; moves of their own take none.
        peak_words: Most words at home at once: tensors there in full, and tiles of the others of the einsum that runs.
        held_words: The same without the tiles.
    """

    counts: dict[tuple[str, str], Counts]
    ops: int
    steps: int
    peak_words: int
    held_words: int


def execute(
    group: Cascade,
    architecture: Architecture,
    mappings: AbstractMapping[tuple[str, bool], Mapping],
    *,
    loops: Sequence[tuple[str, int]],
    home: int,
    residents: Collection[str] = (),
    stored: Collection[str] = (),
) -> Execution:
    """Return what a group of einsums moves by running it.

    Args:
        group: The einsums, with the extents of the whole.
        architecture: Only its levels' names and order are looked at.
        mappings: (name of an einsum, whether it finds partial sums) -> its nest in one iteration.
        loops: Rank variable and bound of the common loops, outermost first.
        home: Place of the level where the tensors stay that do.
        residents: Inputs that are brought there.
        stored: Intermediates that others read too.
    """
    run = _Run(group, architecture, mappings, loops, home, frozenset(residents), frozenset(stored))
    for number in range(len(run.iterations)):
        run.iterate(number)
    assert not run.at_home, f"{sorted(run.at_home)} never left home"
    keys = {key for kind in (run.reads, run.fills, run.updates) for key, words in kind.items() if words}
    return Execution(
        counts={key: Counts(run.reads[key], run.fills[key], run.updates[key]) for key in keys},
        ops=run.ops,
        steps=run.steps,
        peak_words=run.peak_words,
        held_words=run.held_words,
    )


@dataclass(slots=True, eq=False)
class _Run:
    """A group on its way through the common loops: the arguments of `execute`, then what happened so far.

    Attributes:
        at_home: Tensor -> the box of it that is there.
        begun: Output -> the boxes of it that were written, in full or in part.
    """

    group: Cascade
    architecture: Architecture
    mappings: AbstractMapping[tuple[str, bool], Mapping]
    loops: Sequence[tuple[str, int]]
    home: int
    residents: frozenset[str]
    stored: frozenset[str]
    at_home: dict[str, Box] = field(default_factory=dict)
    begun: dict[str, set[Box]] = field(default_factory=lambda: defaultdict(set))
    reads: Counter[tuple[str, str]] = field(default_factory=Counter)
    fills: Counter[tuple[str, str]] = field(default_factory=Counter)
    updates: Counter[tuple[str, str]] = field(default_factory=Counter)
    ops: int = 0
    steps: int = 0
    peak_words: int = 0
    held_words: int = 0
    iterations: tuple[Spans, ...] = ()
    accumulators: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        einsums = self.group.einsums
        assert not any(isinstance(einsum, VectorOp) for einsum in einsums), "vector operations are not run"
        assert all(tensor.is_plain for einsum in einsums for tensor in einsum.tensors), "windows are not run"
        self.iterations = tuple(_iterations(einsums, self.loops))
        looped = {var for var, _ in self.loops}
        self.accumulators = frozenset(einsum.output.name for einsum in einsums if looped & set(einsum.contracted))
        intermediates = {einsum.output.name for place, einsum in enumerate(einsums) if self._is_intermediate(place)}
        assert not intermediates & self.accumulators, "an intermediate is read before its sums are complete"
        assert self.stored <= intermediates, "what is no intermediate leaves by itself"
        assert not self.residents & {einsum.output.name for einsum in einsums}, "an output is no resident"

    def iterate(self, number: int) -> None:
        """Run all einsums once, for one set of indices of the common loops."""
        staying = {
            access.name: access
            for einsum in self.group.einsums
            for access in einsum.tensors
            if access.name in self.residents | self.accumulators and self._stays(access, number)
        }
        for access in staying.values():
            self._bring(access, number)
        for place, einsum in enumerate(self.group.einsums):
            for access in einsum.tensors:
                if access.name in self.residents | self.accumulators:
                    self._bring(access, number)
            self._run(place, number)
            for access in einsum.tensors:
                is_last = not any(access.name in _names(later) for later in self.group.einsums[place + 1 :])
                if is_last and access.name in self.at_home and access.name not in staying:
                    self._let_go(access.name)
        for access in staying.values():
            if not self._is_same(access, number, number + 1):
                self._let_go(access.name)

    def _run(self, place: int, number: int) -> None:
        """Run the nest of one einsum."""
        einsum, spans = self.group.einsums[place], self.iterations[number]
        output = einsum.output.name
        for access in einsum.inputs:
            if any(access.name == earlier.output.name for earlier in self.group.einsums[:place]):
                assert self.at_home.get(access.name) == _box(access, spans), f"{access.name} is not at home"
        box = _box(einsum.output, spans)
        accumulates = box in self.begun[output]
        assert output in self.accumulators or not accumulates, f"{output} is written twice"
        self.begun[output].add(box)
        if self._is_intermediate(place):
            self.at_home[output] = box
        part = replace(einsum, extents=tuple((var, end - first) for var, (first, end) in spans.items()
                                             if var in einsum.rank_vars))  # fmt: skip
        mapping = self.mappings[einsum.name, accumulates]
        inside = _names(part) & set(self.at_home)
        for name in inside:
            outermost = min(level for level, entry in enumerate(mapping.levels) if name in entry.keep)
            assert outermost == self.home, f"{name} is kept outside of its home, or not there"
        seen = _walk(part, self.architecture, mapping, accumulates)
        for key, counts in seen.counts.items():
            self.reads[key] += counts.reads
            self.fills[key] += counts.fills
            self.updates[key] += counts.updates
        self.ops += seen.ops
        self.steps += seen.cycles
        if output in self.stored:
            self._store(output)
        held = sum(map(_words, self.at_home.values()))
        tiles = _walk(part, self.architecture, self._without(mapping, inside), accumulates)
        self.held_words = max(self.held_words, held)
        self.peak_words = max(self.peak_words, held + tiles.peak_words[self.architecture.levels[self.home].name])

    def _without(self, mapping: Mapping, names: frozenset[str]) -> Mapping:
        """Return the nest with these tensors kept at the outermost level instead of home."""
        levels = list(mapping.levels)
        levels[0] = replace(levels[0], keep=levels[0].keep | names)
        levels[self.home] = replace(levels[self.home], keep=levels[self.home].keep - names)
        return Mapping(levels=tuple(levels))

    def _bring(self, access: TensorAccess, number: int) -> None:
        """Make sure that the box of a resident or accumulator is at home."""
        name, box = access.name, _box(access, self.iterations[number])
        if self.at_home.get(name) == box:
            return
        assert name not in self.at_home, f"the old box of {name} is still at home"
        self.at_home[name] = box
        if name in self.residents or box in self.begun[name]:
            self.reads[self.architecture.levels[0].name, name] += _words(box)
            self.fills[self.architecture.levels[self.home].name, name] += _words(box)

    def _let_go(self, name: str) -> None:
        """Take a tensor from home; the partial sums of an accumulator go to the outermost level."""
        if name in self.accumulators:
            self._store(name)
        del self.at_home[name]

    def _store(self, name: str) -> None:
        self.updates[self.architecture.levels[0].name, name] += _words(self.at_home[name])

    def _stays(self, access: TensorAccess, number: int) -> bool:
        """Return whether the box of an iteration is that of the one before or after, too."""
        return self._is_same(access, number, number - 1) or self._is_same(access, number, number + 1)

    def _is_same(self, access: TensorAccess, number: int, other: int) -> bool:
        return 0 <= other < len(self.iterations) and (
            _box(access, self.iterations[number]) == _box(access, self.iterations[other])
        )

    def _is_intermediate(self, place: int) -> bool:
        name = self.group.einsums[place].output.name
        return any(name in _names(later) for later in self.group.einsums[place + 1 :])


def _iterations(einsums: Sequence[Einsum], loops: Sequence[tuple[str, int]]) -> Iterator[Spans]:
    """Yield what the rank variables span in each iteration of the common loops."""
    extents = {var: extent for einsum in einsums for var, extent in einsum.extents}
    sizes = {var: extents[var] // bound for var, bound in loops}
    assert all(sizes[var] * bound == extents[var] for var, bound in loops), "the bounds do not divide the extents"
    assert len(sizes) == len(loops), "two common loops run over one rank variable"
    for indices in itertools.product(*(range(bound) for _, bound in loops)):
        spans = {var: (0, extent) for var, extent in extents.items()}
        for (var, _), index in zip(loops, indices, strict=True):
            spans[var] = (index * sizes[var], (index + 1) * sizes[var])
        yield spans


@lru_cache(maxsize=256)
def _walk(part: Einsum, architecture: Architecture, mapping: Mapping, accumulates: bool) -> Walk:
    """Walk a nest; where in the whole its iteration lies changes nothing."""
    return walk(part, architecture, mapping, accumulates=accumulates)


def _box(access: TensorAccess, spans: Spans) -> Box:
    """Return the box of a plain tensor, in coordinates of the whole."""
    return tuple(spans[var] for rank in access.projection for var, _ in rank)


def _words(box: Box) -> int:
    return math.prod(end - first for first, end in box)


def _names(einsum: Einsum) -> frozenset[str]:
    return frozenset(tensor.name for tensor in einsum.tensors)
