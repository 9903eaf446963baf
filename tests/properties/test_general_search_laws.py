"""The general search against the enumeration of the whole space, and laws of its results (model sections 2 to 9)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper.edp import lower_left_hull
from heat_sim.mapper.general import search_general
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import LevelConstraints
from heat_sim.model import evaluate
from heat_sim.testing import EINSUMS
from tests.oracles import exhaustive_space

MOST = 1500
SCALARS = (*(OBJECTIVES[name] for name in ("edp", "energy", "cycles", "ed2p")), parse_objective("weighted:3.25"))

QUARTERS = st.integers(0, 40).map(lambda quarters: quarters / 4)
BANDWIDTHS = st.sampled_from((None, None, 0.5, 1.0, 4.0))


@st.composite
def einsums(draw: st.DrawFn) -> Einsum:
    kind = draw(st.sampled_from(tuple(EINSUMS)))
    variables = [char for char in dict.fromkeys(EINSUMS[kind]) if char.islower()]
    room = 12
    extents = {}
    for var in draw(st.permutations(variables)):
        extents[var] = draw(st.sampled_from([size for size in (1, 2, 3, 4, 6, 8) if size <= room]))
        room //= extents[var]
    return parse_einsum(EINSUMS[kind], extents=extents, name=kind)


@st.composite
def machines(draw: st.DrawFn, *, wires: bool = False) -> Architecture:
    """Return one to three storage levels, perhaps with a second mesh; energies add up without rounding."""
    levels = []
    for place, name in enumerate(("DRAM", "L1", "RF")[: draw(st.integers(1, 3))]):
        levels.append(
            StorageLevel(
                name=name,
                capacity_words=draw(st.sampled_from((None, 1, 3, 6, 10, 20, 40))) if place else None,
                words_per_access=draw(st.sampled_from((1, 1, 2, 4))),
                read_energy_pj=draw(QUARTERS),
                write_energy_pj=draw(QUARTERS),
                update_energy_pj=draw(QUARTERS),
                leakage_energy_pj_per_cycle=draw(st.sampled_from((0.0, 0.0, 0.25))),
                fanout_x=draw(st.sampled_from((1, 1, 2, 4))),
                fanout_y=draw(st.sampled_from((1, 1, 2))),
                read_bandwidth_words_per_cycle=draw(BANDWIDTHS),
                write_bandwidth_words_per_cycle=draw(BANDWIDTHS),
                shared_bandwidth_words_per_cycle=draw(BANDWIDTHS),
                min_utilization=draw(st.sampled_from((0.0, 0.0, 0.0, 0.3))) if place else 0.0,
                multiple_buffering=draw(st.sampled_from((1.0, 1.0, 1.5))),
                network_fill_latency_cycles=draw(st.sampled_from((0, 0, 3))),
                hop_energy_pj=draw(QUARTERS) if wires else 0.0,
                router_energy_pj=draw(QUARTERS) if wires else 0.0,
                drains_in_place=place > 0,
            )
        )
        if draw(st.integers(0, 5)) == 0:
            levels.append(StorageLevel(name=f"{name}_mesh", fanout_x=2, is_virtual=True))
    return Architecture(
        name="tiny", levels=tuple(levels), compute_name="MAC", compute_energy_pj=draw(QUARTERS)
    )  # fmt: skip


@st.composite
def demands(draw: st.DrawFn, *, einsum: Einsum) -> LevelConstraints:
    """Return one or two random demands, of any type."""
    names = st.sampled_from([tensor.name for tensor in einsum.tensors])
    variables = st.sampled_from(einsum.rank_vars) if einsum.rank_vars else st.nothing()
    orders = st.lists(variables, unique=True, max_size=3).map(tuple)
    kinds = {
        "keep": st.sets(names, max_size=1).map(frozenset),
        "bypass": st.sets(names, max_size=2).map(frozenset),
        "others": st.sampled_from(("keep", "bypass")),
        "temporal_bounds": st.dictionaries(variables, st.sampled_from((0, 1, 1, 2)), max_size=2),
        "spatial_bounds": st.dictionaries(variables, st.sampled_from((1, 1, 2)), max_size=2),
        "temporal_limits": st.dictionaries(variables, st.sampled_from(((1, 2), (2, None), (1, 3))), max_size=2),
        "spatial_limits": st.dictionaries(variables, st.sampled_from(((1, 2), (2, None), (1, 1))), max_size=2),
        "temporal_only": st.booleans(),
        "spatial_only": st.booleans(),
        "temporal_order": orders,
    }
    chosen = draw(st.sets(st.sampled_from((*kinds, "axes")), min_size=1, max_size=2))
    found = {kind: draw(kinds[kind]) for kind in chosen - {"axes"}}
    if "axes" in chosen:
        found |= {"spatial_order": draw(orders), "split": draw(st.integers(0, 3))}
    if found.get("keep", frozenset()) & found.get("bypass", frozenset()):
        found["bypass"] = frozenset()
    return LevelConstraints(**found)


@st.composite
def spaces(draw: st.DrawFn, *, wires: bool = False, constrained: bool = False) -> MapSpace:
    einsum, machine = draw(einsums()), draw(machines(wires=wires))
    levels = draw(st.sets(st.sampled_from([level.name for level in machine.levels]), min_size=1, max_size=2))
    space = map_space(
        einsum, machine,
        constraints={name: draw(demands(einsum=einsum)) for name in sorted(levels)} if constrained else None,
        both_axes=draw(st.booleans()),
        min_parallelism=draw(st.sampled_from((0.0, 0.0, 0.5, 1.0))) if constrained else 0.0,
    )  # fmt: skip
    assume(space_size(space) <= MOST)
    return space


def check(space: MapSpace) -> None:
    """Compare every objective and both fronts with the enumeration."""
    points = {(report.energy_pj, report.cycles) for _, report in exhaustive_space.costs(space)}
    if not points:
        with pytest.raises(InfeasibleError, match="nothing in the space fits"):
            search_general(space, objective=OBJECTIVES["edp"])
        return
    for objective in SCALARS:
        result = search_general(space, objective=objective)
        assert result.value == min(objective.value(*point) for point in points), objective.name
        assert result.optimal
        assert result.ran_through
        assert result.lower_bound <= result.value
        check_best(space, result)
    front = sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points))
    result = search_general(space, objective=OBJECTIVES["pareto"])
    assert sorted((each.energy_pj, each.cycles) for each in result.front) == front
    assert result.optimal
    assert result.value == min(energy * cycles for energy, cycles in points)
    check_best(space, result)
    result = search_general(space, objective=OBJECTIVES["hull"])
    assert [(each.energy_pj, each.cycles) for each in result.front] == [front[i] for i in lower_left_hull(front)]
    check_best(space, result)


def check_best(space, result):
    for mapped in (result.best, *result.front):
        assert space.holds(mapped.mapping)
        report = evaluate(space.einsum, space.architecture, mapped.mapping, link_transfers=False)
        assert (report.energy_pj, report.cycles) == (mapped.energy_pj, mapped.cycles)


@given(spaces())
@settings(max_examples=60)
def test_every_objective_finds_what_enumeration_finds(space):
    """All kinds of einsums on machines with blocks, bandwidths, leakage, bypass and second meshes."""
    check(space)


@given(spaces(constrained=True))
@settings(max_examples=60)
def test_constraints_cut_the_space_and_nothing_else(space):
    """Under constraints of every type the optimum is that of the enumerated space, or nothing fits in either."""
    check(space)


@given(spaces(wires=True))
@settings(max_examples=15)
def test_networks_that_cost_energy_are_part_of_the_optimum(space):
    """Bounds leave networks out, costs do not; there the axes matter (model section 9)."""
    check(space)


@given(spaces(constrained=True), st.integers(1, 300))
@settings(max_examples=40)
def test_a_search_cut_short_bounds_the_optimum(space, budget):
    """The lower bound never exceeds the optimum, the mapping returned is one of the space."""
    values = [report.edp_pj_cycles for _, report in exhaustive_space.costs(space)]
    assume(values)
    result = search_general(space, objective=OBJECTIVES["edp"], budget=budget)
    assert result.lower_bound <= min(values) * (1 + 1e-12)
    assert result.value >= min(values)
    assert not result.optimal or result.value == min(values)
    check_best(space, result)
