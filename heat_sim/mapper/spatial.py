"""Spatial choices: how many units of each class sit side by side below each level."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture

Bounds = tuple[int, int, int, int]
"""One bound per class (batch, m, n, k)."""

Axes = tuple[Bounds, Bounds]
"""Bounds along x and along y; a class lies along one axis only, as in Timeloop."""


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """Return the divisors, ascending.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


@lru_cache(maxsize=4096)
def mesh_choices(extents: Bounds, fanout_x: int, fanout_y: int) -> tuple[tuple[Bounds, Axes], ...]:
    """Return every way to lay the classes along the two axes of one mesh: bounds, and how they lie.

    Ways with the same bounds cost the same; one of them is returned.

    >>> [bounds for bounds, _ in mesh_choices((1, 2, 1, 3), 3, 2)]
    [(1, 1, 1, 1), (1, 1, 1, 3), (1, 2, 1, 1), (1, 2, 1, 3)]
    """
    found: dict[Bounds, Axes] = {}
    for x in _axis(extents, fanout_x):
        h, m, n, k = (extent if bound == 1 else 1 for extent, bound in zip(extents, x, strict=True))
        for y in _axis((h, m, n, k), fanout_y):
            b0, b1, b2, b3 = (along_x * along_y for along_x, along_y in zip(x, y, strict=True))
            found.setdefault((b0, b1, b2, b3), (x, y))
    return tuple(sorted(found.items()))


def _axis(extents: Bounds, size: int) -> Iterator[Bounds]:
    """Yield the bounds that divide the extents and whose product is at most the size of the axis."""
    options = [[d for d in divisors(extent) if d <= size] for extent in extents]
    for h, m, n, k in itertools.product(*options):
        if h * m * n * k <= size:
            yield h, m, n, k


def spatial_choices(architecture: Architecture, extents: Bounds) -> NDArray[np.int64]:
    """Return every combination of mesh choices over the levels, as bounds of shape (choices, L, 4).

    The bounds of a class over all meshes together divide its extent.

    >>> from heat_sim.architecture import StorageLevel
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2), StorageLevel(name="RF", fanout_x=2)))
    >>> spatial_choices(machine, (1, 2, 1, 1)).tolist()
    [[[1, 1, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 1], [1, 2, 1, 1]], [[1, 2, 1, 1], [1, 1, 1, 1]]]
    """
    combined = np.ones((1, 0, 4), dtype=np.int64)
    for level in architecture.levels:
        options = np.array([b for b, _ in mesh_choices(extents, level.fanout_x, level.fanout_y)], dtype=np.int64)
        left = np.repeat(combined, len(options), axis=0)
        right = np.tile(options, (len(combined), 1))[:, None, :]
        combined = np.concatenate([left, right], axis=1)
        divides = (np.array(extents) % combined.prod(axis=1) == 0).all(axis=1)
        combined = combined[divides]
    return combined


def axes(extents: Bounds, bounds: Bounds, fanout_x: int, fanout_y: int) -> Axes:
    """Return how the bounds of one mesh lie along its axes."""
    return dict(mesh_choices(extents, fanout_x, fanout_y))[bounds]
