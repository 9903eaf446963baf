"""Mappings drawn at random, as Timeloop's random mapper does."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.mapper.attainable import Place, along_axes, within_limits
from heat_sim.mapper.candidates import Candidates, Ints, cost
from heat_sim.mapper.costed import NOTHING, add, result_of
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.space_size import space_size

_ROWS = 1 << 16
"""Mappings drawn and costed at once."""


def search_random(
    space: MapSpace, *, objective: Objective, budget: int = 10_000, rng: np.random.Generator
) -> MappingResult:
    """Return the best of mappings drawn at random.

    Each decision is drawn uniformly and for itself: the split of each rank variable over levels and axes, the order of
    the loops at each level, what each level keeps. Mappings that do not fit are drawn too and count.

    Args:
        space: What to search.
        objective: What to minimise.
        budget: How many mappings to draw.
        rng: Source of every choice.

    Raises:
        InfeasibleError: No mapping that was drawn fits the architecture.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.objective import OBJECTIVES
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="RF", capacity_words=9, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> space = MapSpace(einsum=parse_einsum("Z[m] = A[m,k] * B[k]", extents=dict(m=4, k=4)), architecture=machine)
    >>> result = search_random(space, objective=OBJECTIVES["energy"], rng=np.random.default_rng(0))
    >>> result.optimal, result.costed, result.best.report.level("DRAM").tensors["B"].reads  # once each
    (False, 10000, 4)
    """
    started_s = time.perf_counter()
    found = NOTHING
    if space_size(space):
        sampler = sampler_of(space)
        for first in range(0, budget, _ROWS):
            candidates = draw(sampler, min(_ROWS, budget - first), rng=rng)
            found = add(found, candidates, cost(space, candidates))
    return result_of(found, space=space, objective=objective, ran_through=False, started_s=started_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """The choice of one rank variable's bounds at one place, when so much of its extent is left to split.

    Attributes:
        bounds: (options, 3) in time, along x, along y.
        cumulative: (states, options) probability of this option or an earlier one.
        next_state: (states, options) what is left then; states are the divisors of the extent.
    """

    bounds: Ints
    cumulative: NDArray[np.float64]
    next_state: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampler:
    """A space that is not empty, prepared for drawing from it.

    Attributes:
        steps: For each rank variable, two steps per level: in time, and over the children.
        rank: (L, V) what decides the order of loops instead of a random number below 1, where it is above 1.
        keep_options: Per level.
    """

    steps: tuple[tuple[Step, ...], ...]
    rank: NDArray[np.float64]
    keep_options: tuple[int, ...]


def sampler_of(space: MapSpace) -> Sampler:
    """Return what `draw` needs, made once per space."""
    levels, variables = range(len(space.architecture.levels)), space.einsum.rank_vars
    rank = np.zeros((len(levels), len(variables)))
    for level in levels:
        listed = space.inner_order(level)
        for place, var in enumerate(listed):
            rank[level, variables.index(var)] = 1 + len(listed) - place
    return Sampler(
        steps=tuple(_steps(space, var) for var in variables),
        rank=rank,
        keep_options=tuple(len(space.keep_options(level)) for level in levels),
    )


def draw(sampler: Sampler, count: int, *, rng: np.random.Generator) -> Candidates:
    """Return so many mappings of the space, fitting or not, each choice uniform among all that the space has.

    A split is drawn step by step, each option in proportion to the number of ways to go on from there.
    """
    levels, variables = sampler.rank.shape
    bounds = np.ones((count, 3, levels, variables), dtype=np.int64)
    for v, steps in enumerate(sampler.steps):
        state = np.full(count, len(steps[0].cumulative) - 1)
        for place, step in enumerate(steps):
            option = (rng.random((count, 1)) >= step.cumulative[state]).sum(axis=1)
            bounds[:, :, place // 2, v] *= step.bounds[option]
            state = step.next_state[state, option]
    key = np.where(sampler.rank > 1, sampler.rank, rng.random((count, levels, variables)))
    keep = np.stack([rng.integers(options, size=count) for options in sampler.keep_options], axis=1)
    return Candidates(bounds=bounds, order=np.argsort(key, axis=2), keep=keep)


def _steps(space: MapSpace, var: str) -> tuple[Step, ...]:
    extent, levels = space.einsum.extent(var), range(len(space.architecture.levels))
    states = [d for d in range(1, extent + 1) if extent % d == 0]
    choices = [
        options
        for level in levels
        for options in (
            [(bound, 1, 1) for bound in within_limits(space, Place(level, False), var)],
            [(1, x, y) for x, y in along_axes(space, level, var)],
        )
    ]
    ways = {state: int(state == 1) for state in states}
    steps: list[Step] = []
    for options in reversed(choices):
        sizes = [in_time * x * y for in_time, x, y in options]
        left = [[state // size if state % size == 0 else None for size in sizes] for state in states]
        onward = [[0 if rest is None else ways[rest] for rest in row] for row in left]
        ways = dict(zip(states, map(sum, onward), strict=True))
        # Running sums of exact integers: an option without a way on is never drawn, the last one with one always ends.
        cumulative = [
            [so_far / max(1, ways[state]) for so_far in itertools.accumulate(row)]
            for state, row in zip(states, onward, strict=True)
        ]
        steps.append(
            Step(
                bounds=np.array(options, dtype=np.int64),
                cumulative=np.array(cumulative),
                next_state=np.array([[states.index(rest or 1) for rest in row] for row in left]),
            )
        )
    return tuple(reversed(steps))
