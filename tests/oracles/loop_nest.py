"""The loop-nest walker: executes a small nest step by step and counts the words that move.

The model's formulas multiply loop bounds. This file knows no formula: it runs the nest, writes down what each compute
unit touches in each cycle, keeps a real buffer per instance, and counts what goes in and out of it. It is slow on
purpose (some ten thousand ops per second) and must stay easy to believe.

How the hardware is pictured (docs/model.md has the same as rules):

* While all loops above a level stand still, its instance needs one *tile* per tensor: the box around the words touched
  below it meanwhile, cut off where the rank variables end.
* When the loops above advance and the tile is the same, nothing moves. If it moved by the same vector as at its last
  move (or moves for the first time), only its new part is fetched, provided that this is a box; else the whole tile is,
  and the vector is forgotten, so that the next move counts as a first one again.
* Compute units hold nothing: every cycle, each asks for its word of every input and hands up its word of the output.
* Children of one parent that ask for equal boxes in the same step are served by one read (multicast); those that hand
  up equal boxes are summed on the way and arrive as one update (spatial reduction).
* A partial sum is read back for every arrival of an element except its first in that instance.
* A level that does not keep the tensor holds nothing: it passes the requests of its children on as one bundle, and its
  parent serves equal bundles with one read.
* Rank variables end at their extent (imperfect factors): all units run in lock step, and those whose turn lies beyond
  the end of a rank variable are idle. A step in which all are idle takes no time.

Two things are Timeloop's rather than nature's, and can be asked for: its extrapolation (`extrapolated`) and transfers
between neighbours (`link_transfers`, see `_linked`).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.mapping import LevelMapping, Mapping

Indices = tuple[int, ...]
"""Current indices of some loops, outermost first: a moment in time, or a place among the instances."""

Word = tuple[int, ...]
"""Coordinates of one element of a tensor."""

Box = tuple[tuple[int, int], ...]
"""Per rank of a tensor, the first coordinate and the one after the last."""

Step: TypeAlias = "dict[Indices, Box]"
"""What some instances need, or get, in one step of the loops above them."""

Request: TypeAlias = "Box | frozenset[Request]"
"""What a parent is asked for at once: a box, or what the children of a level that holds nothing ask for."""

Neighbours = dict[Indices, list[Indices]]
"""Place of a child among its siblings -> the places next to it."""


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
        links: (level name, tensor name) -> words that children of the level got from a neighbour, where there are any.
        ops: Points of the iteration space executed.
        cycles: Steps in time, without stalls.
        peak_words: Level name -> most words that one instance needed at once.
    """

    counts: dict[tuple[str, str], Counts]
    links: dict[tuple[str, str], int]
    ops: int
    cycles: int
    peak_words: dict[str, int]


def walk(
    einsum: Einsum,
    architecture: Architecture,
    mapping: Mapping,
    *,
    extrapolated: bool = False,
    link_transfers: bool = False,
    accumulates: bool = False,
) -> Walk:
    """Return the counts of one nest by executing it.

    Args:
        einsum: Any.
        architecture: Only its levels' names and order are looked at, and with links the widths of the meshes.
        mapping: The nest.
        extrapolated: Timeloop's shortcut, for perfect bounds: iterations 0 and 1 of every loop in time are executed
            and iteration 1 stands for all the rest, so the nest jumps from there to whatever comes after the last. With
            it come its roundings: words are averaged over the instances of a level and rounded there.
        link_transfers: Whether neighbours hand words to each other.
        accumulates: Whether partial sums of the output are there before the walk: then every arrival finds one.
    """
    assert mapping.is_perfect or not extrapolated, "the extrapolation is meant for perfect bounds"
    run = _Run(einsum, architecture, mapping, extrapolated, link_transfers, accumulates)
    names = [level.name for level in architecture.levels]
    counts: dict[tuple[str, str], Counts] = {}
    links: dict[tuple[str, str], int] = {}
    held: dict[str, Counter[tuple[int, Indices]]] = {name: Counter() for name in names}
    ops = cycles = 0
    for tensor in einsum.tensors:
        keepers = [place for place, level in enumerate(mapping.levels) if tensor.name in level.keep]
        flows = [_flow(run, tensor, parent=p, child=c) for p, c in itertools.pairwise((*keepers, len(names)))]
        ops, cycles = flows[-1].ops, flows[-1].cycles
        for above, flow in zip((None, *flows[:-1]), flows, strict=True):
            level = names[flow.parent]
            counts[level, tensor.name] = _counts(run, tensor, above=above, below=flow)
            if flow.passed:
                links[names[flow.child - 1], tensor.name] = flow.passed
            for moment, (_, tiles) in enumerate(_tiles(run, tensor, place=flow.parent)):
                held[level].update({(moment, who): _words(tile) for who, tile in tiles.items()})
    return Walk(
        counts=counts,
        links=links,
        ops=ops,
        cycles=cycles,
        peak_words={name: max(held[name].values(), default=0) for name in names},
    )


