"""Exact counts of imperfect nests: short last passes, executed in thought (model section 12).

The loops of one rank variable are the digits of a number that runs from 0 to its extent; in the last
pass of a loop only `residual` digits are left. So a pass is either full or the last one, and it is the
last one if all loops further out over the same rank variable are in their last iteration. Counts are
sums over the loops, outermost first, that remember only which rank variables are in a last pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.mapping import Loop, Mapping

Seat = Literal["low", "edge", "high"]
"""Where a unit sits among those of a spatial loop: before the last one of a last pass, on it, or beyond."""


class _Fetched(NamedTuple):
    """Words one unit's buffer fetches in a part of the nest, and whether its tile changes in there."""

    words: int
    moves: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualCounts:
    """Exact counts of one tensor below one level, summed over all instances.

    Attributes:
        tile_words: Largest tile of one instance.
        distinct_words: Words that ever live in an instance, summed over the instances.
        served_words: Words the level hands out, each multicast counted once.
        received_words: Words that all instances of the level are handed.
    """

    tile_words: int
    distinct_words: int
    served_words: int
    received_words: int


def count_residual(mapping: Mapping, tensor: TensorAccess) -> list[ResidualCounts]:
    """Return the exact counts of a plain tensor at every level.

    Args:
        mapping: The nest, perfect or not.
        tensor: One of the tensors.

    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelMapping
    >>> einsum = parse_einsum("Z[m] = A[m] * B[m]", extents={"m": 10})
    >>> everything = frozenset("ABZ")
    >>> nest = Mapping(levels=(
    ...     LevelMapping(level="DRAM", temporal=(Loop(rank_var="m", bound=3),), keep=everything),
    ...     LevelMapping(level="RF", temporal=(Loop(rank_var="m", bound=4, residual=2),), keep=everything)))
    >>> [counts.received_words for counts in count_residual(nest, einsum.inputs[0])]  # 4 + 4 + 2
    [0, 10]
    """
    assert tensor.is_plain, "windows are walked, see residual_window"
    levels = len(mapping.levels)
    kept = [row for row, level in enumerate(mapping.levels) if tensor.name in level.keep]
    result = []
    for row in range(levels):
        # Requests come from the next level further in that keeps the tensor, or from the compute units.
        child = next((inner for inner in kept if inner > row), levels)
        outer = [(loop, place) for place in range(levels) for loop in mapping.levels[place].loops]
        above_child = [(loop, place) for loop, place in outer if place < child]
        above = [(loop, place) for loop, place in outer if place < row]
        inside = [loop for loop, place in outer if place >= row]
        result.append(
            ResidualCounts(
                tile_words=_largest_tile([loop for loop, _ in above], inside, tensor),
                distinct_words=_sum_over_units(above, inside, tensor, shared_from=levels, mode="once"),
                served_words=_sum_over_units(
                    above_child, [loop for loop, place in outer if place >= child], tensor, shared_from=row,
                    mode="every cycle" if child == levels else "moves",
                ),
                received_words=0
                if not kept or row <= kept[0]
                else _sum_over_units(above, inside, tensor, shared_from=levels, mode="moves"),
            )
        )  # fmt: skip
    return result


def count_cycles(einsum: Einsum, mapping: Mapping) -> int:
    """Return the steps in which at least one unit works; all units run in lock step.

    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelMapping
    >>> nest = Mapping(levels=(LevelMapping(level="DRAM", temporal=(
    ...     Loop(rank_var="m", bound=3), Loop(rank_var="m", bound=4, residual=2))),))
    >>> count_cycles(parse_einsum("Z[m] = A[m] * B[m]", extents={"m": 10}), nest)
    10
    """
    loops = [loop for level in mapping.levels for loop in level.loops]
    return math.prod(_steps([loop for loop in loops if loop.rank_var == var]) for var in einsum.rank_vars)


def _steps(loops: Sequence[Loop]) -> int:
    """Return the steps in time of one rank variable: those of its first unit, which is never idle before others."""
    full = last = 1
    for loop in reversed(loops):
        if loop.dimension == "temporal":
            full, last = loop.bound * full, (loop.last_bound - 1) * full + last
        elif loop.last_bound > 1:
            # The first of several units in the last pass is not the last one, so its pass is full.
            last = full
    return last


