"""NSGA-II and its relatives over a design space: the only file that imports pymoo.

Genomes are rows of integers. The operators know the slots: a crossover exchanges whole slots, a mutation changes the
option of a slot or moves its ranks; every child is repaired to the one spelling of its design, so that pymoo's
elimination of duplicates sees equal designs as equal. The tournament is NSGA-II's own, by rank and crowding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.age import AGEMOEA
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.callback import Callback
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from heat_sim.codesign.encoding import Encoding, Rows
from heat_sim.codesign.joint_moves import carried, linked
from heat_sim.codesign.space import RANK_STEPS, Genome
from heat_sim.codesign.strategy import Figures, Generation, Judge, Report, Search
from heat_sim.codesign.strategy_names import EVOLUTIONARY

_NEW_OPTION = 0.25
"""Share of mutated slots that get another option; the others keep it and move their ranks."""
_ALL_RANKS = 0.2
"""Share of mutations that move the ranks of all slots together."""
_REACH = RANK_STEPS / 8
"""Standard deviation of a move of a rank gene."""


_ALGORITHMS: Mapping[str, Callable[..., Any]] = {
    "nsga2": lambda _objectives, population, **operators: NSGA2(pop_size=population, **operators),
    "nsga3": lambda objectives, population, **operators: NSGA3(
        ref_dirs=get_reference_directions("energy", objectives, population, seed=1), pop_size=population, **operators
    ),
    "age-moea": lambda _objectives, population, **operators: AGEMOEA(pop_size=population, **operators),
    "sms-emoa": lambda _objectives, population, **operators: SMSEMOA(
        pop_size=population, n_offsprings=population, **operators
    ),
}
assert tuple(_ALGORITHMS) == EVOLUTIONARY


def evolve(search: Search, *, algorithm: str = "nsga2") -> list[dict[str, int]]:
    """Search with an evolutionary algorithm; reproducible by the seed.

    Args:
        search: The space, the judge and the budget.
        algorithm: One of `EVOLUTIONARY`.

    Returns:
        The genomes of the last front, none if no genome keeps to the constraints.
    """
    code = Encoding(search.space)
    rng = np.random.default_rng(search.seed)
    missing = max(1, search.population - len(search.first))
    uniform = code.canonical(rng.integers(0, code.sizes, size=(missing, len(code.sizes))))
    start = np.concatenate([code.rows(list(search.first)), uniform])
    start = start[np.sort(np.unique(start, axis=0, return_index=True)[1])]
    chosen = _ALGORITHMS[algorithm](
        len(search.objectives), search.population, sampling=Population.new("X", start),
        crossover=_SlotCrossover(code), mutation=_SlotMutation(code), repair=_OneSpelling(code),
    )  # fmt: skip
    problem = _problem(code, search.judge, objectives=len(search.objectives), constraints=search.constraints)
    result = minimize(
        problem, chosen, ("n_gen", search.generations), seed=search.seed, callback=_Reporter(search.report),
        verbose=False,
    )  # fmt: skip
    return [] if result.X is None else [code.genome(row) for row in np.atleast_2d(result.X)]


def evolve_ranks(
    search: Search, *, options: Sequence[int], score: Callable[[Genome, Figures], float], first: Sequence[Genome]
) -> None:  # fmt: skip
    """Search the ranks alone, of one option per slot, for the least of one number.

    Args:
        search: The space, the judge and the budget; its own first generation is not used.
        options: Of each slot.
        score: What is minimised, from a genome and its figures.
        first: Genomes of the first generation, of these options.
    """
    code = Encoding(search.space)
    machine = len(code.space.hardware)
    fixed = np.where(code.is_hardware, code.base, np.array([*options, *(0 for _ in range(machine))])[code.slot_of])

    def held(rows: Rows) -> Rows:
        return code.canonical(np.where(code.is_option | code.is_hardware, fixed, rows))

    def judge(genomes: Sequence[Genome]) -> list[Figures]:
        figures = search.judge(genomes)
        return [((score(genome, each),), ()) for genome, each in zip(genomes, figures, strict=True)]

    rng = np.random.default_rng(search.seed)
    missing = max(1, search.population - len(first))
    uniform = rng.integers(0, code.sizes, size=(missing, len(code.sizes)))
    start = np.unique(held(np.concatenate([code.rows(list(first)), uniform])), axis=0)
    genetic = GA(
        pop_size=search.population, sampling=Population.new("X", start), crossover=_SlotCrossover(code),
        mutation=_SlotMutation(code), repair=_Held(held),
    )  # fmt: skip
    minimize(
        _problem(code, judge, objectives=1, constraints=0), genetic, ("n_gen", search.generations), seed=search.seed,
        verbose=False,
    )  # fmt: skip


def _problem(code: Encoding, judge: Judge, *, objectives: int, constraints: int) -> Any:
    class _Designs(Problem):
        def _evaluate(self, rows: Rows, out: dict[str, Any], *_args: Any, **_kwargs: Any) -> None:
            figures = judge([code.genome(row) for row in rows])
            out["F"] = np.array([values for values, _ in figures], dtype=np.float64)
            if constraints:
                out["G"] = np.array([missed for _, missed in figures], dtype=np.float64)

    return _Designs(
        n_var=len(code.sizes), n_obj=objectives, n_ieq_constr=constraints, xl=0, xu=code.sizes - 1, vtype=int
    )  # fmt: skip


class _SlotCrossover(Crossover):
    """Two children of two parents: every slot from either; ranks under the same option are blended half of the time."""

    def __init__(self, code: Encoding) -> None:
        super().__init__(2, 2)
        self._code = code

    def _do(
        self, _problem: Any, rows: Rows, *_args: Any, random_state: np.random.Generator, **_kwargs: Any
    ) -> Rows:  # fmt: skip
        code = self._code
        first, second = rows  # (matings, genes) each
        options = code.is_option.nonzero()[0]
        units = int(code.slot_of[-1]) + 1
        same = np.ones((len(first), units), dtype=bool)
        same[:, : len(options)] = first[:, options] == second[:, options]
        alike = same[:, code.slot_of] & ~code.is_option
        blended = alike & (random_state.random(first.shape) < 0.5)
        share = random_state.uniform(-0.25, 1.25, first.shape)
        move = np.where(blended, np.rint(share * (second - first)).astype(np.int64), 0)
        swapped = random_state.random((len(first), units)) < 0.5
        swapped = linked(code, swapped, parents=(first, second))[:, code.slot_of]
        one, other = first + move, second - move
        children = np.stack([np.where(swapped, other, one), np.where(swapped, one, other)])
        return np.clip(children, 0, code.sizes - 1)


class _SlotMutation(Mutation):
    """One slot at least gets another option, or its ranks move; or the ranks of all slots move alike.

    A number of the machine counts as a slot: it gets another value, or moves.
    """

    def __init__(self, code: Encoding) -> None:
        super().__init__()
        self._code = code

    def _do(
        self, _problem: Any, rows: Rows, *_args: Any, random_state: np.random.Generator, **_kwargs: Any
    ) -> Rows:  # fmt: skip
        code, shape = self._code, rows.shape
        slots = int(code.slot_of[-1]) + 1
        hit = random_state.random((len(rows), slots)) < 1 / slots
        hit[np.arange(len(rows)), random_state.integers(slots, size=len(rows))] = True
        new = hit & (random_state.random(hit.shape) < _NEW_OPTION)
        moved = hit & ~new
        reach = np.where(code.is_hardware, np.maximum(1.0, code.sizes / 4), _REACH)
        steps = np.rint(random_state.normal(0, 1, shape) * reach).astype(np.int64)
        together = random_state.random(len(rows)) < _ALL_RANKS
        common = np.rint(random_state.normal(0, _REACH, len(rows))).astype(np.int64)
        ranks = together[:, None] & ~code.is_hardware
        steps = np.where(ranks, common[:, None], np.where(moved[:, code.slot_of], steps, 0))
        uniform = random_state.integers(0, code.sizes, size=shape)
        changed = np.where(
            code.is_option | (code.is_hardware & new[:, code.slot_of]),
            np.where(new[:, code.slot_of] & ~together[:, None], uniform, rows),
            np.clip(rows + steps, 0, code.sizes - 1),
        )
        return carried(code, rows, mutants=changed)


class _OneSpelling(Repair):
    def __init__(self, code: Encoding) -> None:
        super().__init__(vtype=int)
        self._code = code

    def _do(self, _problem: Any, rows: Rows, **_kwargs: Any) -> Rows:
        return self._code.canonical(rows)


class _Held(Repair):
    def __init__(self, held: Callable[[Rows], Rows]) -> None:
        super().__init__(vtype=int)
        self._held = held

    def _do(self, _problem: Any, rows: Rows, **_kwargs: Any) -> Rows:
        return self._held(rows)


class _Reporter(Callback):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def notify(self, algorithm: Any) -> None:
        front = tuple(tuple(map(float, values)) for values in algorithm.opt.get("F"))
        self._report(Generation(index=algorithm.n_gen, evaluations=algorithm.evaluator.n_eval, front=front))
