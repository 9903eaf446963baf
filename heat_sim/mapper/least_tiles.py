"""The smallest tiles that a level must hold, and the largest that it can."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from heat_sim.mapper.attainable import MAX_STATES, inner_extents
from heat_sim.mapper.space import MapSpace


class Tile(NamedTuple):
    """A tile of a tensor: its name, and its extent along each rank."""

    name: str
    shape: tuple[int, ...]

    @property
    def words(self) -> int:
        """How many words it has."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} {self.words:,} ({' x '.join(map(str, self.shape)) or 'scalar'})"


def smallest_tiles(space: MapSpace, level: int) -> list[Tile]:
    """Return the smallest tiles of what a level must keep, each taken by itself: no mapping has smaller ones there.

    >>> from heat_sim.mapping import LevelConstraints
    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF", capacity_words=8)))
    >>> space = MapSpace(einsum=parse_einsum("o[p] = i[p+r] * w[r]", extents={"p": 8, "r": 3}), architecture=machine,
    ...                  demands={"RF": LevelConstraints(keep=frozenset("iw"), temporal_bounds={"r": 3})})
    >>> [str(tile) for tile in smallest_tiles(space, 1)]  # p = 1, r = 3
    ['i 3 (3)', 'w 3 (3)']
    """
    return tiles_of(space, level, least_runs(space, level))


def tiles_of(space: MapSpace, level: int, runs: Mapping[str, int]) -> list[Tile]:
    """Return the tiles of what a level must keep: by demand, or because no other level may.

    Args:
        space: The space; every level has a choice of what it keeps.
        level: 0 the outermost.
        runs: How far each rank variable runs at and inside the level.
    """
    must = frozenset.intersection(*space.keep_options(level))
    return [
        Tile(tensor.name, tensor.shape(runs))
        for tensor in space.einsum.tensors
        if tensor.name in must or keepers(space, tensor.name) == [level]
    ]


def least_runs(space: MapSpace, level: int) -> dict[str, int]:
    """Return how far each rank variable runs at a level and inside it at the least."""
    return {var: min(inner_extents(space, level, var)) for var in space.einsum.rank_vars}


def keepers(space: MapSpace, tensor: str) -> list[int]:
    """Return the levels that may keep a tensor, outermost first."""
    return [
        level
        for level in range(len(space.architecture.levels))
        if any(tensor in option for option in space.keep_options(level))
    ]


def bounded_needs(space: MapSpace) -> Iterator[tuple[int, int, int]]:
    """Yield every bounded level, the words of its smallest tiles, and those it has."""
    for index, storage in enumerate(space.architecture.levels):
        if storage.usable_words is not None:
            yield index, sum(tile.words for tile in smallest_tiles(space, index)), storage.usable_words


def fullest_tiles(space: MapSpace, level: int, *, capacity_words: int) -> int:
    """Return the most words that tiles at a level can fill without exceeding the capacity, or a bound above it.

    >>> from heat_sim.mapping import LevelConstraints
    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF", capacity_words=8)))
    >>> space = MapSpace(einsum=parse_einsum("o[p] = i[p+r] * w[r]", extents={"p": 8, "r": 3}), architecture=machine,
    ...                  demands={"RF": LevelConstraints(keep=frozenset("iw"), temporal_bounds={"r": 3})})
    >>> fullest_tiles(space, 1, capacity_words=7)  # p = 1: i, w and o
    7
    """
    einsum, options = space.einsum, space.keep_options(level)
    runs = [inner_extents(space, level, var) for var in einsum.rank_vars]
    if math.prod(map(len, runs)) * len(options) > MAX_STATES:
        runs = [run[-1:] for run in runs]
        largest = _tile_words(space, {var: run[0] for var, run in zip(einsum.rank_vars, runs, strict=True)})
        return min(capacity_words, max(sum(largest[name] for name in option) for option in options))
    best = 0
    for run in itertools.product(*runs):
        words = _tile_words(space, dict(zip(einsum.rank_vars, run, strict=True)))
        for option in options:
            total = sum(words[name] for name in option)
            if best < total <= capacity_words:
                best = total
    return best


def _tile_words(space: MapSpace, extents: dict[str, int]) -> dict[str, int]:
    return {tensor.name: math.prod(tensor.shape(extents)) for tensor in space.einsum.tensors}
