"""Every format: its einsum and parameters by hand, its closed forms, and that it finds a matrix of its own kind
again."""

from __future__ import annotations

import numpy as np
import pytest
import tensorly
from numpy.typing import NDArray

from heat_sim.errors import SpecError
from heat_sim.tensorize import Factorization, Tensorization, enumerate_tensorizations, project, reconstruct
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import ordered_factorizations

Array = NDArray[np.float64]


def factorization(name: str, outs: tuple[int, ...], ins: tuple[int, ...], ranks: tuple[int, ...]) -> Factorization:
    return Factorization(format=name, tensorization=Tensorization(out_modes=outs, in_modes=ins), ranks=ranks)


CP = factorization("cp", (4, 3), (10,), (5,))
TUCKER = factorization("tucker", (4, 3), (10,), (2, 3, 4))
RING = factorization("tensor-ring", (4, 3), (5, 2), (2, 3, 4, 2))
BTT = factorization("btt", (4, 3), (5, 2), (2,))
BLOCKS = factorization("block-low-rank", (3, 4), (3, 5), (2,))
BLOCK_TERM = factorization("block-term", (4, 3), (10,), (2, 2, 3, 4))
ALL = [CP, TUCKER, RING, BTT, BLOCKS, BLOCK_TERM]


def random_cores(of: Factorization, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in of.core_shapes]


def dumb_matrix(of: Factorization, cores: list[Array]) -> Array:
    """Entry by entry as the formulas of the formats say."""
    if of.format == "cp":
        return np.einsum("ar,br,cr->abc", *cores).reshape(12, 10)
    if of.format == "tucker":  # the second mode has its whole extent as its rank: no factor
        return np.einsum("xby,ax,cy->abc", *cores).reshape(12, 10)
    if of.format == "tensor-ring":
        return np.einsum("wax,xby,ycz,zdw->abcd", *cores).reshape(12, 10)
    if of.format == "btt":
        left, right = cores
        matrix = np.zeros((4, 3, 5, 2))
        for o2, i1 in np.ndindex(3, 5):
            matrix[:, o2, i1, :] = left[:, o2, i1, :] @ right[i1, o2]
        return matrix.reshape(12, 10)
    if of.format == "block-low-rank":
        left, right, blocks = cores
        matrix = left.reshape(12, 2) @ right.reshape(2, 15)
        for b in range(3):
            matrix[4 * b : 4 * b + 4, 5 * b : 5 * b + 5] += blocks[b]
        return matrix
    core, first, third = cores
    return sum(np.einsum("xby,ax,cy->abc", core[t], first[t], third[t]) for t in range(2)).reshape(12, 10)


@pytest.mark.parametrize("of", ALL, ids=lambda of: of.format)
def test_reconstruction_is_what_the_formula_says(of: Factorization) -> None:
    cores = random_cores(of)
    np.testing.assert_allclose(reconstruct(cores, of), dumb_matrix(of, cores), rtol=0, atol=1e-12)


def test_einsums() -> None:
    assert [str(einsum) for of in ALL for einsum in of.einsums(7)] == [
        "Y[s,o1,o2] = X[s,i1] * F1[o1,r1] * F2[o2,r1] * F3[i1,r1]",
        "Y[s,o1,o2] = X[s,i1] * G[r1,o2,r3] * F1[o1,r1] * F3[i1,r3]",
        "Y[s,o1,o2] = X[s,i1,i2] * G1[r0,o1,r1] * G2[r1,o2,r2] * G3[r2,i1,r3] * G4[r3,i2,r0]",
        "Y[s,o1,o2] = X[s,i1,i2] * L[o1,o2,i1,r1] * R[i1,o2,r1,i2]",
        "Y[s,o1,o2] = X[s,i1,i2] * G1[o1,o2,r1] * G2[r1,i1,i2]",
        "Y[s,b1,o2] = X[s,b1,i2] * B[b1,o2,i2]",
        "Y[s,o1,o2] = X[s,i1] * G[t1,r1,o2,r3] * F1[t1,o1,r1] * F3[t1,i1,r3]",
    ]


