"""The gain of one estimate over another: the difference of two correlations and its paired interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from heat_sim.cli.estimate_gain import rank_gain


def gain(one: list[float], other: list[float], losses: list[float], seed: int = 0):
    return rank_gain(
        ("one", "other"), (one, other), losses, against="as projected", rng=np.random.default_rng(seed)
    )  # fmt: skip


def test_it_is_the_difference_of_both_rhos_and_turns_over():
    rng = np.random.default_rng(1)
    losses = rng.random(30)
    good, bad = losses + 0.1 * rng.random(30), losses + 3.0 * rng.random(30)
    found = gain(good, bad, losses)
    assert found.difference == pytest.approx(spearmanr(good, losses).statistic - spearmanr(bad, losses).statistic)
    assert 0 < found.low < found.difference < found.high
    turned = gain(bad, good, losses)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert str(found).startswith("one over other, as projected: rho +")
    assert "30 designs" in str(found)


def test_the_interval_is_that_of_the_same_resamples_one_by_one():
    rng = np.random.default_rng(2)
    losses, one, other = rng.random(10), rng.random(10), rng.random(10)
    drawn = np.random.default_rng(0).integers(10, size=(2_000, 10))
    differences = [
        spearmanr(one[d], losses[d]).statistic - spearmanr(other[d], losses[d]).statistic for d in drawn[:2_000]
    ]
    found = gain(one, other, losses)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))


def test_equal_estimates_gain_exactly_nothing():
    found = gain([1.0, 2.0, 4.0, 3.0], [10.0, 20.0, 40.0, 30.0], [0.1, 0.2, 0.3, 0.4])
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_what_is_constant_has_no_gain():
    assert gain([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [0.1, 0.2, 0.3]) is None
    assert gain([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.1, 0.1, 0.1]) is None
