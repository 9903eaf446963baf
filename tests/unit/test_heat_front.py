"""A search beside rows of HEAT: its gain at a loss is that of the best point that loses no more."""

from __future__ import annotations

import dataclasses

import pytest

from heat_sim.codesign.estimate import WeightError
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.heat_front import _gain, search_beside
from heat_sim.codesign.heat_rerun import RerunRow
from heat_sim.codesign.heat_rows import heat_row
from heat_sim.codesign.points import Point
from heat_sim.codesign.search import SearchSettings
from heat_sim.codesign.space import dense_genome, design_space
from heat_sim.codesign.stand_in import stand_in_errors
from heat_sim.codesign.uniform_size import with_rank
from heat_sim.codesign.workers import Nobody
from heat_sim.report.heat_table import beside_table
from tests.unit.test_codesign import NETWORK
from tests.unit.test_workers import MACHINE


@pytest.fixture(scope="module")
def rows() -> list[RerunRow]:
    estimate = WeightError(errors=stand_in_errors(NETWORK))
    evaluator = Evaluator(network=NETWORK, ways=MACHINE.open(), estimate=estimate)
    space = design_space(NETWORK, formats=("dense",))
    dense = evaluator.cost(space.per_matrix(dense_genome(space)))
    found = []
    for setting, rank in (("a1", 4), ("a2", 12)):
        cost = evaluator.cost(with_rank(NETWORK, "tucker", rank))
        published = heat_row("bert-base", "SQuAD-v1.1", "tucker", setting)
        found.append(
            RerunRow(published=published, rank=rank, parameters=1, cost=cost, dense=dense, two_factors=cost)
        )  # fmt: skip
    return found


def test_our_front_is_at_least_the_row_if_it_searches_longer_than_not_at_all(rows) -> None:
    settings = SearchSettings(population=20, generations=4)
    beside = search_beside(rows, NETWORK, machine=MACHINE, workers=Nobody(), settings=settings)
    for each, row in zip(beside, rows, strict=True):
        assert each.row is row
        assert each.loss == pytest.approx(row.cost.estimated_loss)
        assert each.edp_gain >= 1.0
    first, second = beside
    assert first.loss > second.loss
    assert first.edp_gain >= second.edp_gain
    table = beside_table(beside).splitlines()
    assert table[2].startswith("| Tucker a1")
    assert f"{first.edp_gain:.2f}x" in table[2]


def test_the_gain_is_that_of_the_best_point_that_loses_no_more() -> None:
    points = [
        Point(energy_pj=edp, cycles=1, matrix_parameters=1, estimated_loss=loss)
        for edp, loss in ((50.0, 0.1), (20.0, 0.2), (40.0, 0.2), (10.0, 0.3))
    ]
    assert [_gain(points, 100.0, loss) for loss in (0.05, 0.1, 0.2, 0.25, 0.3)] == [1.0, 2.0, 5.0, 5.0, 10.0]


def test_nothing_is_gained_at_no_loss(rows) -> None:
    exact = dataclasses.replace(rows[0], rank=10_000)
    (found,) = search_beside(
        [exact], NETWORK, machine=MACHINE, workers=Nobody(), settings=SearchSettings(population=8, generations=1)
    )
    assert found.loss == pytest.approx(0.0, abs=1e-6)
    assert found.edp_gain >= 1.0