def test_parameters_are_the_products_of_the_core_extents() -> None:
    assert CP.parameters == (4 + 3 + 10) * 5
    assert TUCKER.parameters == 2 * 3 * 4 + 4 * 2 + 10 * 4  # core, F1, F3
    assert RING.parameters == 2 * 4 * 3 + 3 * 3 * 4 + 4 * 5 * 2 + 2 * 2 * 2
    assert BTT.parameters == 4 * 3 * 5 * 2 + 5 * 3 * 2 * 2
    assert BLOCKS.parameters == 12 * 2 + 2 * 15 + 3 * 4 * 5
    assert BLOCK_TERM.parameters == 2 * (2 * 3 * 4 + 4 * 2 + 10 * 4)


OPEN_RING = factorization("tensor-ring", (4, 3), (5, 2), (1, 3, 4, 2))
"""With r0 = 1 a tensor ring is a tensor train."""


@pytest.mark.parametrize(
    ("of", "share"), [(TUCKER, 1e-12), (OPEN_RING, 1e-12), (BTT, 1e-12), (BLOCKS, 5e-3)], ids=lambda of: str(of)[:40]
)
def test_a_matrix_of_the_format_is_found_again(of: Factorization, share: float) -> None:
    """Exactly where the truncation is; block-low-rank by an alternation that is stopped. CP, block-term and rings that
    are closed are left out: alternating least squares may end elsewhere."""
    weight = reconstruct(random_cores(of), of)
    samples = np.random.default_rng(1).normal(size=(of.in_features, 40))
    for moment in (None, samples @ samples.T / 40):
        found = reconstruct(project(weight, of, second_moment=moment), of)
        assert np.linalg.norm(found - weight) <= share * np.linalg.norm(weight)


def test_monarch_is_the_svd_of_every_block() -> None:
    """Rank 1: Dao et al. 2022, theorem 1."""
    weight = np.random.default_rng(2).normal(size=(12, 10))
    one = factorization("btt", (4, 3), (5, 2), (1,))
    lost = weight.reshape(4, 3, 5, 2) - reconstruct(project(weight, one), one).reshape(4, 3, 5, 2)
    for o2, i1 in np.ndindex(3, 5):
        smaller = np.linalg.svd(weight.reshape(4, 3, 5, 2)[:, o2, i1, :], compute_uv=False)[1:]
        assert np.linalg.norm(lost[:, o2, i1, :]) == pytest.approx(np.linalg.norm(smaller))


@pytest.mark.parametrize("name", ["cp", "tucker"])
def test_the_plain_projection_is_no_worse_than_tensorly_alone(name: str) -> None:
    from tensorly.decomposition import parafac, tucker

    for seed in range(20):
        weight = np.random.default_rng(seed).normal(size=(12, 10))
        tensor = weight.reshape(4, 3, 10)
        if name == "cp":
            alone = tensorly.cp_to_tensor(parafac(tensor, rank=5, n_iter_max=8, init="random", random_state=0, tol=0))
        else:
            alone = tensorly.tucker_to_tensor(tucker(tensor, rank=[2, 3, 4], n_iter_max=3))
        of = CP if name == "cp" else TUCKER
        ours = float(np.linalg.norm(weight - reconstruct(project(weight, of), of)))
        assert ours <= float(np.linalg.norm(tensor - alone)) * (1 + 1e-6), seed


def test_tucker_ranks_that_the_other_modes_cannot_carry_are_filled_up() -> None:
    """Of 5 columns along the last mode only 1 * 2 are used: the error is that of ranks (1, 2, 2)."""
    weight = np.random.default_rng(8).normal(size=(12, 10))
    lost = []
    for last in (2, 5):
        of = factorization("tucker", (4, 3), (10,), (1, 2, last))
        cores = project(weight, of)
        assert tuple(core.shape for core in cores) == of.core_shapes
        lost.append(float(np.linalg.norm(weight - reconstruct(cores, of))))
    assert lost[1] == pytest.approx(lost[0], rel=1e-2)


def test_block_low_rank_beats_low_rank_of_the_same_rank() -> None:
    """It contains it: the blocks may be zero."""
    weight = np.random.default_rng(4).normal(size=(12, 15))
    plain = factorization("low-rank", (12,), (15,), (2,))
    lost = [np.linalg.norm(weight - reconstruct(project(weight, of), of)) for of in (BLOCKS, plain)]
    assert lost[0] < 0.95 * lost[1]


