"""Steps from neighbour to neighbour, downhill, from random starts."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np

from heat_sim.mapper.attainable import Place, along_axes, within_limits
from heat_sim.mapper.candidates import KINDS, Candidates, Ints, cost, fit_meshes, join
from heat_sim.mapper.costed import NOTHING, add, result_of
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.random_search import draw, sampler_of
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.space_size import space_size
from heat_sim.model import BatchResult

_STARTS = 64
"""Mappings drawn at once in search of one that fits."""


def search_hill_climbing(
    space: MapSpace, *, objective: Objective, budget: int = 10_000, rng: np.random.Generator
) -> MappingResult:
    """Return the best mapping met on the way down from random starts.

    A step goes to the best of all neighbours; where none is better, the search starts anew. Neighbours have a prime
    factor of one rank variable at another level or axis, two loops of a level swapped, or one tensor kept or bypassed
    at one level.

    Args:
        space: What to search.
        objective: What to minimise; of a front, the EDP is what leads downhill.
        budget: How many mappings to cost, starts and neighbours, fitting or not.
        rng: Source of every choice.

    Raises:
        InfeasibleError: No mapping that was costed fits the architecture.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.objective import OBJECTIVES
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="RF", capacity_words=9, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> space = MapSpace(einsum=parse_einsum("Z[m] = A[m,k] * B[k]", extents=dict(m=4, k=4)), architecture=machine)
    >>> result = search_hill_climbing(space, objective=OBJECTIVES["energy"], budget=500, rng=np.random.default_rng(0))
    >>> result.optimal, result.costed, result.best.report.level("DRAM").tensors["B"].reads  # once each
    (False, 500, 4)
    """
    started_s = time.perf_counter()
    found = NOTHING
    if space_size(space):
        sampler = sampler_of(space)
        while found.count < budget:
            here = draw(sampler, min(_STARTS, budget - found.count), rng=rng)
            least = np.inf
            while found.count < budget and len(here):
                costs = cost(space, here)
                found = add(found, here, costs)
                row, value = _best(costs, objective, first=least == np.inf)
                if value >= least:
                    break
                least = value
                here = neighbours(space, here, row)
                if len(here) > budget - found.count:
                    here = here.take(rng.permutation(len(here))[: budget - found.count])
    return result_of(found, space=space, objective=objective, ran_through=False, started_s=started_s)


def _best(costs: BatchResult, objective: Objective, *, first: bool) -> tuple[int, float]:
    """Return the row and the objective of the best valid mapping, or of the first one; infinity if there is none."""
    rows = np.flatnonzero(costs.valid).tolist()
    values = [
        (objective.value(float(costs.energy_pj[row]), int(costs.cycles[row])), row)
        for row in (rows[:1] if first else rows)
    ]
    value, row = min(values, default=(np.inf, 0))
    return row, value


def neighbours(space: MapSpace, candidates: Candidates, row: int) -> Candidates:
    """Return the neighbours of one mapping that are in the space and fit the meshes."""
    here = candidates.take(slice(row, row + 1))
    parts = join([_factor_moved(space, here), _loops_swapped(space, here), _keep_flipped(space, here)])
    return parts.take(fit_meshes(space, parts))


def _factor_moved(space: MapSpace, here: Candidates) -> Candidates:
    levels = range(len(space.architecture.levels))
    moves: list[tuple[int, int, int, int, int, int]] = []
    for v, var in enumerate(space.einsum.rank_vars):
        in_time = [set(within_limits(space, Place(level, False), var)) for level in levels]
        over = [set(along_axes(space, level, var)) for level in levels]
        bounds = here.bounds[0, :, :, v].tolist()  # (3, L)
        places = list(itertools.product(range(len(KINDS)), levels))
        primes = _prime_factors(space.einsum.extent(var))
        for prime, (kind, level), (new_kind, new_level) in itertools.product(primes, places, places):
            if (kind, level) == (new_kind, new_level) or bounds[kind][level] % prime:
                continue
            bounds[kind][level] //= prime
            bounds[new_kind][new_level] *= prime
            if all(
                bounds[0][place] in in_time[place] and (bounds[1][place], bounds[2][place]) in over[place]
                for place in (level, new_level)
            ):
                moves.append((v, prime, kind, level, new_kind, new_level))
            bounds[kind][level] *= prime
            bounds[new_kind][new_level] //= prime
    v_, prime_, kind_, level_, new_kind_, new_level_ = np.array(moves, dtype=np.int64).reshape(-1, 6).T
    rows = np.arange(len(moves))
    moved = _copies(here, len(moves))
    moved.bounds[rows, kind_, level_, v_] //= prime_
    moved.bounds[rows, new_kind_, new_level_, v_] *= prime_
    return moved


def _loops_swapped(space: MapSpace, here: Candidates) -> Candidates:
    orders: list[Ints] = []
    for level in range(len(space.architecture.levels)):
        order = here.order[0, level].tolist()
        listed = {space.einsum.rank_vars.index(var) for var in space.inner_order(level)}
        free = [place for place, v in enumerate(order) if here.bounds[0, 0, level, v] > 1 and v not in listed]
        for one, other in itertools.combinations(free, 2):
            swapped = here.order[0].copy()
            swapped[level, [one, other]] = swapped[level, [other, one]]
            orders.append(swapped)
    copies = _copies(here, len(orders))
    return replace(copies, order=np.array(orders, dtype=np.int64).reshape(copies.order.shape))


def _keep_flipped(space: MapSpace, here: Candidates) -> Candidates:
    keeps: list[Ints] = []
    for level in range(len(space.architecture.levels)):
        options = space.keep_options(level)
        kept = options[int(here.keep[0, level])]
        for number, option in enumerate(options):
            if len(kept ^ option) == 1:
                flipped = here.keep[0].copy()
                flipped[level] = number
                keeps.append(flipped)
    copies = _copies(here, len(keeps))
    return replace(copies, keep=np.array(keeps, dtype=np.int64).reshape(copies.keep.shape))


def _copies(here: Candidates, count: int) -> Candidates:
    return here.take(np.zeros(count, dtype=np.int64))


def _prime_factors(number: int) -> tuple[int, ...]:
    """Return the distinct primes that divide the number.

    >>> _prime_factors(24)
    (2, 3)
    """
    primes: list[int] = []
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            primes.append(divisor)
            while number % divisor == 0:
                number //= divisor
        divisor += 1
    return (*primes, number) if number > 1 else tuple(primes)
