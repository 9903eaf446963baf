"""Mesh choices: how many units of each class sit side by side below a level."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.matmul import Matmul
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import Dimension

Ints = NDArray[np.int64]

Pair = tuple[int, int]
"""Bounds of one class along x and along y."""


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """Return the divisors, ascending.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def class_pairs(space: MapSpace, matmul: Matmul, *, level: int, c: int) -> tuple[Pair, ...]:
    """Return how the class may lie along the axes of the mesh below the level.

    A rank variable lies along one axis (unless the space says both), so a class lies along both only if its
    members can be parted between the axes.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.matmul import as_matmul
    >>> from heat_sim.mapper.space import map_space
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2, fanout_y=3),))
    >>> step = parse_einsum("z[m] = a[m,i,j] * b[i,j]", extents=dict(m=2, i=2, j=3))
    >>> space = map_space(step, machine)
    >>> [class_pairs(space, as_matmul(step), level=0, c=c) for c in (1, 3)]
    [((1, 1), (1, 2), (2, 1)), ((1, 1), (1, 2), (1, 3), (2, 1), (2, 3))]
    """
    members = [var for var in matmul.members[c] if space.einsum.extent(var) > 1]
    limits = [space.spatial_limit(level, var) for var in matmul.members[c]]
    extents = [space.einsum.extent(var) for var in matmul.members[c]]
    if any(least > extent for (least, _), extent in zip(limits, extents, strict=True)):
        return ()
    storage = space.architecture.levels[level]
    if not members:
        return ((1, 1),)
    # Several members are never constrained (`speaks_of_classes`), so their limits are those of the mesh.
    least, most = space.spatial_limit(level, members[0]) if len(members) == 1 else (1, storage.fanout)
    return _pairs(
        tuple(space.einsum.extent(var) for var in members), storage.fanout_x, storage.fanout_y,
        space.axes(level, members[0]), least, most, space.both_axes,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _pairs(
    members: tuple[int, ...], fanout_x: int, fanout_y: int, axes: tuple[Dimension, ...], least: int, most: int,
    both_axes: bool,
) -> tuple[Pair, ...]:  # fmt: skip
    """Return the pairs of a class with members of these extents on such a mesh, their product within limits."""
    extent = math.prod(members)
    return tuple(
        (x, y)
        for x in divisors(extent)
        if x <= fanout_x and (x == 1 or "x" in axes)
        for y in divisors(extent // x)
        if y <= fanout_y and (y == 1 or "y" in axes)
        if least <= x * y <= most and (min(x, y) == 1 or both_axes or _parts(members, x, y))
    )


def _parts(extents: tuple[int, ...], x: int, y: int) -> bool:
    """Return whether some of the members can make x and the others y."""
    return any(
        math.prod(chosen) % x == 0 and (math.prod(extents) // math.prod(chosen)) % y == 0
        for size in range(len(extents) + 1)
        for chosen in itertools.combinations(extents, size)
    )


def mesh_choices(space: MapSpace, matmul: Matmul, *, level: int) -> Ints:
    """Return the bounds (choices, 4) of the classes over the children of the level, most units first.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.matmul import as_matmul
    >>> from heat_sim.mapper.space import map_space
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2, fanout_y=2),))
    >>> matmul = parse_einsum("z[m,n] = a[m,k] * b[k,n]", extents=dict(m=4, n=1, k=2))
    >>> mesh_choices(map_space(matmul, machine), as_matmul(matmul), level=0).tolist()
    [[1, 2, 1, 2], [1, 1, 1, 2], [1, 2, 1, 1], [1, 1, 1, 1]]
    """
    storage = space.architecture.levels[level]
    pairs = [class_pairs(space, matmul, level=level, c=c) for c in range(4)]
    if not all(pairs):
        return np.zeros((0, 4), dtype=np.int64)
    table = np.ones((4, max(map(len, pairs)), 2), dtype=np.int64)
    for c, options in enumerate(pairs):
        table[c, : len(options)] = options
    found = _lay_out(table, np.array([len(options) for options in pairs]), storage.fanout_x, storage.fanout_y)
    order = np.lexsort((*found.T[::-1], -found.prod(axis=1)))
    return found[order]


@njit(cache=True, error_model="numpy")
def _lay_out(pairs: Ints, count: Ints, fanout_x: int, fanout_y: int) -> Ints:
    """Return every product of one pair per class that fits the mesh, each once."""
    most = fanout_x * fanout_y + 1
    seen = set()
    result = np.ones((64, 4), dtype=np.int64)
    rows = 0
    for i in range(count[0]):
        x0, y0 = pairs[0, i, 0], pairs[0, i, 1]
        if x0 > fanout_x or y0 > fanout_y:
            continue
        for j in range(count[1]):
            x1, y1 = x0 * pairs[1, j, 0], y0 * pairs[1, j, 1]
            if x1 > fanout_x or y1 > fanout_y:
                continue
            for k in range(count[2]):
                x2, y2 = x1 * pairs[2, k, 0], y1 * pairs[2, k, 1]
                if x2 > fanout_x or y2 > fanout_y:
                    continue
                for q in range(count[3]):
                    x3, y3 = x2 * pairs[3, q, 0], y2 * pairs[3, q, 1]
                    if x3 > fanout_x or y3 > fanout_y:
                        continue
                    b0, b1 = pairs[0, i, 0] * pairs[0, i, 1], pairs[1, j, 0] * pairs[1, j, 1]
                    b2, b3 = pairs[2, k, 0] * pairs[2, k, 1], pairs[3, q, 0] * pairs[3, q, 1]
                    number = ((b0 * most + b1) * most + b2) * most + b3
                    if number in seen:
                        continue
                    seen.add(number)
                    if rows == len(result):
                        larger = np.ones((2 * rows, 4), dtype=np.int64)
                        larger[:rows] = result
                        result = larger
                    result[rows, 0], result[rows, 1], result[rows, 2], result[rows, 3] = b0, b1, b2, b3
                    rows += 1
    return result[:rows].copy()


def layout(space: MapSpace, matmul: Matmul, *, level: int, bounds: Ints) -> tuple[tuple[Pair, ...], ...]:
    """Return every way to lay these bounds (4,) of one mesh along its axes: a pair per class."""
    storage = space.architecture.levels[level]
    options = [
        [pair for pair in class_pairs(space, matmul, level=level, c=c) if pair[0] * pair[1] == bounds[c]]
        for c in range(4)
    ]
    return tuple(
        ways
        for ways in itertools.product(*options)
        if math.prod(x for x, _ in ways) <= storage.fanout_x and math.prod(y for _, y in ways) <= storage.fanout_y
    )
