"""The network between a level and its children: groups, hops and energy (model section 9)."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import add

from heat_sim.architecture import StorageLevel
from heat_sim.einsum import TensorAccess
from heat_sim.mapping import Dimension, LevelMapping

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
        energy_pj: Of all instances of the level, link transfers included.
        link_transfers: Words moved between neighbouring children instead of from the level.
        link_transfer_energy_pj: Their share of the energy.
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


def network_counts(
    storage: StorageLevel,
    level: LevelMapping,
    *,
    tensor: TensorAccess,
    child_extents: Mapping[str, int],
    is_output: bool,
    instances: int,
    handed_words: int,
    served_words: int,
    partition_words: int,
) -> NetworkCounts:
    """Return the traffic on the network below one level.

    Args:
        storage: The level of the architecture.
        level: Its loops.
        tensor: The tensor that is moved.
        child_extents: How far each rank variable runs inside one child.
        is_output: Whether it moves upwards and is summed.
        instances: Instances of the level in use.
        handed_words: Words per instance by tile deltas alone.
        served_words: Words per instance with the accesses of bypassing children.
        partition_words: Words of the tensor that ever live in one instance.
    """
    words = served_words
    if is_output and not storage.drains_in_place:
        # A main memory has no adder: partial sums cross the network in both directions.
        words = 2 * served_words - partition_words
    groups = _groups(_shifts(level, tensor, child_extents), storage.fanout_x, storage.fanout_y)
    scatters = sum(scatter for _, scatter, _ in groups)
    energy_pj = travelled_words = 0.0
    classes: list[MulticastClass] = []
    for multicast, scatter, hops in groups:
        share = words * scatter // scatters
        travelled = handed_words * scatter // scatters * hops
        energy_pj += travelled * storage.hop_energy_pj
        if share:
            energy_pj += share * (1 + math.floor(travelled / share)) * storage.router_energy_pj
        travelled_words += travelled
        classes.append(MulticastClass(multicast=multicast, scatter=scatter, words=share))
    return NetworkCounts(
        fanout=math.prod(loop.bound for loop in level.spatial),
        classes=tuple(classes),
        spatial_reductions=sum((multicast - 1) * served_words * scatter // scatters for multicast, scatter, _ in groups)
        if is_output
        else 0,
        average_hops=travelled_words / words if words else 0.0,
        energy_pj=energy_pj * instances,
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
            # How far does not matter where boxes never overlap; equal keys are looked up, not computed.
            shift = tuple(step // child_extents.get(loop.rank_var, 1) * (side > 0) for side in shift)
        result.append((loop.bound, loop.dimension, shift))
        reach[loop.rank_var] = step * loop.bound
    return tuple(reversed(result))


@lru_cache(maxsize=65536)
def _groups(
    loops: tuple[tuple[int, Dimension, Vector], ...], fanout_x: int, fanout_y: int
) -> tuple[tuple[int, int, float], ...]:
    """Return group size, number of groups and mean hops of a word, for every size of group.

    Children whose boxes are equal form a group and share a read. A word enters at x = 0 in the middle
    of y, runs along the trunk to the farthest column of its group, and from it up and down each column.
    Children are numbered row by row over the columns in use but placed row by row over the physical
    columns, as Timeloop does.

    Args:
        loops: Bound, axis and shift of each spatial loop, outermost first.
        fanout_x: Physical columns.
        fanout_y: Physical rows.
    """
    used_x = math.prod(bound for bound, axis, _ in loops if axis == "x")
    centre = (fanout_y - 1) / 2
    members: dict[Vector, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
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
        members[corner][column].append(row)
    hops: dict[int, list[float]] = defaultdict(list)
    for columns in members.values():
        branches = (max(0.0, centre - min(rows)) + max(0.0, max(rows) - centre) for rows in columns.values())
        size = sum(map(len, columns.values()))
        hops[size].append(max(columns) + sum(branches) if len(loops) else 0.0)
    return tuple((size, len(each), sum(each) / len(each)) for size, each in sorted(hops.items()))
