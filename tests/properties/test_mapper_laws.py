"""The mapper against the enumeration of whole spaces, and laws of its results (model sections 2 to 9)."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.baselines import search_random
from heat_sim.mapper.edp import least_edp, lower_left_hull, sum_vertices
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.padding import padded_spaces, trimmed
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.roles import plain_shape, role_einsum
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import LevelConstraints
from heat_sim.model import evaluate
from heat_sim.specs import load_architecture
from tests.properties.matmul_spaces import (
    SCALARS,
    Point,
    deep_spaces,
    einsums,
    exact_machines,
    four_levels,
    points,
    search,
    spaces,
    unbeaten,
)

SIMBA_L = load_architecture(
    Path(__file__).parents[2] / "arch_specs" / "simba_l" / "arch.yaml",
    ert=Path(__file__).parents[2] / "arch_specs" / "simba_l" / "ert.yaml",
)
MATMUL = "Z[m,n] = A[m,k] * B[k,n]"
EDP = OBJECTIVES["edp"]


def assert_holds(space: MapSpace, result: MappingResult) -> None:
    """Every mapping returned is one of the space and costs what the result says; the bound is none of the above."""
    for each in (result.best, *result.front):
        assert space.holds(each.mapping)
        report = evaluate(space.einsum, space.architecture, each.mapping, link_transfers=False)
        assert (report.energy_pj, report.cycles) == (each.energy_pj, each.cycles)
    assert result.lower_bound <= result.value


def assert_optimal(space: MapSpace, found: set[Point]) -> None:
    """Every objective, front and hull of the search are those of the points, equal to the last digit."""
    if not found:
        event("nothing fits")
        with pytest.raises(InfeasibleError, match="mapspace of "):
            search(space)
        return
    front = unbeaten(found)
    for objective in (*SCALARS, OBJECTIVES["pareto"], OBJECTIVES["hull"]):
        result = search(space, objective=objective)
        assert result.value == min(objective.value(*point) for point in front), objective.name
        assert result.optimal
        assert result.lower_bound == pytest.approx(result.value, rel=1e-12)
        assert_holds(space, result)
        points_of_front = [(each.energy_pj, each.cycles) for each in result.front]
        if objective.kind == "pareto":
            assert points_of_front == front
        if objective.kind == "hull":
            assert points_of_front == [front[i] for i in lower_left_hull(front)]


@given(spaces())
@settings(max_examples=240)
def test_every_objective_finds_the_best_of_all_mappings(space: MapSpace) -> None:
    """Optimal means that no mapping of the space is better, for all contractions and everything a machine can have."""
    assert_optimal(space, points(space))


@given(st.one_of(deep_spaces(), four_levels()))
@settings(max_examples=80)
def test_the_best_of_hundreds_of_thousands_is_found(space: MapSpace) -> None:
    """Likewise where loops run on across levels and tiles compete for room at two of them."""
    assert_optimal(space, points(space))


@given(spaces(constrained=True))
@settings(max_examples=240)
def test_constraints_cut_the_space_and_nothing_else(space: MapSpace) -> None:
    """Under constraints of every type the best is that of what is left, and a refusal comes only if nothing is."""
    assert_optimal(space, points(space))


@given(spaces(most=4000), st.sampled_from((0.3, 0.7, 1.1, 3.0)))
@settings(max_examples=40)
def test_bandwidths_that_round_are_part_of_the_optimum(space: MapSpace, bandwidth: float) -> None:
    """The last digit of a throttle can decide one cycle (model section 8.2), and still the best is found."""
    levels = [replace(level, shared_bandwidth_words_per_cycle=bandwidth) for level in space.architecture.levels]
    space = replace(space, architecture=replace(space.architecture, levels=tuple(levels)))
    assert_optimal(space, points(space))


@given(spaces(ops=2000, most=10**40), st.sampled_from((*SCALARS, OBJECTIVES["pareto"])))
@settings(max_examples=40)
def test_a_search_cut_short_bounds_the_optimum(space: MapSpace, objective: Objective) -> None:
    """Whatever the budget, the bound is no promise that a mapping breaks, and the mapping is one of the space."""
    try:
        best = search(space, objective=objective)
    except InfeasibleError:
        return
    assert best.optimal
    budget, is_proven = 8, False
    while not is_proven:
        budget = budget * 4 // 3
        try:
            result = search(space, objective=objective, budget=budget)
        except HeatError as error:
            if "budget ended before" not in str(error):
                raise
            continue
        is_proven = result.optimal
        event(f"proven {is_proven}, best {result.value == best.value}, bound {result.lower_bound == best.value}")
        assert result.lower_bound <= best.value <= result.value
        assert_holds(space, result)
    assert result.value == best.value
    assert len(result.front) == len(best.front) or not objective.is_front


LARGE = Architecture(
    name="three", compute_name="MAC", compute_energy_pj=0.5,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=64.0, write_energy_pj=64.0, update_energy_pj=64.0,
                     shared_bandwidth_words_per_cycle=16.0),
        StorageLevel(name="GLB", capacity_words=65536, read_energy_pj=6.0, write_energy_pj=6.0, update_energy_pj=6.0,
                     fanout_x=16, fanout_y=16),
        StorageLevel(name="RF", capacity_words=64, read_energy_pj=0.5, write_energy_pj=0.5, update_energy_pj=0.5),
    ),
)  # fmt: skip
FFN = parse_einsum(MATMUL, extents=dict(m=512, n=3072, k=768))


def test_a_budget_that_ends_before_anything_is_found_is_not_called_infeasible() -> None:
    """A reason given against a space that has mappings would be a silent wrong answer."""
    with pytest.raises(HeatError, match="the budget ended before a mapping was found"):
        search(map_space(FFN, LARGE), budget=1)


def least(space: MapSpace, objective: Objective, *, padded: bool = False) -> float:
    """Return the least objective of the space, infinity if nothing fits."""
    try:
        return search(space, objective=objective, padded=padded).value
    except InfeasibleError:
        return math.inf


def with_level(space: MapSpace, place: int, **changes: object) -> MapSpace:
    levels = list(space.architecture.levels)
    levels[place] = replace(levels[place], **changes)
    return replace(space, architecture=replace(space.architecture, levels=tuple(levels)))


@given(spaces(constrained=True), st.sampled_from(SCALARS), st.integers(1, 40), st.data())
@settings(max_examples=60)
def test_a_larger_buffer_never_hurts(space: MapSpace, objective: Objective, more: int, data: st.DataObject) -> None:
    """A level without `min_utilization` holds all it held before, and can be told to hold more."""
    bounded = [place for place, level in enumerate(space.architecture.levels) if level.capacity_words is not None]
    assume(bounded)
    place = data.draw(st.sampled_from(bounded))
    space = with_level(space, place, min_utilization=0.0)
    capacity = space.architecture.levels[place].capacity_words or 0
    larger = with_level(space, place, capacity_words=data.draw(st.sampled_from((capacity + more, None))))
    assert least(larger, objective) <= least(space, objective)


@given(spaces(constrained=True), st.sampled_from(SCALARS), st.sampled_from(("read", "write", "shared")), st.data())
@settings(max_examples=60)
def test_more_bandwidth_never_hurts(space: MapSpace, objective: Objective, kind: str, data: st.DataObject) -> None:
    """Cycles are bounded by every bandwidth from below (model section 8.2)."""
    field = f"{kind}_bandwidth_words_per_cycle"
    place = data.draw(st.integers(0, len(space.architecture.levels) - 1))
    faster = with_level(space, place, **{field: data.draw(st.sampled_from((1.0, 8.0, None)))})
    slower = with_level(space, place, **{field: data.draw(st.sampled_from((0.25, 0.5, 1.0)))})
    assert least(faster, objective) <= least(slower, objective)


@given(spaces(), st.sampled_from(SCALARS), st.sampled_from(("fanout_x", "fanout_y")), st.data())
@settings(max_examples=40)
def test_a_larger_mesh_never_hurts(space: MapSpace, objective: Objective, axis: str, data: st.DataObject) -> None:
    """Units that are not used cost nothing (model section 7.3)."""
    place = data.draw(st.integers(0, len(space.architecture.levels) - 1))
    size = getattr(space.architecture.levels[place], axis)
    assert least(with_level(space, place, **{axis: size + 1}), objective) <= least(space, objective)


@given(spaces(constrained=True), st.sampled_from(SCALARS), st.data())
@settings(max_examples=80)
def test_removing_a_constraint_never_hurts(space: MapSpace, objective: Objective, data: st.DataObject) -> None:
    """But for a bypass at the outermost level, which without it keeps everything."""
    outermost = space.architecture.levels[0].name
    given = [
        (level, field.name)
        for level, demand in space.demands.items()
        for field in fields(LevelConstraints)
        if getattr(demand, field.name) != getattr(LevelConstraints(), field.name)
        and (level, field.name) != (outermost, "bypass")
    ]
    assume(given)
    level, name = data.draw(st.sampled_from(given))
    freed = replace(space.demands[level], **{name: getattr(LevelConstraints(), name)})
    relaxed = replace(space, demands={**space.demands, level: freed})
    assert least(relaxed, objective) <= least(space, objective)
    assert least(replace(space, min_parallelism=0.0), objective) <= least(space, objective)


@given(spaces(constrained=True), st.sampled_from(SCALARS))
@settings(max_examples=60)
def test_both_axes_never_hurt(space: MapSpace, objective: Objective) -> None:
    """A space in which a rank variable may run along both axes holds the one in which it may not."""
    one, both = (replace(space, both_axes=both_axes) for both_axes in (False, True))
    assert least(both, objective) <= least(one, objective)


@given(spaces(), st.sampled_from(tuple(OBJECTIVES.values())))
@settings(max_examples=40)
def test_scaling_the_energy_table_scales_the_optimum(space: MapSpace, objective: Objective) -> None:
    """Energy is proportional to the energy table (model section 7.4), so the same mappings are the best."""
    machine = space.architecture
    levels = tuple(
        replace(level, **{f.name: 4 * getattr(level, f.name) for f in fields(StorageLevel) if "_energy_pj" in f.name})
        for level in machine.levels
    )
    scaled = replace(machine, levels=levels, compute_energy_pj=4 * machine.compute_energy_pj)
    before, after = (search(replace(space, architecture=each), objective=objective) for each in (machine, scaled))
    assert after.value == before.value * (4 if objective.energy_exponent else 1)
    if objective.is_front:
        assert [(m.energy_pj, m.cycles) for m in after.front] == [(4 * m.energy_pj, m.cycles) for m in before.front]


@given(spaces(), st.sampled_from(tuple(OBJECTIVES.values())))
@settings(max_examples=40)
def test_names_change_no_optimum(space: MapSpace, objective: Objective) -> None:
    """Names mean nothing (model section 2.5); the renamed rank variables also sort the other way round."""

    def renamed(text: str) -> str:
        return "".join(chr(ord("a") + ord("z") - ord(c)) if c.islower() else c.replace("A", "Q") for c in text)

    levels = tuple(replace(level, name=level.name[::-1]) for level in space.architecture.levels)
    other = map_space(
        parse_einsum(
            renamed(str(space.einsum)), extents={renamed(var): extent for var, extent in space.einsum.extents}
        ),
        replace(space.architecture, levels=levels),
        both_axes=space.both_axes,
    )
    before, after = search(space, objective=objective), search(other, objective=objective)
    assert after.value == before.value
    if objective.is_front:
        assert [(m.energy_pj, m.cycles) for m in after.front] == [(m.energy_pj, m.cycles) for m in before.front]


@st.composite
def small_spaces(draw: st.DrawFn, *, kinds: tuple[str, ...] = (MATMUL, "Z[m] = A[m,k] * B[k]")) -> MapSpace:
    """Return a space of which every padding can be enumerated."""
    space = MapSpace(einsum=draw(einsums(kinds=kinds, ops=15)), architecture=draw(exact_machines()))
    assume(len(space.architecture.levels) <= 2)
    every = list(itertools.islice(padded_spaces(space), 65))
    assume(len(every) <= 64)
    assume(sum(map(space_size, every)) <= 200_000)
    return space


def padded_points(space: MapSpace) -> set[Point]:
    return {point for each in padded_spaces(space) for point in points(each)}


def assert_best_padding(space: MapSpace) -> None:
    front = unbeaten(padded_points(space))
    assume(front)
    for objective in (*SCALARS, OBJECTIVES["pareto"], OBJECTIVES["hull"]):
        result = search(space, objective=objective, padded=True)
        assert result.value == min(objective.value(*point) for point in front), objective.name
        assert result.optimal
        assert result.lower_bound == pytest.approx(result.value, rel=1e-12)
        found = [(each.energy_pj, each.cycles) for each in result.front]
        if objective.kind == "pareto":
            assert found == front
        if objective.kind == "hull":
            assert found == [front[i] for i in lower_left_hull(front)]


@given(small_spaces())
@settings(max_examples=25)
def test_padded_is_the_best_of_all_paddings(space: MapSpace) -> None:
    """Exact under the stated rule: all padded extents, each mapped perfectly, and nothing else."""
    assert_best_padding(space)


@given(small_spaces(kinds=("Z[p] = A[p+r] * B[r]", "Z[m] = A[m]", "Z[i] = A[i,j] * B[j] * C[j]")))
@settings(max_examples=15)
def test_padded_is_the_best_of_all_paddings_of_any_einsum(space: MapSpace) -> None:
    """Likewise where the general search does the work."""
    assert_best_padding(space)


@given(small_spaces(), st.sampled_from(SCALARS))
@settings(max_examples=60)
def test_padding_and_trimming_never_hurt(space: MapSpace, objective: Objective) -> None:
    """The extents as they are, are one of the paddings; and loops cut short do a part of the same work (section 12)."""
    try:
        result = search(space, objective=objective, padded=True)
    except InfeasibleError:
        assert least(space, objective) == math.inf
        return
    assert result.value <= least(space, objective)
    for each in (result.best, *result.front):
        cut = trimmed(each, space.einsum)
        assert cut.energy_pj <= each.energy_pj
        assert cut.cycles <= each.cycles
        report = evaluate(space.einsum, space.architecture, cut.mapping, link_transfers=False)
        assert (report.energy_pj, report.cycles) == (cut.energy_pj, cut.cycles)


@pytest.mark.parametrize("objective", ["edp", "cycles"])
def test_primes_fill_an_array_of_16_by_16(objective: str) -> None:
    """Prime extents must not end in a utilisation of 1/prime, as perfect factors alone would."""

    def utilisation(einsum: Einsum) -> float:
        best = trimmed(map_einsum(einsum, LARGE, objective=objective, padded=True).best, einsum)
        return einsum.ops / (best.cycles * LARGE.peak_ops_per_cycle)

    prime, round_numbers = (
        parse_einsum(MATMUL, extents=dict(zip("mnk", sizes, strict=True))) for sizes in ((509, 127, 31), (512, 128, 32))
    )
    assert utilisation(prime) >= 0.9 * utilisation(round_numbers)


BIG = {
    "512x3072x768 on three": (FFN, LARGE, {}),
    "BERT FFN on simba_l": (role_einsum(plain_shape(1, 512, 3072, 768)), SIMBA_L.architecture, SIMBA_L.constraints),
    "BERT attention on simba_l": (
        role_einsum(plain_shape(12, 512, 512, 64)),
        SIMBA_L.architecture,
        SIMBA_L.constraints,
    ),
}


@pytest.mark.parametrize("problem", BIG)
@pytest.mark.parametrize("draws", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_no_random_mapping_beats_the_optimum(problem: str, draws: int) -> None:
    """Where a space is far too large to enumerate, samples of it must never be better than its proven best."""
    einsum, machine, constraints = BIG[problem]
    space = map_space(einsum, machine, constraints=constraints)
    sampled = search_random(space, objective=EDP, budget=draws, rng=np.random.default_rng(11)).front
    for objective in SCALARS:
        best = search(space, objective=objective)
        assert best.optimal
        assert best.value <= min(objective.value(each.energy_pj, each.cycles) for each in sampled) * (1 + 1e-12)


def test_merged_ranks_cost_what_the_plain_matmul_costs() -> None:
    """A tensor-train step is a matmul of the products of its rank classes."""
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0, write_energy_pj=100.0, fanout_x=4),
            StorageLevel(
                name="RF", capacity_words=40, read_energy_pj=1.0, update_energy_pj=1.0, write_energy_pj=1.0
            ),
        ),
    )  # fmt: skip
    step = parse_einsum("T[s,o,r] = X[s,i,j] * G[r,o,j,i]", extents=dict(s=6, i=2, j=3, o=4, r=2))
    matmul = parse_einsum("T[s,o] = X[s,i] * G[o,i]", extents=dict(s=6, i=2 * 3, o=4 * 2))
    assert map_einsum(step, machine).value == map_einsum(matmul, machine).value


def test_machine_without_room_is_refused_with_the_level() -> None:
    """An over-constrained machine yields no mapping but the reason (model section 2.3)."""
    machine = Architecture(
        name="tiny", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM", capacity_words=5),),
    )  # fmt: skip
    einsum = parse_einsum(MATMUL, extents=dict(m=2, n=2, k=2))
    with pytest.raises(InfeasibleError, match=r"DRAM.*got 12 words.*expected at most 5"):
        map_einsum(einsum, machine)


POSITIVE = st.integers(1, 10_000).map(lambda hundredths: hundredths / 100)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    st.data(),
)
def test_network_edp_is_the_least_over_all_combinations(parts: list[list[Point]], data: st.DataObject) -> None:
    """The minimum of E x T over sums lies on a vertex of the hull (model section 10.2)."""
    counts = [data.draw(st.integers(1, 2)) for _ in parts]
    # Dumb oracle: every copy of every part chooses freely.
    sums: set[Point] = {(0, 0)}
    for part, count in zip(parts, counts, strict=True):
        for _ in range(count):
            sums = {(e + de, t + dt) for e, t in sums for de, dt in part}
    assert least_edp(parts, counts).edp == min(e * t for e, t in sums)


@given(st.lists(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=6), min_size=1, max_size=3), st.data())
def test_what_a_vertex_chooses_is_what_it_sums(parts: list[list[Point]], data: st.DataObject) -> None:
    counts = [data.draw(st.integers(1, 3)) for _ in parts]
    for vertex in sum_vertices(parts, counts):
        chosen = [part[i] for part, i in zip(parts, vertex.chosen, strict=True)]
        assert vertex.delay == pytest.approx(sum(n * t for n, (_, t) in zip(counts, chosen, strict=True)), rel=1e-9)
        scale = sum(n * max(e for e, _ in part) for n, part in zip(counts, parts, strict=True))
        expected = sum(n * e for n, (e, _) in zip(counts, chosen, strict=True))
        assert abs(vertex.energy - expected) <= 1e-9 * scale


def test_edges_of_one_part_come_in_order_where_rounding_makes_their_slopes_equal() -> None:
    """Three points on a line but for rounding: the last vertex is the last point."""
    part = [(4.5495, 0.53), (2.9175, 2.45), (2.722, 2.68)]
    assert lower_left_hull(part) == [0, 1, 2]
    assert [vertex.chosen for vertex in sum_vertices([part], [1])] == [(0,), (1,), (2,)]


def test_counts_beyond_64_bits_are_refused_before_the_search() -> None:
    """Counts are computed in 64 bits (model section 1.4)."""
    machine = Architecture(
        name="one", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0
    )  # fmt: skip
    einsum = parse_einsum(MATMUL, extents=dict(m=10**9, n=10**9, k=10**9))
    with pytest.raises(HeatError, match="counts exceed 64 bits"):
        map_einsum(einsum, machine)
