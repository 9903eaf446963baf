"""Which factorization each matrix gets, so that the summed squared error is least for the summed cost.

Cost and squared error are both additive over the matrices, so this is a multiple-choice knapsack problem. At the
vertices of the lower-left convex hull of (cost, squared error) it is solved exactly: there every matrix minimises
``squared error + lambda * cost`` on its own, with one multiplier for all (Everett 1963). With low-rank alone it is the
rule to keep the squared singular values that are the largest for their cost, over all matrices at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from heat_sim.errors import SpecError, describe
from heat_sim.mapper.edp import lower_left_hull, sum_vertices
from heat_sim.tensorize.factorization import Factorization


class Choice(Protocol):
    """What an allocation picks from."""

    @property
    def cost(self) -> float:
        """In any unit that adds up."""

    @property
    def squared_error(self) -> float:
        """In any unit that adds up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to hold a matrix.

    Attributes:
        cost: In any unit that adds up over matrices: parameters, pJ, cycles.
        squared_error: In any unit that adds up over matrices.
        factorization: What costs and errs so.
    """

    cost: float
    squared_error: float
    factorization: Factorization


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """One option per matrix or class of matrices.

    Attributes:
        chosen: Index of the option of each.
        cost: Sum over all, each times its count.
        squared_error: Likewise.
    """

    chosen: tuple[int, ...]
    cost: float
    squared_error: float


def allocation_path(options: Sequence[Sequence[Choice]], counts: Sequence[int]) -> tuple[Allocation, ...]:
    """Return the vertices of the hull of all allocations, the cheapest first: each has the least error for its cost.

    Args:
        options: Per matrix, or per class of matrices that choose alike, what it may become.
        counts: How many matrices each stands for. At a vertex nothing is lost by choosing alike.

    Raises:
        SpecError: A matrix without options, an option that is not finite, or a count below 1.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(4,))
    >>> ranks = [Factorization(format="low-rank", tensorization=shape, ranks=(rank,)) for rank in (1, 2)]
    >>> first = [Option(cost=8, squared_error=5, factorization=ranks[0]),
    ...          Option(cost=16, squared_error=1, factorization=ranks[1])]
    >>> second = [Option(cost=8, squared_error=9, factorization=ranks[0]),
    ...           Option(cost=16, squared_error=0, factorization=ranks[1])]
    >>> for vertex in allocation_path([first, second], [1, 1]):
    ...     print(vertex.chosen, vertex.cost, vertex.squared_error)
    (0, 0) 16.0 14.0
    (0, 1) 24.0 5.0
    (1, 1) 32.0 1.0
    """
    _check(options, counts)
    hulls = [lower_left_hull([(option.squared_error, option.cost) for option in part]) for part in options]
    points = [[(part[i].squared_error, part[i].cost) for i in hull] for part, hull in zip(options, hulls, strict=True)]
    # In the order of the hull: rounding may give two edges of one matrix the same slope, or swap them.
    walked = accumulate((vertex.chosen for vertex in sum_vertices(points, counts)), _later)
    return tuple(
        _total(options, counts, tuple(hull[k] for hull, k in zip(hulls, places, strict=True)))
        for places in dict.fromkeys(walked)
    )


def allocate(options: Sequence[Sequence[Option]], counts: Sequence[int], *, budget: float) -> Allocation:
    """Return an allocation within a budget: the best vertex of `allocation_path`, then swaps for what is left.

    The vertex errs at most one edge of the hull more than the optimum. The swaps are a heuristic: as long as any
    fits, the one option of one matrix or class that lowers the summed error the most is taken.

    Args:
        options: As for `allocation_path`.
        counts: Likewise.
        budget: The summed cost, at most.

    Raises:
        SpecError: As for `allocation_path`, or even the cheapest options exceed the budget.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> ranks = [Factorization(format="low-rank", tensorization=shape, ranks=(rank,)) for rank in (1, 2, 3)]
    >>> options = [Option(cost=each.parameters, squared_error=error, factorization=each)
    ...            for each, error in zip(ranks, (5.0, 4.0, 1.0))]
    >>> allocate([options], [1], budget=30).chosen  # rank 2 is no vertex
    (1,)
    """
    path = allocation_path(options, counts)
    within = [vertex for vertex in path if vertex.cost <= budget]
    if not within:
        raise SpecError(
            describe("allocate", "even the cheapest options exceed the budget", got=budget,
                     expected=f"at least {path[0].cost}", remedy="Raise the budget or offer cheaper options.")
        )  # fmt: skip
    best = within[-1]
    while (better := _best_swap(options, counts, best, budget)) is not None:
        best = better
    return best


def _best_swap(
    options: Sequence[Sequence[Option]], counts: Sequence[int], now: Allocation, budget: float
) -> Allocation | None:
    """Return the allocation with one choice changed that fits and errs the least; None if none errs less than now."""
    gains = []
    for p, (part, count, chosen) in enumerate(zip(options, counts, now.chosen, strict=True)):
        for i, option in enumerate(part):
            gain = count * (part[chosen].squared_error - option.squared_error)
            if gain > 0 and count * (option.cost - part[chosen].cost) <= budget - now.cost:
                gains.append((gain, -option.cost, p, i))
    for _, _, p, i in sorted(gains, reverse=True):
        found = _total(options, counts, (*now.chosen[:p], i, *now.chosen[p + 1 :]))
        if found.cost <= budget and found.squared_error < now.squared_error:  # but for rounding both hold
            return found
    return None


def _total(options: Sequence[Sequence[Choice]], counts: Sequence[int], chosen: tuple[int, ...]) -> Allocation:
    picked = [part[i] for part, i in zip(options, chosen, strict=True)]
    return Allocation(
        chosen=chosen,
        cost=math.fsum(n * option.cost for n, option in zip(counts, picked, strict=True)),
        squared_error=math.fsum(n * option.squared_error for n, option in zip(counts, picked, strict=True)),
    )


def _later(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(max, one, other))


def _check(options: Sequence[Sequence[Choice]], counts: Sequence[int]) -> None:
    if len(options) != len(counts) or not options:
        raise SpecError(
            describe("allocation", "not one count per matrix", got=f"{len(counts)} counts",
                     expected=f"{len(options)}, at least one", remedy="Give how often each list of options occurs.")
        )  # fmt: skip
    problems = []
    for p, (part, count) in enumerate(zip(options, counts, strict=True)):
        if count < 1 or not part:
            problems.append(
                describe(f"allocation matrix {p}", "nothing to choose", got=f"{len(part)} options, count {count}",
                         expected="at least one of each", remedy="Leave the matrix out or offer options.")
            )  # fmt: skip
        bad = next((o for o in part if not (math.isfinite(o.cost) and math.isfinite(o.squared_error))), None)
        if bad is not None:
            problems.append(
                describe(f"allocation matrix {p}", "an option that is not finite", got=bad,
                         expected="a finite cost and squared error", remedy="Leave out what cannot be costed.")
            )  # fmt: skip
    if problems:
        raise SpecError(problems)


def options_of(
    factorizations: Iterable[Factorization],
    *,
    squared_error: Callable[[Factorization], float],
    cost: Callable[[Factorization], float],
) -> tuple[Option, ...]:
    """Return the options of one matrix; of equal factorizations the first.

    Args:
        factorizations: What the matrix may become.
        squared_error: Of each. `MatrixErrors` has those of all ranks of low-rank, tucker, tt-matrix and btt from one
            decomposition per tensorization.
        cost: Of each.

    >>> import numpy as np
    >>> from heat_sim.codesign.matrix_errors import MatrixErrors
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(2,), in_modes=(2,))
    >>> ranks = [Factorization(format="low-rank", tensorization=shape, ranks=(rank,)) for rank in (1, 2)]
    >>> errors = MatrixErrors(weights={"query": np.diag([2.0, 1.0])}, second_moments={"query": np.eye(2)})
    >>> options = options_of(
    ...     ranks, squared_error=lambda each: errors("query", each).activation, cost=lambda each: each.parameters)
    >>> [(option.cost, round(option.squared_error, 6)) for option in options]
    [(4, 1.0), (8, 0.0)]
    """
    return tuple(
        Option(cost=cost(each), squared_error=squared_error(each), factorization=each)
        for each in dict.fromkeys(factorizations)
    )
