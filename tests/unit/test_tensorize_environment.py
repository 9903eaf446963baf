"""The normal equations of a core against the matrix that is built and multiplied with the moments."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.tensorize import Factorization, Tensorization, cp, least_squares, project, reconstruct, relative_error
from heat_sim.tensorize.environment import normal_operator
from heat_sim.tensorize.metric import Metric
from heat_sim.tensorize.term_arrays import adjoint, matrix_of

CASES = (
    Factorization(format="low-rank", tensorization=Tensorization(out_modes=(5,), in_modes=(6,)), ranks=(2,)),
    Factorization(format="cp", tensorization=Tensorization(out_modes=(2, 3), in_modes=(4, 2)), ranks=(5,)),
    Factorization(format="tucker", tensorization=Tensorization(out_modes=(2, 3), in_modes=(6,)), ranks=(2, 2, 3)),
    Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3, 2), in_modes=(3, 2, 2)), ranks=(1, 3, 2, 1)
    ),
    Factorization(format="tensor-ring", tensorization=Tensorization(out_modes=(3, 2), in_modes=(4,)), ranks=(2, 3, 2)),
    Factorization(format="btt", tensorization=Tensorization(out_modes=(3, 2), in_modes=(2, 4)), ranks=(2,)),
    Factorization(format="block-low-rank", tensorization=Tensorization(out_modes=(2, 3), in_modes=(2, 4)), ranks=(2,)),
    Factorization(
        format="block-term", tensorization=Tensorization(out_modes=(2, 3), in_modes=(6,)), ranks=(2, 1, 2, 3)
    ),
)  # fmt: skip


def moment(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.standard_normal((size, size))
    return root @ root.T


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("factorization", CASES, ids=lambda f: f.format)
def test_normal_equations_are_those_of_the_matrix(factorization: Factorization, inputs: bool, outputs: bool) -> None:
    rng = np.random.default_rng(3)
    metric = Metric(
        inputs=moment(rng, factorization.in_features) if inputs else None,
        outputs=moment(rng, factorization.out_features) if outputs else None,
    )
    for term in factorization.terms:
        cores = [rng.standard_normal(core.shape) for core in term.cores]
        for which in range(len(cores)):
            normal = normal_operator(term, cores, which, metric)
            for core in (rng.standard_normal(cores[which].shape) for _ in range(2)):
                built = matrix_of(term, [*cores[:which], core, *cores[which + 1 :]])
                expected = adjoint(term, cores, which, metric.times(built))
                np.testing.assert_allclose(normal(core), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


SWEPT = [case for case in CASES if case.format not in ("low-rank", "tensor-ring")]  # sweeps do not change these two


@pytest.mark.parametrize("factorization", SWEPT, ids=lambda f: f.format)
def test_work_beyond_the_largest_is_left(factorization: Factorization, monkeypatch: pytest.MonkeyPatch) -> None:
    """One core is improved and no more: better than no sweeps, worse than all."""
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((factorization.out_features, factorization.in_features))
    second = moment(rng, factorization.in_features)

    def error(largest: int) -> float:
        monkeypatch.setattr(least_squares, "LARGEST_WORK", largest)
        cores = project(weight, factorization, second_moment=second)
        return relative_error(weight, reconstruct(cores, factorization), second_moment=second)

    none, one, some, every = error(-1), error(0), error(10_000), error(10**12)
    assert none >= one >= some >= every
    assert one > every
    if factorization.format != "tucker":  # whose first core is the best for the others already
        assert none > one
    assert every == error(10**15)


def test_cp_of_large_ranks_keeps_the_largest_singular_triples_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any sweep the error is what the blocks W[o1, :, :] lose; of full rank less one, one triple."""
    monkeypatch.setattr(least_squares, "LARGEST_WORK", -1)
    monkeypatch.setattr(cp, "_LARGEST_RANDOM", 0)
    weight = np.random.default_rng(5).standard_normal((2 * 4, 6))
    values = np.sort(np.linalg.svd(weight.reshape(2, 4, 6), compute_uv=False), axis=None)
    shape = Tensorization(out_modes=(2, 4), in_modes=(6,))
    for rank in (3, 5, 7):
        of = Factorization(format="cp", tensorization=shape, ranks=(rank,))
        lost = np.linalg.norm(weight - reconstruct(project(weight, of), of))
        assert lost == pytest.approx(np.sqrt((values[: 8 - rank] ** 2).sum()))


@pytest.mark.parametrize("in_modes", [(6,), (2, 3)])
def test_coordinates_make_the_own_moment_of_every_mode_the_identity(in_modes: tuple[int, ...]) -> None:
    """With a mode alone the norm is plain there: the sum of squares is ``||W C^(1/2)||^2``, C of mean eigenvalue 1."""
    rng = np.random.default_rng(6)
    shape = Tensorization(out_modes=(2, 2), in_modes=in_modes)
    weight, second = rng.standard_normal((4, 6)), np.kron(moment(rng, 2), moment(rng, 3))
    second = moment(rng, 6) if len(in_modes) == 1 else second
    terms = cp.terms(shape, (2,))
    target, back = least_squares.near_plain(weight, shape, terms, Metric(inputs=second))
    square = Metric(inputs=second).square(weight) / (np.trace(second) / 6)
    assert np.sum(target**2) == pytest.approx(square)
    cores = [rng.standard_normal(core.shape) for core in terms[0].cores]
    square = Metric(inputs=second).square(weight - matrix_of(terms[0], back(cores))) / (np.trace(second) / 6)
    assert np.sum((target - matrix_of(terms[0], cores)) ** 2) == pytest.approx(square)


def test_cp_of_small_rank_is_found_from_random_factors() -> None:
    """Where the largest triples of blocks lead nowhere near."""
    shape = Tensorization(out_modes=(6, 5), in_modes=(7,))
    of = Factorization(format="cp", tensorization=shape, ranks=(3,))
    lost = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        weight = reconstruct([rng.standard_normal(core) for core in of.core_shapes], of)
        lost.append(relative_error(weight, reconstruct(project(weight, of), of)))
    assert np.median(lost) < 0.1
