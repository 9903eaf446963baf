"""Which bounds, tiles and numbers of units the constraints of a mapspace leave, each taken by itself.

Capacities and the tensors that share them are not looked at: what is missing here, no mapping of the space has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from heat_sim.mapper.mesh import divisors
from heat_sim.mapper.space import MapSpace

MAX_STATES = 50_000
"""Combinations that are counted one by one; beyond it a bound stands in."""


class Place(NamedTuple):
    """Where a loop may run: in time at a level, or over the children of its instances."""

    level: int
    is_spatial: bool


def places(space: MapSpace) -> tuple[Place, ...]:
    """Return every place of a loop, outermost first."""
    return tuple(
        Place(level, is_spatial) for level in range(len(space.architecture.levels)) for is_spatial in (False, True)
    )


def limit(space: MapSpace, place: Place, rank_var: str) -> tuple[int, int]:
    """Return the least and the most that the demands allow the bound here, whatever the mesh; least may exceed most."""
    if not place.is_spatial:
        return space.temporal_limit(place.level, rank_var)
    demand, extent = space.demand(place.level), space.einsum.extent(rank_var)
    if rank_var in demand.spatial_bounds:
        return demand.spatial_bounds[rank_var], demand.spatial_bounds[rank_var]
    least, most = demand.spatial_limits.get(rank_var, (1, None))
    return least, extent if most is None else min(most, extent)


def within_limits(space: MapSpace, place: Place, rank_var: str) -> tuple[int, ...]:
    """Return the divisors of the extent that the demands allow at this place, whatever the mesh, ascending."""
    least, most = limit(space, place, rank_var)
    return tuple(bound for bound in divisors(space.einsum.extent(rank_var)) if least <= bound <= most)


def along_axes(space: MapSpace, level: int, rank_var: str) -> tuple[tuple[int, int], ...]:
    """Return the bounds (along x, along y) that the rank variable alone may have over the children of a level.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=4, fanout_y=2),))
    >>> along_axes(MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 6}), architecture=machine), 0, "m")
    ((1, 1), (2, 1), (1, 2), (3, 1))
    """
    storage, allowed = space.architecture.levels[level], space.axes(level, rank_var)
    found: list[tuple[int, int]] = []
    for bound in within_limits(space, Place(level, True), rank_var):
        for x in divisors(bound):
            y = bound // x
            is_one_axis = x == 1 or y == 1
            if (
                x <= storage.fanout_x
                and y <= storage.fanout_y
                and (x == 1 or "x" in allowed)
                and (y == 1 or "y" in allowed)
                and (is_one_axis or space.both_axes)
            ):
                found.append((x, y))
    return tuple(sorted(found, key=lambda bounds: (bounds[0] * bounds[1], -bounds[0])))


def allowed_bounds(space: MapSpace, place: Place, rank_var: str) -> tuple[int, ...]:
    """Return the divisors of the extent that demands and mesh allow at this place, ascending."""
    if place.is_spatial:
        return tuple(dict.fromkeys(x * y for x, y in along_axes(space, place.level, rank_var)))
    return within_limits(space, place, rank_var)


def products(space: MapSpace, among: Iterable[Place], rank_var: str) -> frozenset[int]:
    """Return what the bounds at these places can multiply to, as far as it divides the extent."""
    extent, found = space.einsum.extent(rank_var), {1}
    for place in among:
        bounds = allowed_bounds(space, place, rank_var)
        found = {before * bound for before in found for bound in bounds if extent % (before * bound) == 0}
    return frozenset(found)


def inner_extents(space: MapSpace, level: int, rank_var: str) -> tuple[int, ...]:
    """Return how far the rank variable may run at a level and inside it, ascending; nothing if it cannot at all.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelConstraints
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF")))
    >>> inner_extents(MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 12}), architecture=machine,
    ...                        demands={"DRAM": LevelConstraints(temporal_limits={"m": (1, 4)})}), 1, "m")
    (3, 4, 6, 12)
    """
    inside = products(space, places(space)[2 * level :], rank_var)
    outside = products(space, places(space)[: 2 * level], rank_var)
    extent = space.einsum.extent(rank_var)
    return tuple(sorted(run for run in inside if extent // run in outside))


def most_units(space: MapSpace) -> int:
    """Return how many compute units a mapping can use at the most, 0 if the meshes hold none of the ways to lay it out.

    If the ways are too many to go through, a bound above it.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=4), StorageLevel(name="RF", fanout_x=4)))
    >>> most_units(MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 6}), architecture=machine))
    6
    """
    names, extents = zip(*space.einsum.extents, strict=True)
    in_time = [products(space, [place for place in places(space) if not place.is_spatial], var) for var in names]
    totals: set[tuple[int, ...]] = {(1,) * len(names)}
    for level in range(len(space.architecture.levels)):
        choices = _mesh_choices(space, level)
        if choices is None or len(choices) * len(totals) > MAX_STATES:
            return _bound_on_units(space)
        extended = {tuple(map(int.__mul__, total, bounds)) for total in totals for bounds in choices}
        totals = {total for total in extended if not any(map(int.__mod__, extents, total))}
    return max(
        (
            math.prod(total)
            for total in totals
            if all(extent // run in rest for extent, run, rest in zip(extents, total, in_time, strict=True))
        ),
        default=0,
    )


def least_units(space: MapSpace) -> dict[str, int]:
    """Return how much of each rank variable the limits in time leave to the meshes at the least, all levels together.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelConstraints
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=4),))
    >>> least_units(MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 12}), architecture=machine,
    ...                      demands={"DRAM": LevelConstraints(temporal_limits={"m": (1, 5)})}))
    {'m': 3}
    """
    found: dict[str, int] = {}
    for var, extent in space.einsum.extents:
        in_time = products(space, [place for place in places(space) if not place.is_spatial], var)
        over_meshes = products(space, [place for place in places(space) if place.is_spatial], var)
        found[var] = min((units for units in over_meshes if extent // units in in_time), default=0)
    return found


def most_children(space: MapSpace, level: int) -> int:
    """Return how many children of one instance a mapping can use at the most, whatever happens at other levels."""
    storage, used = space.architecture.levels[level], {(1, 1)}
    for var in space.einsum.rank_vars:
        used = {
            (before_x * x, before_y * y)
            for before_x, before_y in used
            for x, y in along_axes(space, level, var)
            if before_x * x <= storage.fanout_x and before_y * y <= storage.fanout_y
        }
    return max((x * y for x, y in used), default=0)


def _mesh_choices(space: MapSpace, level: int) -> frozenset[tuple[int, ...]] | None:
    """Return the bounds per rank variable that fit the mesh of a level together; None if they are too many."""
    storage = space.architecture.levels[level]
    found: set[tuple[tuple[int, ...], int, int]] = {((), 1, 1)}
    for var in space.einsum.rank_vars:
        found = {
            ((*bounds, x * y), used_x * x, used_y * y)
            for bounds, used_x, used_y in found
            for x, y in along_axes(space, level, var)
            if used_x * x <= storage.fanout_x and used_y * y <= storage.fanout_y
        }
        if len(found) > MAX_STATES:
            return None
    return frozenset(bounds for bounds, _, _ in found)


def _bound_on_units(space: MapSpace) -> int:
    by_mesh = math.prod(most_children(space, level) for level in range(len(space.architecture.levels)))
    over_meshes = [place for place in places(space) if place.is_spatial]
    by_extent = math.prod(max(products(space, over_meshes, var), default=0) for var in space.einsum.rank_vars)
    return min(by_mesh, by_extent)
