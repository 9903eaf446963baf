"""The search: designs that trade EDP of the encoder against estimated loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from heat_sim.codesign.aims import EDP_AND_LOSS, Aims
from heat_sim.codesign.encoding import Encoding
from heat_sim.codesign.evaluator import DesignCost, Evaluator
from heat_sim.codesign.machines import Machines
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.points import Point, PointStore
from heat_sim.codesign.prefetch import Needed
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Genome, dense_genome
from heat_sim.codesign.strategies import STRATEGIES
from heat_sim.codesign.strategy import Figures, Report, Search, no_report
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How far the search goes.

    Attributes:
        population: Designs per generation.
        generations: Generations, the first one included.
        seed: Of the optimiser.
        strategy: A key of `STRATEGIES`.
    """

    population: int = 32
    generations: int = 12
    seed: int = 0
    strategy: str = "nsga2"

    def __post_init__(self) -> None:
        problems = [
            describe(f"search setting {name}", "out of range", got=value, expected=f"an integer >= {least}",
                     remedy="Correct it.")
            for name, value, least in (
                ("population", self.population, 2), ("generations", self.generations, 1), ("seed", self.seed, 0)
            )
            if type(value) is not int or value < least
        ]  # fmt: skip
        if self.strategy not in STRATEGIES:
            problems.append(
                describe("search setting strategy", "unknown", got=self.strategy, expected=", ".join(STRATEGIES),
                         remedy="Choose one.")
            )  # fmt: skip
        if problems:
            raise SpecError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What the search found.

    Attributes:
        dense: The network as it is.
        front: Non-dominated designs among all that were costed, least EDP first.
        costed: Different designs costed.
        failed: How many of them could not be costed.
        interrupted: Whether it was stopped before its last generation.
    """

    dense: DesignCost
    front: tuple[DesignCost, ...]
    costed: int
    failed: int
    interrupted: bool


def search_designs(
    space: DesignSpace,
    evaluator: Evaluator,
    *,
    settings: SearchSettings,
    seeds: Sequence[Genome] = (),
    store: PointStore | None = None,
    aims: Aims = EDP_AND_LOSS,
    machines: Machines | None = None,
    prefetch: Callable[[Sequence[Needed]], None] = lambda _needed: None,
    report: Report = no_report,
) -> SearchResult:
    """Return the front over every design costed: of EDP and estimated loss, unless other aims are given.

    The first generation of an evolutionary strategy holds the dense network, the seeds, and, as far as there is room,
    uniform rank settings of every format: the front is never worse than those.

    Args:
        space: The genes; it must have the dense option.
        evaluator: Costs designs on the base machine.
        settings: Budget and seed.
        seeds: Genomes to start from, at most the population less one; those of `strong_start`, for example.
        store: Points that are known, and where new ones are kept. The search with known points ends as it would
            without them.
        aims: Objectives and constraints.
        machines: All others, if the space has genes of the machine.
        prefetch: Told of the designs of a generation before they are costed, see `Prefetch`.
        report: Called after each generation.

    An interruption (Ctrl-C) ends the search; the result is that of the designs costed by then.
    """
    code = Encoding(space)
    store = PointStore(None, about={}) if store is None else store
    seen: dict[tuple[int, ...], Point] = {}
    interrupted = False

    def on(genome: Genome) -> Evaluator:
        return evaluator if machines is None else machines.at(space.machine(genome))

    dense_cost = evaluator.cost(space.per_matrix(dense_genome(space)))
    dense = _as_point(dense_cost)

    def judge(genomes: Sequence[Genome]) -> list[Figures]:
        found: list[Figures] = []
        rows = code.rows(genomes).tolist()
        unknown = [genome for genome, row in zip(genomes, rows, strict=True) if store.get(row) is None]
        prefetch([(space.machine(genome), space.per_matrix(genome)) for genome in unknown])
        for genome, row in zip(genomes, rows, strict=True):
            point = store.get(row)
            if point is None:
                point = _point(on, genome, space.per_matrix(genome))
                store.put(row, point)
            seen[tuple(row)] = point
            if point.failure is None:
                found.append((aims.values(point, dense), aims.violations(point, dense)))
            else:
                found.append(((_FAILED,) * len(aims.objectives), (_FAILED,) * len(aims.constraints)))
        store.flush()
        return found

    # Thousands of small decompositions: threads cost more than they save, and on a busy machine far more.
    with threadpool_limits(limits=1, user_api="blas"):
        try:
            STRATEGIES[settings.strategy](
                Search(
                    space=space, judge=judge, objectives=aims.objectives, constraints=len(aims.constraints),
                    population=settings.population, generations=settings.generations, seed=settings.seed,
                    first=_first_generation(space, seeds)[: settings.population], report=report,
                )
            )  # fmt: skip
        except KeyboardInterrupt:  # the front of what was costed is the result
            interrupted = True
        store.flush()
        best = non_dominated(
            [(row, point) for row, point in seen.items() if aims.keeps(point, dense)],
            lambda each: aims.values(each[1], dense),
        )
        genomes = [code.genome(np.array(row)) for row, _ in best]
        front = [on(genome).cost(space.per_matrix(genome)) for genome in genomes]
    front.sort(key=lambda cost: (cost.edp_pj_cycles, cost.estimated_loss))
    return SearchResult(
        dense=dense_cost, front=tuple(front), costed=len(seen),
        failed=sum(point.failure is not None for point in seen.values()), interrupted=interrupted,
    )  # fmt: skip


_FAILED = 1e12
"""Figure of a design that cannot be costed: every other one is better, and it is finite, as pymoo needs it."""


def _point(on: Callable[[Genome], Evaluator], genome: Genome, design: Mapping[str, Factorization]) -> Point:
    """Return the point of a design; one that cannot be costed does not end the search of all others."""
    try:
        cost = on(genome).cost(design)
    except Exception as problem:  # whatever it is, it is recorded with its kind
        reason = f"{type(problem).__name__}: {problem}"
        return Point(energy_pj=0.0, cycles=0, matrix_parameters=0, estimated_loss=0.0, failure=reason)
    return _as_point(cost)


def _as_point(cost: DesignCost) -> Point:
    return Point(
        energy_pj=cost.energy_pj, cycles=cost.cycles, matrix_parameters=cost.matrix_parameters,
        estimated_loss=cost.estimated_loss, area_mm2=cost.area_mm2 or 0.0,
        buffer_bits=cost.buffer_bits,
    )  # fmt: skip


def _first_generation(space: DesignSpace, seeds: Sequence[Genome]) -> tuple[dict[str, int], ...]:
    """Return the dense genome, the seeds, every format at an eighth, a quarter, a half and all of its rank range.

    Where being joint is a choice, all joint and all apart.
    """
    genomes = [dense_genome(space), *map(dict, seeds)]
    formats = dict.fromkeys(name for each in space.slots for name, _ in each.options if name != "dense")
    for name in formats:
        for step in (RANK_STEPS // 8, RANK_STEPS // 4, RANK_STEPS // 2, RANK_STEPS):
            genome = {variable.name: step - 1 for variable in space.variables}
            for index, each in enumerate(space.slots):
                genome[f"option{index}"] = [option for option, _ in each.options].index(name)
            genomes += [genome, space.apart(genome)] if space.optional else [genome]
    return tuple(genomes)


def spread(front: tuple[DesignCost, ...], *, dense: DesignCost, count: int) -> tuple[DesignCost, ...]:
    """Return at most `count` designs of the front, evenly spread in the logarithm of the EDP gain.

    Designs that gain nothing over the dense network are left out.

    Args:
        front: Least EDP first.
        dense: The point of reference.
        count: How many to return at the most.
    """
    useful = [point for point in front if point.edp_pj_cycles < dense.edp_pj_cycles]
    if len(useful) <= count:
        return tuple(useful)
    gains = [math.log(dense.edp_pj_cycles / point.edp_pj_cycles) for point in useful]
    wanted = [gains[0] + (gains[-1] - gains[0]) * step / max(1, count - 1) for step in range(count)]
    picked = {min(range(len(gains)), key=lambda i: abs(gains[i] - target)) for target in wanted}
    return tuple(useful[i] for i in sorted(picked))
