"""From the bounds of merged classes back to the rank variables that they were merged from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper.matmul import as_matmul
from heat_sim.mapper.nest import build_mapping, split_bounds
from heat_sim.mapper.space import map_space
from heat_sim.mapping import LevelConstraints, Mapping, check_mapping


def every_split(bounds: Sequence[int], extents: Sequence[int], *, apart: int) -> set[tuple[tuple[int, ...], ...]]:
    """Return the same by its definition: all divisors for all members at all bounds."""
    divisors = [[d for d in range(1, extent + 1) if extent % d == 0] for extent in extents]
    found = set()
    for split in itertools.product(itertools.product(*divisors), repeat=len(bounds)):
        if (
            all(math.prod(parts) == bound for parts, bound in zip(split, bounds, strict=True))
            and all(math.prod(parts) == extent for parts, extent in zip(zip(*split, strict=True), extents, strict=True))
            and not any(
                split[x][member] > 1 and split[x + 1][member] > 1
                for x in range(0, apart, 2)
                for member in range(len(extents))
            )
        ):
            found.add(split)
    return found


@given(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=3), st.data())
@settings(max_examples=150)
def test_splits_are_all_that_there_are(extents: list[int], data: st.DataObject) -> None:
    """Each once, whatever the bounds: also those that the members cannot make."""
    product = math.prod(extents)
    bounds, left = [], product
    for _ in range(data.draw(st.integers(1, 3))):
        bounds.append(data.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
        left //= bounds[-1]
    bounds.append(left)
    apart = data.draw(st.sampled_from(range(0, len(bounds) + 1, 2)))
    found = [tuple(split) for split in split_bounds(bounds, extents, apart=apart)]
    assert len(found) == len(set(found))
    assert set(found) == every_split(bounds, extents, apart=apart)


def test_a_class_without_members_has_bounds_of_1_only() -> None:
    assert list(split_bounds([1, 1], [], apart=0)) == [[(), ()]]
    assert list(split_bounds([2, 1], [], apart=0)) == []


def nest_of(
    einsum: Einsum, *, spatial: list[list[int]], temporal: list[list[int]], innermost: list[int], keep: list[int],
    both_axes: bool = False, x: int = 4, y: int = 4, **demand: object,
) -> Mapping | None:  # fmt: skip
    machine = Architecture(
        name="toy", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM", fanout_x=x, fanout_y=y), StorageLevel(name="RF")),
    )  # fmt: skip
    space = map_space(einsum, machine, constraints={"DRAM": LevelConstraints(**demand)}, both_axes=both_axes)
    mapping = build_mapping(
        space, as_matmul(einsum), keep=np.array(keep), spatial=np.array(spatial), temporal=np.array(temporal),
        innermost=np.array(innermost),
    )  # fmt: skip
    if mapping is not None:
        check_mapping(einsum, machine, mapping)
        assert space.holds(mapping)
    return mapping


STEP = parse_einsum("T[s,o] = X[s,i,j] * G[o,i,j]", extents=dict(s=4, o=2, i=2, j=3))


def test_members_of_a_class_are_parted_between_the_axes() -> None:
    """k = i * j = 6 units on a mesh of 2 x 3: i lies along one axis, j along the other."""
    mapping = nest_of(STEP, spatial=[[1, 1, 1, 6], [1, 1, 1, 1]], temporal=[[1, 4, 2, 1], [1, 1, 1, 1]],
                      innermost=[1, -1], keep=[7, 0], x=2, y=3)  # fmt: skip
    assert mapping is not None
    assert {(loop.rank_var, loop.bound, loop.dimension) for loop in mapping.levels[0].spatial} == {
        ("i", 2, "x"),
        ("j", 3, "y"),
    }


def test_what_one_member_would_have_to_lie_along_both_axes_for_is_not_made() -> None:
    """s = 4 on a mesh of 2 x 2 needs both axes; as members of 2 and 2 it does not."""
    asked = dict(spatial=[[1, 4, 1, 1], [1, 1, 1, 1]], temporal=[[1, 1, 2, 6], [1, 1, 1, 1]], innermost=[3, -1],
                 keep=[7, 0], x=2, y=2)  # fmt: skip
    assert nest_of(STEP, **asked) is None
    both = nest_of(STEP, both_axes=True, **asked)
    assert both is not None
    assert [(loop.rank_var, loop.bound, loop.dimension) for loop in both.levels[0].spatial] == [
        ("s", 2, "x"),
        ("s", 2, "y"),
    ]


@pytest.mark.parametrize(("c", "innermost"), [(1, {"s"}), (2, {"o"}), (3, {"i", "j"})])
def test_the_innermost_class_is_the_innermost(c: int, innermost: set[str]) -> None:
    mapping = nest_of(STEP, spatial=[[1] * 4, [1] * 4], temporal=[[1, 4, 2, 6], [1] * 4], innermost=[c, -1],
                      keep=[7, 0])  # fmt: skip
    assert mapping is not None
    order = [loop.rank_var for loop in mapping.levels[0].temporal]
    assert set(order[-len(innermost) :]) == innermost
    assert sorted(order) == ["i", "j", "o", "s"]


def test_the_order_that_is_demanded_is_kept() -> None:
    mapping = nest_of(STEP, spatial=[[1] * 4, [1] * 4], temporal=[[1, 4, 2, 6], [1] * 4], innermost=[2, -1],
                      keep=[7, 0], temporal_order=("s", "o"))  # fmt: skip
    assert mapping is not None
    assert [loop.rank_var for loop in mapping.levels[0].temporal][-2:] == ["s", "o"]


def test_bits_of_keep_are_the_tensors_in_their_order() -> None:
    """Bit 0 is X, bit 1 is G, bit 2 is T."""
    mapping = nest_of(STEP, spatial=[[1] * 4, [1] * 4], temporal=[[1, 4, 2, 6], [1] * 4], innermost=[3, -1],
                      keep=[7, 0b101])  # fmt: skip
    assert mapping is not None
    assert [level.keep for level in mapping.levels] == [frozenset("XGT"), frozenset("XT")]
