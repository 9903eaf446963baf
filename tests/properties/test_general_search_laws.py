"""The general search against the enumeration of the whole space, and laws of its results (model sections 2 to 9)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper.edp import lower_left_hull
from heat_sim.mapper.general import search_general
from heat_sim.mapper.general_bounds import tabulate
from heat_sim.mapper.general_expand import expand
from heat_sim.mapper.general_judge import Found, Goal, cost_nest
from heat_sim.mapper.general_problem import lower_space
from heat_sim.mapper.general_words import MESH, spell_out
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import LevelConstraints
from heat_sim.model import evaluate
from heat_sim.model.traffic import count_words
from heat_sim.testing import EINSUMS
from tests.oracles import exhaustive_space

MOST = 1500
SCALARS = (*(OBJECTIVES[name] for name in ("edp", "energy", "cycles", "ed2p")), parse_objective("weighted:3.25"))

QUARTERS = st.integers(0, 40).map(lambda quarters: quarters / 4)
BANDWIDTHS = st.sampled_from((None, None, 0.5, 1.0, 4.0))


@st.composite
def einsums(draw: st.DrawFn, *, room: int) -> Einsum:
    kind = draw(st.sampled_from(tuple(EINSUMS)))
    variables = [char for char in dict.fromkeys(EINSUMS[kind]) if char.islower()]
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
def spaces(
    draw: st.DrawFn, *, wires: bool = False, constrained: bool = False, most: int = MOST, room: int = 12
) -> MapSpace:
    einsum, machine = draw(einsums(room=room)), draw(machines(wires=wires))
    levels = draw(st.sets(st.sampled_from([level.name for level in machine.levels]), min_size=1, max_size=2))
    space = map_space(
        einsum, machine,
        constraints={name: draw(demands(einsum=einsum)) for name in sorted(levels)} if constrained else None,
        both_axes=draw(st.booleans()),
        min_parallelism=draw(st.sampled_from((0.0, 0.0, 0.5, 1.0))) if constrained else 0.0,
    )  # fmt: skip
    assume(space_size(space) <= most)
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


def check_words(problem, nest):
    """Compare the words that move between storage levels with the count of the model."""
    levels, loops = len(problem.capacity), len(problem.extents)
    state, _ = spell_out(problem, levels - 1, nest, np.ones((levels, loops), dtype=np.int64))
    shape = (len(problem.all_limits), loops)
    loop_var, loop_bound = (np.tile(np.arange(loops), (shape[0], 1)), np.ones(shape, dtype=np.int64))
    mesh = np.ones(shape, dtype=np.int64)
    for level, place in enumerate(problem.place):
        if level < levels - 1:
            loop_var[place], loop_bound[place] = state.loop_var[level, ::-1], state.loop_bound[level, ::-1]
        else:
            loop_bound[place] = state.tile[level] // problem.mesh[level, nest[level, MESH]]
        here = slice(place, problem.place[level + 1] if level < levels - 1 else None)
        mesh[here] = problem.parts[level, nest[level, MESH], : len(mesh[here])]
    keep = np.ones((len(problem.plain), shape[0]), dtype=np.bool_)
    _, partition, delta, _, _ = count_words(
        loop_var, loop_bound, mesh, problem.coefficient, problem.plain, keep
    )  # fmt: skip
    inner = problem.place[1:]
    assert (state.moving[:, : levels - 1] == delta[:, inner - 1]).all()
    assert (state.partition[-1] == partition[-1, problem.place]).all()


@given(spaces(most=10**12, room=96), st.sampled_from(SCALARS), st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_no_step_sets_a_nest_aside_that_is_below_the_ceiling(space, objective, seed):
    """Every bound on the way to a random nest is at most what the model says that the nest costs."""
    rng = np.random.default_rng(seed)
    problem, _ = lower_space(space)
    table, levels = tabulate(problem), len(problem.capacity)
    goal = Goal(
        kind=int(objective.kind == "sum"), energy_exponent=objective.energy_exponent,
        cycles_exponent=objective.cycles_exponent, pj_per_cycle=objective.pj_per_cycle,
    )  # fmt: skip
    root = np.zeros((levels, 4), dtype=np.int64)
    root[0] = problem.radix[:, 1].prod() - 1, 0, 0, rng.integers(problem.counts[0, 2])
    for _ in range(4):
        found = Found(
            ceiling=np.array([np.inf]), energy_pj=np.zeros(8), cycles=np.zeros(8),
            nests=np.zeros((8, levels, 4), dtype=np.int64), tally=np.zeros(4, dtype=np.int64),
        )  # fmt: skip
        way = [root]
        for level in range(levels):
            nodes, _, _ = expand(problem, table, goal, found, level, way[-1], 30_000, False)
            if not len(nodes):
                break
            way.append(nodes[rng.integers(len(nodes))])
        if len(way) <= levels:
            continue
        check_words(problem, way[-1])
        assert cost_nest(problem, way[-1], goal, found)
        found.ceiling[0] *= 1 + 1e-9
        if found.tally[0]:
            found.tally[:] = 0
            for level in range(levels):
                nodes, _, finished = expand(problem, table, goal, found, level, way[level], 10**6, False)
                if finished:
                    assert (nodes == way[level + 1]).all(axis=(1, 2)).any()


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
