"""Why a mapspace has no valid mapping, in one sentence with a remedy.

Every reason but the last is a proof: it looks at one level, one mesh or one rank variable by itself, and what it
finds no mapping of the space can meet.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from heat_sim.architecture import StorageLevel
from heat_sim.errors import InfeasibleError, describe
from heat_sim.mapper.attainable import (
    Place,
    allowed_bounds,
    least_units,
    limit,
    most_children,
    most_units,
    places,
    products,
    within_limits,
)
from heat_sim.mapper.least_tiles import (
    Tile,
    bounded_needs,
    fullest_tiles,
    keepers,
    least_runs,
    smallest_tiles,
    tiles_of,
)
from heat_sim.mapper.relaxation import relaxations
from heat_sim.mapper.space import MapSpace

MAX_LISTED = 5
"""Constraints that a message lists; of the rest it gives the number."""

IsFeasible = Callable[[MapSpace], bool]


def explain_infeasible(space: MapSpace, *, is_feasible: IsFeasible | None = None) -> InfeasibleError:
    """Return the error that says why no mapping of the space is valid, and what would make one.

    Args:
        space: A space in which a search found nothing.
        is_feasible: Whether a space has a valid mapping. With it, where demands only clash together, they are
            dropped one group at a time, and the first one whose absence leaves a mapping is named.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelConstraints
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="RF", capacity_words=5)))
    >>> demand = LevelConstraints(keep=frozenset("az"), temporal_bounds={"m": 3})
    >>> print(explain_infeasible(MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 6}), architecture=machine,
    ...                                   demands={"RF": demand})))
    mapspace of z on toy, level RF: the smallest tiles of what it must keep do not fit (got 6 words: a 3 (3), z 3 (3), \
expected at most 5 words). Enlarge RF to at least 6 words, let a bypass it, or free the bound of m (m=3 in time at RF).
    """
    for reason in (
        _kept_nowhere,
        _mesh_too_small,
        _no_factorisation,
        _meshes_too_small,
        _level_too_small,
        _too_few_units,
        _level_too_empty,
    ):
        if (error := reason(space)) is not None:
            return error
    return _only_together(space, is_feasible)


def _kept_nowhere(space: MapSpace) -> InfeasibleError | None:
    levels = space.architecture.levels
    for index, storage in enumerate(levels):
        if not space.keep_options(index):
            both = sorted(space.demand(index).keep & space.demand(index).bypass)
            return _infeasible(
                space, storage, "told to keep and to bypass the same tensors", got=", ".join(both),
                expected="one of the two for each", remedy="Delete one of the demands.",
                need=sum(map(space.einsum.words, both)), capacity=0,
            )  # fmt: skip
    for tensor in space.einsum.tensors:
        if not keepers(space, tensor.name):
            named = [storage.name for storage in levels if not storage.is_virtual]
            return _infeasible(
                space, None, f"no level may keep {tensor.name}", got=f"bypassed at {_listed(named)}",
                expected="kept by one level at least (model section 2.4)", remedy=f"Let {levels[0].name} keep it.",
                need=space.einsum.words(tensor.name), capacity=0,
            )  # fmt: skip
    return None


def _mesh_too_small(space: MapSpace) -> InfeasibleError | None:
    for index, storage in enumerate(space.architecture.levels):
        here = Place(index, True)
        asked = {var: limit(space, here, var)[0] for var in space.einsum.rank_vars if limit(space, here, var)[0] > 1}
        options = {var: within_limits(space, here, var) for var in asked}
        least = {var: options[var][0] if options[var] else bound for var, bound in asked.items()}
        need = math.prod(least.values())
        if need > storage.fanout:
            return _infeasible(
                space, storage, "the spatial bounds demanded exceed its mesh",
                got=f"{need:,}: {_listed([_says(space, here, var) for var in asked])}",
                expected=f"at most {storage.fanout_x} x {storage.fanout_y} children",
                remedy=f"Lower one of them, or demand it of another level than {storage.name}.",
                need=need, capacity=storage.fanout,
            )  # fmt: skip
        if not all(within_limits(space, here, var) for var in space.einsum.rank_vars) or most_children(space, index):
            continue
        axis, names = _overfull_axis(space, index, least)
        along, size = math.prod(least[var] for var in names), storage.fanout_y if axis == "y" else storage.fanout_x
        if all(space.axes(index, var) == (axis,) for var in names):
            what, way_out = f"do not fit along {axis}", "change the split or the order that lays them there"
        elif space.both_axes:
            what, way_out = "fit its mesh in no arrangement", f"demand one of another level than {storage.name}"
        else:
            what, way_out = "fit its mesh in no arrangement", "allow a rank variable to run along both axes"
        return _infeasible(
            space, storage, f"the spatial bounds demanded {what}",
            got=f"{along:,} along {axis}: {_listed([_says(space, here, var) for var in names])}",
            expected=f"at most {size:,} children along {axis}", remedy=f"Lower one of them, or {way_out}.",
            need=along, capacity=size,
        )  # fmt: skip
    return None


def _overfull_axis(space: MapSpace, level: int, bounds: dict[str, int]) -> tuple[str, tuple[str, ...]]:
    """Return the axis that overflows, and what lies along it, in the arrangement that overflows least.

    Args:
        space: The space.
        level: Whose mesh.
        bounds: Rank variable to its bound, each along one axis.
    """
    storage = space.architecture.levels[level]
    overflows: list[tuple[float, str, tuple[str, ...]]] = []
    for axes in itertools.product(*(space.axes(level, var) for var in bounds)):
        along = {axis: tuple(var for var, its in zip(bounds, axes, strict=True) if its == axis) for axis in ("x", "y")}
        overflows.append(
            max(
                (math.prod(bounds[var] for var in along[axis]) / size, axis, along[axis])
                for axis, size in (("x", storage.fanout_x), ("y", storage.fanout_y))
            )
        )
    return min(overflows)[1:]


def _meshes_too_small(space: MapSpace) -> InfeasibleError | None:
    """Judge all meshes together: what the limits in time leave to them has to fit."""
    if most_units(space):
        return None
    left = {var: units for var, units in least_units(space).items() if units > 1}
    need, peak = math.prod(left.values()), space.architecture.peak_ops_per_cycle
    limited = [
        _says(space, place, var)
        for place in places(space)
        for var in left
        if not place.is_spatial and _narrows(space, place, var)
    ]
    said = ", ".join(f"{var} {units:,}" for var, units in left.items())
    return _infeasible(
        space, None, "the meshes cannot take what the bounds in time leave to them", got=f"{need:,} units: {said}",
        expected=f"at most {peak:,} units" if need > peak else f"bounds that fit the meshes, {peak:,} units in all",
        remedy=f"Raise or free a bound in time ({_listed(limited)}).",
        need=need, capacity=peak, level=_idlest_mesh(space),
    )  # fmt: skip


def _no_factorisation(space: MapSpace) -> InfeasibleError | None:
    levels = space.architecture.levels
    every = [
        p for p in places(space) if (levels[p.level].fanout > 1 if p.is_spatial else not levels[p.level].is_virtual)
    ]
    for var, extent in space.einsum.extents:
        if extent in products(space, places(space), var):
            continue
        limits = {place: limit(space, place, var) for place in every}
        fixed = [place for place, (least, most) in limits.items() if least == most and least != 1]
        raised = [place for place, (least, _) in limits.items() if least > 1]
        product, minimum = (math.prod(limits[place][0] for place in some) for some in (fixed, raised))
        largest = {place: max(allowed_bounds(space, place, var), default=0) for place in every}
        maximum = math.prod(largest.values())
        if product < 1 or extent % product:
            return _infeasible(
                space, None, f"the bounds fixed for {var} multiply to what does not divide its extent",
                got=f"{product:,}: {_listed([_says(space, place, var) for place in fixed])}",
                expected=f"a divisor of {extent:,}", remedy=f"Correct one of them, or free {var} there.",
                need=product, capacity=extent, level=_innermost(fixed),
            )  # fmt: skip
        if minimum > extent:
            return _infeasible(
                space, None, f"the least bounds of {var} multiply to more than its extent",
                got=f"{minimum:,}: {_listed([_says(space, place, var) for place in raised])}",
                expected=f"at most {extent:,}", remedy="Lower or free one of them.",
                need=minimum, capacity=extent, level=_innermost(raised),
            )  # fmt: skip
        if 0 < maximum < extent:
            tight = min(every, key=lambda place: largest[place])
            return _infeasible(
                space, None, f"the largest bounds that {var} may have multiply to less than its extent",
                got=f"{maximum:,}: {_listed([f'{largest[place]:,} {_where(space, place)}' for place in every])}",
                expected=f"{extent:,}", remedy="Raise or free one of the limits.",
                need=extent, capacity=maximum, level=tight.level,
            )  # fmt: skip
        narrow = [place for place in every if _narrows(space, place, var)]
        return _infeasible(
            space, None, f"no bounds within the limits of {var} multiply to its extent",
            got=_listed([_says(space, place, var) for place in narrow]),
            expected=f"bounds that multiply to {extent:,}", remedy="Free one of them.",
            need=extent, capacity=max(products(space, places(space), var), default=0), level=_innermost(narrow),
        )  # fmt: skip
    return None


def _level_too_small(space: MapSpace) -> InfeasibleError | None:
    crowded = {index: _share(need, usable) for index, need, usable in bounded_needs(space) if need > usable}
    if not crowded:
        return None
    index = max(crowded, key=lambda each: crowded[each])
    storage, tiles = space.architecture.levels[index], smallest_tiles(space, index)
    need, usable = sum(tile.words for tile in tiles), storage.usable_words or 0
    is_whole = all(
        min(keepers(space, tile.name)) == index and tile.words == space.einsum.words(tile.name) for tile in tiles
    )
    return _infeasible(
        space, storage,
        "it must hold whole tensors, but is too small" if is_whole
        else "the smallest tiles of what it must keep do not fit",
        got=f"{need:,} words: {', '.join(map(str, tiles))}", expected=f"at most {usable:,} words",
        remedy=_joined([f"Enlarge {storage.name} to at least {_capacity_for(storage, need):,} words",
                        *_to_bypass(space, index, tiles), *_to_free(space, index)]),
        need=need, capacity=usable,
    )  # fmt: skip


def _to_bypass(space: MapSpace, level: int, tiles: Sequence[Tile]) -> Iterator[str]:
    """Yield the fewest tensors without which the others fit, first among those that other levels may keep."""
    levels = space.architecture.levels
    usable, need = levels[level].usable_words or 0, sum(tile.words for tile in tiles)
    kept_elsewhere = [tile for tile in tiles if len(keepers(space, tile.name)) > 1]
    elsewhere = [storage.name for storage in levels if not storage.is_virtual and storage is not levels[level]]
    for candidates in (kept_elsewhere, tiles if elsewhere else ()):
        for count in range(1, len(candidates) + 1):
            for chosen in itertools.combinations(candidates, count):
                if need - sum(tile.words for tile in chosen) <= usable:
                    names = " and ".join(tile.name for tile in chosen)
                    is_free = candidates is kept_elsewhere
                    yield f"let {names} bypass it" if is_free else f"let another level keep {names}"
                    return


def _to_free(space: MapSpace, level: int) -> Iterator[str]:
    """Yield the fewest rank variables without whose constraints the smallest tiles fit; level 0 holds whole tensors."""
    usable, runs = space.architecture.levels[level].usable_words or 0, least_runs(space, level)
    bound = [var for var, run in runs.items() if run > 1] if level else []
    for count in range(1, len(bound) + 1):
        for chosen in itertools.combinations(bound, count):
            freed = runs | dict.fromkeys(chosen, 1)
            if sum(tile.words for tile in tiles_of(space, level, freed)) <= usable:
                causes = [
                    _says(space, place, var)
                    for var in chosen
                    for place in places(space)
                    if (limit(space, place, var)[0] > 1 if place.level >= level else _narrows(space, place, var))
                ]
                yield f"free the bound{'s' * (count > 1)} of {' and '.join(chosen)} ({_listed(causes)})"
                return


def _too_few_units(space: MapSpace) -> InfeasibleError | None:
    peak, levels = space.architecture.peak_ops_per_cycle, space.architecture.levels
    need, most = math.ceil(space.min_parallelism * peak), most_units(space)
    if most >= need:
        return None
    level = _idlest_mesh(space)
    name, children, used = levels[level].name, levels[level].fanout, most_children(space, level)
    blame = (
        f"only {used:,} of the {children:,} children of {name} can"
        if used < children
        else "one mesh takes from the next"
    )
    return _infeasible(
        space, None, "fewer compute units can work at once than min_parallelism demands",
        got=f"at most {most:,} of {peak:,} units", expected=f"at least {need:,}, a share of {space.min_parallelism:g}",
        remedy=f"Lower min_parallelism to {most}/{peak}, free spatial bounds, or pad extents: {blame}.",
        need=need, capacity=most, level=level,
    )  # fmt: skip


def _idlest_mesh(space: MapSpace) -> int:
    """Return the level that can use the smallest share of its children; of equals, the innermost one with a mesh."""
    levels = space.architecture.levels
    return min(
        range(len(levels)),
        key=lambda level: (most_children(space, level) / levels[level].fanout, levels[level].fanout == 1, -level),
    )


def _level_too_empty(space: MapSpace) -> InfeasibleError | None:
    for index, storage in enumerate(space.architecture.levels):
        usable = storage.usable_words
        if usable is None or storage.min_utilization == 0:
            continue
        least, most = math.ceil(storage.min_utilization * usable), fullest_tiles(space, index, capacity_words=usable)
        if most < least:
            return _infeasible(
                space, storage,
                f"no tiles that it may hold fill its min_utilization of {storage.min_utilization:g} (model section 2)",
                got=f"at most {most:,} words", expected=f"at least {least:,} of {usable:,} words",
                remedy=f"Lower min_utilization, let {storage.name} keep more, or free the bounds at and inside it.",
                need=least, capacity=usable,
            )  # fmt: skip
    return None


def _only_together(space: MapSpace, is_feasible: IsFeasible | None) -> InfeasibleError:
    """Name the tightest level, and what to give up first."""
    order = _by_tightness(space)
    level, storage = order[0], space.architecture.levels[order[0]]
    needs = {index: (need, usable) for index, need, usable in bounded_needs(space)}
    if needs:
        need, capacity = needs[level]
        tight = f"where what must be kept needs at least {need:,} of {capacity:,} words"
    else:
        need, capacity = _asked_children(space, level), storage.fanout
        tight = f"where spatial bounds take at least {need:,} of {capacity:,} children"
    ways = list(relaxations(space, order))
    names = [name for name, _ in ways]
    if is_feasible is None:
        remedy = f"Try without {names[0]} first." if names else "Search again: nothing is demanded."
    elif found := next((name for name, relaxed in ways if is_feasible(relaxed)), None):
        remedy = f"Relax {found}: then there is a mapping."
    else:
        remedy = f"Relax two of them, one alone is not enough: {_listed(names)}."
    return _infeasible(
        space, None, f"its demands can be met one by one, but not together; {storage.name} is the tightest level, "
        f"{tight}", got="no valid mapping", expected="at least one", remedy=remedy,
        need=need, capacity=capacity, level=level,
    )  # fmt: skip


def _by_tightness(space: MapSpace) -> list[int]:
    """Return the levels by smallest need over capacity, or demanded children over mesh, largest first."""
    filled = {index: _share(need, usable) for index, need, usable in bounded_needs(space)}

    def tightness(level: int) -> tuple[float, float, int]:
        fanout = space.architecture.levels[level].fanout
        return filled.get(level, -1.0), _asked_children(space, level) / fanout if fanout > 1 else 0.0, -level

    return sorted(range(len(space.architecture.levels)), key=tightness, reverse=True)


def _asked_children(space: MapSpace, level: int) -> int:
    return math.prod(limit(space, Place(level, True), var)[0] for var in space.einsum.rank_vars)


def _share(need_words: int, usable_words: int) -> float:
    return need_words / usable_words if usable_words else math.inf if need_words else 0.0


def _capacity_for(storage: StorageLevel, need_words: int) -> int:
    """Return the least capacity whose usable words are enough."""
    words = math.ceil(need_words * storage.multiple_buffering)
    return words + (math.floor(words / storage.multiple_buffering) < need_words)


def _narrows(space: MapSpace, place: Place, rank_var: str) -> bool:
    """Return whether it is a constraint that limits the rank variable there, not only the hardware."""
    demand = space.demand(place.level)
    bounds, limits = (
        (demand.spatial_bounds, demand.spatial_limits)
        if place.is_spatial
        else (demand.temporal_bounds, demand.temporal_limits)
    )
    return rank_var in bounds or rank_var in limits


def _says(space: MapSpace, place: Place, rank_var: str) -> str:
    """Return what is demanded of the rank variable at a place, as "k=4 in time at RF"."""
    least, most = limit(space, place, rank_var)
    if least == most:
        bound = f"{rank_var}={least}"
    elif least > 1:
        bound = f"{rank_var}>={least}"
    else:
        bound = f"{rank_var}<={most}"
    return f"{bound} {_where(space, place)}"


def _where(space: MapSpace, place: Place) -> str:
    name = space.architecture.levels[place.level].name
    return f"over the children of {name}" if place.is_spatial else f"in time at {name}"


def _innermost(some: Iterable[Place]) -> int:
    return max((place.level for place in some), default=0)


def _listed(items: Sequence[str]) -> str:
    rest = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return f"{', '.join(items[:MAX_LISTED])}{rest}" or "nothing"


def _joined(remedies: Sequence[str]) -> str:
    *before, last = remedies
    if not before:
        return f"{last}."
    return f"{', '.join(before)}{',' * (len(before) > 1)} or {last}."


def _infeasible(
    space: MapSpace,
    storage: StorageLevel | None,
    what: str,
    *,
    got: str,
    expected: str,
    remedy: str,
    need: int,
    capacity: int,
    level: int = 0,
) -> InfeasibleError:
    """Return the error about a storage level, or about the whole space with the level that is most to blame."""
    where = f"mapspace of {space.einsum.name} on {space.architecture.name}"
    if storage is not None:
        where = f"{where}, level {storage.name}"
    name = space.architecture.levels[level].name if storage is None else storage.name
    return InfeasibleError(
        describe(where, what, got=got, expected=expected, remedy=remedy), level=name, need=need, capacity=capacity
    )
