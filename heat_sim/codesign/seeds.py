"""Genomes for the first generation of a search: the designs with the least squared error for their cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from heat_sim.codesign.allocation import Allocation, allocation_path
from heat_sim.codesign.space import RANK_STEPS, DesignSpace
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization

STEPS = tuple(range(2, RANK_STEPS, 3))
"""Values of the rank genes that are costed unless others are given: every third, the largest included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seed:
    """What some slots may be.

    Attributes:
        cost: Of their matrices.
        squared_error: Likewise.
        genes: That mean it.
    """

    cost: float
    squared_error: float
    genes: dict[str, int]


def seed_genomes(
    space: DesignSpace,
    *,
    squared_error: Callable[[str, Factorization], float],
    cost: Callable[[Factorization], float],
    count: int,
    steps: Sequence[int] = STEPS,
) -> tuple[dict[str, int], ...]:
    """Return the genomes of at most `count` vertices of the allocation path, evenly spread in log cost, cheapest first.

    The table of a slot holds every option of the space with all its rank genes at one value, for each of the
    `steps`. No other choice from these tables has a smaller summed squared error at the cost of a genome or below,
    whatever is joint in it and whatever apart. The cheapest and the dearest vertex are among them.

    Args:
        space: The genes.
        squared_error: Name of a matrix and a factorization of it to the squared error.
        cost: A factorization to the cost of one matrix, above 0, in any unit that adds up: parameters, or, to come near
            the designs of least EDP, ``energy_pj / E0 + cycles / T0``, E0 and T0 those of the whole dense network.
        count: Genomes wanted; fewer are returned if the path has fewer vertices.
        steps: Values of the rank genes, each below `RANK_STEPS`. Every option is costed at each of them.

    Raises:
        SpecError: A count or step out of range, or a cost or squared error that is none.

    >>> from heat_sim.codesign.space import Slot
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(64,), in_modes=(64,))
    >>> space = DesignSpace(slots=(
    ...     Slot(shape=(64, 64), matrices=("a", "b"), options=(("dense", modes), ("low-rank", modes))),))
    >>> genomes = seed_genomes(
    ...     space, squared_error=lambda name, each: 0.0 if each.format == "dense" else 1 / each.ranks[0],
    ...     cost=lambda each: each.parameters, count=3)
    >>> [space.decode(genome)[0].ranks for genome in genomes]
    [(4,), (12,), ()]
    """
    _check(count, steps)

    def table(index: int, matrices: Sequence[str]) -> list[_Seed]:
        return _table(space, index, matrices, squared_error=squared_error, cost=cost, steps=steps)

    parts = list(_parts(space, table))
    path = allocation_path(parts, [1] * len(parts))
    if path[0].cost <= 0:
        raise SpecError(
            describe("seed_genomes", "a design without a cost", got=path[0].cost, expected="above 0",
                     remedy="Let the cost of a factorization be a positive number.")
        )  # fmt: skip
    return tuple(
        _genes([part[i] for part, i in zip(parts, vertex.chosen, strict=True)])
        for vertex in spread_in_log_cost(path, count)
    )


def spread_in_log_cost(path: Sequence[Allocation], count: int) -> tuple[Allocation, ...]:
    """Return `count` different vertices of a path nearest to equal steps of the logarithm of the cost, with both ends.

    All of them if there are no more; with a count of 1 the cheapest.

    >>> path = [Allocation(chosen=(), cost=cost, squared_error=0.0) for cost in (1.0, 2.0, 3.0, 9.0, 100.0)]
    >>> [vertex.cost for vertex in spread_in_log_cost(path, 3)]
    [1.0, 9.0, 100.0]
    """
    if len(path) <= count:
        return tuple(path)
    logs = [math.log(vertex.cost) for vertex in path]
    left = set(range(len(path)))
    for step in range(count):
        wanted = logs[0] + (logs[-1] - logs[0]) * step / max(1, count - 1)
        left.remove(min(left, key=lambda i: (abs(logs[i] - wanted), i)))
    return tuple(vertex for i, vertex in enumerate(path) if i not in left)


