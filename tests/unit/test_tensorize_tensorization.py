"""Tensorizations: which there are, against counting and brute force, and in which order."""

from __future__ import annotations

import itertools
import math

import pytest

from heat_sim.errors import SpecError
from heat_sim.tensorize.tensorization import Tensorization, entropy, enumerate_tensorizations, ordered_factorizations


def brute_force(number: int, parts: int) -> set[tuple[int, ...]]:
    """Every tuple of divisors above 1 with that product."""
    divisors = [d for d in range(2, number + 1) if number % d == 0]
    return {modes for modes in itertools.product(divisors, repeat=parts) if math.prod(modes) == number}


def count_by_formula(exponents: tuple[int, ...], parts: int) -> int:
    """Ordered factorizations into `parts` integers above 1, from the exponents of the prime factorization.

    A prime of exponent e is spread over p places in C(e+p-1, p-1) ways; places left at 1 are taken out by
    inclusion and exclusion.
    """
    return sum(
        (-1) ** ones
        * math.comb(parts, ones)
        * math.prod(math.comb(e + parts - ones - 1, parts - ones - 1) for e in exponents)
        for ones in range(parts)
    )


EXPONENTS = {384: (7, 1), 768: (8, 1), 1536: (9, 1), 3072: (10, 1)}  # each 2^e * 3


@pytest.mark.parametrize("number", [1, 2, 7, 12, 36, 60, 384])
@pytest.mark.parametrize("parts", [2, 3])
def test_factorizations_are_those_of_brute_force(number: int, parts: int) -> None:
    found = ordered_factorizations(number, parts)
    assert list(found) == sorted(brute_force(number, parts))


@pytest.mark.parametrize(("out", "in_"), [(384, 384), (384, 1536), (768, 768), (768, 3072)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_as_many_tensorizations_as_counting_gives(out: int, in_: int, ndim: int) -> None:
    found = enumerate_tensorizations(out, in_, ndim=ndim)
    assert len(set(found)) == len(found)
    assert len(found) == count_by_formula(EXPONENTS[out], ndim) * count_by_formula(EXPONENTS[in_], ndim)
    assert {(t.out_features, t.in_features) for t in found} == {(out, in_)}


def test_uniform_first() -> None:
    def uniformity(shape: Tensorization) -> float:
        return entropy(shape.out_modes) + entropy(shape.in_modes)

    found = enumerate_tensorizations(384, 1536, ndim=2)
    values = [uniformity(shape) for shape in found]
    assert values == sorted(values, reverse=True)
    # 16 * 24 and 32 * 48 are the factor pairs nearest to the square roots; crossed, both products are 768.
    assert {16 * 48, 24 * 32} == {math.prod(pair) for pair in zip(found[0].out_modes, found[0].in_modes, strict=True)}


@pytest.mark.parametrize("keep", [1, 5, 100_000])
def test_keep_takes_the_front_of_the_list(keep: int) -> None:
    assert enumerate_tensorizations(96, 64, ndim=3, keep=keep) == enumerate_tensorizations(96, 64, ndim=3)[:keep]


def test_entropy_is_shannons_of_the_shares() -> None:
    assert entropy((5, 5, 5)) == pytest.approx(math.log(3))
    assert entropy((1, 3)) == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))


def test_one_mode_a_side_is_no_split() -> None:
    assert enumerate_tensorizations(7, 1, ndim=1) == (Tensorization(out_modes=(7,), in_modes=(1,)),)


def test_refuses_what_is_not_a_count() -> None:
    with pytest.raises(SpecError, match=r"out_features: not a count \(got 0") as refusal:
        enumerate_tensorizations(0, 4, ndim=0)
    assert len(refusal.value.problems) == 2


@pytest.mark.parametrize("modes", [(), (0,), (2, -1), (2.0,)])
def test_refuses_modes_that_are_no_sizes(modes: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="in_modes: not the modes of a matrix"):
        Tensorization(out_modes=(4,), in_modes=modes)
