"""Factorizations as nouns: cores, einsum, sizes, refusals, plain dicts."""

from __future__ import annotations

import math

import pytest

from heat_sim.errors import SpecError
from heat_sim.tensorize import FORMATS, Factorization, Tensorization

MATRIX = Tensorization(out_modes=(384,), in_modes=(1536,))
SPLIT = Tensorization(out_modes=(16, 24), in_modes=(48, 32))
DENSE = Factorization(format="dense", tensorization=MATRIX)
LOW_RANK = Factorization(format="low-rank", tensorization=MATRIX, ranks=(64,))
TRAIN = Factorization(format="tt-matrix", tensorization=SPLIT, ranks=(1, 32, 1))
LONG_TRAIN = Factorization(
    format="tt-matrix",
    tensorization=Tensorization(out_modes=(4, 3, 2, 2), in_modes=(2, 2, 3, 5)),
    ranks=(1, 3, 7, 4, 1),
)


def test_the_einsum_of_each_format() -> None:
    assert str(DENSE.einsums(8)[0]) == "Y[s,o1] = X[s,i1] * W[o1,i1]"
    assert str(LOW_RANK.einsums(8)[0]) == "Y[s,o1] = X[s,i1] * G1[o1,r1] * G2[r1,i1]"
    assert str(TRAIN.einsums(8)[0]) == "Y[s,o1,o2] = X[s,i1,i2] * G1[o1,i1,r1] * G2[r1,o2,i2]"
    assert str(LONG_TRAIN.einsums(8)[0]).endswith("G1[o1,i1,r1] * G2[r1,o2,i2,r2] * G3[r2,o3,i3,r3] * G4[r3,o4,i4]")


def test_parameters_are_the_products_of_the_core_extents() -> None:
    assert DENSE.parameters == 384 * 1536
    assert LOW_RANK.parameters == 384 * 64 + 64 * 1536  # G1 + G2
    assert TRAIN.parameters == 16 * 48 * 32 + 32 * 24 * 32  # o1 i1 r1 + r1 o2 i2
    assert LONG_TRAIN.parameters == 4 * 2 * 3 + 3 * 3 * 2 * 7 + 7 * 2 * 3 * 4 + 4 * 2 * 5


@pytest.mark.parametrize("factorization", [DENSE, LOW_RANK, TRAIN, LONG_TRAIN], ids=str)
def test_einsum_cores_and_sizes_agree(factorization: Factorization) -> None:
    (einsum,) = factorization.einsums(8, name="query")
    assert einsum.name == "query"
    assert sum(einsum.words(name) for name in factorization.core_names) == factorization.parameters
    assert einsum.words("X") == 8 * factorization.in_features
    assert einsum.words("Y") == 8 * factorization.out_features
    shapes = tuple(einsum.tensor(name).shape(dict(einsum.extents)) for name in factorization.core_names)
    assert shapes == factorization.core_shapes
    assert factorization.compression_ratio == pytest.approx(
        factorization.out_features * factorization.in_features / sum(math.prod(shape) for shape in shapes)
    )


@pytest.mark.parametrize("factorization", [DENSE, LOW_RANK, TRAIN, LONG_TRAIN], ids=str)
def test_plain_dict_round_trip(factorization: Factorization) -> None:
    assert Factorization.from_json(factorization.to_json()) == factorization
    assert hash(Factorization.from_json(factorization.to_json())) == hash(factorization)


def test_full_ranks() -> None:
    assert FORMATS["dense"].max_ranks(MATRIX) == ()
    assert FORMATS["low-rank"].max_ranks(MATRIX) == (384,)
    # Unfoldings of (4*2, 3*2, 2*3, 2*5): 8 | 360, 48 | 60, 288 | 10.
    assert FORMATS["tt-matrix"].max_ranks(LONG_TRAIN.tensorization) == (1, 8, 48, 10, 1)


