"""The network between a level and its children: groups, hops and energy (model section 9)."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from heat_sim.architecture import StorageLevel
from heat_sim.einsum import TensorAccess
from heat_sim.mapping import Dimension, LevelMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCounts:
    """Traffic of one tensor between one instance of a level and its children.

    Attributes:
        fanout: Children used.
        multicast: Children that get the same word.
        words: Words sent, each multicast counted once.
        spatial_reductions: Words added on the way up.
        average_hops: Hops of one word, averaged over the groups.
        energy_pj: Of all instances of the level.
    """

    fanout: int = 0
    multicast: int = 0
    words: int = 0
    spatial_reductions: int = 0
    average_hops: float = 0.0
    energy_pj: float = 0.0

    @property
    def scatter(self) -> int:
        """Groups of children that get different words."""
        return self.fanout // self.multicast if self.multicast else 0


def network_counts(
    storage: StorageLevel,
    level: LevelMapping,
    *,
    tensor: TensorAccess,
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
        is_output: Whether it moves upwards and is summed.
        instances: Instances of the level in use.
        handed_words: Words per instance by tile deltas alone.
        served_words: Words per instance with the accesses of bypassing children.
        partition_words: Words of the tensor that ever live in one instance.
    """
    fanout = math.prod(loop.bound for loop in level.spatial)
    multicast = math.prod(loop.bound for loop in level.spatial if loop.rank_var not in tensor.rank_vars)
    words = served_words
    if is_output and not storage.drains_in_place:
        # A main memory has no adder: partial sums cross the network in both directions.
        words = 2 * served_words - partition_words
    hops = 0.0
    if fanout > 1:
        relevant = tensor.rank_vars
        loops = tuple((loop.bound, loop.dimension, loop.rank_var in relevant) for loop in level.spatial)
        hops = _average_hops(loops, storage.fanout_x, storage.fanout_y)
    travelled = handed_words * hops
    energy_pj = travelled * storage.hop_energy_pj
    if words:
        energy_pj += words * (1 + math.floor(travelled / words)) * storage.router_energy_pj
    return NetworkCounts(
        fanout=fanout,
        multicast=multicast,
        words=words,
        spatial_reductions=(multicast - 1) * served_words if is_output else 0,
        average_hops=travelled / words if words else 0.0,
        energy_pj=energy_pj * instances,
    )


@lru_cache(maxsize=65536)
def _average_hops(loops: tuple[tuple[int, Dimension, bool], ...], fanout_x: int, fanout_y: int) -> float:
    """Return the mean number of hops of a group's word.

    Words enter at x = 0 in the middle of y, run along the trunk to the farthest column in use, and
    from it up and down each column. Children are numbered row by row over the columns in use but
    placed row by row over the physical columns, as Timeloop does.

    Args:
        loops: Bound, axis, and whether the rank variable indexes the tensor, of each spatial loop.
        fanout_x: Physical columns.
        fanout_y: Physical rows.
    """
    used_x = math.prod(bound for bound, axis, _ in loops if axis == "x")
    centre = (fanout_y - 1) / 2
    groups: dict[tuple[int, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for steps in itertools.product(*(range(bound) for bound, _, _ in loops)):
        x = y = 0
        for (bound, axis, _), step in zip(loops, steps, strict=True):
            if axis == "x":
                x = x * bound + step
            else:
                y = y * bound + step
        row, column = divmod(y * used_x + x, fanout_x)
        key = tuple(step for (_, _, relevant), step in zip(loops, steps, strict=True) if relevant)
        groups[key][column].append(row)
    total = 0.0
    for columns in groups.values():
        total += max(columns)
        total += sum(max(0.0, centre - min(rows)) + max(0.0, max(rows) - centre) for rows in columns.values())
    return total / len(groups)