class _Run(NamedTuple):
    """What is walked, and how (see `walk`)."""

    einsum: Einsum
    architecture: Architecture
    mapping: Mapping
    extrapolated: bool
    link_transfers: bool
    accumulates: bool = False


class _Flow(NamedTuple):
    """Words of one tensor between a level that keeps it and the next one inside that does, all instances together.

    Attributes:
        parent: Place of the level.
        child: Place of the next one, or of the compute units.
        handed: Out by the parents, or up to them; each multicast or sum counted once.
        received: By the children from the parents, or sent by them.
        passed: Between children.
        begun: Distinct words that each parent ever hands over, summed over the parents (outputs only).
        begun_inside: The same for the children.
        ops: Boxes that the children asked for.
        cycles: Steps in which they asked for any.
    """

    parent: int
    child: int
    handed: Fraction
    received: int
    passed: int
    begun: int
    begun_inside: int
    ops: int
    cycles: int


def _flow(run: _Run, tensor: TensorAccess, *, parent: int, child: int) -> _Flow:
    """Run the loops in time above the child level and add up what moves."""
    levels = run.mapping.levels
    family = sum(len(level.spatial) for level in levels[:parent])
    begun: dict[Indices, set[Word]] = defaultdict(set)
    inside: dict[Indices, set[Word]] = defaultdict(set)
    handed = Fraction(0)
    received = passed = ops = cycles = 0
    # Timeloop knows what the innermost of the levels in between hands down, and scales that up (see `_sharing`).
    nearest = child - 1 if run.extrapolated else parent
    for weight, asked, linked in _deliveries(run, tensor, child=child):
        handed += weight * _served(asked, levels[nearest:child])
        received += weight * sum(map(_words, asked.values()))
        passed += weight * sum(map(_words, linked.values()))
        ops += weight * len(asked | linked)
        cycles += weight * bool(asked or linked)
        if tensor is run.einsum.output and not run.extrapolated and not run.accumulates:
            for who, box in (asked | linked).items():
                words = set(itertools.product(*itertools.starmap(range, box)))
                begun[who[:family]] |= words
                inside[who] |= words
    for place in range(parent, nearest):
        handed *= _sharing(run, tensor, place=place)
    count = sum(map(len, begun.values())), sum(map(len, inside.values()))
    return _Flow(parent, child, handed, received, passed, *count, ops, cycles)


def _deliveries(run: _Run, tensor: TensorAccess, *, child: int) -> Iterator[tuple[int, Step, Step]]:
    """Yield, step by step, what the instances of a level get from above, and what from a neighbour.

    With each step goes how many steps it stands for.
    """
    steps = _tiles(run, tensor, place=child)
    storage, level = run.architecture.levels[child - 1], run.mapping.levels[child - 1]
    siblings = _neighbours(level, storage) if run.link_transfers else {}
    before: Step = {}
    for weight, arrivals in steps if child == len(run.mapping.levels) else _new_parts(steps):
        linked = _linked(arrivals, before, siblings)
        before = arrivals
        asked = {who: box for who, box in arrivals.items() if who not in linked}
        yield weight, asked, {who: arrivals[who] for who in linked}


def _counts(run: _Run, tensor: TensorAccess, *, above: _Flow | None, below: _Flow) -> Counts:
    """Return what the flows above and below a level make of its own counts."""
    is_output = tensor is run.einsum.output
    if run.extrapolated:
        return _averaged_counts(run, tensor, above=above, below=below)
    passed, received = (above.passed, above.received - above.begun_inside) if above else (0, 0)
    handed = int(below.handed)
    return Counts(handed + passed - below.begun, received + passed, handed if is_output else 0)


