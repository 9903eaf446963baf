"""The loop-nest walker: executes every iteration of a small nest and counts the words that move.

The model's formulas multiply loop bounds. This file knows no formula: it runs the nest, writes down which word each
compute unit touches in each cycle, keeps a real buffer per instance, and counts what goes in and out of it. It is slow
on purpose (a few hundred thousand ops per second) and must stay easy to believe.

How the hardware is pictured (docs/model.md has the same as rules):

* While all loops above a level stand still, its instance holds one *tile*: the words touched below it meanwhile.
* When the loops above advance and the tile is another one, it is replaced as a whole; if it is the same, nothing moves.
* Compute units hold nothing: every cycle, each asks for its word of every input and hands up its word of the output.
* Children of one parent that ask for equal tiles in the same step are served by one read (multicast); those that hand
  up equal tiles are summed on the way and arrive as one update (spatial reduction).
* A partial sum is read back for every arrival of an element except its first in that instance.
* A level that does not keep the tensor holds nothing and is passed through.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.mapping import Mapping

Word = tuple[int, ...]
"""Coordinates of one element of a tensor."""

Indices = tuple[int, ...]
"""Current indices of some loops, outermost first: a moment in time, or a place among the instances."""

Tile = frozenset[Word]

Steps = dict[Indices, dict[Indices, Tile]]
"""The tiles of one level and tensor: moment, in order of time -> instance -> tile."""

Arrivals = list[dict[Indices, Tile]]
"""Per step in time, the instances that get (or, for an output, begin) another tile."""


class Counts(NamedTuple):
    """Words of one tensor at one level, summed over the instances and the whole run."""

    reads: int
    fills: int
    updates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What a walk saw.

    Attributes:
        counts: (level name, tensor name) -> words moved, for the levels that keep the tensor.
        ops: Points of the iteration space executed.
        cycles: Steps in time, without stalls.
        peak_words: Level name -> most words that one instance held at once.
    """

    counts: dict[tuple[str, str], Counts]
    ops: int
    cycles: int
    peak_words: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Op:
    """One executed op: when, where, and the value of each rank variable."""

    time: Indices
    place: Indices
    values: dict[str, int]


def walk(einsum: Einsum, architecture: Architecture, mapping: Mapping) -> Walk:
    """Return the counts of one nest by executing it.

    Args:
        einsum: Every rank indexed by one rank variable (`TensorAccess.is_plain`): tiles are then equal or disjoint.
        architecture: Only its levels' names and order are looked at.
        mapping: The nest, with perfect bounds.
    """
    assert all(tensor.is_plain for tensor in einsum.tensors), "sliding windows are beyond this walker"
    ops = list(_execute(mapping))
    names = [level.name for level in architecture.levels]
    compute = len(names)
    counts: dict[tuple[str, str], Counts] = {}
    held: dict[str, Counter[tuple[Indices, Indices]]] = {name: Counter() for name in names}
    for tensor in einsum.tensors:
        keepers = [place for place, level in enumerate(mapping.levels) if tensor.name in level.keep]
        moved: Counter[tuple[int, str]] = Counter()
        for parent, child in itertools.pairwise((*keepers, compute)):
            tiles = _tiles(ops, tensor, mapping, child)
            arrivals = list(tiles.values()) if child == compute else _replacements(tiles)
            family = sum(len(level.spatial) for level in mapping.levels[:parent])
            if tensor is einsum.output:
                moved[parent, "updates"], moved[parent, "reads"] = _hand_up(arrivals, family)
                fills = _refill(arrivals)
            else:
                moved[parent, "reads"], fills = _hand_down(arrivals, family)
            moved[child, "fills"] = fills  # what the compute units get fills nothing and is not looked at again
        for place in keepers:
            counts[names[place], tensor.name] = Counts(*(moved[place, action] for action in Counts._fields))
            for moment, step in _tiles(ops, tensor, mapping, place).items():
                held[names[place]].update({(moment, instance): len(tile) for instance, tile in step.items()})
    return Walk(
        counts=counts,
        ops=len(ops),
        cycles=len({op.time for op in ops}),
        peak_words={name: max(held[name].values(), default=0) for name in names},
    )


def _execute(mapping: Mapping) -> Iterator[_Op]:
    """Run the nest: the temporal loops in order and, in every cycle, all spatial ones at once."""
    loops = [loop for level in mapping.levels for loop in level.loops]
    in_time = [n for n, loop in enumerate(loops) if loop.dimension == "temporal"]
    in_space = [n for n, loop in enumerate(loops) if loop.dimension != "temporal"]
    for time in itertools.product(*(range(loops[n].bound) for n in in_time)):
        for place in itertools.product(*(range(loops[n].bound) for n in in_space)):
            index = dict(zip((*in_time, *in_space), (*time, *place), strict=True))
            values: dict[str, int] = defaultdict(int)
            for n, loop in enumerate(loops):  # from the outside in: each loop splits the range of the one before
                values[loop.rank_var] = values[loop.rank_var] * loop.bound + index[n]
            yield _Op(time=time, place=place, values=values)


def _tiles(ops: list[_Op], tensor: TensorAccess, mapping: Mapping, place: int) -> Steps:
    """Observe the tiles of the level at `place`: the words touched below an instance while the loops above stand."""
    above = mapping.levels[:place]
    times, places = sum(len(level.temporal) for level in above), sum(len(level.spatial) for level in above)
    touched: dict[Indices, dict[Indices, set[Word]]] = defaultdict(lambda: defaultdict(set))
    for op in ops:
        word = tuple(sum(scale * op.values[var] for var, scale in rank) for rank in tensor.projection)
        touched[op.time[:times]][op.place[:places]].add(word)
    return {moment: {who: frozenset(tile) for who, tile in tiles.items()} for moment, tiles in touched.items()}


def _replacements(tiles: Steps) -> Arrivals:
    """Return the tiles that really move: an instance that needs the tile it holds already asks for nothing."""
    buffer: dict[Indices, Tile] = {}
    arrivals: Arrivals = []
    for step in tiles.values():
        arrivals.append({who: tile for who, tile in step.items() if buffer.get(who) != tile})
        buffer |= step
    return arrivals


def _hand_down(arrivals: Arrivals, family: int) -> tuple[int, int]:
    """Return the words that the parents read and the words written into the children.

    Args:
        arrivals: Per step, the child instances that get a tile.
        family: How many leading indices of a child's place name its parent.
    """
    read = filled = 0
    for step in arrivals:
        filled += sum(len(tile) for tile in step.values())
        read += sum(len(tile) for _, tile in {(who[:family], tile) for who, tile in step.items()})
    return read, filled


def _hand_up(arrivals: Arrivals, family: int) -> tuple[int, int]:
    """Return the words that update the parents, and the words they read to add to them."""
    updates = reads = 0
    begun: dict[Indices, set[Word]] = defaultdict(set)
    for step in arrivals:
        for parent, tile in {(who[:family], tile) for who, tile in step.items()}:
            updates += len(tile)
            reads += len(tile & begun[parent])
            begun[parent] |= tile
    return updates, reads


def _refill(arrivals: Arrivals) -> int:
    """Return the words of partial sums that come back into the children: those they have begun before."""
    fills = 0
    begun: dict[Indices, set[Word]] = defaultdict(set)
    for step in arrivals:
        for who, tile in step.items():
            fills += len(tile & begun[who])
            begun[who] |= tile
    return fills
