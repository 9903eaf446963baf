"""Every perfect-factor mapping of a tiny einsum, one after another: the oracle of the mapper.

Nothing is pruned or merged: all ordered factorisations of every rank variable over every level in
time and every mesh axis (one axis per rank variable and mesh), all loop orders, all keep masks in
which the outermost level keeps everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model import Report, evaluate


def reports(einsum: Einsum, architecture: Architecture) -> Iterator[Report]:
    """Yield the report of every mapping that fits."""
    for mapping in mappings(einsum, architecture):
        try:
            yield evaluate(einsum, architecture, mapping, link_transfers=False)
        except InfeasibleError:
            continue


def mappings(einsum: Einsum, architecture: Architecture) -> Iterator[Mapping]:
    """Yield every mapping, fitting or not."""
    slots = [
        (level, dimension)
        for level, storage in enumerate(architecture.levels)
        for dimension, size in (("temporal", 2), ("x", storage.fanout_x), ("y", storage.fanout_y))
        if size > 1
    ]
    tensors = [tensor.name for tensor in einsum.tensors]
    masks = [
        [frozenset(tensors)]
        if place == 0
        else [frozenset(kept) for size in range(len(tensors) + 1) for kept in itertools.combinations(tensors, size)]
        for place in range(len(architecture.levels))
    ]
    for splits in itertools.product(*(_splits(extent, len(slots)) for _, extent in einsum.extents)):
        loops = {
            slot: [
                Loop(rank_var=var, bound=split[place], dimension=slot[1])
                for (var, _), split in zip(einsum.extents, splits, strict=True)
                if split[place] > 1
            ]
            for place, slot in enumerate(slots)
        }
        if not _one_axis_each(loops, len(architecture.levels)):
            continue
        orders = [
            list(itertools.permutations(loops.get((level, "temporal"), [])))
            for level in range(len(architecture.levels))
        ]
        for chosen in itertools.product(*orders):
            for keep in itertools.product(*masks):
                yield Mapping(
                    levels=tuple(
                        LevelMapping(
                            level=storage.name,
                            temporal=chosen[level],
                            spatial=(*loops.get((level, "x"), ()), *loops.get((level, "y"), ())),
                            keep=keep[level],
                        )
                        for level, storage in enumerate(architecture.levels)
                    )
                )


def _splits(extent: int, slots: int) -> list[tuple[int, ...]]:
    return [split for split in itertools.product(*[_divisors(extent)] * slots) if _product(split) == extent]


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _product(numbers: tuple[int, ...]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def _one_axis_each(loops: dict[tuple[int, str], list[Loop]], levels: int) -> bool:
    for level in range(levels):
        along_x = {loop.rank_var for loop in loops.get((level, "x"), ())}
        along_y = {loop.rank_var for loop in loops.get((level, "y"), ())}
        if along_x & along_y:
            return False
    return True