def _averaged_counts(run: _Run, tensor: TensorAccess, *, above: _Flow | None, below: _Flow) -> Counts:
    """Return the counts averaged over the instances and rounded as Timeloop does it.

    The words between the children of one parent are divided by all instances of the children's level on the chip, not
    by those of that parent: with several parents, too few are counted. Fills of inputs are rounded down. What an
    instance ever sees of an output is the share that its tile has in that of the whole mesh, from level to level.
    """
    mapping = run.mapping
    spread = [math.prod(loop.bound for loop in level.spatial) for level in mapping.levels[: below.parent]]
    instances, parents = math.prod(spread), math.prod(spread[:-1])
    handed = below.handed / instances
    passed = Fraction(above.passed, parents * instances) if above else Fraction(0)
    received = Fraction(above.received, instances) if above else Fraction(0)
    if tensor is not run.einsum.output:
        return Counts(_nearest(handed + passed) * instances, int(received + passed) * instances, 0)
    seen = run.einsum.words(tensor.name)
    for depth in range(below.parent):
        tile = dict.fromkeys(run.einsum.rank_vars, 1) | mapping.tile_extents(depth + 1)
        mesh = dict(tile)
        for loop in mapping.levels[depth].spatial:
            mesh[loop.rank_var] *= loop.bound
        seen = seen * math.prod(tensor.shape(tile)) // math.prod(tensor.shape(mesh))
    fills = _nearest(received + passed - seen) if above else 0
    return Counts(_nearest(handed + passed - seen) * instances, fills * instances, _nearest(handed) * instances)


def _nearest(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))


def _sharing(run: _Run, tensor: TensorAccess, *, place: int) -> Fraction:
    """Return how many words a level would hand out per word that its children receive, if they held the tensor.

    Timeloop scales the requests that pass through a child by this, instead of looking for equal ones among them. Words
    that neighbours would pass on are left out of the average, although those that hold nothing pass on nothing.
    """
    handed = received = 0
    for weight, asked, _ in _deliveries(run, tensor, child=place + 1):
        handed += weight * _served(asked, run.mapping.levels[place : place + 1])
        received += weight * sum(map(_words, asked.values()))
    return Fraction(handed, received)


def _tiles(run: _Run, tensor: TensorAccess, *, place: int) -> Iterator[tuple[int, Step]]:
    """Run the loops in time above the level at `place`; yield the tiles of its instances that are not idle.

    With each step goes how many steps it stands for. A place beyond the last level is that of the compute units.
    """
    extents = dict(run.einsum.extents)
    sizes = dict.fromkeys(extents, 1)
    in_time: list[tuple[str, int]] = []
    in_space: list[tuple[str, int]] = []
    turns: list[list[tuple[int, int]]] = []
    units: list[range] = []
    for depth, level in reversed(list(enumerate(run.mapping.levels))):
        for loop in reversed(level.loops):  # from the inside out: a loop's stride is the range of those further in
            if depth < place and loop.dimension == "temporal":
                in_time.insert(0, (loop.rank_var, sizes[loop.rank_var]))
                turns.insert(0, _turns(loop.bound, extrapolated=run.extrapolated))
            elif depth < place:
                in_space.insert(0, (loop.rank_var, sizes[loop.rank_var]))
                units.insert(0, range(loop.bound))
            sizes[loop.rank_var] *= loop.bound
    inside = {var: run.mapping.tile_extents(place).get(var, 1) for var in extents}
    for turn in itertools.product(*turns):
        step: Step = {}
        for who in itertools.product(*units):
            first = dict.fromkeys(extents, 0)
            for (var, stride), index in zip(in_time + in_space, (*(n for n, _ in turn), *who), strict=True):
                first[var] += stride * index
            if all(first[var] < extent for var, extent in extents.items()):
                last = {var: min(first[var] + inside[var], extent) - 1 for var, extent in extents.items()}
                step[who] = tuple(
                    (
                        sum(scale * (first if scale > 0 else last)[var] for var, scale in rank),
                        sum(scale * (last if scale > 0 else first)[var] for var, scale in rank) + 1,
                    )
                    for rank in tensor.projection
                )
        yield math.prod(weight for _, weight in turn), step


def _turns(bound: int, *, extrapolated: bool) -> list[tuple[int, int]]:
    """Return the iterations of a loop in time that are executed, and how many each stands for."""
    if extrapolated and bound > 1:
        return [(0, 1), (1, bound - 1)]
    return [(iteration, 1) for iteration in range(bound)]