def _largest_tile(above: Sequence[Loop], inside: Sequence[Loop], tensor: TensorAccess) -> int:
    # Unless the last pass is the only one, some pass is full.
    return math.prod(
        values_of(inside, var, is_last=values_of(above, var, is_last=True) == 1) for var in tensor.rank_vars
    )


def values_of(loops: Sequence[Loop], var: str, *, is_last: bool) -> int:
    """Return how many values the loops of a rank variable run over in a full or in the last pass."""
    values = 1
    last = 0
    for loop in loops:
        if loop.rank_var == var:
            values *= loop.bound
            last = last * loop.bound + loop.last_bound - 1
    return last + 1 if is_last else values


def _sum_over_units(
    above: Sequence[tuple[Loop, int]],
    inside: Sequence[Loop],
    tensor: TensorAccess,
    *,
    shared_from: int,
    mode: Literal["moves", "every cycle", "once"],
) -> int:
    """Return the words that units fetch, summed over the units told apart.

    Args:
        above: Loops above the units, outermost first, with the index of their level.
        inside: Loops inside a unit.
        tensor: The tensor fetched.
        shared_from: From this level inwards, units that need the same words count once.
        mode: Fetch a tile when it changes; or every cycle, as compute units do; or each tile only the first time.
    """
    relevant = frozenset(tensor.rank_vars)
    total = 0
    for count, seats in _seatings(above, relevant, shared_from):
        total += count * _fetched(tuple(loop for loop, _ in above), tuple(inside), tuple(relevant), seats, mode)
    return total


def _seatings(
    above: Sequence[tuple[Loop, int]], relevant: frozenset[str], shared_from: int
) -> Iterator[tuple[int, tuple[Seat | None, ...]]]:
    """Yield kinds of units, by where they sit in each spatial loop, and how many there are of each."""
    options: list[list[tuple[int, Seat | None]]] = []
    for loop, place in above:
        if loop.dimension == "temporal":
            options.append([(1, None)])
        elif loop.rank_var not in relevant and place >= shared_from:
            # Of units that need the same words the first is never idle before the others.
            options.append([(1, "low" if loop.last_bound > 1 else "edge")])
        else:
            seats: list[tuple[int, Seat | None]] = [
                (loop.last_bound - 1, "low"), (1, "edge"), (loop.bound - loop.last_bound, "high"),
            ]  # fmt: skip
            options.append([(count, seat) for count, seat in seats if count])
    for chosen in itertools.product(*options):
        yield math.prod(count for count, _ in chosen), tuple(seat for _, seat in chosen)


def _fetched(
    above: tuple[Loop, ...],
    inside: tuple[Loop, ...],
    relevant: tuple[str, ...],
    seats: tuple[Seat | None, ...],
    mode: Literal["moves", "every cycle", "once"],
) -> int:
    """Return the words one unit fetches over the whole run."""

    @cache
    def walk(place: int, last: frozenset[str]) -> _Fetched | None:
        """Return what happens from this loop inwards; None if the unit is idle. `last`: variables in a last pass."""
        if place == len(above):
            if mode == "every cycle":
                return _Fetched(1, True)
            words = math.prod(values_of(inside, var, is_last=var in last) for var in relevant)
            return _Fetched(words, False)
        loop, seat = above[place], seats[place]
        var = loop.rank_var
        if seat is not None:
            if var not in last or seat == "edge":
                return walk(place + 1, last)
            return walk(place + 1, last - {var}) if seat == "low" else None
        rounds = loop.last_bound if var in last else loop.bound
        final = walk(place + 1, last)
        if rounds == 1:
            return final
        earlier = walk(place + 1, last - {var})
        if earlier is None:  # idle because of another rank variable, so in the final round as well
            return None
        words = (rounds - 1) * earlier.words + (0 if final is None else final.words)
        if var in relevant or mode == "every cycle":
            # With one working round there is only one tile to begin with, and it stays.
            return _Fetched(words, earlier.moves or rounds > 2 or final is not None)
        return _Fetched(words, True) if mode == "moves" and earlier.moves else earlier

    every = frozenset(loop.rank_var for loop in (*above, *inside))
    found = walk(0, every)
    return 0 if found is None else found.words
