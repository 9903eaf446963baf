"""Every mapping of a small space, costed."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import numpy as np

from heat_sim.errors import HeatError, describe
from heat_sim.mapper.attainable import Place, along_axes, within_limits
from heat_sim.mapper.candidates import Candidates, Ints, cost, fit_meshes, join
from heat_sim.mapper.costed import NOTHING, add, result_of
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.space_size import space_size

_ROWS = 1 << 16
"""Mappings costed at once."""


def search_exhaustive(
    space: MapSpace,
    *,
    objective: Objective,
    budget: int = 1_000_000,
    rng: np.random.Generator | None = None,  # noqa: ARG001 - the signature of all searches
) -> MappingResult:
    """Return the best mapping of the space, and its whole front, by costing every one.

    Args:
        space: What to search.
        objective: What to minimise.
        budget: How many mappings the space may hold, fitting or not.
        rng: Not used.

    Raises:
        HeatError: The space is larger than the budget.
        InfeasibleError: No mapping fits the architecture.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.objective import OBJECTIVES
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="RF", capacity_words=9, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> space = MapSpace(einsum=parse_einsum("Z[m] = A[m,k] * B[k]", extents=dict(m=4, k=4)), architecture=machine)
    >>> result = search_exhaustive(space, objective=OBJECTIVES["energy"])
    >>> result.optimal, result.costed, result.best.report.level("DRAM").tensors["B"].reads  # once each
    (True, 144, 4)
    """
    started_s = time.perf_counter()
    size = space_size(space)
    if size > budget:
        raise HeatError(
            describe(f"mapspace of {space.einsum.name} on {space.architecture.name}",
                     "too large for an exhaustive search", got=f"{size:,} mappings", expected=f"at most {budget:,}",
                     remedy="Constrain the space, raise the budget, or let the optimal search prune it.")
        )  # fmt: skip
    found = NOTHING
    if size:
        for candidates in _in_batches(enumerate_candidates(space)):
            found = add(found, candidates, cost(space, candidates))
    return result_of(found, space=space, objective=objective, ran_through=True, started_s=started_s)


def _in_batches(parts: Iterator[Candidates]) -> Iterator[Candidates]:
    """Yield the same mappings, many at a time."""
    waiting: list[Candidates] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= _ROWS:
            yield join(waiting)
            waiting = []
    if waiting:
        yield join(waiting)


def enumerate_candidates(space: MapSpace) -> Iterator[Candidates]:
    """Yield every mapping of a space that is not empty, each once, but for those that do not fit the meshes.

    Splits x orders x keep choices, for each set of loops in time that exist.
    """
    splits = [_splits(space, var) for var in space.einsum.rank_vars]
    chosen = np.indices([len(options) for options in splits]).reshape(len(splits), -1)
    bounds = np.stack([options[rows] for options, rows in zip(splits, chosen, strict=True)], axis=-1)  # (N, 3, L, V)
    unordered = np.zeros((len(bounds), len(space.architecture.levels), len(splits)), dtype=np.int64)
    bounds = bounds[fit_meshes(space, Candidates(bounds=bounds, order=unordered, keep=unordered[:, :, 0]))]
    keeps = np.array(list(itertools.product(*(
        range(len(space.keep_options(level))) for level in range(len(space.architecture.levels))
    ))))  # fmt: skip
    loops, which = np.unique(bounds[:, 0] > 1, axis=0, return_inverse=True)
    which = which.reshape(-1)
    for number in range(len(loops)):
        alike = bounds[which == number]
        orders = [_orders(space, level, present=loops[number, level].tolist()) for level in range(loops.shape[1])]
        count = len(alike) * math.prod(map(len, orders)) * len(keeps)
        for first in range(0, count, _ROWS):
            rest = np.arange(first, min(first + _ROWS, count))
            rest, keep = np.divmod(rest, len(keeps))
            order = np.zeros((len(rest), *loops.shape[1:]), dtype=np.int64)
            for level, options in enumerate(orders):
                rest, option = np.divmod(rest, len(options))
                order[:, level] = options[option]
            yield Candidates(bounds=alike[rest], order=order, keep=keeps[keep])


def _orders(space: MapSpace, level: int, *, present: list[bool]) -> Ints:
    """Return (orders, V) the orders of the level's loops in time; rank variables without a loop come first."""
    variables = space.einsum.rank_vars
    listed = [variables.index(var) for var in space.inner_order(level)]
    inner = [v for v in reversed(listed) if present[v]]
    free = [v for v in range(len(variables)) if present[v] and v not in listed]
    absent = [v for v in range(len(variables)) if not present[v]]
    return np.array([[*absent, *outer, *inner] for outer in itertools.permutations(free)], dtype=np.int64)


def _splits(space: MapSpace, var: str) -> Ints:
    """Return (splits, 3, L) every way to split the rank variable over the levels and meshes."""
    extent, levels = space.einsum.extent(var), range(len(space.architecture.levels))
    partial = [(extent, np.ones((3, len(levels)), dtype=np.int64))]
    for level in levels:
        in_time = within_limits(space, Place(level, False), var)
        over = along_axes(space, level, var)
        longer = []
        for (rest, bounds), (time_bound, (x, y)) in itertools.product(partial, itertools.product(in_time, over)):
            if rest % (time_bound * x * y) == 0:
                more = bounds.copy()
                more[:, level] = time_bound, x, y
                longer.append((rest // (time_bound * x * y), more))
        partial = longer
    return np.array([bounds for rest, bounds in partial if rest == 1], dtype=np.int64).reshape(-1, 3, len(levels))
