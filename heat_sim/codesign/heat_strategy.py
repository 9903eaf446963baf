"""HEAT's own three levels as a strategy (Gu et al. 2022, section 3), so that every claim of ours is a comparison.

Level 1 picks one tensorization per shape of matrix, level 2 searches ranks for one number, ``(1 - Acc) (E T)^0.25``;
the third level, training, comes after a search. One format serves the whole network. The contraction order goes with
`LayerWays.order` = "macs". What the paper leaves open is said at the constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from heat_sim.codesign.nsga2 import evolve_ranks
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Genome, dense_genome
from heat_sim.codesign.strategy import Figures, Generation, Search
from heat_sim.codesign.strategy_names import check_heat_objectives

_GAMMA = 0.25
"""Exponent of E x T, as published."""
_DENSE_ERROR, _GUESS = 0.12, 0.5
"""HEAT's Acc comes from a forest fitted on a SuperNet. Here it falls linearly from 1 - 0.12 (BERT-base on SQuAD: F1 of
88.16 %) to that of a guess as the estimated loss rises from 0 to 1."""
_BUDGETS = (0.2, 0.3, 0.4, 0.6)
"""One search per share of the dense parameters that may be kept: HEAT's rows keep 20 to 58 %, see `heat_rows`."""
_STEPS = tuple(range(2, RANK_STEPS, 3))
"""Values of the rank genes at which tensorizations are compared."""


def heat_strategy(search: Search) -> None:
    """Search each format of the space as HEAT does; the generations are shared among formats and budgets.

    Raises:
        SpecError: EDP or loss is no objective.
    """
    check_heat_objectives(search.objectives)
    formats = list(dict.fromkeys(name for slot in search.space.slots for name, _ in slot.options if name != "dense"))
    runs = [(name, budget) for name in formats for budget in _BUDGETS]
    chosen = {name: _level_1(search, name) for name in formats}
    each = max(2, search.generations // max(1, len(runs)))
    for number, (name, budget) in enumerate(runs, start=1):
        search.judge([dense_genome(search.space)])
        _level_2(replace(search, generations=each), chosen[name], budget=budget)
        done = min(number * each, search.generations)
        search.report(Generation(index=done, evaluations=number * each * search.population, front=()))


def heat_number(edp: float, loss: float) -> float:
    """Return ``(1 - Acc) (E T)^0.25``, what HEAT's second level minimises.

    Args:
        edp: Over that of the dense network.
        loss: Estimated; 1 and above is a guess.

    >>> heat_number(1.0, 0.0), heat_number(16.0, 0.0), heat_number(1.0, 2.0)
    (0.12, 0.24, 0.5)
    """
    return float((_DENSE_ERROR + (_GUESS - _DENSE_ERROR) * min(1.0, loss)) * edp**_GAMMA)


def _level_1(search: Search, name: str) -> list[int]:
    """Return an option of each slot: of the Pareto set over cost, error and size, the shape with the least error.

    A slot is looked at with all others dense. Each option is costed at several ranks; the option is taken that has
    the least mean error among its designs in the set (the paper names no ranks at which it compares). What need not be
    joint stays apart, as the paper has it.
    """
    space = search.space
    return [
        slot.dense if index in space.optional else _best_option(search, index, name)
        for index, slot in enumerate(space.slots)
    ]


def _best_option(search: Search, index: int, name: str) -> int:
    slot = search.space.slots[index]
    options = [option for option, (each, _) in enumerate(slot.options) if each == name]
    if len(options) == 1:
        return options[0]
    genomes = [
        {
            **dense_genome(search.space),
            f"option{index}": option,
            **{f"rank{index}_{k}": step for k in range(slot.ranks)},
        }
        for option in options
        for step in _STEPS
    ]
    judged: list[Figures] = []
    for start in range(0, len(genomes), search.population):
        judged += search.judge(genomes[start : start + search.population])
    edp, loss = (search.objectives.index(each) for each in ("edp", "loss"))
    entries = [
        (genome[f"option{index}"], (values[edp], values[loss], search.space.decode(genome)[index].parameters))
        for genome, (values, _) in zip(genomes, judged, strict=True)
    ]
    kept: dict[int, list[float]] = {}
    for option, (_, error, _) in non_dominated(entries, lambda entry: entry[1]):
        kept.setdefault(option, []).append(error)
    return min(kept, key=lambda option: (sum(kept[option]) / len(kept[option]), option))


def _level_2(search: Search, options: Sequence[int], *, budget: float) -> None:
    space, edp, loss = search.space, search.objectives.index("edp"), search.objectives.index("loss")
    whole = _parameters(space, dense_genome(space))

    def score(genome: Genome, figures: Figures) -> float:
        excess = max(0.0, _parameters(space, genome) / (budget * whole) - 1.0)
        missed = sum(max(0.0, each) for each in figures[1])
        return heat_number(figures[0][edp], figures[0][loss]) * (1.0 + excess + missed)

    evolve_ranks(search, options=options, score=score, first=list(_uniform(space, options)))


def _uniform(space: DesignSpace, options: Sequence[int]) -> Iterator[Genome]:
    for step in _STEPS:
        yield {variable.name: step for variable in space.variables} | {
            f"option{index}": option for index, option in enumerate(options)
        }


def _parameters(space: DesignSpace, genome: Genome) -> int:
    return sum(each.parameters for each in space.per_matrix(genome).values())
