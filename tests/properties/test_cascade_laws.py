"""Fused cascades against an enumeration of every plan and every mapping, and the laws of docs/model.md, section 10."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Cascade, Einsum, parse_cascade
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.cascade_search import _Search, map_cascade
from heat_sim.mapper.fusion import GroupPlan, group_plans
from heat_sim.mapper.matmul_search import search_matmul
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.roles import role_einsum
from heat_sim.mapper.space import MapSpace, Residence
from heat_sim.model import evaluate
from tests.oracles.exhaustive_space import mappings

CHAIN = ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]


@st.composite
def machines(draw: st.DrawFn) -> Architecture:
    """Return a machine of two levels, the inner one the home of what is fused."""
    energy = st.integers(1, 160).map(lambda quarter: quarter / 4)
    rate = st.sampled_from((None, None, 0.5, 2.0))
    return Architecture(
        name="tiny",
        compute_name="MAC",
        compute_energy_pj=draw(energy),
        levels=(
            StorageLevel(
                name="DRAM", read_energy_pj=draw(energy), update_energy_pj=draw(energy),
                words_per_access=draw(st.sampled_from((1, 2))), shared_bandwidth_words_per_cycle=draw(rate),
            ),
            StorageLevel(
                name="GLB", capacity_words=draw(st.integers(4, 30)), read_energy_pj=draw(energy),
                write_energy_pj=draw(energy), update_energy_pj=draw(energy), fanout_x=draw(st.sampled_from((1, 2))),
            ),
        ),
    )  # fmt: skip


@st.composite
def chains(draw: st.DrawFn) -> Cascade:
    """Return two chained matmuls."""
    return parse_cascade(CHAIN, extents={var: draw(st.sampled_from((1, 2, 3))) for var in "mkfn"}, name="chain")


def points(space: MapSpace) -> list[tuple[float, int]]:
    """Return energy and cycles of every mapping that fits what room there is."""
    found: list[tuple[float, int]] = []
    for mapping in mappings(space):
        try:
            report = evaluate(space.einsum, space.architecture, mapping, link_transfers=False)
        except InfeasibleError:
            continue
        if space.residence is not None:
            home = space.residence.level
            extents = dict.fromkeys(space.einsum.rank_vars, 1) | mapping.tile_extents(home)
            kept = mapping.levels[home].keep - space.residence.tensors
            room = space.room_words(home)
            if room is not None and sum(math.prod(space.einsum.tensor(t).shape(extents)) for t in kept) > room:
                continue
        found.append((report.energy_pj, report.cycles))
    return found


def residence_of(plan: GroupPlan, place: int) -> Residence:
    """Return what a chain of two finds at home: H in both, and the residents, of which one has only its own."""
    own = {"U"} if place == 0 else {"V"}
    words = {"U": plan.einsums[0].words("U"), "V": plan.einsums[1].words("V")}
    return Residence(
        level=1, tensors=frozenset({"H"} | (plan.residents & own)),
        reserved_words=sum(words[tensor] for tensor in plan.residents - own),
    )  # fmt: skip


def loaded(plan: GroupPlan, machine: Architecture) -> tuple[float, int]:
    """Return energy and cycles of reading every resident from DRAM and writing it at home, written out."""
    dram, glb = machine.levels
    energy_pj, cycles = 0.0, 0
    for tensor in plan.residents:
        words = plan.words(tensor)
        energy_pj += math.ceil(words / dram.words_per_access) * dram.read_energy_pj + words * glb.write_energy_pj
        rate = dram.shared_bandwidth_words_per_cycle
        cycles += 0 if rate is None else math.ceil(words / rate)
    return energy_pj, cycles


@given(chains(), machines(), st.sampled_from(("edp", "energy", "cycles", "ed2p", "weighted:3")))
@settings(max_examples=60)
def test_a_cascade_is_run_in_the_best_of_all_ways(cascade, machine, name):
    """Every plan, every mapping of every part: nothing under the rules is better, and what is returned is among it."""
    objective = parse_objective(name)

    @cache
    def of(einsum: Einsum, residence: Residence | None) -> tuple[tuple[float, int], ...]:
        return tuple(set(points(MapSpace(einsum=einsum, architecture=machine, residence=residence))))

    assume(all(of(einsum, None) for einsum in cascade.einsums))
    best = min(
        objective.value(e0 + e1, t0 + t1)
        for (e0, t0), (e1, t1) in itertools.product(*(of(einsum, None) for einsum in cascade.einsums))
    )
    unfused = best
    for plan in group_plans(cascade, 0, 1, machine):
        load_pj, load_cycles = loaded(plan, machine)
        parts = [of(einsum, residence_of(plan, place)) for place, einsum in enumerate(plan.einsums)]
        for (e0, t0), (e1, t1) in itertools.product(*parts):
            energy_pj, cycles = plan.iterations * (e0 + e1) + load_pj, plan.iterations * (t0 + t1) + load_cycles
            best = min(best, objective.value(energy_pj, cycles))
    result = map_cascade(cascade, machine, objective=objective)
    assert result.optimal
    assert result.value == pytest.approx(best, rel=1e-12)
    assert objective.value(result.unfused.energy_pj, result.unfused.cycles) == pytest.approx(unfused, rel=1e-12)


@given(chains(), machines())
@settings(max_examples=30)
def test_a_group_of_one_iteration_costs_its_einsums_with_the_intermediate_bypassing(cascade, machine):
    """Golden case 25: the model counts a tensor that no outer level keeps as one that never leaves the chip."""
    plan = next((each for each in group_plans(cascade, 0, 1, machine) if each.iterations == 1), None)
    assume(plan is not None)
    for place, einsum in enumerate(plan.einsums):
        space = MapSpace(einsum=einsum, architecture=machine, residence=plan.residence(place))
        try:
            best = search_matmul(space, objective=OBJECTIVES["edp"]).best
        except InfeasibleError:
            continue
        assert "H" not in best.mapping.levels[0].keep
        assert "H" in best.mapping.levels[1].keep
        report = evaluate(einsum, machine, best.mapping, link_transfers=False)
        assert report.level("DRAM").tensors["H"].reads == report.level("DRAM").tensors["H"].updates == 0
        assert (report.energy_pj, report.cycles) == (best.energy_pj, best.cycles)


@given(machines(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=20)
def test_a_cascade_of_one_einsum_costs_that_einsum(machine, m, n, k):
    cascade = parse_cascade(["Z[m,n] = A[m,k] * B[k,n]"], extents={"m": m, "n": n, "k": k}, name="one")
    try:
        alone = map_einsum(cascade.einsums[0], machine)
    except InfeasibleError:
        with pytest.raises(InfeasibleError):
            map_cascade(cascade, machine)
    else:
        assert map_cascade(cascade, machine).value == alone.value


@given(chains(), machines())
@settings(max_examples=30)
def test_fusion_and_a_larger_home_never_hurt(cascade, machine):
    larger = replace(machine, levels=(machine.levels[0], replace(machine.levels[1], capacity_words=1000)))
    try:
        small = map_cascade(cascade, machine)
    except InfeasibleError:
        assume(False)
    assert small.value <= small.unfused.energy_pj * small.unfused.cycles * (1 + 1e-12)
    assert map_cascade(cascade, larger).value <= small.value * (1 + 1e-12)
    assert map_cascade(cascade, machine, fuse=False).value == small.unfused.energy_pj * small.unfused.cycles


def test_with_room_for_everything_the_intermediate_never_moves_through_dram():
    machine = Architecture(
        name="roomy", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
            StorageLevel(
                name="GLB", capacity_words=10_000, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0
            ),
        ),
    )  # fmt: skip
    cascade = parse_cascade(CHAIN, extents={"m": 6, "k": 8, "f": 4, "n": 10}, name="chain")
    (group,) = map_cascade(cascade, machine).best.groups
    first, second = (each.report for each in group.mapped)
    # X, U and V are read once, Y is written once; H stays.
    assert group.plan.iterations == 1
    assert first.level("DRAM").tensors["Inputs"].reads == 6 * 8
    assert first.level("DRAM").tensors["Weights"].reads == 8 * 4
    assert first.level("DRAM").tensors["Outputs"].updates == 0
    assert second.level("DRAM").tensors["Inputs"].reads == 0
    assert second.level("DRAM").tensors["Weights"].reads == 4 * 10
    assert second.level("DRAM").tensors["Outputs"].updates == 6 * 10


@given(
    machines(), st.tuples(*[st.integers(1, 4)] * 3), st.permutations(range(6)),
    st.sets(st.sampled_from(("Inputs", "Weights", "Outputs"))),
)  # fmt: skip
@settings(max_examples=40)
def test_a_hull_that_is_used_again_is_the_hull(machine, sizes, reserved, tensors):
    """A hull found with more room serves less room only where it fits; in whatever order they are asked for."""
    search = _Search(architecture=machine, constraints={})
    m, n, k = sizes
    for words in reserved:
        residence = Residence(level=1, tensors=frozenset(tensors), reserved_words=3 * words)
        space = MapSpace(einsum=role_einsum((1, m, n, k)), architecture=machine, residence=residence)
        try:
            expected = [
                (each.energy_pj, each.cycles) for each in search_matmul(space, objective=OBJECTIVES["hull"]).front
            ]
        except InfeasibleError:
            expected = []
        assert [(each.energy_pj, each.cycles) for each in search.hull((1, m, n, k), residence)] == expected


def test_what_is_live_takes_its_room_and_no_more():
    """Of a chain of three, the first intermediate is gone when the third einsum runs; a resident never is."""
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=1000)),
    )  # fmt: skip
    cascade = parse_cascade(
        ["H[m,f] = X[m,k] * U[k,f]", "G[m,g] = H[m,f] * V[f,g]", "Y[m,n] = G[m,g] * W[g,n]"],
        extents={"m": 4, "k": 5, "f": 2, "g": 3, "n": 7}, name="chain",
    )  # fmt: skip
    plan = next(
        plan for plan in group_plans(cascade, 0, 2, machine)
        if dict(plan.loops) == {"m": 2} and plan.residents == {"V"}
    )  # fmt: skip
    found = [plan.residence(place) for place in range(3)]
    assert [sorted(residence.tensors) for residence in found] == [["H"], ["G", "H", "V"], ["G"]]
    # Beside its own: V (f g) while the first runs; all is its own for the second; V again for the third, without H.
    assert [residence.reserved_words for residence in found] == [2 * 3, 0, 2 * 3]


def test_a_tensor_that_others_read_is_not_fused_away():
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=64)),
    )  # fmt: skip
    cascade = parse_cascade(
        [*CHAIN, "W[m,q] = H[m,f] * T[f,q]"], extents={"m": 2, "k": 2, "f": 2, "n": 2, "q": 2}, name="fork"
    )
    assert not list(group_plans(cascade, 0, 1, machine))
    assert {plan.intermediates for plan in group_plans(cascade, 0, 2, machine)} == set()


def test_a_front_is_refused():
    machine = Architecture(name="one", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0)
    cascade = parse_cascade(CHAIN, extents={"m": 2, "k": 2, "f": 2, "n": 2}, name="chain")
    with pytest.raises(HeatError, match="objective: a cascade has no such objective"):
        map_cascade(cascade, machine, objective=OBJECTIVES["pareto"])
