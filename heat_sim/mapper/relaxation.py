"""A mapspace without some of its demands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from heat_sim.architecture import StorageLevel
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import LevelConstraints


def relaxations(space: MapSpace, order: Sequence[int]) -> Iterator[tuple[str, MapSpace]]:
    """Yield what can be dropped, a group at a time, with the space that is left.

    Loop constraints come first, then what is kept and bypassed, then sizes, then parallelism.

    Args:
        space: The space.
        order: Levels, the one to try first in front.

    >>> from heat_sim.architecture import Architecture
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF", capacity_words=5)))
    >>> space = MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 6}), architecture=machine,
    ...                  demands={"RF": LevelConstraints(keep=frozenset("z"), temporal_bounds={"m": 3})})
    >>> [name for name, _ in relaxations(space, (1, 0))]
    ['the loop constraints at RF', 'what must be kept or bypassed at RF', 'the capacity of RF']
    """
    levels = space.architecture.levels

    def demanding(level: int, demand: LevelConstraints) -> MapSpace:
        return replace(space, demands={**space.demands, levels[level].name: demand})

    for level in order:
        demand = space.demand(level)
        if demand.speaks_of_loops:
            kept = LevelConstraints(keep=demand.keep, bypass=demand.bypass)
            yield f"the loop constraints at {levels[level].name}", demanding(level, kept)
    for level in order:
        demand = space.demand(level)
        if demand.keep or demand.bypass:
            yield (
                f"what must be kept or bypassed at {levels[level].name}",
                demanding(level, replace(demand, keep=frozenset(), bypass=frozenset())),
            )
    for level in order:
        storage = levels[level]
        changes: list[tuple[str, StorageLevel]] = []
        if storage.min_utilization:
            changes.append((f"the min_utilization of {storage.name}", replace(storage, min_utilization=0.0)))
        if storage.capacity_words is not None:
            changes.append((f"the capacity of {storage.name}", replace(storage, capacity_words=None)))
        for name, changed in changes:
            others = (*levels[:level], changed, *levels[level + 1 :])
            yield name, replace(space, architecture=replace(space.architecture, levels=others))
    if space.min_parallelism:
        yield "min_parallelism", replace(space, min_parallelism=0.0)
