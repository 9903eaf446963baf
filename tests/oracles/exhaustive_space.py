"""Every mapping of a mapspace, one after another: the dumb oracle of the searches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from heat_sim.architecture import StorageLevel
from heat_sim.errors import InfeasibleError
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping
from heat_sim.model import Report, evaluate


def mappings(space: MapSpace) -> Iterator[Mapping]:
    """Yield every mapping that the space holds, each once; whether its tiles fit is the model's to say.

    Each rank variable has at most one loop in time and one per axis at a level. Meshes are respected and every
    tensor is kept somewhere, as `check_mapping` demands of a mapping.
    """
    levels, names = space.architecture.levels, [tensor.name for tensor in space.einsum.tensors]
    for nest in _nests(space):
        for keep in itertools.product(*(space.keep_options(level) for level in range(len(levels)))):
            mapping = Mapping(
                levels=tuple(
                    LevelMapping(level=storage.name, temporal=temporal, spatial=spatial, keep=kept)
                    for storage, (temporal, spatial), kept in zip(levels, nest, keep, strict=True)
                )
            )
            if all(any(name in kept for kept in keep) for name in names) and space.holds(mapping):
                yield mapping


def costs(space: MapSpace) -> Iterator[tuple[Mapping, Report]]:
    """Yield every mapping of the space that fits, with its report."""
    for mapping in mappings(space):
        try:
            yield mapping, evaluate(space.einsum, space.architecture, mapping, link_transfers=False)
        except InfeasibleError:
            continue


Nest = tuple[tuple[tuple[Loop, ...], tuple[Loop, ...]], ...]
"""Per level the loops in time and the loops over its children."""


def _nests(space: MapSpace) -> Iterator[Nest]:
    levels = space.architecture.levels
    slots: list[tuple[int, Dimension]] = [
        (place, axis) for place, storage in enumerate(levels) for axis, size in _sizes(storage) if size > 1
    ]
    splits = [
        [split for split in itertools.product(_divisors(extent), repeat=len(slots)) if math.prod(split) == extent]
        for _, extent in space.einsum.extents
    ]
    for chosen in itertools.product(*splits):
        loops = {
            slot: tuple(
                Loop(rank_var=var, bound=split[place], dimension=slot[1])
                for var, split in zip(space.einsum.rank_vars, chosen, strict=True)
                if split[place] > 1
            )
            for place, slot in enumerate(slots)
        }
        meshes = {slot: math.prod(loop.bound for loop in here) for slot, here in loops.items()}
        if any(
            meshes.get((place, "x"), 1) > storage.fanout_x or meshes.get((place, "y"), 1) > storage.fanout_y
            for place, storage in enumerate(levels)
        ):
            continue
        for orders in itertools.product(
            *(itertools.permutations(loops[place, "temporal"]) for place in range(len(levels)))
        ):
            yield tuple(
                (order, (*loops.get((place, "x"), ()), *loops.get((place, "y"), ())))
                for place, order in enumerate(orders)
            )


def _sizes(storage: StorageLevel) -> tuple[tuple[Dimension, int], ...]:
    return ("temporal", 2), ("x", storage.fanout_x), ("y", storage.fanout_y)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