def test_names_are_those_of_the_registry() -> None:
    names = ["dense", "low-rank", "cp", "tucker", "tt-matrix", "tensor-ring", "btt", "block-low-rank", "block-term"]
    assert [form.name for form in FORMATS.values()] == list(FORMATS) == names


@pytest.mark.parametrize(("name", "ndims"), [("dense", {1}), ("low-rank", {1}), ("tt-matrix", {2, 3})])
def test_every_tensorization_to_search_suits_its_format(name: str, ndims: set[int]) -> None:
    form = FORMATS[name]
    found = form.tensorizations(384, 1536, keep=4)
    assert {shape.ndim for shape in found} == ndims
    for shape in found:
        full = Factorization(format=name, tensorization=shape, ranks=form.max_ranks(shape))
        assert (full.out_features, full.in_features) == (384, 1536)


@pytest.mark.parametrize(
    ("name", "shape", "ranks", "message"),
    [
        ("hodlr", MATRIX, (3,), "unknown format .got 'hodlr', expected dense or low-rank or cp or tucker"),
        ("cp", MATRIX, (3,), "expected at least 3 modes in all"),
        ("tucker", SPLIT, (3,), r"wrong number of ranks .got \(3,\), expected 4 of them"),
        ("tucker", SPLIT, (16, 25, 1, 1), r"ranks\[1\]: not a usable rank .got 25, expected an integer from 1 to 24"),
        ("btt", MATRIX, (1,), "expected two output and two input modes"),
        ("btt", SPLIT, (17,), r"ranks\[0\]: not a usable rank .got 17, expected an integer from 1 to 16"),
        ("block-low-rank", SPLIT, (3,), "expected two modes a side, the first ones equal"),
        ("dense", MATRIX, (1,), r"wrong number of ranks .got \(1,\), expected 0 of them"),
        ("dense", SPLIT, (), r"modes that the format does not take .got \(16\*24\)x\(48\*32\), expected one output"),
        ("low-rank", SPLIT, (3,), "expected one output and one input mode"),
        ("low-rank", MATRIX, (385,), r"ranks\[0\]: not a usable rank .got 385, expected an integer from 1 to 384"),
        ("low-rank", MATRIX, (0,), r"ranks\[0\]: not a usable rank .got 0"),
        ("low-rank", MATRIX, (2.0,), r"ranks\[0\]: not a usable rank .got 2.0"),
        ("tt-matrix", MATRIX, (1, 1), "expected as many output as input modes, at least 2 of each"),
        ("tt-matrix", SPLIT, (32,), r"wrong number of ranks .got \(32,\), expected 3 of them, at most \(1, 768, 1\)"),
        ("tt-matrix", SPLIT, (2, 32, 1), r"ranks\[0\]: not a usable rank .got 2, expected 1\)"),
        (
            "tt-matrix",
            Tensorization(out_modes=(2, 2), in_modes=(2, 2, 2)),
            (1, 2, 1),
            "as many output as input modes",
        ),
    ],
)
def test_refusals(name: str, shape: Tensorization, ranks: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Factorization(format=name, tensorization=shape, ranks=ranks)


def test_every_bad_rank_is_named() -> None:
    with pytest.raises(SpecError, match=r"ranks\[1\]") as refusal:
        Factorization(format="tt-matrix", tensorization=SPLIT, ranks=(2, 769, 3))
    assert len(refusal.value.problems) == 3


def test_a_bad_dict_is_refused_with_all_its_problems() -> None:
    with pytest.raises(SpecError, match=r"q: unknown key .got rank, expected format, out_modes") as refusal:
        Factorization.from_json(
            {"format": "svd", "rank": 3, "out_modes": 8, "in_modes": [8], "ranks": [True]}, where="q"
        )
    text = str(refusal.value)
    assert "q.format: unknown format (got 'svd'" in text
    assert "q.out_modes: not a list of integers (got 8" in text
    assert "q.ranks: not a list of integers (got [True]" in text
    assert len(refusal.value.problems) == 4
