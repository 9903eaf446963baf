"""Spearman's rho, its interval, and when there is none; the plot of what it is of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from heat_sim.report.correlation import FEWEST_DESIGNS, CorrelationRow, correlation_rows
from heat_sim.report.scatter import scatter_figure

RNG = np.random.default_rng(5)
LOSSES = [*RNG.uniform(0.0, 0.09, 10).round(2).tolist(), *RNG.uniform(0.11, 0.4, 8).round(2).tolist()]  # with ties
NOISY = [loss + noise for loss, noise in zip(LOSSES, RNG.normal(0, 0.05, 18).tolist(), strict=True)]


def rows(estimates: dict[str, list[float]], losses: list[float]) -> dict[str, CorrelationRow]:
    found = correlation_rows(
        estimates, losses, milliseconds=dict.fromkeys(estimates, 1.0), rng=np.random.default_rng(0)
    )  # fmt: skip
    return {row.estimate: row for row in found}


def test_rho_is_that_of_scipy_over_all_and_over_small_losses() -> None:
    row = rows({"noisy": NOISY}, LOSSES)["noisy"]
    assert row.rho == pytest.approx(spearmanr(NOISY, LOSSES).statistic)
    assert row.rho_small == pytest.approx(spearmanr(NOISY[:10], LOSSES[:10]).statistic)  # the first ten are below 0.1


def test_the_interval_is_that_of_resamples_taken_one_by_one() -> None:
    row = rows({"noisy": NOISY}, LOSSES)["noisy"]
    drawn = np.random.default_rng(0).integers(len(LOSSES), size=(2_000, len(LOSSES)))
    rhos = [spearmanr(np.array(NOISY)[d], np.array(LOSSES)[d]).statistic for d in drawn]
    assert (row.low, row.high) == pytest.approx(tuple(np.percentile(rhos, [2.5, 97.5])))


@pytest.mark.parametrize(("count", "is_known"), [(FEWEST_DESIGNS - 1, False), (FEWEST_DESIGNS, True)])
def test_too_few_designs_of_small_loss_have_no_rho(count: int, is_known: bool) -> None:
    losses = [0.01 * k for k in range(count)] + [0.1, 0.2, 0.3]  # 0.1 is not below 10 points
    row = rows({"exact": losses}, losses)["exact"]
    assert (row.rho_small is not None) == is_known


def test_best_first_and_a_constant_estimate_last_without_numbers() -> None:
    found = rows({"constant": [1.0] * 18, "reversed": [-x for x in LOSSES], "noisy": NOISY, "exact": LOSSES}, LOSSES)
    assert list(found) == ["exact", "noisy", "reversed", "constant"]
    assert (found["exact"].rho, found["reversed"].rho) == pytest.approx((1.0, -1.0))
    constant = found["constant"]
    assert (constant.rho, constant.low, constant.high, constant.rho_small) == (None, None, None, None)


def test_the_plot_has_a_panel_per_estimate_with_every_design_and_the_dense_accuracy() -> None:
    figure = scatter_figure(
        {"a": [0.1, 0.2], "b": [1.0, 100.0], "c": [-1.0, 1.0], "d": [3.0, 4.0]}, [0.8, 0.6], dense_accuracy=0.9
    )
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d"]
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log", "linear", "linear"]
    points, dense = figure.axes[1].get_lines()
    assert np.asarray(points.get_xydata()).tolist() == [[1.0, 80.0], [100.0, 60.0]]
    assert set(np.asarray(dense.get_ydata()).tolist()) == {90.0}
