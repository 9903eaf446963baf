"""Allocation over matrices: numbers by hand, real matrices, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heat_sim.codesign.allocation import Allocation, Option, allocate, allocation_path, options_of
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.errors import SpecError
from heat_sim.tensorize import FORMATS, Factorization, Tensorization, project, reconstruct

ANY = Factorization(format="dense", tensorization=Tensorization(out_modes=(2,), in_modes=(2,)))


def part(*points: tuple[float, float]) -> list[Option]:
    return [Option(cost=cost, squared_error=error, factorization=ANY) for cost, error in points]


def test_edges_are_walked_by_slope_and_classes_move_together() -> None:
    first = part((1, 10), (2, 4), (4, 2))  # slopes -6, -1
    second = part((9, 9), (1, 6), (3, 0))  # the first is dominated; slope -3
    path = allocation_path([first, second], [1, 2])
    assert [vertex.chosen for vertex in path] == [(0, 1), (1, 1), (1, 2), (2, 2)]
    assert [(vertex.cost, vertex.squared_error) for vertex in path] == [
        (1 + 2 * 1, 10 + 2 * 6),
        (2 + 2 * 1, 4 + 2 * 6),
        (2 + 2 * 3, 4 + 2 * 0),
        (4 + 2 * 3, 2 + 2 * 0),
    ]


def test_options_that_are_no_vertices_use_what_is_left() -> None:
    straight = part((1, 9), (2, 8), (5, 0))  # the second lies above the hull
    assert allocation_path([straight], [1])[-1].chosen == (2,)
    assert allocate([straight], [1], budget=4) == Allocation(chosen=(1,), cost=2, squared_error=8)
    assert allocate([straight], [1], budget=5).chosen == (2,)


def test_the_best_swap_that_fits_goes_first() -> None:
    """The hull from (1, 9) to (9, 0) is at 7.875 for a cost of 2 and at 6.75 for 3: nothing in between is on it."""
    one, other = part((1, 9), (3, 8), (9, 0)), part((1, 9), (3, 7), (9, 0))
    assert allocate([one, other], [1, 1], budget=4).chosen == (0, 1)  # a gain of 2, not of 1
    assert allocate([other, one], [1, 1], budget=4).chosen == (1, 0)
    assert allocate([one, other], [1, 1], budget=6).chosen == (1, 1)
    two, single = part((1, 9), (2, 8), (9, 0)), part((1, 9), (3, 7.5), (9, 0))
    assert allocate([two, single], [2, 1], budget=5).chosen == (1, 0)  # 2 * 1 is more than 1.5


def test_edges_whose_slopes_are_equal_after_rounding_are_walked_in_order() -> None:
    """The hull has the vertices 2, 0, 1 by cost, and both of its edges have the slope -0.98285778727222..."""
    points = part(
        (0.9712600374622969, 4.045389508713868),
        (1.860088455646634, 3.171797576352538),
        (0.025439998468703373, 4.974996099396841),
    )
    assert [vertex.chosen for vertex in allocation_path([points], [1])] == [(2,), (0,), (1,)]


def test_edges_whose_slopes_are_swapped_by_rounding_are_walked_in_order() -> None:
    """On the line 5 - 0.85 t; the slopes come out as -0.85 and -0.8500000000000001."""
    points = part(*((t, 5 - 0.85 * t) for t in (0.53, 2.45, 2.68)))
    path = allocation_path([points], [1])
    assert path[-1].chosen == (2,)
    assert [vertex.cost for vertex in path] == sorted(vertex.cost for vertex in path)


def test_low_rank_keeps_the_largest_singular_values_of_all_matrices() -> None:
    """Of three 12x8 matrices, 10 ranks in all: the first value of each and the 7 largest of the others."""
    rng = np.random.default_rng(0)
    weights = {name: scale * rng.standard_normal((12, 8)) for name, scale in (("a", 1), ("b", 2), ("c", 4))}
    errors = MatrixErrors(weights=weights, second_moments={name: np.eye(8) for name in weights})
    shape = Tensorization(out_modes=(12,), in_modes=(8,))
    ranks = [Factorization(format="low-rank", tensorization=shape, ranks=(k,)) for k in range(1, 9)]
    options = [
        options_of(ranks, squared_error=lambda f, name=name: errors(name, f).weight, cost=lambda f: f.parameters)
        for name in weights
    ]
    found = allocate(options, [1, 1, 1], budget=10 * (12 + 8))
    squares = [np.linalg.svd(weight, compute_uv=False) ** 2 for weight in weights.values()]
    lost = np.sort(np.concatenate([values[1:] for values in squares]))[: 3 * 8 - 10]
    assert found.cost == 10 * (12 + 8)
    assert found.squared_error == pytest.approx(lost.sum(), rel=1e-9)
    uniform = sum(values[3:].sum() for values in squares)  # rank 3 everywhere has 9 ranks
    assert found.squared_error < allocate(options, [1, 1, 1], budget=9 * 20).squared_error < uniform


@pytest.mark.parametrize("name", ["tt-matrix", "btt", "tucker"])
def test_the_errors_of_options_bound_what_projection_reaches(name: str) -> None:
    rng = np.random.default_rng(1)
    weight, inputs = rng.standard_normal((12, 12)), rng.standard_normal((50, 12))
    moment = inputs.T @ inputs / 50
    shape = Tensorization(out_modes=(3, 4), in_modes=(4, 3))
    errors = MatrixErrors(weights={"w": weight}, second_moments={"w": moment})
    full = FORMATS[name].max_ranks(shape)
    steps = [
        Factorization(format=name, tensorization=shape, ranks=tuple(min(k, limit) for limit in full))
        for k in range(1, max(full) + 1)
    ]
    options = options_of(steps, squared_error=lambda f: errors("w", f).activation, cost=lambda f: f.parameters)
    assert [option.factorization for option in options] == steps
    assert options[-1].squared_error == pytest.approx(0.0, abs=1e-6)
    for option in options:
        gap = weight - reconstruct(project(weight, option.factorization, second_moment=moment), option.factorization)
        assert float(np.vdot(gap @ moment, gap)) <= option.squared_error + 1e-6


def test_equal_factorizations_are_costed_once() -> None:
    costed: list[Factorization] = []
    options = options_of([ANY, ANY], squared_error=lambda _: 0.0, cost=lambda f: costed.append(f) or 1.0)
    assert len(options) == len(costed) == 1


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(SpecError, match=r"even the cheapest options exceed the budget \(got 2, expected at least 3"):
        allocate([part((1, 5)), part((1, 5), (4, 0))], [1, 2], budget=2)
    with pytest.raises(SpecError, match=r"not one count per matrix \(got 1 counts, expected 2"):
        allocation_path([part((1, 1)), part((1, 1))], [1])
    with pytest.raises(SpecError, match="not one count per matrix"):
        allocation_path([], [])
    with pytest.raises(SpecError, match=r"matrix 1: nothing to choose \(got 0 options, count 0"):
        allocation_path([part((1, 1)), []], [1, 0])
    with pytest.raises(SpecError, match="matrix 0: an option that is not finite"):
        allocation_path([part((1, math.nan))], [1])
    with pytest.raises(SpecError, match="a finite cost and squared error"):
        allocation_path([part((math.inf, 1))], [1])
