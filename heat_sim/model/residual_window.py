"""Exact counts of sliding windows under imperfect nests, step by step (model section 12).

No product form holds here: boxes overlap and end early. So the steps in time above each level are run
one after another, for all its children, which bounds the size of the problem.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import HeatError, describe
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model.residual import ResidualCounts, values_of

Place = tuple[int, ...]
Box = tuple[tuple[int, int], ...]
"""Per rank, first coordinate and one past the last."""

Request: TypeAlias = "Box | frozenset[Request]"

LARGEST_WALK = 2_000_000
"""Steps times units that are run at the most."""


@dataclass(slots=True)
class _Unit:
    """One buffer: its tile, and by which vector it last moved."""

    tile: Box | None = None
    vector: tuple[int, ...] | None = None


def count_residual_window(einsum: Einsum, mapping: Mapping, tensor: TensorAccess) -> list[ResidualCounts]:
    """Return the exact counts of any tensor at every level.

    Args:
        einsum: The workload.
        mapping: The nest, perfect or not.
        tensor: One of the einsum's tensors.

    Raises:
        HeatError: The nest has too many steps to be run.
    """
    levels = mapping.levels
    kept = [row for row, level in enumerate(levels) if tensor.name in level.keep]
    result = []
    for row in range(len(levels)):
        child = next((inner for inner in kept if inner > row), len(levels))
        served = sum(
            _served(step, levels[row:child]) for step in _arrivals(einsum, mapping, tensor, place=child)
        )  # fmt: skip
        own = list(_arrivals(einsum, mapping, tensor, place=row))
        tiles = list(_tiles(einsum, mapping, tensor, place=row))
        lived: dict[Place, set[Place]] = defaultdict(set)
        if tensor is einsum.output:
            for step in tiles:
                for unit, box in step.items():
                    lived[unit].update(itertools.product(*(range(first, end) for first, end in box)))
        result.append(
            ResidualCounts(
                tile_words=max(_words(box) for step in tiles for box in step.values()),
                distinct_words=sum(map(len, lived.values())),
                served_words=served,
                received_words=0
                if not kept or row <= kept[0]
                else sum(_words(box) for step in own for box in step.values()),
            )
        )
    return result


def _tiles(einsum: Einsum, mapping: Mapping, tensor: TensorAccess, *, place: int) -> Iterator[dict[Place, Box]]:
    """Yield, per step of the loops above a level, the box that each of its working instances needs."""
    above = [loop for level in mapping.levels[:place] for loop in level.loops]
    inside = [loop for level in mapping.levels[place:] for loop in level.loops]
    steps = math.prod(loop.bound for loop in above)
    if steps > LARGEST_WALK:
        raise HeatError(
            describe(f"mapping of {einsum.name}", "too many steps for a sliding window with residuals",
                     got=f"{steps:,}", expected=f"at most {LARGEST_WALK:,}", remedy="Choose divisors for the bounds.")
        )  # fmt: skip
    ends = {var: values_of(above, var, is_last=True) - 1 for var in einsum.rank_vars}
    full = {var: values_of(inside, var, is_last=False) for var in einsum.rank_vars}
    last = {var: values_of(inside, var, is_last=True) for var in einsum.rank_vars}
    in_time = [number for number, loop in enumerate(above) if loop.dimension == "temporal"]
    side_by_side = [number for number, loop in enumerate(above) if loop.dimension != "temporal"]
    for moment in itertools.product(*(range(above[number].bound) for number in in_time)):
        step: dict[Place, Box] = {}
        for unit in itertools.product(*(range(above[number].bound) for number in side_by_side)):
            index = dict(zip((*in_time, *side_by_side), (*moment, *unit), strict=True))
            at = _prefixes(above, index, einsum.rank_vars)
            if all(at[var] <= ends[var] for var in at):
                size = {var: last[var] if at[var] == ends[var] else full[var] for var in at}
                step[unit] = tuple(
                    (
                        sum(scale * at[var] * full[var] for var, scale in rank),
                        sum(scale * (at[var] * full[var] + size[var] - 1) for var, scale in rank) + 1,
                    )
                    for rank in tensor.projection
                )
        if step:
            yield step


def _prefixes(above: Sequence[Loop], index: dict[int, int], rank_vars: Sequence[str]) -> dict[str, int]:
    at = dict.fromkeys(rank_vars, 0)
    for number, loop in enumerate(above):
        at[loop.rank_var] = at[loop.rank_var] * loop.bound + index[number]
    return at


def _arrivals(einsum: Einsum, mapping: Mapping, tensor: TensorAccess, *, place: int) -> Iterator[dict[Place, Box]]:
    """Yield, per step, the box that each instance is handed: by the moves of its tile, or whole to a compute unit."""
    units: dict[Place, _Unit] = defaultdict(_Unit)
    for step in _tiles(einsum, mapping, tensor, place=place):
        if place == len(mapping.levels):
            yield step
            continue
        handed: dict[Place, Box] = {}
        for name, box in step.items():
            unit = units[name]
            if unit.tile is None:
                handed[name] = box
            elif box != unit.tile:
                vector = tuple(new - old for (new, _), (old, _) in zip(box, unit.tile, strict=True))
                if unit.vector in (None, vector):
                    handed[name] = _new_part(box, unit.tile)
                    unit.vector = vector
                else:
                    handed[name] = box
                    unit.vector = None
            unit.tile = box
        yield {name: box for name, box in handed.items() if _words(box)}


def _new_part(box: Box, old: Box) -> Box:
    """Return the part of a box outside the old one if that is a box too, else the whole of it."""
    changed = [rank for rank, (new, was) in enumerate(zip(box, old, strict=True)) if new != was]
    (first, end), (old_first, old_end) = box[changed[0]], old[changed[0]]
    if len(changed) > 1 or old_end <= first or end <= old_first or (first < old_first and old_end < end):
        return box
    part = (first, old_first) if first < old_first else (min(old_end, end), end)
    return (*box[: changed[0]], part, *box[changed[0] + 1 :])


def _served(step: dict[Place, Box], levels: Sequence[LevelMapping]) -> int:
    """Return the words that instances of the first of the levels hand out: equal requests are one."""
    requests: dict[Place, Request] = dict(step)
    for level in reversed(levels):
        bundles: dict[Place, set[Request]] = defaultdict(set)
        for unit, request in requests.items():
            bundles[unit[: len(unit) - len(level.spatial)]].add(request)
        requests = {unit: frozenset(bundle) for unit, bundle in bundles.items()}
    return sum(map(_sent, requests.values()))


def _sent(request: Request) -> int:
    return sum(map(_sent, request)) if isinstance(request, frozenset) else _words(request)


def _words(box: Box) -> int:
    return math.prod(end - first for first, end in box)
