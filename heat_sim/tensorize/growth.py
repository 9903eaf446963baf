"""Ranks by greedy growth: from rank one, raise again and again the rank that gains the most for its cost.

The algorithm is that of Hashemizadeh, Liu, Miller and Rabusseau (2020) for the edges of a tensor network; here a format
fixes which edges there are, every candidate is projected instead of trained, and its gain is set against its cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS, Leading
from heat_sim.tensorize.metric import Metric, checked_metric
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.tensorization import Tensorization

_STUCK = 1e-3
"""An edge that lowers the squared error by less than this share alone is also tried together with every other one."""
_HELPS = 1e-6
"""A step that lowers the squared error by less than this share does not help."""
_EXACT = 1e-12
"""A squared error of less than this share of the squared weight is none."""


def parameters(factorization: Factorization) -> float:
    """Return the size of all cores, the cost that `grow` takes if it is given no other.

    >>> parameters(Factorization(format="dense", tensorization=Tensorization(out_modes=(8,), in_modes=(6,))))
    48
    """
    return factorization.parameters


def grow(
    weight: NDArray[np.floating],
    form: str,
    *,
    tensorization: Tensorization,
    budget: float,
    cost: Callable[[Factorization], float] = parameters,
    second_moment: NDArray[np.floating] | None = None,
    step: float = 1.5,
) -> tuple[Factorization, ...]:
    """Return the factorizations that a greedy growth within a budget visits: cost rises, the weighted error falls.

    An edge is an entry of the ranks that may be more than 1; for block-term that includes the number of blocks. Each
    round raises the edge with the largest decrease of ``||(W - W') C^(1/2)||_F^2`` per additional cost. A rank that is
    useless alone, as every single one of tucker is at ranks (1, .., 1), is also tried together with each other one.
    Where a step does not fit the budget it is halved. It ends when nothing fits, nothing helps or nothing is lost.

    Candidates are judged by the format's quick cores (`Format.leading`), upper bounds of what `project` loses; in
    formats without, and where the modes are padded, by `project` itself. It is a heuristic: no rank is taken back.

    Args:
        weight: W, (out_features, in_features), any float type.
        form: Name of the format, a key of `FORMATS`.
        tensorization: The modes.
        budget: Of the cost, at most.
        cost: Of a factorization, in any unit; it should rise with every rank.
        second_moment: C, (in_features, in_features); None for the identity.
        step: A rank r is raised to r * step rounded down, but by 1 at least. A step near 1 makes many small steps.

    Raises:
        SpecError: The format does not take the modes, the weight does not fit them, a step of at most 1, or rank one
            exceeds the budget.

    >>> weight = np.diag([3.0, 2.0, 1.0, 0.0])
    >>> shape = Tensorization(out_modes=(4,), in_modes=(4,))
    >>> [each.ranks for each in grow(weight, "low-rank", tensorization=shape, budget=32)]
    [(1,), (2,), (3,)]
    """
    known = form in FORMATS and FORMATS[form].misfit(tensorization) is None
    limits = FORMATS[form].max_ranks(tensorization) if known else ()
    now = Factorization(format=form, tensorization=tensorization, ranks=(1,) * len(limits))  # refuses the unknown
    if not 1.0 < step < math.inf:
        raise SpecError(
            describe("grow step", "not a step of a rank", got=step, expected="a number above 1", remedy="Give 1.5.")
        )
    judge = _Judge.of(np.asarray(weight, dtype=np.float64), now, second_moment=second_moment, price=cost)
    if judge.cost(now) > budget:
        raise SpecError(
            describe(f"grow {form} {tensorization}", "rank one exceeds the budget", got=budget,
                     expected=f"at least {judge.cost(now)}", remedy="Raise the budget or choose smaller modes.")
        )  # fmt: skip
    path = [now]
    while judge.squared_error(now) > _EXACT * judge.metric.square(judge.weight):
        best = _best_step(now, judge, limits=limits, budget=budget, step=step)
        if best is None:
            break
        now = best
        # A mode of tucker that loses its factor may make a larger rank cheaper.
        path = [each for each in path if judge.cost(each) < judge.cost(now)] + [now]
    return tuple(path)


def _best_step(
    now: Factorization, judge: _Judge, *, limits: tuple[int, ...], budget: float, step: float
) -> Factorization | None:
    """Return the larger factorization with the best gain for its cost; None if no step fits and helps."""

    def raised(edges: tuple[int, ...]) -> Factorization | None:
        more = {k: min(limits[k], max(now.ranks[k] + 1, math.floor(now.ranks[k] * step))) - now.ranks[k] for k in edges}
        while True:
            candidate = replace(now, ranks=tuple(rank + more.get(k, 0) for k, rank in enumerate(now.ranks)))
            if judge.cost(candidate) <= budget:
                return candidate
            if max(more.values()) == 1:
                return None
            more = {k: max(1, increment // 2) for k, increment in more.items()}

    error = judge.squared_error(now)
    edges = [k for k, (rank, limit) in enumerate(zip(now.ranks, limits, strict=True)) if rank < limit]
    alone = {k: found for k in edges if (found := raised((k,))) is not None}
    stuck = {k for k, found in alone.items() if error - judge.squared_error(found) <= _STUCK * error}
    pairs = [raised(pair) for pair in itertools.combinations(alone, 2) if not stuck.isdisjoint(pair)]
    steps = []
    for found in (*alone.values(), *pairs):
        if found is not None and (gain := error - judge.squared_error(found)) > _HELPS * error:
            extra = judge.cost(found) - judge.cost(now)
            steps.append((gain / extra if extra > 0 else math.inf, gain, found))
    return max(steps, key=lambda each: each[:2])[-1] if steps else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judge:
    """Squared errors and costs of the factorizations of one weight in one format and tensorization, each found once.

    Attributes:
        weight: W.
        second_moment: C, or None.
        metric: The norm of the error.
        cut: From ranks to quick cores, if there is such a way.
        price: The cost of a factorization.
    """

    weight: NDArray[np.float64]
    second_moment: NDArray[np.floating] | None
    metric: Metric
    cut: Leading | None
    price: Callable[[Factorization], float]
    _errors: dict[Factorization, float] = field(default_factory=dict)
    _costs: dict[Factorization, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        weight: NDArray[np.float64],
        rank_one: Factorization,
        *,
        second_moment: NDArray[np.floating] | None,
        price: Callable[[Factorization], float],
    ) -> _Judge:
        modes = rank_one.tensorization
        metric = checked_metric(second_moment, None, shape=(modes.out_features, modes.in_features))
        judge = cls(weight=weight, second_moment=second_moment, metric=metric, cut=None, price=price)
        judge.squared_error(rank_one)  # `project` refuses a weight that does not fit
        padded = modes.padding != (0, 0)
        cut = None if padded else FORMATS[rank_one.format].leading(weight, modes, metric=metric)
        return judge if cut is None else replace(judge, cut=cut, _errors={})

    def squared_error(self, factorization: Factorization) -> float:
        if factorization not in self._errors:
            cores = (
                project(self.weight, factorization, second_moment=self.second_moment)
                if self.cut is None
                else self.cut(factorization.ranks)
            )
            self._errors[factorization] = self.metric.square(self.weight - reconstruct(cores, factorization))
        return self._errors[factorization]

    def cost(self, factorization: Factorization) -> float:
        if factorization not in self._costs:
            self._costs[factorization] = self.price(factorization)
        return self._costs[factorization]