def test_gradient_weighted_low_rank_is_the_svd_between_both_roots() -> None:
    """min ||D^(1/2) (W - W') C^(1/2)|| is the truncated SVD of D^(1/2) W C^(1/2) (Eckart and Young 1936)."""
    rng = np.random.default_rng(5)
    weight, left, right = rng.normal(size=(6, 8)), rng.normal(size=(6, 6)), rng.normal(size=(8, 8))
    of = factorization("low-rank", (6,), (8,), (3,))
    found = reconstruct(project(weight, of, second_moment=right @ right.T, gradient_moment=left @ left.T), of)
    weighed = left.T @ weight @ right
    rows, values, columns = np.linalg.svd(weighed)
    best = np.linalg.inv(left.T) @ (rows[:, :3] * values[:3]) @ columns[:3] @ np.linalg.inv(right)
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-9)


def test_padding_cuts_rows_and_columns_off() -> None:
    """A 13 x 7 matrix as (4*4) x (2*4): three rows and a column of zeros."""
    shape = Tensorization(out_modes=(4, 4), in_modes=(2, 4), padding=(3, 1))
    full = Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 8, 1))
    weight = np.random.default_rng(6).normal(size=(13, 7))
    cores = project(weight, full, second_moment=np.eye(7), gradient_moment=np.eye(13))
    np.testing.assert_allclose(reconstruct(cores, full), weight, rtol=0, atol=1e-10)
    (einsum,) = full.einsums(5)
    assert (einsum.words("X"), einsum.words("Y")) == (5 * 8, 5 * 16)  # what runs is the padded layer
    assert Factorization.from_json(full.to_json()) == full
    with pytest.raises(SpecError, match=r"padding\[0\]: not a padding .got 16, expected an integer from 0 to 15"):
        Tensorization(out_modes=(4, 4), in_modes=(2, 4), padding=(16, 0))


@pytest.mark.parametrize(
    ("size", "parts"), [(384, 2), (768, 2), (768, 3), (1536, 2), (1536, 3), (3072, 2), (3072, 3), (384, 3)]
)
def test_counts_of_factorizations(size: int, parts: int) -> None:
    """Of 3 * 2^a into ordered factors above 1, by inclusion and exclusion over how many of them are 1."""
    a = {384: 7, 768: 8, 1536: 9, 3072: 10}[size]

    def with_ones(count: int) -> int:
        """Ordered factors, ones allowed: where the 3 goes, and stars and bars for the twos."""
        ways = 1
        for k in range(count - 1):
            ways = ways * (a + count - 1 - k) // (k + 1)
        return count * ways

    above_one = {2: with_ones(2) - 2 * with_ones(1), 3: with_ones(3) - 3 * with_ones(2) + 3 * with_ones(1)}
    assert len(ordered_factorizations(size, parts)) == above_one[parts]


def test_tensorizations_of_the_matrices_of_bert_and_minilm() -> None:
    """(out, in): (2 modes a side, 3 modes a side); docs/decompositions.md states them."""
    counts = {
        (out, in_): tuple(len(enumerate_tensorizations(out, in_, ndim=ndim)) for ndim in (2, 3))
        for out, in_ in [(768, 768), (3072, 768), (768, 3072), (384, 384), (1536, 384), (384, 1536)]
    }
    of = {size: [len(ordered_factorizations(size, parts)) for parts in (2, 3)] for size in (384, 768, 1536, 3072)}
    assert counts == {(o, i): tuple(of[o][k] * of[i][k] for k in (0, 1)) for o, i in counts}
    assert of == {384: [14, 63], 768: [16, 84], 1536: [18, 108], 3072: [20, 135]}


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "dense"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (13, 13), (2, 3), (17, 34)])
def test_odd_sizes_have_tensorizations_or_none(name: str, rows: int, columns: int) -> None:
    """Primes and ones: whatever is offered can be projected on."""
    weight = np.random.default_rng(7).normal(size=(rows, columns))
    for shape in FORMATS[name].tensorizations(rows, columns, keep=2):
        ranks = tuple(min(2, limit) for limit in FORMATS[name].max_ranks(shape))
        of = Factorization(format=name, tensorization=shape, ranks=ranks)
        assert np.isfinite(reconstruct(project(weight, of, second_moment=np.eye(columns)), of)).all()
