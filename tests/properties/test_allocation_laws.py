"""Laws of the allocation of a budget over matrices, against every combination of options."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim.codesign.allocation import Option, allocate, allocation_path
from heat_sim.mapper.edp import lower_left_hull
from heat_sim.tensorize import Factorization, Tensorization

ANY = Factorization(format="dense", tensorization=Tensorization(out_modes=(2,), in_modes=(2,)))
Parts = list[list[Option]]

numbers = st.integers(0, 20)  # small, so that ties, dominated options and straight hulls are common
options = st.builds(lambda cost, error: Option(cost=cost, squared_error=error, factorization=ANY), numbers, numbers)
instances = st.lists(
    st.tuples(st.lists(options, min_size=1, max_size=4), st.integers(1, 2)), min_size=1, max_size=3
).map(lambda pairs: ([part for part, _ in pairs], [count for _, count in pairs]))


def all_points(parts: Sequence[Sequence[Option]], counts: Sequence[int]) -> Iterator[tuple[float, float]]:
    """Cost and squared error of every combination."""
    for chosen in itertools.product(*parts):
        yield (
            sum(n * option.cost for n, option in zip(counts, chosen, strict=True)),
            sum(n * option.squared_error for n, option in zip(counts, chosen, strict=True)),
        )


def least_error(parts: Sequence[Sequence[Option]], counts: Sequence[int], budget: float) -> float:
    return min((error for cost, error in all_points(parts, counts) if cost <= budget), default=math.inf)


def members(parts: Parts, counts: list[int]) -> Parts:
    """Every matrix of a class on its own."""
    return [part for part, count in zip(parts, counts, strict=True) for _ in range(count)]


@given(instances)
def test_every_vertex_is_optimal_at_its_cost_even_if_equal_matrices_chose_apart(
    instance: tuple[Parts, list[int]],
) -> None:
    parts, counts = instance
    alone = members(parts, counts)
    for vertex in allocation_path(parts, counts):
        assert vertex.squared_error == least_error(alone, [1] * len(alone), vertex.cost)


@given(instances)
def test_the_path_has_every_vertex_of_the_hull_of_all_combinations(instance: tuple[Parts, list[int]]) -> None:
    path = allocation_path(*instance)
    points = [(error, cost) for cost, error in all_points(*instance)]
    assert {points[i] for i in lower_left_hull(points)} <= {(v.squared_error, v.cost) for v in path}
    costs, errors = [v.cost for v in path], [v.squared_error for v in path]
    assert costs == sorted(set(costs))
    assert errors == sorted(set(errors), reverse=True)


@given(instances)
def test_totals_are_those_of_the_options_chosen(instance: tuple[Parts, list[int]]) -> None:
    parts, counts = instance
    for vertex in allocation_path(parts, counts):
        chosen = [[part[i]] for part, i in zip(parts, vertex.chosen, strict=True)]
        assert list(all_points(chosen, counts)) == [(vertex.cost, vertex.squared_error)]


@given(instances, st.integers(0, 120))
@settings(max_examples=300)
def test_allocate_is_between_the_best_vertex_and_the_optimum(instance: tuple[Parts, list[int]], budget: int) -> None:
    parts, counts = instance
    path = allocation_path(parts, counts)
    if budget < path[0].cost:
        return
    found = allocate(parts, counts, budget=budget)
    within = [vertex for vertex in path if vertex.cost <= budget]
    optimum = least_error(parts, counts, budget)
    assert found.cost <= budget
    assert optimum <= found.squared_error <= within[-1].squared_error
    if len(within) < len(path):  # no combination lies below the edge that crosses the budget
        assert within[-1].squared_error - optimum <= within[-1].squared_error - path[len(within)].squared_error
    else:
        assert found.squared_error == optimum
    for p, part in enumerate(parts):  # no single change that fits is left
        for option in part:
            now = part[found.chosen[p]]
            if found.cost + counts[p] * (option.cost - now.cost) <= budget:
                assert option.squared_error >= now.squared_error


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4), st.integers(0, 2))
def test_the_same_rank_everywhere_is_never_better(drops: list[list[int]], rank: int) -> None:
    """Matrices of one size lose falling squared singular values, so rank after rank costs the same and gains less."""
    spectra = [sorted(values, reverse=True) for values in drops]
    parts = [
        [Option(cost=k + 1, squared_error=sum(values[k + 1 :]), factorization=ANY) for k in range(3)]
        for values in spectra
    ]
    found = allocate(parts, [1] * len(parts), budget=len(parts) * (rank + 1))
    assert found.squared_error <= sum(part[rank].squared_error for part in parts)
    # Exactly: the first value of each matrix is kept, and of all others the largest.
    others = sorted(itertools.chain.from_iterable(values[1:] for values in spectra), reverse=True)
    assert found.squared_error == sum(others[len(parts) * rank :])