_Table = Callable[[int, Sequence[str]], list[_Seed]]
"""From a slot and those of its matrices that count to its table."""


def _parts(space: DesignSpace, table: _Table) -> Iterator[list[_Seed]]:
    """Yield tables that are chosen from independently: a stacked slot is one part with the slots of its members."""
    slots = space.slots
    alone = dict.fromkeys(range(len(slots)))
    for index in space.optional:
        inside = {name for members in slots[index].stacked for name in members}
        with_members = [i for i, slot in enumerate(slots) if not slot.stacked and inside & set(slot.matrices)]
        for i in (index, *with_members):
            del alone[i]
        left = {i: [name for name in slots[i].matrices if name not in inside] for i in with_members}
        dense = {f"option{index}": slots[index].dense} | {f"rank{index}_{k}": 0 for k in range(slots[index].ranks)}
        apart = _sums([table(i, slots[i].matrices) for i in with_members], dense)
        idle = {gene: 0 for i in with_members if not left[i] for gene in _names(space, i)}
        joint = [
            each for each in table(index, slots[index].matrices) if each.genes[f"option{index}"] != slots[index].dense
        ]
        yield apart + (_sums([joint, *(table(i, names) for i, names in left.items() if names)], idle) if joint else [])
    yield from (table(i, slots[i].matrices) for i in alone)


def _sums(tables: Sequence[list[_Seed]], genes: dict[str, int]) -> list[_Seed]:
    """Return the hull of one choice from each table, with these genes added."""
    return [
        _Seed(
            cost=vertex.cost, squared_error=vertex.squared_error,
            genes=genes | _genes([table[i] for table, i in zip(tables, vertex.chosen, strict=True)]),
        )
        for vertex in allocation_path(tables, [1] * len(tables))
    ]  # fmt: skip


def _genes(seeds: Sequence[_Seed]) -> dict[str, int]:
    return {name: gene for seed in seeds for name, gene in seed.genes.items()}


def _names(space: DesignSpace, index: int) -> list[str]:
    return [f"option{index}", *(f"rank{index}_{k}" for k in range(space.slots[index].ranks))]


def _table(
    space: DesignSpace,
    index: int,
    matrices: Sequence[str],
    *,
    squared_error: Callable[[str, Factorization], float],
    cost: Callable[[Factorization], float],
    steps: Sequence[int],
) -> list[_Seed]:
    """Return the different factorizations of a slot that are costed, for these of its matrices."""
    each = space.slots[index]
    others = {variable.name: 0 for variable in space.variables}
    found: dict[Factorization, dict[str, int]] = {}
    for option, step in itertools.product(range(len(each.options)), steps):
        genes = {f"option{index}": option} | {f"rank{index}_{k}": step for k in range(each.ranks)}
        found.setdefault(space.decode(others | genes)[index], genes)
    return [
        _Seed(
            cost=len(matrices) * cost(what),
            squared_error=sum(squared_error(name, what) for name in matrices),
            genes=genes,
        )
        for what, genes in found.items()
    ]


def table_genomes(space: DesignSpace, *, steps: Sequence[int]) -> tuple[dict[str, int], ...]:
    """Return genomes that together hold every factorization that `seed_genomes` asks about, in every slot."""
    most = max(len(slot.options) for slot in space.slots)
    genomes = [
        {variable.name: step for variable in space.variables}
        | {f"option{index}": option % len(slot.options) for index, slot in enumerate(space.slots)}
        for option, step in itertools.product(range(most), steps)
    ]
    return (*genomes, *(map(space.apart, genomes) if space.optional else ()))


def _check(count: int, steps: Sequence[int]) -> None:
    problems = []
    if count < 1:
        problems.append(
            describe("seed_genomes count", "no genomes wanted", got=count, expected="at least 1", remedy="Raise it.")
        )
    if not steps or not all(0 <= step < RANK_STEPS for step in steps):
        problems.append(
            describe("seed_genomes steps", "not values of a rank gene", got=tuple(steps),
                     expected=f"at least one, each from 0 to {RANK_STEPS - 1}", remedy="Take them from that range.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)
