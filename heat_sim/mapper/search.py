"""The best mapping of one pairwise contraction.

The search runs over keep/bypass choices and spatial choices in order of a lower bound of their
objective; each one it opens gets its best temporal loops (`heat_sim.mapper.temporal`), and the
complete mapping is costed by the model. It stops when no bound is left below the best value found,
or when the budget of opened choices is spent: `MappingResult.optimal` says which.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, InfeasibleError, describe
from heat_sim.mapper.cost import energy_terms, stall_terms
from heat_sim.mapper.matmul import Matmul, as_matmul
from heat_sim.mapper.nest import build_mapping
from heat_sim.mapper.objective import OBJECTIVES, ObjectiveName
from heat_sim.mapper.result import MappedEinsum, MappingResult
from heat_sim.mapper.spatial import divisors, spatial_choices
from heat_sim.mapper.temporal import best_temporal
from heat_sim.mapping import LevelConstraints, resolve_constraints
from heat_sim.model import evaluate
from heat_sim.model.nest import check_countable

DEFAULT_BUDGET = 32
"""Spatial choices opened per einsum."""

MOST_VERTICES = 8
"""Mappings costed per opened choice that a bandwidth stalls."""

_DEAR = 1e6
"""Cycles at so many times their average price leave nothing but the fewest cycles to look for."""

Keep = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choices:
    """Every keep and spatial choice, one row each; cycles and energy_bound bound what it can reach."""

    keep: list[Keep]
    spatial: NDArray[np.int64]
    which_keep: NDArray[np.int64]
    constant: NDArray[np.float64]
    coefficient: NDArray[np.float64]
    cycles: NDArray[np.int64]
    energy_bound: NDArray[np.float64]


def map_einsum(
    einsum: Einsum,
    architecture: Architecture,
    *,
    objective: ObjectiveName = "edp",
    constraints: AbstractMapping[str, LevelConstraints] | None = None,
    budget: int = DEFAULT_BUDGET,
) -> MappingResult:
    """Return the best mapping found, its bound, and the (energy, cycles) front of what was costed.

    Args:
        einsum: A contraction of two plain tensors.
        architecture: The hardware.
        objective: What to minimise.
        constraints: Keep and bypass demands per level; the outermost level keeps everything else.
        budget: How many spatial choices to open at the most.

    Raises:
        HeatError: Not a pairwise contraction, or constraints that this search does not take.
        InfeasibleError: No mapping fits the architecture.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="RF", capacity_words=48, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> result = map_einsum(parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=4, n=4, k=4)), machine)
    >>> result.optimal, result.best.report.level("DRAM").tensors["A"].reads  # all fits: each word is read once
    (True, 16)
    """
    started = time.perf_counter()
    check_countable(einsum)
    matmul = as_matmul(einsum)
    demands = resolve_constraints(constraints or {}, einsum=einsum)
    choices = _choices(matmul, architecture, _keeps(matmul, architecture, demands))
    value_of = OBJECTIVES[objective]
    least = zip(choices.energy_bound.tolist(), choices.cycles.tolist(), strict=True)
    bound = np.array([value_of(energy_pj, cycles) for energy_pj, cycles in least])
    usable = np.array([-1 if (u := level.usable_words) is None else u for level in architecture.levels])
    found: list[MappedEinsum] = []
    best_value = math.inf
    opened: list[float] = []
    order = np.argsort(bound, kind="stable")
    position = 0
    for position, row in enumerate(order):  # noqa: B007 - read after the loop
        if bound[row] >= best_value or len(opened) >= budget:
            break
        keep = choices.keep[choices.which_keep[row]]
        limit = _energy_limit(best_value, objective, int(choices.cycles[row])) - float(choices.constant[row])
        spatial = choices.spatial[row]
        cost, bounds, innermost = _temporal(matmul, spatial, keep, usable, choices.coefficient[row], limit)
        opened.append(value_of(float(choices.constant[row]) + cost, int(choices.cycles[row])))
        if math.isinf(cost):
            continue
        for found_here in _vertices(matmul, architecture, spatial, keep, usable, choices.coefficient[row],
                                        first=(bounds, innermost)):  # fmt: skip
            found.append(found_here)
            best_value = min(best_value, value_of(found_here.report.energy_pj, found_here.report.cycles))
    else:
        position = len(order)
    if not found:
        raise _nothing_fits(einsum, architecture, demands)
    unopened = bound[order[position:]]
    lower_bound = min([best_value, *opened, *unopened[:1].tolist()])
    front = pareto_front(found)
    return MappingResult(
        best=min(front, key=lambda m: value_of(m.report.energy_pj, m.report.cycles)),
        front=front,
        value=best_value,
        lower_bound=lower_bound,
        costed=len(found),
        solved=len(opened),
        pruned=len(unopened),
        seconds=time.perf_counter() - started,
    )


def _vertices(
    matmul: Matmul,
    architecture: Architecture,
    spatial: NDArray[np.int64],
    keep: Keep,
    usable: NDArray[np.int64],
    coefficient: NDArray[np.float64],
    *,
    first: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> list[MappedEinsum]:
    """Return the mapping of least energy and, if a bandwidth stalls it, others with more energy and fewer cycles.

    E x T has its minimum at a vertex of the hull of the (energy, cycles) points. Vertices are found
    between two known ones by the price of a cycle at which both cost the same, beginning with the
    mapping of least energy and that of the fewest cycles at the level that is too slow.
    """

    def cost(bounds: NDArray[np.int64], innermost: NDArray[np.int64]) -> MappedEinsum | None:
        mapping = build_mapping(matmul, architecture, keep=keep, spatial=spatial, temporal=bounds, innermost=innermost)
        try:
            report = evaluate(matmul.einsum, architecture, mapping, link_transfers=False)
        except InfeasibleError:
            # Tiles that fill too little (min_utilization): the shortest path does not look for that.
            return None
        return MappedEinsum(mapping=mapping, report=report)

    frugal = cost(*first)
    if frugal is None or frugal.report.cycles == frugal.report.compute_cycles:
        return [] if frugal is None else [frugal]
    slow = max(frugal.report.levels, key=lambda level: level.cycles).name
    stalls = stall_terms(matmul, architecture, spatial=spatial, keep=keep, level=architecture.index(slow))

    def cheapest(pj_per_cycle: float) -> MappedEinsum | None:
        value, bounds, innermost = _temporal(
            matmul, spatial, keep, usable, coefficient + pj_per_cycle * stalls, math.inf
        )  # fmt: skip
        return None if math.isinf(value) else cost(bounds, innermost)

    fast = cheapest(_DEAR * frugal.report.energy_pj / frugal.report.cycles)
    if fast is None or fast.report.cycles >= frugal.report.cycles:
        return [frugal]
    found = [frugal, fast]
    pairs = [(frugal, fast)]
    while pairs and len(found) < MOST_VERTICES:
        low, high = pairs.pop()
        price = (high.report.energy_pj - low.report.energy_pj) / (low.report.cycles - high.report.cycles)
        between = cheapest(price) if price > 0 else None
        if between is not None and high.report.cycles < between.report.cycles < low.report.cycles:
            found.append(between)
            pairs += [(low, between), (between, high)]
    return found


def pareto_front(mapped: list[MappedEinsum]) -> tuple[MappedEinsum, ...]:
    """Return the mappings that no other one beats in energy and cycles, fewest cycles first."""
    front: list[MappedEinsum] = []
    for candidate in sorted(mapped, key=lambda m: (m.report.cycles, m.report.energy_pj)):
        if not front or candidate.report.energy_pj < front[-1].report.energy_pj:
            front.append(candidate)
    return tuple(front)


def _energy_limit(best_value: float, objective: ObjectiveName, cycles: int) -> float:
    """Return the energy above which a mapping of so many cycles is no better than the best."""
    if objective == "edp":
        return best_value / cycles
    return best_value if objective == "energy" else math.inf


def _keeps(matmul: Matmul, architecture: Architecture, demands: AbstractMapping[str, LevelConstraints]) -> list[Keep]:
    """Return every keep mask that the constraints allow, as (3, L) arrays for A, B and Z."""
    names = [tensor.name for tensor in matmul.einsum.tensors]
    options: list[tuple[bool, ...]] = []
    for name in names:
        for place, level in enumerate(architecture.levels):
            demand = demands.get(level.name, LevelConstraints())
            if demand.speaks_of_loops:
                raise HeatError(
                    describe(f"constraints at {level.name}", "the mapper takes keep and bypass demands only",
                             got="demands on loops", expected="dataspace constraints",
                             remedy="Remove the temporal and spatial constraints.")
                )  # fmt: skip
            if level.is_virtual or name in demand.bypass:
                options.append((False,))
            elif name in demand.keep or place == 0:
                options.append((True,))
            else:
                options.append((True, False))
    levels = len(architecture.levels)
    masks = [np.array(mask, dtype=np.bool_).reshape(3, levels) for mask in itertools.product(*options)]
    return [mask for mask in masks if mask.any(axis=1).all()]


def _choices(matmul: Matmul, architecture: Architecture, keeps: list[Keep]) -> _Choices:
    h, m, n, k = matmul.extents
    spatial = spatial_choices(architecture, (h, m, n, k))
    terms = [energy_terms(matmul, architecture, spatial=spatial, keep=keep) for keep in keeps]
    constant = np.concatenate([constant for constant, _, _ in terms])
    coefficient = np.concatenate([coefficient for _, coefficient, _ in terms])
    return _Choices(
        keep=keeps,
        spatial=np.tile(spatial, (len(keeps), 1, 1)),
        which_keep=np.repeat(np.arange(len(keeps)), len(spatial)),
        constant=constant,
        coefficient=coefficient,
        cycles=np.concatenate([cycles for _, _, cycles in terms]),
        energy_bound=constant + coefficient.sum(axis=(1, 2)),
    )


def _temporal(
    matmul: Matmul,
    spatial: NDArray[np.int64],
    keep: Keep,
    usable: NDArray[np.int64],
    coefficient: NDArray[np.float64],
    limit: float,
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    extents = [extent // int(side) for extent, side in zip(matmul.extents, spatial.prod(axis=0), strict=True)]
    lists = [divisors(extent) for extent in extents]
    table = np.ones((4, max(map(len, lists))), dtype=np.int64)
    for row, values in enumerate(lists):
        table[row, : len(values)] = values
    inside = np.cumprod(spatial[::-1], axis=0)[::-1]
    return best_temporal(
        table, np.array([len(values) for values in lists]), np.ascontiguousarray(inside), keep, usable,
        coefficient, limit,
    )  # fmt: skip


def _nothing_fits(
    einsum: Einsum, architecture: Architecture, demands: AbstractMapping[str, LevelConstraints]
) -> InfeasibleError:
    """Return the refusal that names the first level too small for the least it must hold."""
    for place, level in enumerate(architecture.levels):
        demand = demands.get(level.name, LevelConstraints())
        # The outermost level holds whole tensors, the others at least one word of each they must keep.
        least = {
            tensor.name: einsum.words(tensor.name) if place == 0 else 1
            for tensor in einsum.tensors
            if tensor.name not in demand.bypass and (place == 0 or tensor.name in demand.keep)
        }
        if level.usable_words is not None and level.usable_words < sum(least.values()):
            return InfeasibleError(
                describe(f"{einsum.name} on {architecture.name}", f"no valid mapping: level {level.name} is too small",
                         got=f"{level.usable_words:,} words",
                         expected=f"at least {sum(least.values()):,}: "
                         + ", ".join(f"{words:,} of {name}" for name, words in least.items()),
                         remedy="Enlarge the level or let a tensor bypass it."),
                level=level.name, need=sum(least.values()), capacity=level.usable_words,
            )  # fmt: skip
    return InfeasibleError(
        f"{einsum.name} on {architecture.name}: no valid mapping was found within the budget. Raise the budget.",
        level=architecture.levels[0].name, need=0, capacity=0,
    )  # fmt: skip
