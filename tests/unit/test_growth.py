"""Greedy growth of ranks: the laws of its path, exact matrices, refusals."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from heat_sim.errors import SpecError
from heat_sim.tensorize import FORMATS, Factorization, Tensorization, project, reconstruct, relative_error
from heat_sim.tensorize.growth import grow
from heat_sim.tensorize.metric import PLAIN

Array = NDArray[np.float64]
SHAPES = {
    "low-rank": Tensorization(out_modes=(12,), in_modes=(12,)),
    "cp": Tensorization(out_modes=(3, 4), in_modes=(12,)),
    "tucker": Tensorization(out_modes=(3, 4), in_modes=(4, 3)),
    "tt-matrix": Tensorization(out_modes=(2, 3, 2), in_modes=(2, 3, 2)),
    "tensor-ring": Tensorization(out_modes=(3, 4), in_modes=(12,)),
    "btt": Tensorization(out_modes=(3, 4), in_modes=(4, 3)),
    "block-low-rank": Tensorization(out_modes=(4, 3), in_modes=(4, 3)),
    "block-term": Tensorization(out_modes=(3, 4), in_modes=(12,)),
}
EXACT = {
    "low-rank": (3,),
    "cp": (2,),
    "tucker": (2, 2, 2, 1),
    "tt-matrix": (1, 2, 3, 1),
    "tensor-ring": (1, 2, 3),
    "btt": (2,),
    "block-low-rank": (2,),
    "block-term": (2, 1, 2, 2),
}


def steep(seed: int = 0, size: int = 12) -> Array:
    rng = np.random.default_rng(seed)
    left, _, right = np.linalg.svd(rng.standard_normal((size, size)))
    return np.asarray((left * np.arange(1, size + 1) ** -1.0) @ right)


def moment(seed: int = 1, size: int = 12) -> Array:
    inputs = np.random.default_rng(seed).standard_normal((40, size)) * np.linspace(0.1, 3.0, size)
    return np.asarray(inputs.T @ inputs / 40)


def error(weight: Array, factorization: Factorization, second_moment: Array | None = None) -> float:
    cores = project(weight, factorization, second_moment=second_moment)
    return relative_error(weight, reconstruct(cores, factorization), second_moment=second_moment)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_cost_rises_and_error_falls_up_to_the_budget(name: str, *, weighted: bool) -> None:
    weight, second_moment = steep(), moment() if weighted else None
    budget = 110 if name != "btt" else 200
    path = grow(weight, name, tensorization=SHAPES[name], budget=budget, second_moment=second_moment)
    assert len(path) > 1
    costs = [each.parameters for each in path]
    assert costs == sorted(set(costs))
    assert costs[-1] <= budget
    # Quick cores guide the growth; what projection makes of the same ranks follows but for a little.
    errors = [error(weight, each, second_moment) for each in path]
    assert all(after <= before * 1.02 for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("name", sorted(EXACT))
def test_ranks_that_reconstruct_an_exact_matrix_are_found(name: str) -> None:
    rng = np.random.default_rng(5)
    exact = Factorization(format=name, tensorization=SHAPES[name], ranks=EXACT[name])
    weight = reconstruct([rng.standard_normal(shape) for shape in exact.core_shapes], exact)
    found = grow(weight, name, tensorization=SHAPES[name], budget=math.inf)[-1]
    assert error(weight, found) < 1e-3
    assert found.parameters < 12 * 12 or name in ("btt", "block-low-rank")  # whose smallest cores are large
    if FORMATS[name].leading(weight, SHAPES[name], metric=PLAIN) is not None:
        assert error(weight, found) < 1e-6
        assert found.parameters <= exact.parameters  # tucker: a whole mode, without a factor, may be cheaper


def test_tucker_leaves_rank_one_although_no_single_rank_helps() -> None:
    """``e1 e1 e1 + e2 e2 e1``: two modes must grow together, the third never."""
    tensor = np.zeros((3, 3, 3))
    tensor[0, 0, 0], tensor[1, 1, 0] = 2.0, 1.0
    shape = Tensorization(out_modes=(3, 3), in_modes=(3,))
    path = grow(tensor.reshape(9, 3), "tucker", tensorization=shape, budget=100)
    assert [each.ranks for each in path] == [(1, 1, 1), (2, 2, 1)]
    # 2 + 3 * (2 + 1 + 1) parameters would fit, 4 + 3 * (2 + 2 + 1) would not: alone a second rank helps nothing.
    assert [each.ranks for each in grow(tensor.reshape(9, 3), "tucker", tensorization=shape, budget=16)] == [(1, 1, 1)]


def test_each_step_is_the_best_gain_for_its_cost() -> None:
    """A TT of 3 modes whose second bond carries nothing beyond rank one: only the first grows."""
    rng = np.random.default_rng(2)
    shape = Tensorization(out_modes=(3, 3, 2), in_modes=(3, 3, 2))
    weight = np.kron(rng.standard_normal((9, 9)), rng.standard_normal((2, 2)))
    path = grow(weight, "tt-matrix", tensorization=shape, budget=10_000)
    assert [each.ranks[2] for each in path] == [1] * len(path)
    assert path[-1].ranks[1] == 9
    assert error(weight, path[-1]) < 1e-6


def test_the_cost_that_is_given_decides() -> None:
    """Two bonds of equal use; the one whose ranks are made dear stays behind."""
    weight, shape = steep(3), SHAPES["tt-matrix"]

    def dear(place: int) -> tuple[int, ...]:
        return grow(
            weight,
            "tt-matrix",
            tensorization=shape,
            budget=12.0,
            cost=lambda each: sum(rank ** (2 if k == place else 1) for k, rank in enumerate(each.ranks)),
        )[-1].ranks

    assert dear(1)[1] < dear(2)[1]
    assert dear(1)[2] > dear(2)[2]


def test_the_second_moment_decides_which_rank_grows() -> None:
    """Where the last input mode is 0 the matrix needs only the first bond, where it is 1 only the second."""
    rng = np.random.default_rng(8)
    shape = Tensorization(out_modes=(3, 3, 2), in_modes=(3, 3, 2))
    first = np.kron(rng.standard_normal((9, 9)), [[1.0, 0.0], [1.0, 0.0]])
    second = np.kron(rng.standard_normal((3, 3)), rng.standard_normal((6, 6)) * np.tile([0, 1], 3))
    for weights, ranks in (([1.0, 1e-3], (1, 2, 1, 1)), ([1e-3, 1.0], (1, 1, 2, 1))):
        moment = np.diag(weights * 9)
        path = grow(first + second, "tt-matrix", tensorization=shape, budget=200, second_moment=moment)
        assert path[1].ranks == ranks


def test_no_single_rank_has_a_better_weighted_gain_for_its_cost() -> None:
    """The definition, in a format whose candidates are judged by the projection itself."""
    shape = Tensorization(out_modes=(4, 4), in_modes=(8,))
    weight = np.random.default_rng(9).standard_normal((16, 8))
    inputs = np.random.default_rng(0).standard_normal((8, 8)) * 10.0 ** -np.arange(8)
    second_moment = inputs.T @ inputs
    budget = 70
    path = grow(weight, "tensor-ring", tensorization=shape, budget=budget, second_moment=second_moment, step=1.01)
    assert len(path) > 3

    def gain(before: Factorization, after: Factorization) -> float:
        errors = [error(weight, each, second_moment) ** 2 for each in (before, after)]
        return (errors[0] - errors[1]) / (after.parameters - before.parameters)

    for before, after in itertools.pairwise(path):
        others = [
            replace(before, ranks=tuple(rank + (k == place) for k, rank in enumerate(before.ranks)))
            for place, limit in enumerate(FORMATS["tensor-ring"].max_ranks(shape))
            if before.ranks[place] < limit
        ]
        rivals = [gain(before, other) for other in others if other.parameters <= budget]
        assert gain(before, after) >= max(rivals) * (1 - 1e-9) > 0


def test_a_step_that_does_not_fit_is_halved_until_the_budget_is_full() -> None:
    weight, shape = steep(size=12), SHAPES["low-rank"]
    path = grow(weight, "low-rank", tensorization=shape, budget=7 * 24 + 23, step=10.0)
    assert path[-1].ranks == (7,)
    # 9 more, then 4 more, which fits; from 5 on 7 more (the largest rank is 12), 3 more, 1 more; then 1 more again.
    assert [each.ranks[0] for each in path] == [1, 5, 6, 7]


def test_a_small_step_visits_every_rank() -> None:
    path = grow(steep(), "low-rank", tensorization=SHAPES["low-rank"], budget=6 * 24, step=1.01)
    assert [each.ranks[0] for each in path] == [1, 2, 3, 4, 5, 6]


def test_blocks_count_as_an_edge() -> None:
    """Two blocks of ranks (1, 1, 1) are a CP of rank 2: cheaper than one block of larger ranks."""
    rng = np.random.default_rng(6)
    shape = Tensorization(out_modes=(6, 6), in_modes=(6,))
    parts = [[np.linalg.qr(rng.standard_normal((6, 2)))[0][:, k] for k in range(2)] for _ in range(3)]
    weight = sum((2 - k) * np.einsum("a,b,c->abc", *(mode[k] for mode in parts)) for k in range(2)).reshape(36, 6)
    path = grow(weight, "block-term", tensorization=shape, budget=10_000)
    assert [each.ranks for each in path[:2]] == [(1, 1, 1, 1), (2, 1, 1, 1)]
    assert error(weight, path[1]) < 0.05


def test_padded_modes_grow_too() -> None:
    shape = Tensorization(out_modes=(3, 4), in_modes=(3, 4), padding=(1, 0))
    path = grow(steep()[:11], "tt-matrix", tensorization=shape, budget=100)
    assert [each.ranks[1] for each in path][:2] == [1, 2]
    assert path[-1].parameters <= 100


def test_a_dense_matrix_has_nothing_to_grow() -> None:
    dense = SHAPES["low-rank"]
    assert [each.ranks for each in grow(steep(), "dense", tensorization=dense, budget=144)] == [()]


def test_refusals_say_what_to_do() -> None:
    weight, shape = steep(), SHAPES["tt-matrix"]
    with pytest.raises(SpecError, match=r"rank one exceeds the budget \(got 5, expected at least 17\)"):
        grow(weight, "tt-matrix", tensorization=shape, budget=5)  # 2 * 2 + 3 * 3 + 2 * 2
    with pytest.raises(SpecError, match=r"not a step of a rank \(got 1.0"):
        grow(weight, "tt-matrix", tensorization=shape, budget=50, step=1.0)
    with pytest.raises(SpecError, match=r"unknown format \(got 'svd'"):
        grow(weight, "svd", tensorization=shape, budget=50)
    with pytest.raises(SpecError, match="modes that the format does not take"):
        grow(weight, "btt", tensorization=SHAPES["low-rank"], budget=50)
    with pytest.raises(SpecError, match="the weight does not fit the modes"):
        grow(weight[:5], "tt-matrix", tensorization=shape, budget=50)
    with pytest.raises(SpecError, match="second moment: not of this layer"):
        grow(weight, "tt-matrix", tensorization=shape, budget=50, second_moment=np.eye(3))
