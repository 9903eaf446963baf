"""Which classes of a contraction may run side by side below a level, against the dumb enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper.attainable import along_axes
from heat_sim.mapper.matmul import as_matmul
from heat_sim.mapper.matmul_problem import speaks_of_classes
from heat_sim.mapper.mesh import class_pairs, layout, mesh_choices
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapping import LevelConstraints
from tests.properties.matmul_spaces import spaces

STEP = "T[s,o] = X[s,i,j] * G[o,i,j]"


def space_of(einsum: Einsum, *, x: int, y: int, both_axes: bool = False, **demand: object) -> MapSpace:
    machine = Architecture(
        name="toy", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM", fanout_x=x, fanout_y=y),),
    )  # fmt: skip
    return map_space(einsum, machine, constraints={"DRAM": LevelConstraints(**demand)}, both_axes=both_axes)


def step(**extents: int) -> Einsum:
    return parse_einsum(STEP, extents={"s": 1, "o": 1, "i": 1, "j": 1} | extents)


def laid_out(space: MapSpace, level: int) -> set[tuple[int, ...]]:
    """Return the bounds of the classes for every way to lay every rank variable along the axes."""
    storage, members = space.architecture.levels[level], as_matmul(space.einsum).members
    found = set()
    names = space.einsum.rank_vars
    for chosen in itertools.product(*(along_axes(space, level, var) for var in names)):
        if math.prod(x for x, _ in chosen) <= storage.fanout_x and math.prod(y for _, y in chosen) <= storage.fanout_y:
            bound = {var: x * y for var, (x, y) in zip(names, chosen, strict=True)}
            found.add(tuple(math.prod(bound[var] for var in group) for group in members))
    return found


@given(spaces(constrained=True, most=10**30))
@settings(max_examples=100)
def test_choices_are_what_the_rank_variables_can_make(space: MapSpace) -> None:
    matmul = as_matmul(space.einsum)
    if not speaks_of_classes(space, matmul):
        return
    for level in range(len(space.architecture.levels)):
        choices = mesh_choices(space, matmul, level=level)
        assert len({tuple(row) for row in choices.tolist()}) == len(choices)
        assert {tuple(row) for row in choices.tolist()} == laid_out(space, level)
        units = choices.prod(axis=1).tolist()
        assert units == sorted(units, reverse=True)


@given(spaces(most=10**30))
@settings(max_examples=50)
def test_every_choice_has_a_layout_that_fits(space: MapSpace) -> None:
    matmul = as_matmul(space.einsum)
    for level, storage in enumerate(space.architecture.levels):
        for bounds in mesh_choices(space, matmul, level=level):
            ways = layout(space, matmul, level=level, bounds=bounds)
            assert ways
            for way in ways:
                assert [x * y for x, y in way] == bounds.tolist()
                assert math.prod(x for x, _ in way) <= storage.fanout_x
                assert math.prod(y for _, y in way) <= storage.fanout_y


def test_one_rank_variable_lies_along_one_axis_unless_both_are_allowed() -> None:
    einsum = step(i=6)
    one = {(1, 1), (1, 2), (1, 3), (2, 1)}
    for both_axes, pairs in ((False, one), (True, one | {(2, 3)})):
        space = space_of(einsum, x=2, y=3, both_axes=both_axes)
        assert set(class_pairs(space, as_matmul(einsum), level=0, c=3)) == pairs


def test_members_of_a_class_may_part_between_the_axes() -> None:
    """i = 4 and j = 2 make 4 along x and 2 along y, or 2 and 4, but not 8 along one axis of 4."""
    einsum = step(i=4, j=2)
    pairs = class_pairs(space_of(einsum, x=4, y=4), as_matmul(einsum), level=0, c=3)
    assert set(pairs) == {(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2)}


@pytest.mark.parametrize(
    ("demand", "along"),
    [
        ({"spatial_bounds": {"s": 2}}, {(1, 2), (2, 1)}),
        ({"spatial_limits": {"s": (2, 3)}}, {(1, 2), (2, 1), (1, 3), (3, 1)}),
        ({"spatial_order": ("s",), "split": 1}, {(1, 1), (2, 1), (3, 1), (6, 1)}),
        ({"spatial_order": ("s",), "split": 0}, {(1, 1), (1, 2), (1, 3), (1, 6)}),
        ({"spatial_bounds": {"s": 12}}, set()),
    ],
)
def test_demands_cut_the_pairs(demand: dict[str, object], along: set[tuple[int, int]]) -> None:
    einsum = step(s=6)
    assert set(class_pairs(space_of(einsum, x=8, y=8, **demand), as_matmul(einsum), level=0, c=1)) == along


def test_a_demand_beyond_the_extent_leaves_no_choice() -> None:
    einsum = step(o=4)
    space = space_of(einsum, x=8, y=1, spatial_bounds={"s": 2})
    assert mesh_choices(space, as_matmul(einsum), level=0).shape == (0, 4)


def test_more_choices_than_the_first_table_holds() -> None:
    """Three classes of 64 over a mesh of 64 x 64, each along one axis."""
    einsum = step(s=64, o=64, i=64)
    space = space_of(einsum, x=64, y=64)
    found = {tuple(row) for row in mesh_choices(space, as_matmul(einsum), level=0).tolist()}
    assert found == laid_out(space, 0)
    assert len(found) > 64
