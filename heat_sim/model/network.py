"""The network between a level and its children: groups, hops and energy (model section 9)."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from operator import add, sub

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.mapping import Dimension, LevelMapping
from heat_sim.mapping import Mapping as LoopNest
from heat_sim.model.nest import Nest
from heat_sim.model.visits import Visits, visits_of

Vector = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MulticastClass:
    """Groups of equally many children, each group getting its own words.

    Attributes:
        multicast: Children of one group: they get the same word.
        scatter: Groups.
        words: Sent to all groups together, each multicast counted once.
    """

    multicast: int
    scatter: int
    words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCounts:
    """Traffic of one tensor between one instance of a level and its children.

    Attributes:
        fanout: Children used.
        classes: By group size, smallest first.
        spatial_reductions: Words added on the way up.
        average_hops: Hops of one word.
        energy_pj: Of the words from the level, over all its instances.
        link_transfers: Words moved between neighbouring children instead of from the level.
        link_transfer_energy_pj: Of these, over all instances.
    """

    fanout: int = 0
    classes: tuple[MulticastClass, ...] = ()
    spatial_reductions: int = 0
    average_hops: float = 0.0
    energy_pj: float = 0.0
    link_transfers: int = 0
    link_transfer_energy_pj: float = 0.0

    @property
    def words(self) -> int:
        """Words sent, each multicast counted once."""
        return sum(each.words for each in self.classes)

    @property
    def multicast(self) -> int:
        """Size of the largest group."""
        return max((each.multicast for each in self.classes), default=0)


@dataclass(slots=True)
class _Share:
    """Running sums of one class of groups: words after bypass, words by tile deltas alone, the latter times hops."""

    words: Fraction
    travelled: float


@dataclass(slots=True)
class LevelTraffic:
    """What one tensor does on the network below one level, per instance of the level.

    Attributes:
        fanout: Children used.
        shares: By (group size, number of groups).
        links: Words that children get from a neighbour.
        child_words: Words one child gets from the level, averaged over the children.
    """

    fanout: int
    shares: dict[tuple[int, int], _Share]
    links: int
    child_words: Fraction

    @property
    def words(self) -> Fraction:
        """Words the level hands out, each multicast counted once."""
        return sum((share.words for share in self.shares.values()), Fraction(0))

    def scale_to(self, child_requests: Fraction) -> None:
        """Let the level serve what its children ask for when they hold nothing themselves (model section 6)."""
        delivered = sum(size * share.words for (size, _), share in self.shares.items())
        for share in self.shares.values():
            share.words *= child_requests * self.fanout / delivered
        self.links = 0


def level_traffic(
    storage: StorageLevel,
    level: LevelMapping,
    *,
    tensor: TensorAccess,
    child_extents: Mapping[str, int],
    visits: Sequence[Visits],
) -> LevelTraffic:
    """Return the traffic that tile deltas alone cause below one level.

    Args:
        storage: The level of the architecture.
        level: Its loops.
        tensor: The tensor that is moved.
        child_extents: How far each rank variable runs inside one child.
        visits: What one child is handed, by whether a neighbour can hand it over.
    """
    loops = _shifts(level, tensor, child_extents)
    mesh = (storage.fanout_x, storage.fanout_y)
    fanout = math.prod(loop.bound for loop in level.spatial)
    traffic = LevelTraffic(fanout=fanout, shares={}, links=0, child_words=Fraction(0))
    for visit in visits:
        groups, linked = group_children(loops, *mesh, None)
        if visit.behind is not None and fanout > 1:
            with_links, would_link = group_children(loops, *mesh, visit.behind)
            # Replacing a part of a multicast saves nothing: then the level serves the whole of it.
            if sum(scatter for _, scatter, _ in with_links) < sum(scatter for _, scatter, _ in groups):
                groups, linked = with_links, would_link
        traffic.links += linked * visit.words
        traffic.child_words += Fraction((fanout - linked) * visit.words, fanout)
        for size, scatter, hops in groups:
            share = traffic.shares.setdefault((size, scatter), _Share(Fraction(0), 0.0))
            share.words += scatter * visit.words
            share.travelled += scatter * visit.words * hops
    return traffic


def tensor_traffic(
    einsum: Einsum,
    architecture: Architecture,
    mapping: LoopNest,
    *,
    nest: Nest,
    t: int,
    delta: NDArray[np.int64],
    link_transfers: bool,
) -> list[LevelTraffic | None]:
    """Return the traffic of one tensor below every level, None outside the outermost level that keeps it.

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: The loop nest.
        nest: The same as arrays.
        t: Index of the tensor.
        delta: (L,) words one child of each level is handed.
        link_transfers: Whether neighbours hand words to each other.
    """
    outermost = int(nest.keep[t].argmax())
    result: list[LevelTraffic | None] = [None] * len(mapping.levels)
    for row in range(len(mapping.levels) - 1, outermost - 1, -1):
        words = int(delta[row])
        has_neighbours = link_transfers and any(loop.bound > 1 for loop in mapping.levels[row].spatial)
        here = level_traffic(
            architecture.levels[row],
            mapping.levels[row],
            tensor=einsum.tensors[t],
            child_extents=mapping.tile_extents(row + 1),
            visits=visits_of(nest, t, row, delta=words) if has_neighbours else [Visits(words=words)],
        )
        child = result[row + 1] if row + 1 < len(result) else None
        if child is not None and not nest.keep[t, row + 1]:
            here.scale_to(child.words)
        result[row] = here
    return result


def network_counts(
    traffic: LevelTraffic, storage: StorageLevel, *, is_output: bool, instances: int, partition_words: int
) -> NetworkCounts:
    """Return the report of one tensor's traffic below one level.

    Args:
        traffic: Per instance of the level.
        storage: The level of the architecture.
        is_output: Whether the tensor moves upwards and is summed.
        instances: Instances of the level in use.
        partition_words: Words of the tensor that ever live in one instance.
    """
    # A main memory has no adder: partial sums cross the network below it in both directions.
    factor = Fraction(1)
    if is_output and not storage.drains_in_place:
        factor = (2 * traffic.words - partition_words) / traffic.words
    per_hop, per_router = storage.hop_energy_pj, storage.router_energy_pj
    link_energy_pj = traffic.links * (per_hop + 2 * per_router)
    energy_pj = 0.0
    classes: list[MulticastClass] = []
    for (size, scatter), share in sorted(traffic.shares.items()):
        words = round(share.words * factor)
        energy_pj += share.travelled * per_hop
        if words:
            energy_pj += words * (1 + math.floor(share.travelled / words)) * per_router
        classes.append(MulticastClass(multicast=size, scatter=scatter, words=words))
    total = sum(each.words for each in classes)
    return NetworkCounts(
        fanout=traffic.fanout,
        classes=tuple(classes),
        spatial_reductions=round(sum((size - 1) * share.words for (size, _), share in traffic.shares.items()))
        if is_output
        else 0,
        average_hops=sum(share.travelled for share in traffic.shares.values()) / total if total else 0.0,
        energy_pj=energy_pj * instances,
        link_transfers=traffic.links,
        link_transfer_energy_pj=link_energy_pj * instances,
    )


def _shifts(
    level: LevelMapping, tensor: TensorAccess, child_extents: Mapping[str, int]
) -> tuple[tuple[int, Dimension, Vector], ...]:
    """Return bound, axis, and how far one step moves the child's box along each rank, of every spatial loop."""
    reach = dict(child_extents)
    result: list[tuple[int, Dimension, Vector]] = []
    for loop in reversed(level.spatial):
        step = reach.get(loop.rank_var, 1)
        shift = tuple(sum(step * c for var, c in rank if var == loop.rank_var) for rank in tensor.projection)
        if tensor.is_plain:
            # Boxes never overlap, so only their order matters: equal keys are looked up, not computed.
            shift = tuple(step // child_extents.get(loop.rank_var, 1) * (side > 0) for side in shift)
        if loop.bound > 1:
            result.append((loop.bound, loop.dimension, shift))
        reach[loop.rank_var] = step * loop.bound
    return tuple(reversed(result))


@lru_cache(maxsize=65536)
def group_children(
    loops: tuple[tuple[int, Dimension, Vector], ...], fanout_x: int, fanout_y: int, behind: Vector | None
) -> tuple[tuple[tuple[int, int, float], ...], int]:
    """Return (group size, number of groups, mean hops of a word) for every size, and the children served by a link.

    Children whose boxes are equal form a group and share a read. A word enters at x = 0 in the middle
    of y, runs along the trunk to the farthest column of its group, and from it up and down each column.
    Children are numbered row by row over the columns in use but placed row by row over the physical
    columns, as Timeloop does.

    Args:
        loops: Bound, axis and shift of each spatial loop, outermost first.
        fanout_x: Physical columns.
        fanout_y: Physical rows.
        behind: A child gets its words from a neighbour, instead of from the level, if the neighbour's
            corner is its own less this vector; None if no child does.
    """
    used_x = math.prod(bound for bound, axis, _ in loops if axis == "x")
    centre = (fanout_y - 1) / 2
    corners: dict[tuple[int, int], Vector] = {}
    for steps in itertools.product(*(range(bound) for bound, _, _ in loops)):
        x = y = 0
        corner: Vector = ()
        for (bound, axis, shift), step in zip(loops, steps, strict=True):
            if axis == "x":
                x = x * bound + step
            else:
                y = y * bound + step
            moved = (step * side for side in shift)
            corner = tuple(map(add, corner, moved)) if corner else tuple(moved)
        row, column = divmod(y * used_x + x, fanout_x)
        corners[row, column] = corner
    members: dict[Vector, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    linked = 0
    for (row, column), corner in corners.items():
        around = ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column))
        if behind is not None and tuple(map(sub, corner, behind)) in [corners.get(place) for place in around]:
            linked += 1
        else:
            members[corner][column].append(row)
    hops: dict[int, list[float]] = defaultdict(list)
    for columns in members.values():
        branches = (max(0.0, centre - min(rows)) + max(0.0, max(rows) - centre) for rows in columns.values())
        size = sum(map(len, columns.values()))
        hops[size].append(max(columns) + sum(branches) if loops else 0.0)
    return tuple((size, len(each), sum(each) / len(each)) for size, each in sorted(hops.items())), linked
