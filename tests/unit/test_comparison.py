"""Hypervolume against a library, gains at a loss by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV

from heat_sim.codesign.comparison import Searched, compare
from heat_sim.codesign.pareto import hypervolume
from heat_sim.codesign.points import Point
from heat_sim.errors import SpecError

HALVES = st.integers(0, 6).map(lambda n: n / 4)


@given(st.lists(st.tuples(HALVES, HALVES), max_size=12))
def test_hypervolume_is_pymoos(points: list[tuple[float, float]]) -> None:
    expected = HV(ref_point=np.array([1.0, 1.0]))(np.array(points)) if points else 0.0
    assert hypervolume(points, worst=(1.0, 1.0)) == pytest.approx(expected)


def searched(name: str, arguments: dict[str, object], *points: tuple[float, int, float]) -> Searched:
    made = [Point(energy_pj=e, cycles=c, matrix_parameters=1, estimated_loss=loss) for e, c, loss in points]
    return Searched(name=name, arguments=arguments, dense_edp_pj_cycles=100.0, points=tuple(made))


def test_gains_are_the_best_that_lose_no_more() -> None:
    one = searched("one", {"model": "m", "seeding": True}, (10.0, 10, 0.0), (5.0, 4, 0.2), (5.0, 2, 0.3))
    two = searched("two", {"model": "m", "seeding": False}, (5.0, 10, 0.1))
    first, second = compare([one, two], losses=(0.0, 0.25, 0.3))
    assert first.gains == (1.0, 5.0, 10.0)
    assert second.gains == (None, 2.0, 2.0)
    assert (first.differs, second.differs) == ("", "seeding False")
    # (0.2, 0.2) and (0.1, 0.3) towards (1, 1): 0.9 * 0.7 + (0.8 * 0.1).
    assert first.hypervolume == pytest.approx(0.9 * 0.7 + 0.8 * 0.1)
    assert second.hypervolume == pytest.approx(0.5 * 0.9)


def test_runs_of_other_estimates_are_refused() -> None:
    one = searched("one", {"model": "m", "estimate": "fisher"}, (10.0, 10, 0.0))
    two = searched("two", {"model": "m", "estimate": "weight"}, (10.0, 10, 0.0))
    with pytest.raises(SpecError, match=r"run two: cannot be compared \(got another estimate"):
        compare([one, two], losses=(0.1,))


def test_losses_of_supernets_of_other_formats_or_trainings_are_no_losses_of_one_scale() -> None:
    same = {"model": "m", "estimate": "supernet", "formats": "low-rank", "supernet_epochs": 2, "supernet_rows": None}
    one = searched("one", same, (10.0, 10, 0.0))
    for name, value in (("formats", "btt"), ("supernet_epochs", 3), ("supernet_rows", 9)):
        two = searched("two", same | {name: value}, (10.0, 10, 0.0))
        with pytest.raises(SpecError, match=rf"run two: cannot be compared \(got another {name}, "):
            compare([one, two], losses=(0.1,))
    other = searched("other", same | {"seeding": False}, (10.0, 10, 0.0))
    assert len(compare([one, other], losses=(0.1,))) == 2
