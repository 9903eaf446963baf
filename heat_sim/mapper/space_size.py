"""How many mappings a mapspace holds."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from heat_sim.mapper.space import MapSpace

_Counts = NDArray[np.object_]
"""Python integers, so that nothing overflows; one axis per level in time."""


def space_size(space: MapSpace) -> int:
    """Return exactly how many mappings the space holds, fitting or not.

    A mapping is a bound in time for every rank variable and level, a bound over the children for every rank variable
    and mesh with the axis it lies along, an order of the loops in time of every level (loops of bound 1 do not exist;
    orders of spatial loops do not count), and what is kept where (every tensor at one level at least). Capacities,
    `min_parallelism`, and whether several rank variables together fit an axis of a mesh are not checked.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2), StorageLevel(name="RF")))
    >>> einsum = parse_einsum("z[m] = a[m]", extents={"m": 4})
    >>> space_size(MapSpace(einsum=einsum, architecture=machine))  # 5 splits x 4 sets of tensors in the RF
    20
    """
    return _nests(space) * _keep_choices(space)


def _keep_choices(space: MapSpace) -> int:
    """Return the choices of what is kept where, by inclusion and exclusion of tensors that are kept nowhere."""
    names = [tensor.name for tensor in space.einsum.tensors]
    options = [space.keep_options(level) for level in range(len(space.architecture.levels))]
    return sum(
        (-1) ** size * math.prod(sum(keep.isdisjoint(missing) for keep in here) for here in options)
        for size in range(len(names) + 1)
        for missing in itertools.combinations(names, size)
    )


def _nests(space: MapSpace) -> int:
    """Return the choices of bounds, axes and orders.

    The k loops of a level that `inner_order` does not place have k! orders, so the rank variables are not independent.
    But k! is a weighted sum of powers t^k, and for given t at every level they are: each loop counts t.
    """
    levels = range(len(space.architecture.levels))
    splits = {var: _splits(space, var) for var in space.einsum.rank_vars}
    free = {
        (var, level)
        for var, counts in splits.items()
        for level in levels
        if var not in space.inner_order(level) and np.count_nonzero(counts.take([1], axis=level))
    }
    most = [sum((var, level) in free for var in splits) for level in levels]
    product: _Counts = np.ones([degree + 1 for degree in most], dtype=object)
    for var, counts in splits.items():
        for level in levels:
            points = np.array([[1, t if (var, level) in free else 1] for t in range(most[level] + 1)], dtype=object)
            counts = np.moveaxis(np.tensordot(points, counts, axes=(1, level)), 0, level)
        product = product * counts
    for degree in reversed(most):
        product = product @ np.array(_weights(degree), dtype=object)
    return int(product) // math.prod(math.factorial(degree) for degree in most)


def _splits(space: MapSpace, var: str) -> _Counts:
    """Return the ways to split one rank variable, by the levels where its bound in time exceeds 1 (index 1 there)."""
    extent, levels = space.einsum.extent(var), range(len(space.architecture.levels))
    divisors = [d for d in range(1, math.isqrt(extent) + 1) if extent % d == 0]
    divisors += [extent // d for d in reversed(divisors) if d * d < extent]
    over = Counter({1: 1})
    for level in levels:
        ways = _over_children(space, level, var=var, divisors=divisors)
        wider = Counter[int]()
        for (done, count), (bound, more) in itertools.product(over.items(), ways.items()):
            if extent % (done * bound) == 0:
                wider[done * bound] += count * more
        over = wider
    split: dict[int, _Counts] = {done: np.array(count, dtype=object) for done, count in over.items()}
    zero: _Counts = np.array(0, dtype=object)
    for level in levels:
        least, most = space.temporal_limit(level, var)
        bounds = [d for d in divisors if least <= d <= most]
        split = {
            done: np.stack(
                [
                    np.asarray(sum((split.get(done // d, zero) for d in group if done % d == 0), zero), dtype=object)
                    for group in ([d for d in bounds if d == 1], [d for d in bounds if d > 1])
                ],
                axis=-1,
            )
            for done in divisors
        }
        zero = np.stack([zero, zero], axis=-1)
    return split[extent]


def _over_children(space: MapSpace, level: int, *, var: str, divisors: list[int]) -> Counter[int]:
    """Return, for each bound over the children that is allowed, along how many ways to lay it along the axes."""
    storage, axes = space.architecture.levels[level], space.axes(level, var)
    along_x = [d for d in divisors if d == 1 or ("x" in axes and d <= storage.fanout_x)]
    along_y = [d for d in divisors if d == 1 or ("y" in axes and d <= storage.fanout_y)]
    least, most = space.spatial_limit(level, var)
    return Counter(
        x * y
        for x, y in itertools.product(along_x, along_y)
        if least <= x * y <= most and (space.both_axes or x == 1 or y == 1)
    )


def _weights(degree: int) -> list[int]:
    """Return w such that the sum of w[t] * t^k over t = 0..degree is degree! * k! for every k up to the degree.

    Lagrange interpolation at t = 0..degree.

    >>> [sum(w * t**k for t, w in enumerate(_weights(3))) for k in range(4)]
    [6, 6, 12, 36]
    """
    weights = []
    for point in range(degree + 1):
        polynomial = [1]  # the product of (t - other), lowest power first
        for other in range(degree + 1):
            if other != point:
                polynomial = [a - other * b for a, b in zip([0, *polynomial], [*polynomial, 0], strict=True)]
        value = sum(factor * math.factorial(power) for power, factor in enumerate(polynomial))
        weights.append((-1) ** (degree - point) * math.comb(degree, point) * value)
    return weights
