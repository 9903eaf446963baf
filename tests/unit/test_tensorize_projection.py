"""Projection and reconstruction: index order, optimality, singular moments, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from heat_sim.errors import SpecError
from heat_sim.tensorize import Factorization, Tensorization, project, rank_errors, reconstruct, relative_error
from heat_sim.tensorize.formats import FORMATS

MATRIX = Tensorization(out_modes=(6,), in_modes=(8,))
SPLIT = Tensorization(out_modes=(2, 3), in_modes=(4, 2))


def low_rank(rank: int, out: int = 6, in_: int = 8) -> Factorization:
    return Factorization(
        format="low-rank", tensorization=Tensorization(out_modes=(out,), in_modes=(in_,)), ranks=(rank,)
    )


def train(rank: int) -> Factorization:
    return Factorization(format="tt-matrix", tensorization=SPLIT, ranks=(1, rank, 1))


@pytest.mark.parametrize(
    "factorization",
    [
        Factorization(format="dense", tensorization=MATRIX),
        low_rank(2),
        train(3),
        Factorization(
            format="tt-matrix",
            tensorization=Tensorization(out_modes=(2, 2, 3), in_modes=(3, 2, 2)),
            ranks=(1, 4, 5, 1),
        ),
    ],
    ids=str,
)
def test_reconstruction_is_what_the_einsum_computes(factorization: Factorization) -> None:
    """The layer's einsum on X equals X W'^T with both sides of W' read row-major: the index convention."""
    rng = np.random.default_rng(0)
    cores = [rng.normal(size=shape) for shape in factorization.core_shapes]
    x = rng.normal(size=(5, factorization.in_features))
    (einsum,) = factorization.einsums(5)
    letters = {var: chr(ord("a") + k) for k, var in enumerate(einsum.rank_vars)}
    terms = ["".join(letters[var] for var in tensor.rank_vars) for tensor in einsum.tensors]
    operands = (x.reshape(5, *factorization.tensorization.in_modes), *cores)
    y = np.einsum(f"{','.join(terms[:-1])}->{terms[-1]}", *operands)
    expected = x @ reconstruct(cores, factorization).T
    np.testing.assert_allclose(y.reshape(5, factorization.out_features), expected, rtol=0, atol=1e-12)


def test_a_matrix_of_that_format_is_found_again() -> None:
    rng = np.random.default_rng(1)
    moment = np.cov(rng.normal(size=(8, 50)))
    for factorization in (low_rank(3), train(2)):
        weight = reconstruct([rng.normal(size=shape) for shape in factorization.core_shapes], factorization)
        for second_moment in (None, moment):
            found = reconstruct(project(weight, factorization, second_moment=second_moment), factorization)
            np.testing.assert_allclose(found, weight, rtol=0, atol=1e-10)


def test_weighted_low_rank_is_the_whitened_svd() -> None:
    """The textbook way, which inverts C^(1/2): truncate W C^(1/2), then multiply by its inverse."""
    rng = np.random.default_rng(2)
    weight, factor = rng.normal(size=(6, 8)), rng.normal(size=(8, 8))
    moment = factor @ factor.T
    values, vectors = np.linalg.eigh(moment)
    root = (vectors * np.sqrt(values)) @ vectors.T
    left, sizes, right = np.linalg.svd(weight @ root, full_matrices=False)
    expected = (left[:, :3] * sizes[:3]) @ right[:3] @ np.linalg.inv(root)
    found = reconstruct(project(weight, low_rank(3), second_moment=moment), low_rank(3))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("out", "in_"), [(6, 8), (8, 6), (7, 7)])
def test_singular_moment_low_rank(out: int, in_: int) -> None:
    """Activations in a plane: rank 2 loses nothing that they see, and full rank still is the weight itself."""
    rng = np.random.default_rng(3)
    plane = rng.normal(size=(in_, 2))
    weight, moment = rng.normal(size=(out, in_)), plane @ plane.T
    two, full = low_rank(2, out, in_), low_rank(min(out, in_), out, in_)
    approximation = reconstruct(project(weight, two, second_moment=moment), two)
    assert relative_error(weight, approximation, second_moment=moment) < 1e-6
    exact = reconstruct(project(weight, full, second_moment=moment), full)
    np.testing.assert_allclose(exact, weight, rtol=0, atol=1e-12)


