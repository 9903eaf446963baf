"""The size of a mapspace against brute enumeration of everything that `MapSpace.holds` accepts."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import Dimension, LevelConstraints, LevelMapping, Loop, Mapping

MATMUL = "Z[m,n] = A[m,k] * B[k,n]"


@st.composite
def demands(draw: st.DrawFn, einsum: Einsum) -> LevelConstraints:
    """Return constraints of at most three types, so that some mapping may well satisfy them."""
    names, tensors = einsum.rank_vars, [tensor.name for tensor in einsum.tensors]
    bounds = st.dictionaries(st.sampled_from(names), st.sampled_from((0, 1, 1, 2)), max_size=1)
    limits = st.dictionaries(
        st.sampled_from(names), st.tuples(st.integers(1, 2), st.none() | st.integers(2, 4)), max_size=1
    )
    order = st.permutations(names).flatmap(
        lambda listed: st.integers(0, len(listed)).map(lambda size: tuple(listed[:size]))
    )
    types: dict[str, st.SearchStrategy[Any]] = {
        "keep": st.frozensets(st.sampled_from(tensors), max_size=1),
        "bypass": st.frozensets(st.sampled_from(tensors), max_size=2),
        "others": st.sampled_from(("keep", "bypass")),
        "temporal_bounds": bounds,
        "spatial_bounds": bounds,
        "temporal_limits": limits,
        "spatial_limits": limits,
        "temporal_only": st.just(value=True),
        "spatial_only": st.just(value=True),
        "temporal_order": order,
        "spatial_order": order,
        "split": st.integers(0, 2),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(types)), max_size=3))
    if "split" in chosen:
        chosen |= draw(st.sampled_from((set[str](), {"spatial_order"})))  # only together they forbid an axis
    return replace(LevelConstraints(), **{name: draw(types[name]) for name in sorted(chosen)})


@st.composite
def spaces(draw: st.DrawFn) -> MapSpace:
    """Return a space small enough to enumerate: two storages, perhaps a second mesh between, up to 3 rank variables."""
    text = draw(st.sampled_from(("z[m] = a[m]", "z[m] = a[m,k] * x[k]", MATMUL)))
    virtual = draw(st.booleans())
    sizes = (1, 2, 3) if text == MATMUL else (1, 2, 3, 4, 4)
    einsum = parse_einsum(text, extents={var: draw(st.sampled_from(sizes)) for var in "mnk"})
    fanout = st.sampled_from((1, 2, 2, 4))
    levels = (
        StorageLevel(name="DRAM", fanout_x=draw(fanout), fanout_y=draw(fanout)),
        *([StorageLevel(name="mesh", fanout_x=2, fanout_y=draw(fanout), is_virtual=True)] if virtual else []),
        StorageLevel(name="RF", fanout_x=draw(fanout)),
    )
    return map_space(
        einsum,
        Architecture(name="tiny", levels=levels, compute_name="MAC", compute_energy_pj=1.0),
        constraints={level.name: draw(demands(einsum)) for level in levels if draw(st.booleans())},
        both_axes=draw(st.booleans()),
    )


@given(spaces())
@settings(max_examples=300)
def test_size_is_what_brute_enumeration_counts(space: MapSpace) -> None:
    keeps = [
        keep
        for keep in itertools.product(*(space.keep_options(level) for level in range(len(space.architecture.levels))))
        if all(any(tensor.name in here for here in keep) for tensor in space.einsum.tensors)
    ]
    expected = len(keeps) * sum(space.holds(mapping) for mapping in nests(space, keeps[0])) if keeps else 0
    assert space_size(space) == expected


def test_two_loops_of_a_level_have_two_orders_unless_one_is_fixed() -> None:
    einsum = parse_einsum("z[m] = a[m,k] * x[k]", extents={"m": 2, "k": 3})
    machine = Architecture(
        name="one", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0
    )  # fmt: skip
    assert space_size(map_space(einsum, machine)) == 2
    fixed = {"DRAM": LevelConstraints(temporal_order=("k",))}
    assert space_size(map_space(einsum, machine, constraints=fixed)) == 1


@pytest.mark.parametrize(("split", "along_x", "along_y"), [(None, 1, 1), (1, 1, 0), (0, 0, 1)])
def test_a_split_forbids_an_axis(split: int | None, along_x: int, along_y: int) -> None:
    demand = {"DRAM": LevelConstraints(spatial_order=("m",), split=split)}
    for storage, expected in (
        (StorageLevel(name="DRAM", fanout_x=2), 1 + along_x),  # in time, or over the children
        (StorageLevel(name="DRAM", fanout_y=2), 1 + along_y),
    ):
        machine = Architecture(name="one", levels=(storage,), compute_name="MAC", compute_energy_pj=1.0)
        space = map_space(parse_einsum("z[m] = a[m]", extents={"m": 2}), machine, constraints=demand)
        assert space_size(space) == expected


def test_independent_choices_multiply() -> None:
    """One prime rank variable has a slot per level in time and per axis; each inner level 8 sets of 3 tensors."""
    levels = tuple(StorageLevel(name=f"L{place}", fanout_x=16, fanout_y=16) for place in range(4))
    machine = Architecture(name="four", levels=levels, compute_name="MAC", compute_energy_pj=1.0)
    einsum = parse_einsum(MATMUL, extents={"m": 13, "n": 1, "k": 1})
    assert space_size(map_space(einsum, machine)) == (4 + 4 * 2) * 8**3


def test_a_bert_sized_space_is_counted_exactly_in_a_tenth_of_a_second() -> None:
    """Its size does not fit 64 bits."""
    meshes = {2: 16, 4: 8}
    levels = tuple(
        StorageLevel(name=f"L{place}", fanout_x=meshes.get(place, 1), fanout_y=meshes.get(place, 1))
        for place in range(6)
    )
    machine = Architecture(name="six", levels=levels, compute_name="MAC", compute_energy_pj=1.0)
    space = map_space(parse_einsum(MATMUL, extents={"m": 512, "n": 768, "k": 3072}), machine)
    space_size(space)
    start = time.process_time()
    size = space_size(space)
    assert time.process_time() - start < 0.1
    assert size > 2**64
    assert type(size) is int
    # Without orders and keep choices: primes of a rank variable fall independently into the slots it may use. Without
    # meshes, 2^e has C(e + 5, 5) splits over 6 levels, and 3 has 6.
    flat = Architecture(
        name="flat", levels=tuple(StorageLevel(name=level.name) for level in levels), compute_name="MAC",
        compute_energy_pj=1.0,
    )  # fmt: skip
    fixed = {level.name: LevelConstraints(temporal_order=("m", "n", "k"), keep=frozenset("ABZ")) for level in levels}
    splits = math.comb(9 + 5, 5) * (math.comb(8 + 5, 5) * 6) * (math.comb(10 + 5, 5) * 6)
    assert space_size(map_space(space.einsum, flat, constraints=fixed)) == splits


def nests(space: MapSpace, keep: tuple[frozenset[str], ...]) -> Iterator[Mapping]:
    """Yield every nest with loops in time and along both axes of every level, allowed or not, that fits each axis."""
    slots: list[tuple[int, Dimension, int | None]] = []
    for level, storage in enumerate(space.architecture.levels):
        slots += [(level, "temporal", None), (level, "x", storage.fanout_x), (level, "y", storage.fanout_y)]
    per_var = [
        [
            split
            for split in itertools.product(*(divisors(extent, most) for _, _, most in slots))
            if math.prod(split) == extent
        ]
        for _, extent in space.einsum.extents
    ]
    for splits in itertools.product(*per_var):
        loops = {
            (level, axis): [
                Loop(rank_var=var, bound=split[place], dimension=axis)
                for var, split in zip(space.einsum.rank_vars, splits, strict=True)
                if split[place] > 1
            ]
            for place, (level, axis, _) in enumerate(slots)
        }
        orders = [itertools.permutations(loops[level, "temporal"]) for level in range(len(keep))]
        for order in itertools.product(*orders):
            yield Mapping(
                levels=tuple(
                    LevelMapping(
                        level=storage.name,
                        temporal=order[level],
                        spatial=(*loops[level, "x"], *loops[level, "y"]),
                        keep=keep[level],
                    )
                    for level, storage in enumerate(space.architecture.levels)
                )
            )


def divisors(number: int, most: int | None) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0 and (most is None or d <= most)]