def _new_parts(steps: Iterator[tuple[int, Step]]) -> Iterator[tuple[int, Step]]:
    """Keep a buffer per instance; yield what each one fetches."""
    buffer: Step = {}
    vectors: dict[Indices, Word | None] = {}
    for weight, step in steps:
        arrivals: Step = {}
        for who, tile in step.items():
            old = buffer.get(who)
            if old == tile:
                continue
            arrivals[who] = tile
            if old is not None:
                vector = tuple(new[0] - was[0] for new, was in zip(tile, old, strict=True))
                if vectors.get(who) in (None, vector):
                    vectors[who] = vector
                    arrivals[who] = _difference(tile, old)
                else:
                    vectors[who] = None
            buffer[who] = tile
        yield weight, {who: box for who, box in arrivals.items() if _words(box)}


def _difference(tile: Box, old: Box) -> Box:
    """Return the part of a tile that the old one does not hold if that is a box, else the whole tile."""
    differing = [rank for rank, (new, was) in enumerate(zip(tile, old, strict=True)) if new != was]
    (first, end), (old_first, old_end) = tile[differing[0]], old[differing[0]]
    if len(differing) > 1 or old_end <= first or end <= old_first or (first < old_first and old_end < end):
        return tile
    part = (first, old_first) if first < old_first else (min(old_end, end), end)
    return (*tile[: differing[0]], part, *tile[differing[0] + 1 :])


def _words(box: Box) -> int:
    return math.prod(end - first for first, end in box)


def _served(asked: Step, levels: Sequence[LevelMapping]) -> int:
    """Return the words handed out by a level that keeps the tensor.

    Args:
        asked: What its children, or those of its bypassing children, ask for.
        levels: The level itself and those that bypass below it.
    """
    requests: dict[Indices, Request] = dict(asked)
    for level in reversed(levels):
        # Equal requests of several children are one; so units idle in a last pass leave a bundle what it is.
        bundles: dict[Indices, set[Request]] = defaultdict(set)
        for who, request in requests.items():
            bundles[who[: len(who) - len(level.spatial)]].add(request)
        requests = {parent: frozenset(bundle) for parent, bundle in bundles.items()}
    return sum(map(_sent, requests.values()))


def _sent(request: Request) -> int:
    """Return the words of a request; children that ask for equal things get them at once."""
    if isinstance(request, frozenset):
        return sum(map(_sent, request))
    return _words(request)


def _neighbours(level: LevelMapping, storage: StorageLevel) -> Neighbours:
    """Return the neighbours of every child of one instance.

    Children are numbered over the columns in use, but stand on the mesh as it is built: with unused columns, the second
    row begins where the first is not full yet (as in Timeloop).
    """
    columns = math.prod(loop.bound for loop in level.spatial if loop.dimension == "x")
    spots: dict[tuple[int, int], Indices] = {}
    for child in itertools.product(*(range(loop.bound) for loop in level.spatial)):
        at = {"x": 0, "y": 0}
        for loop, index in zip(level.spatial, child, strict=True):
            at[loop.dimension] = at[loop.dimension] * loop.bound + index
        spots[divmod(at["y"] * columns + at["x"], max(columns, storage.fanout_x))] = child
    around = ((-1, 0), (1, 0), (0, -1), (0, 1))
    return {
        child: [spots[near] for down, right in around if (near := (row + down, column + right)) in spots]
        for (row, column), child in spots.items()
    }


def _linked(arrivals: Step, before: Step, siblings: Neighbours) -> set[Indices]:
    """Return the instances that get their words from a neighbour instead of from their parent.

    That is possible where the words that an instance fetches are exactly those that a neighbour (same parent, left or
    right, up or down) fetched in the step before. A parent uses this in a step only if it then hands out fewer words
    itself; a multicast of which some children would still be left over is not split up.
    """
    possible: dict[Indices, set[Indices]] = defaultdict(set)
    loops = len(next(iter(siblings), ()))
    for who, box in arrivals.items():
        parent = who[: len(who) - loops]
        if any(before.get(parent + near) == box for near in siblings.get(who[len(parent) :], ())):
            possible[parent].add(who)
    linked: set[Indices] = set()
    for parent, children in possible.items():
        family = {who: box for who, box in arrivals.items() if who[: len(parent)] == parent}
        left = {box for who, box in family.items() if who not in children}
        if sum(map(_words, left)) < sum(map(_words, set(family.values()))):
            linked |= children
    return linked
