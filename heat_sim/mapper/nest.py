"""From the bounds of a merged matmul back to a mapping of the einsum's own rank variables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from heat_sim.mapper.matmul import Matmul
from heat_sim.mapper.mesh import Pair, divisors, layout
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping

Ints = NDArray[np.int64]

_CLASSES = range(4)
_DIMENSIONS: tuple[Dimension, ...] = ("x", "y", "temporal")
_WAYS = 64
"""Layouts that are tried before a choice of meshes counts as one that the rank variables cannot make."""


def build_mapping(
    space: MapSpace, matmul: Matmul, *, keep: Ints, spatial: Ints, temporal: Ints, innermost: Ints
) -> Mapping | None:
    """Return the mapping that these bounds describe; None if the members of a class cannot make them.

    Args:
        space: The workload and the hardware.
        matmul: The classes.
        keep: (L,) what each level keeps, bit t for tensor t.
        spatial: (L, 4) bounds over the children of each level, per class.
        temporal: (L, 4) bounds in time at each level, per class.
        innermost: (L,) class of the innermost temporal loop, -1 where it does not matter.
    """
    levels = range(len(spatial))
    for chosen in itertools.islice(itertools.product(*_layouts(space, matmul, spatial)), _WAYS):
        parts = [_members(space, matmul, c, chosen, temporal) for c in _CLASSES]
        if all(part is not None for part in parts):
            return Mapping(
                levels=tuple(
                    _level_mapping(space, matmul, level, [part[level] for part in parts if part is not None],
                                   keep=int(keep[level]), innermost=int(innermost[level]))
                    for level in levels
                )
            )  # fmt: skip
    return None


def _layouts(space: MapSpace, matmul: Matmul, spatial: Ints) -> list[tuple[tuple[Pair, ...], ...]]:
    return [layout(space, matmul, level=level, bounds=bounds) for level, bounds in enumerate(spatial)]


def all_ways_tried(space: MapSpace, matmul: Matmul, *, spatial: Ints) -> bool:
    """Return whether `build_mapping` has tried every layout of these bounds (L, 4) before it returns None.

    Then no mapping at all uses the meshes so: what the members leave over, loops in time can share out in any way.
    """
    return math.prod(map(len, _layouts(space, matmul, spatial))) <= _WAYS


Parts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Bounds of the members of one class at one level along x, along y, and in time."""


def _members(
    space: MapSpace, matmul: Matmul, c: int, layouts: Sequence[tuple[Pair, ...]], temporal: Ints
) -> list[Parts] | None:
    extents = [space.einsum.extent(var) for var in matmul.members[c]]
    # Meshes first: they are the ones that some members may not serve.
    slots = [bound for pairs in layouts for bound in pairs[c]] + [int(row[c]) for row in temporal]
    for split in split_bounds(slots, extents, apart=0 if space.both_axes else 2 * len(layouts)):
        return [
            (split[2 * level], split[2 * level + 1], split[2 * len(layouts) + level]) for level in range(len(layouts))
        ]
    return None


def split_bounds(bounds: Sequence[int], extents: Sequence[int], *, apart: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield every way to make bounds of a merged rank variable from bounds of its members, per bound one each.

    The bounds of every member multiply to its extent. Of two neighbours among the first `apart` bounds (x and y of
    one mesh) a member serves one only.

    >>> next(split_bounds([4, 3, 2], [8, 3], apart=0))
    [(4, 1), (1, 3), (2, 1)]
    >>> list(split_bounds([2, 2, 1], [4], apart=2)), next(split_bounds([2, 2, 1], [2, 2], apart=2))
    ([], [(2, 1), (1, 2), (1, 1)])
    """
    if not bounds:
        if all(extent == 1 for extent in extents):
            yield []
        return
    for parts in _products(bounds[0], extents):
        left = [extent // part for extent, part in zip(extents, parts, strict=True)]
        for rest in split_bounds(bounds[1:], left, apart=apart - 1):
            is_x = apart >= 2 and apart % 2 == 0
            if not (is_x and any(min(pair) > 1 for pair in zip(parts, rest[0], strict=True))):
                yield [parts, *rest]


def _products(bound: int, extents: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield divisors of the extents that multiply to the bound, the first members taking the most they can first."""
    if not extents:
        if bound == 1:
            yield ()
        return
    for part in reversed(divisors(extents[0])):
        if bound % part == 0:
            for rest in _products(bound // part, extents[1:]):
                yield (part, *rest)


def _level_mapping(
    space: MapSpace, matmul: Matmul, level: int, parts: Sequence[Parts], *, keep: int, innermost: int
) -> LevelMapping:
    """Return the nest of one level; in time the classes are in order, but for the innermost and what is demanded."""
    loops: dict[Dimension, list[Loop]] = {dimension: [] for dimension in _DIMENSIONS}
    for c in sorted(_CLASSES, key=lambda c: c == innermost):
        for dimension, bounds in zip(_DIMENSIONS, parts[c], strict=True):
            loops[dimension] += [
                Loop(rank_var=var, bound=bound, dimension=dimension)
                for var, bound in zip(matmul.members[c], bounds, strict=True)
                if bound > 1
            ]
    demanded = space.inner_order(level)
    temporal = sorted(
        loops["temporal"],
        key=lambda loop: -demanded.index(loop.rank_var) if loop.rank_var in demanded else -len(demanded),
    )
    return LevelMapping(
        level=space.architecture.levels[level].name,
        temporal=tuple(temporal),
        spatial=(*loops["x"], *loops["y"]),
        keep=frozenset(tensor.name for t, tensor in enumerate(space.einsum.tensors) if (keep >> t) & 1),
    )
