"""NSGA-II over a design space: the only file that imports pymoo.

Everything else knows "minimise both objectives". pymoo's mixed-variable mating picks parents at
random unless told otherwise, so the tournament is passed in; and its default termination does not
fire for mixed variables, so the number of generations is always given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2, binary_tournament
from pymoo.core.callback import Callback
from pymoo.core.mixed import MixedVariableDuplicateElimination, MixedVariableMating, MixedVariableSampling
from pymoo.core.population import Population
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Choice, Integer
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.optimize import minimize

from heat_sim.codesign.space import DesignSpace, Genome

Objectives = Callable[[Genome], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Told after each generation.

    Attributes:
        index: From 1.
        evaluations: Genomes evaluated so far.
        front: Objectives of the current front.
    """

    index: int
    evaluations: int
    front: tuple[tuple[float, float], ...]


def search_nsga2(
    space: DesignSpace,
    objectives: Objectives,
    *,
    population: int,
    generations: int,
    seed: int,
    first: tuple[dict[str, int], ...] = (),
    report: Callable[[Generation], None] = lambda _generation: None,
) -> list[dict[str, int]]:
    """Return the genomes of the last front; the same seed gives the same front.

    Args:
        space: The genes.
        objectives: Two numbers per genome, minimised.
        population: Genomes per generation.
        generations: How many generations, the first one included.
        seed: Of the optimiser's generator.
        first: Genomes that are part of the first generation.
        report: Called after each generation.
    """
    problem = _problem(space, objectives)
    sampling = MixedVariableSampling()
    start = sampling(problem, max(1, population - len(first)), random_state=np.random.default_rng(seed))
    if first:
        start = Population.merge(Population.new("X", [dict(genome) for genome in first]), start)
    duplicates = MixedVariableDuplicateElimination()
    algorithm = NSGA2(
        pop_size=population,
        sampling=start,
        mating=MixedVariableMating(
            selection=TournamentSelection(func_comp=binary_tournament), eliminate_duplicates=duplicates
        ),
        eliminate_duplicates=duplicates,
    )
    result = minimize(
        problem, algorithm, ("n_gen", generations), seed=seed, callback=_Reporter(report), verbose=False
    )  # fmt: skip
    return [{name: int(value) for name, value in genome.items()} for genome in np.atleast_1d(result.X)]


def _problem(space: DesignSpace, objectives: Objectives) -> Any:
    genes = {
        gene.name: Integer(bounds=(0, gene.size - 1)) if gene.ordered else Choice(options=list(range(gene.size)))
        for gene in space.variables
    }

    class _Problem(ElementwiseProblem):
        def _evaluate(self, x: dict[str, Any], out: dict[str, Any]) -> None:
            out["F"] = objectives({name: int(value) for name, value in x.items()})

    return _Problem(vars=genes, n_obj=2)


class _Reporter(Callback):
    def __init__(self, report: Callable[[Generation], None]) -> None:
        super().__init__()
        self._report = report

    def notify(self, algorithm: Any) -> None:
        front = tuple((float(f[0]), float(f[1])) for f in algorithm.opt.get("F"))
        self._report(Generation(index=algorithm.n_gen, evaluations=algorithm.evaluator.n_eval, front=front))
