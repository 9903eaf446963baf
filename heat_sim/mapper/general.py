"""The exact mapping search for any einsum: branch and bound from the outermost level inwards.

A node of the search tree decides the loops outside a level, and what the level keeps. Then the words that move between
all levels at and outside it are known, and so are their energy and the cycles they take at least; the rest is bounded
by a table (`general_bounds`). The node with the least bound is always the next to be looked at, so when the budget ends
the bounds of the nodes left over bound the whole space.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from heat_sim.errors import InfeasibleError
from heat_sim.mapper.edp import lower_left_hull
from heat_sim.mapper.general_bounds import SLACK, Table, fitting_choices, tabulate
from heat_sim.mapper.general_expand import expand
from heat_sim.mapper.general_judge import Found, Goal, judge, record
from heat_sim.mapper.general_problem import Floats, Ints, Layout, Problem, lower_space, nothing_fits
from heat_sim.mapper.general_words import KEEP, TILE
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.result import MappedEinsum, MappingResult
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping
from heat_sim.model import evaluate

DEFAULT_NODES = 50_000_000
"""Bounds that a search computes at most, if it is not told otherwise: about a minute."""

_CEILINGS = (1.02, 1.1, 1.3, 2.0, 5.0)
"""The search first looks for what is at most so many times the bound of the space, then for more."""

_GLANCE = 20_000
"""Bounds that the first dive computes per node, to have a mapping at all."""

_LARGEST_FRONT = 1 << 14


def search_general(space: MapSpace, *, objective: Objective, budget: int = DEFAULT_NODES) -> MappingResult:
    """Return the best mapping of the space, or the whole front, and whether that is proven.

    Args:
        space: Any einsum on any architecture under any constraints.
        objective: What to minimise.
        budget: Nodes of the search tree whose bound is computed, at most; one mapping is found in any case.

    Raises:
        InfeasibleError: No mapping of the space fits.
        HeatError: Counts could exceed 64 bits.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=10.0, update_energy_pj=10.0, fanout_x=2),
    ...     StorageLevel(name="RF", capacity_words=4, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> einsum = parse_einsum("Z[p] = A[p+r] * B[r]", extents={"p": 4, "r": 2})
    >>> result = search_general(MapSpace(einsum=einsum, architecture=machine), objective=OBJECTIVES["edp"])
    >>> result.value, result.best.cycles, result.optimal
    (632.0, 4, True)
    """
    start = time.perf_counter()
    search = _begin(space, objective)
    ran_through, lower_bound = _run(search, objective, budget)
    if search.found.tally[0] == 0:
        raise nothing_fits(space)
    front = [_mapped(space, search, place) for place in range(int(search.found.tally[0]))]
    best = min(front, key=lambda each: objective.value(each.energy_pj, each.cycles))
    if objective.kind == "hull":
        front = [front[place] for place in lower_left_hull([(each.energy_pj, each.cycles) for each in front])]
    value = objective.value(best.energy_pj, best.cycles)
    return MappingResult(
        objective=objective,
        best=best,
        front=tuple(front),
        lower_bound=min(lower_bound, value),
        ran_through=ran_through,
        costed=int(search.found.tally[3]),
        pruned=int(search.found.tally[2]),
        seconds=time.perf_counter() - start,
        space=space,
    )


@dataclass(slots=True, kw_only=True)
class _Block:
    """Nodes of one level, the least bound first."""

    level: int
    nodes: Ints
    bounds: Floats


@dataclass(slots=True, kw_only=True)
class _Search:
    """What does not change during a search, and what has been found."""

    space: MapSpace
    problem: Problem
    layouts: list[list[tuple[Layout, ...]]]
    table: Table
    found: Found
    prices: bool


def _begin(space: MapSpace, objective: Objective) -> _Search:
    problem, layouts = lower_space(space)
    shape = (_LARGEST_FRONT if objective.is_front else 1 << 10, len(problem.capacity), 4)
    return _Search(
        space=space,
        problem=problem,
        layouts=layouts,
        table=tabulate(problem),
        found=Found(
            ceiling=np.array([np.inf]),
            energy_pj=np.zeros(shape[0]),
            cycles=np.zeros(shape[0]),
            nests=np.zeros(shape, dtype=np.int64),
            tally=np.zeros(4, dtype=np.int64),
        ),
        prices=not any(level.hop_energy_pj or level.router_energy_pj for level in space.architecture.levels),
    )


def _run(search: _Search, objective: Objective, budget: int) -> tuple[bool, float]:
    """Search, and return whether nothing was left over and a lower bound of the objective (of a front: of EDP)."""
    scalars = [OBJECTIVES[name] for name in ("edp", "energy", "cycles")] if objective.is_front else [objective]
    _glance(search, _goal(scalars[0]))
    ran_through, lower_bound = False, -math.inf
    for scalar in scalars:
        ran_through, least = _rounds(search, scalar, budget)
        lower_bound = least if scalar is scalars[0] else lower_bound
    if objective.is_front:
        # With the ends and the middle of the front known, most of the rest is beaten by one of them.
        search.found.ceiling[0] = np.inf
        ran_through, least = _best_first(search, _goal(objective), budget)
        lower_bound = max(lower_bound, least)
    return ran_through, lower_bound


def _goal(objective: Objective) -> Goal:
    return Goal(
        kind={"product": 0, "sum": 1, "pareto": 2, "hull": 2}[objective.kind],
        energy_exponent=objective.energy_exponent,
        cycles_exponent=objective.cycles_exponent,
        pj_per_cycle=objective.pj_per_cycle,
    )


def _rounds(search: _Search, objective: Objective, budget: int) -> tuple[bool, float]:
    """Look below ever higher ceilings, so that little is looked at before a good mapping is known."""
    found, goal = search.found, _goal(objective)
    known = min(
        (objective.value(float(found.energy_pj[n]), float(found.cycles[n])) for n in range(int(found.tally[0]))),
        default=math.inf,
    )
    found.ceiling[0] = math.inf
    roots = _roots(search, goal)
    least = float(roots.bounds.min(initial=math.inf))
    lower_bound = least
    for ceiling in (*(share * least for share in _CEILINGS), math.inf):
        limit = min(ceiling, known) if ceiling > least else known
        found.ceiling[0] = limit
        finished, left = _best_first(search, goal, budget)
        lower_bound = max(lower_bound, min(left, limit))
        if not finished:
            return False, lower_bound
        if found.ceiling[0] < limit or limit == known:
            return True, float(found.ceiling[0])
    return True, math.inf


def _roots(search: _Search, goal: Goal) -> _Block:
    """Return the nodes that decide only what the outermost level keeps."""
    problem = search.problem
    fits = np.zeros(problem.keep.shape[1], dtype=np.int64)
    count = fitting_choices(problem, 0, problem.extents, fits)
    nodes = np.zeros((count, len(problem.capacity), 4), dtype=np.int64)
    nodes[:, 0, TILE], nodes[:, 0, KEEP] = problem.radix[:, 1].prod() - 1, fits[:count]
    bounds = np.zeros(count)
    judge(
        problem, search.table, goal, search.found, 0, problem.step[0, 0, fits[:count]], 0, 1,
        np.full(count, problem.compute_energy_pj), float(problem.hardware[:, 4].sum()), np.zeros(count), bounds,
    )  # fmt: skip
    return _sorted(_Block(level=0, nodes=nodes, bounds=bounds))


def _sorted(block: _Block) -> _Block:
    order = np.argsort(block.bounds, kind="stable")
    order = order[block.bounds[order] < np.inf]
    return _Block(level=block.level, nodes=block.nodes[order], bounds=block.bounds[order])


def _best_first(search: _Search, goal: Goal, budget: int) -> tuple[bool, float]:
    """Look at all nodes that may be worth it, the most promising first.

    Returns:
        Whether nothing was left over for want of budget, and the least bound of what was; infinity if nothing was.
    """
    found = search.found
    queue: list[tuple[float, int, int, _Block]] = []
    ticket = 0
    left_over = math.inf

    def push(block: _Block, place: int) -> None:
        nonlocal ticket
        if place < len(block.bounds):
            ticket += 1
            heapq.heappush(queue, (float(block.bounds[place]), -ticket, place, block))

    push(_roots(search, goal), 0)
    while queue:
        if found.tally[1] > budget:
            return False, min(left_over, queue[0][0])
        bound, _, place, block = heapq.heappop(queue)
        if bound >= found.ceiling[0] * (1 - SLACK):
            break
        push(block, place + 1)
        # Dive: a complete mapping lowers the ceiling for all that is still in the queue.
        while block is not None and place < len(block.bounds):
            bound = float(block.bounds[place])
            block, finished = _expanded(search, goal, block.level, block.nodes[place], budget)
            if not finished:
                left_over = min(left_over, bound)
            push(block, 1)
            place = 0
    return left_over == math.inf, left_over


def _expanded(search: _Search, goal: Goal, level: int, node: Ints, budget: int) -> tuple[_Block, bool]:
    """Return the nodes of the next level; of the last one none, because its nests are costed."""
    nodes, bounds, finished = expand(
        search.problem, search.table, goal, search.found, level, node, budget, search.prices
    )
    if level == len(search.problem.capacity) - 1:
        for nest in nodes:
            finished = _cost_with_networks(search, goal, nest) and finished
        nodes, bounds = nodes[:0], bounds[:0]
    return _sorted(_Block(level=level + 1, nodes=nodes, bounds=bounds)), finished


def _cost_with_networks(search: _Search, goal: Goal, nest: Ints) -> bool:
    """Cost a complete nest by `evaluate`, because networks cost energy that the bounds leave out."""
    search.found.tally[3] += 1
    try:
        report = evaluate(search.space.einsum, search.space.architecture, _mapping(search, nest), link_transfers=False)
    except InfeasibleError:
        return True
    return bool(record(goal, search.found, nest, report.energy_pj, float(report.cycles)))


def _glance(search: _Search, goal: Goal) -> None:
    """Find some mapping by looking at a few children of each node, depth first; more if that finds none."""
    found = search.found
    share = _GLANCE
    for _ in range(12):
        whole = True
        nodes = [(0, node) for node in _roots(search, goal).nodes[::-1]]
        while nodes and found.tally[0] == 0:
            level, node = nodes.pop()
            block, finished = _expanded(search, goal, level, node, int(found.tally[1]) + share)
            whole = whole and finished
            nodes += [(block.level, each) for each in block.nodes[::-1]]
        if found.tally[0] or whole:
            return
        share *= 8


def _mapped(space: MapSpace, search: _Search, place: int) -> MappedEinsum:
    mapping = _mapping(search, search.found.nests[place])
    report = evaluate(space.einsum, space.architecture, mapping, link_transfers=False)
    return MappedEinsum(
        einsum=space.einsum, architecture=space.architecture, mapping=mapping, energy_pj=report.energy_pj,
        cycles=report.cycles,
    )  # fmt: skip


def _mapping(search: _Search, nest: Ints) -> Mapping:
    """Return the mapping that a complete nest stands for."""
    problem, einsum = search.problem, search.space.einsum
    tiles = [
        [int(problem.divisors[v, n // stride % count]) for v, (stride, count) in enumerate(problem.radix.tolist())]
        for n in nest[:, TILE].tolist()
    ]
    tiles.append([1] * len(einsum.extents))
    mapped: list[LevelMapping] = []
    names = [level.name for level in search.space.architecture.levels]
    for level, (_, row, order, keep) in enumerate(nest.tolist()):
        for part, layout in enumerate(search.layouts[level][row]):
            mesh = problem.mesh[level, row].tolist()
            temporal = [
                Loop(rank_var=einsum.rank_vars[v], bound=tiles[level][v] // (tiles[level + 1][v] * mesh[v]))
                for v in reversed(problem.orders[order].tolist())
                if v >= 0
            ]
            kept = (tensor.name for t, tensor in enumerate(einsum.tensors) if int(problem.keep[level, keep]) >> t & 1)
            mapped.append(
                LevelMapping(
                    level=names[len(mapped)],
                    temporal=() if part else tuple(temporal),
                    spatial=tuple(_over_children(einsum.rank_vars, layout)),
                    keep=frozenset() if part else frozenset(kept),
                )
            )
    return Mapping(levels=tuple(mapped))


def _over_children(names: tuple[str, ...], layout: Layout) -> Iterator[Loop]:
    axes: tuple[Dimension, Dimension] = ("x", "y")
    for axis, bounds in zip(axes, layout, strict=True):
        for name, bound in zip(names, bounds, strict=True):
            if bound > 1:
                yield Loop(rank_var=name, bound=bound, dimension=axis)
