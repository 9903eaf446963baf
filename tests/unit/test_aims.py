"""Objectives and constraints, read and applied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.codesign.aims import Aims, Constraint, parse_constraints
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.points import Point
from heat_sim.errors import SpecError

DENSE = Point(energy_pj=100.0, cycles=50, matrix_parameters=1000, estimated_loss=0.0)


def test_measures_of_a_point_by_hand() -> None:
    point = Point(energy_pj=20.0, cycles=10, matrix_parameters=250, estimated_loss=0.25)
    aims = Aims(objectives=("edp", "energy", "cycles", "parameters", "loss"))
    assert aims.values(point, DENSE) == (0.04, 0.2, 0.2, 0.25, 0.25)
    limits = {"gain >= 25": 0.0, "gain >= 50": 0.5, "loss <= 0.25": 0.0, "loss<=.2": 0.25, "parameters <= 2e2": 0.25,
              "cycles >= 20": 0.5, "energy<=10": 1.0, "edp <= 200": 0.0, "loss >= 0": 0.0}  # fmt: skip
    missed = Aims(constraints=parse_constraints(list(limits))).violations(point, DENSE)
    assert missed == pytest.approx(list(limits.values()))


def test_a_point_that_failed_keeps_to_nothing() -> None:
    failed = Point(energy_pj=0.0, cycles=0, matrix_parameters=0, estimated_loss=0.0, failure="does not fit")
    assert not Aims().keeps(failed, DENSE)
    assert Aims().keeps(DENSE, DENSE)


def test_all_constraints_that_cannot_be_read_are_told_together() -> None:
    with pytest.raises(SpecError) as refused:
        parse_constraints(["loss < 0.1", "loss <= 0.1", "volts <= 4", "gain >= many", "gain >= inf"])
    assert len(refused.value.problems) == 4
    assert parse_constraints([" loss<=1e-1 "]) == (Constraint(measure="loss", sense="<=", bound=0.1),)


@pytest.mark.parametrize("names", [("edp",), ("edp", "edp"), ("edp", "gain"), ()])
def test_objectives_that_make_no_front_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="objectives: unknown, repeated or too few"):
        Aims(objectives=names)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4)] * n), max_size=25)))
def test_a_front_is_the_definition_in_any_number_of_objectives(points: list[tuple[int, ...]]) -> None:
    """O(n^2): a point is on the front if no other one is at least as good in all and better in one."""
    expected = {
        p for p in points if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)
    }  # fmt: skip
    assert non_dominated(points, lambda p: p) == sorted(expected)