def test_full_rank_is_exact_however_steep_the_moment() -> None:
    rng = np.random.default_rng(10)
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0]
    moment = (basis * 10.0 ** -np.linspace(0, 20, 48)) @ basis.T
    weight, full = rng.normal(size=(64, 48)), low_rank(48, 64, 48)
    np.testing.assert_allclose(
        reconstruct(project(weight, full, second_moment=moment), full), weight, rtol=0, atol=1e-13
    )


def test_where_no_activation_reaches_the_weights_decide() -> None:
    weight = np.diag([5.0, 1.0, 2.0, 3.0, 4.0])
    three = low_rank(3, 5, 5)
    found = reconstruct(project(weight, three, second_moment=np.diag([1.0, 0.0, 0.0, 0.0, 0.0])), three)
    np.testing.assert_allclose(found, np.diag([5.0, 0.0, 0.0, 3.0, 4.0]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_low_rank_cores_are_nested_and_balanced(weighted: bool) -> None:
    rng = np.random.default_rng(4)
    weight = rng.normal(size=(8, 6))
    moment = np.diag(np.arange(1.0, 7.0)) if weighted else None
    large, small = (project(weight, low_rank(rank, 8, 6), second_moment=moment) for rank in (5, 2))
    np.testing.assert_allclose(large[0][:, :2], small[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(large[1][:2], small[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(large[0], axis=0), np.linalg.norm(large[1], axis=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_neighbouring_cores_of_a_train_are_balanced(weighted: bool) -> None:
    rng = np.random.default_rng(11)
    moment = np.diag(np.arange(1.0, 9.0)) if weighted else None
    left, right = project(rng.normal(size=(6, 8)), train(4), second_moment=moment)
    np.testing.assert_allclose(np.linalg.norm(left, axis=(0, 1)), np.linalg.norm(right, axis=(1, 2)))


@pytest.mark.parametrize("weighted", [False, True])
def test_rank_errors_are_those_of_every_projection(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    weight, factor = rng.normal(size=(6, 8)), rng.normal(size=(8, 8))
    moment = factor @ factor.T if weighted else None
    expected = [
        relative_error(
            weight, reconstruct(project(weight, low_rank(k), second_moment=moment), low_rank(k)), second_moment=moment
        )
        for k in range(1, 7)
    ]
    np.testing.assert_allclose(rank_errors(weight, second_moment=moment), expected, rtol=0, atol=1e-7)


def test_the_train_meets_a_kronecker_moment_as_if_it_were_none() -> None:
    """With two modes and C = C1 x C2 the optimum is a TT-SVD in whitened coordinates: it must be found."""
    rng = np.random.default_rng(6)
    first, second = (np.cov(rng.normal(size=(mode, 3 * mode))) for mode in SPLIT.in_modes)
    moment, weight = np.kron(first, second), rng.normal(size=(6, 8))
    left, right = np.linalg.cholesky(first), np.linalg.cholesky(second)
    whitened = weight @ np.kron(left, right)
    unfolding = whitened.reshape(2, 3, 4, 2).transpose(0, 2, 1, 3).reshape(8, 6)
    dropped = np.linalg.svd(unfolding, compute_uv=False)[3:]
    optimum = np.linalg.norm(dropped) / np.linalg.norm(whitened)
    found = reconstruct(project(weight, train(3), second_moment=moment), train(3))
    assert relative_error(weight, found, second_moment=moment) == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_sweeps_do_not_run_away_where_no_activation_reaches(seed: int) -> None:
    """One sample: a second moment of rank 1, flat in seven of eight directions."""
    rng = np.random.default_rng(seed)
    weight, sample = rng.normal(size=(6, 8)), rng.normal(size=(8, 1))
    moment = sample @ sample.T
    plain, weighted = (reconstruct(project(weight, train(1), second_moment=c), train(1)) for c in (None, moment))
    assert relative_error(weight, weighted, second_moment=moment) <= relative_error(weight, plain, second_moment=moment)
    assert np.linalg.norm(weighted) <= 100 * np.linalg.norm(weight)


@pytest.mark.parametrize("factorization", [low_rank(2), train(2)], ids=str)
def test_eigenvalues_below_zero_by_rounding_do_no_harm(factorization: Factorization) -> None:
    rng = np.random.default_rng(12)
    weight, samples = rng.normal(size=(6, 8)), rng.normal(size=(3, 8))
    moment = samples.T @ samples - 1e-7 * np.eye(8)
    plain, weighted = (
        reconstruct(project(weight, factorization, second_moment=c), factorization) for c in (None, moment)
    )
    assert relative_error(weight, weighted, second_moment=moment) < relative_error(weight, plain, second_moment=moment)


def test_ranks_that_neighbours_cannot_carry_are_filled_with_zeros() -> None:
    """r2 = 12 is possible for (r1 = 8), not behind r1 = 1, where core 2 has only 1 * 2 * 2 rows."""
    shape = Tensorization(out_modes=(2, 2, 3), in_modes=(4, 2, 4))
    wasteful = Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 1, 12, 1))
    useful = Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 1, 4, 1))
    rng = np.random.default_rng(7)
    weight = rng.normal(size=(12, 32))
    for moment in (None, np.cov(rng.normal(size=(32, 99)))):
        cores = project(weight, wasteful, second_moment=moment)
        assert tuple(core.shape for core in cores) == wasteful.core_shapes
        assert not cores[1][..., 4:].any()
        np.testing.assert_allclose(
            reconstruct(cores, wasteful),
            reconstruct(project(weight, useful, second_moment=moment), useful),
            rtol=0,
            atol=1e-12,
        )


@pytest.mark.parametrize("factorization", [low_rank(2), train(2)], ids=str)
def test_float32_in_float64_out_and_the_weight_untouched(factorization: Factorization) -> None:
    weight = np.random.default_rng(8).normal(size=(6, 8)).astype(np.float32)
    before = weight.copy()
    cores = project(weight, factorization, second_moment=np.eye(8, dtype=np.float32))
    assert {core.dtype for core in cores} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(weight, before)


def test_a_zero_weight_needs_no_care() -> None:
    for name, shape in (("low-rank", MATRIX), ("tt-matrix", SPLIT)):
        ranks = tuple(min(2, limit) for limit in FORMATS[name].max_ranks(shape))
        factorization = Factorization(format=name, tensorization=shape, ranks=ranks)
        cores = project(np.zeros((6, 8)), factorization, second_moment=np.eye(8))
        assert not reconstruct(cores, factorization).any()
    assert relative_error(np.zeros((6, 8)), np.zeros((6, 8))) == 0.0
    assert relative_error(np.zeros((6, 8)), np.ones((6, 8))) == float("inf")
    assert not rank_errors(np.zeros((6, 8))).any()


def test_the_relative_error_is_the_one_of_the_outputs() -> None:
    """sum |W x - W' x|^2 over sum |W x|^2 of the very inputs whose second moment is taken."""
    rng = np.random.default_rng(9)
    weight, other, x = rng.normal(size=(6, 8)), rng.normal(size=(6, 8)), rng.normal(size=(100, 8))
    expected = np.linalg.norm(x @ (weight - other).T) / np.linalg.norm(x @ weight.T)
    assert relative_error(weight, other, second_moment=x.T @ x / 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (np.eye(7), r"not of this layer .got shape \(7, 7\), expected shape \(8, 8\)"),
        (np.zeros((8, 8)), "trace above 0"),
        (np.full((8, 8), np.nan), "finite entries"),
        (np.triu(np.ones((8, 8))), "not symmetric"),
        (np.diag([1.0] * 7 + [-0.1]), "not positive semidefinite"),
    ],
)
def test_refuses_what_is_no_second_moment(moment: np.ndarray, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        project(np.ones((6, 8)), low_rank(2), second_moment=moment)
    with pytest.raises(SpecError, match=message):
        relative_error(np.ones((6, 8)), np.ones((6, 8)), second_moment=moment)


def test_refuses_arrays_of_other_shapes() -> None:
    with pytest.raises(
        SpecError, match=r"the weight does not fit the modes .got shape \(8, 6\), expected shape \(6, 8\)"
    ):
        project(np.ones((8, 6)), low_rank(2))
    with pytest.raises(SpecError, match="the weight is not finite"):
        project(np.full((6, 8), np.inf), low_rank(2))
    with pytest.raises(SpecError, match=r"cores of other shapes .got \(\(6, 3\), \(3, 8\)\)"):
        reconstruct([np.ones((6, 3)), np.ones((3, 8))], low_rank(2))
    with pytest.raises(SpecError, match="the approximation has another shape"):
        relative_error(np.ones((6, 8)), np.ones((8, 6)))
