"""Laws of the baseline searches: exhaustive is the dumb enumeration, and no other search beats it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapper import hill_climbing, random_search
from heat_sim.mapper.baselines import SEARCHES, search_exhaustive, search_hill_climbing, search_random
from heat_sim.mapper.candidates import Candidates, cost, fit_meshes, mapping_of
from heat_sim.mapper.exhaustive import enumerate_candidates
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import LevelConstraints, Loop, Mapping
from heat_sim.model import evaluate
from tests.oracles.exhaustive_space import costs, mappings

KINDS = ("Z[m,n] = A[m,k] * B[k,n]", "z[m] = a[m,k] * x[k]", "Z[p] = A[p+r] * B[r]", "Z[m] = A[m]")
SAMPLING = ("random", "hill-climbing")
LARGEST = 4000
"""Mappings that the dumb enumeration may have to walk through."""


def demands(einsum: Einsum, *, var: str, tensor: str) -> list[dict[str, Any]]:
    """Return one constraint of each type."""
    return [
        {},
        {"keep": frozenset((tensor,))},
        {"bypass": frozenset((tensor,))},
        {"temporal_bounds": {var: 1}},
        {"temporal_limits": {var: (1, 2)}},
        {"spatial_bounds": {var: 2}},
        {"spatial_limits": {var: (1, 1)}},
        {"temporal_order": einsum.rank_vars[::-1]},
        {"temporal_order": einsum.rank_vars[:2]},
        {"temporal_order": (var,)},
        {"spatial_order": (var,), "split": 0},
        {"spatial_order": (var,), "split": 1},
    ]


@st.composite
def spaces(draw: st.DrawFn, *, most: int = LARGEST, networks: bool = True) -> MapSpace:
    """Return a space small enough for the oracle; energies are quarters, so that sums are exact."""
    einsum = parse_einsum(
        draw(st.sampled_from(KINDS)), extents={var: draw(st.sampled_from((1, 2, 3, 4))) for var in "mnkpr"}
    )
    energy = st.integers(1, 40).map(lambda quarter: quarter / 4)
    mesh = st.sampled_from((1, 1, 2, 4))
    network = draw(st.sampled_from((0.0, 0.0, 0.0, 0.5))) if networks else 0.0

    def level(name: str, **changes: Any) -> StorageLevel:
        return StorageLevel(
            name=name, read_energy_pj=draw(energy), write_energy_pj=draw(energy), update_energy_pj=draw(energy),
            hop_energy_pj=network, fanout_x=draw(mesh), fanout_y=draw(mesh),
            read_bandwidth_words_per_cycle=draw(st.sampled_from((None, None, 0.5, 2.0))), **changes,
        )  # fmt: skip

    levels = (
        level("DRAM", leakage_energy_pj_per_cycle=draw(st.sampled_from((0.0, 0.25)))),
        *([StorageLevel(name="mesh", fanout_x=2, is_virtual=True)] if draw(st.sampled_from((0, 0, 1))) else []),
        level("RF", capacity_words=draw(st.integers(3, 24)), min_utilization=draw(st.sampled_from((0.0, 0.0, 0.25)))),
    )
    var, tensor = draw(st.sampled_from(einsum.rank_vars)), draw(st.sampled_from([t.name for t in einsum.tensors]))
    demand = st.sampled_from(demands(einsum, var=var, tensor=tensor))
    space = map_space(
        einsum,
        Architecture(name="tiny", levels=levels, compute_name="MAC", compute_energy_pj=draw(energy)),
        constraints={each.name: replace(LevelConstraints(), **draw(demand)) for each in levels if draw(st.booleans())},
        both_axes=draw(st.booleans()),
        min_parallelism=draw(st.sampled_from((0.0, 0.0, 0.5))),
    )
    assume(space_size(space) <= most)
    return space


def spoken_of(result: MappingResult) -> tuple[object, ...]:
    """Return everything that a result says but the seconds."""
    return (result.best, result.front, result.lower_bound, result.ran_through, result.costed, result.pruned)


@given(spaces(), st.sampled_from((*OBJECTIVES, "weighted:0.25")))
@settings(max_examples=60)
def test_exhaustive_is_the_dumb_enumeration(space: MapSpace, name: str) -> None:
    objective = parse_objective(name)
    points = {(report.cycles, report.energy_pj) for _, report in costs(space)}
    if not points:
        with pytest.raises(InfeasibleError, match=r"mapspace of .* on tiny"):
            search_exhaustive(space, objective=objective)
        return
    result = search_exhaustive(space, objective=objective)
    assert result.value == min(objective.value(energy_pj, cycles) for cycles, energy_pj in points)
    assert [(each.cycles, each.energy_pj) for each in result.front] == [
        (cycles, energy_pj)
        for cycles, energy_pj in sorted(points)
        if not any(c <= cycles and e <= energy_pj and (c, e) != (cycles, energy_pj) for c, e in points)
    ]
    assert result.optimal
    assert result.lower_bound == result.value


@given(spaces())
@settings(max_examples=40)
def test_exhaustive_costs_every_mapping_once(space: MapSpace) -> None:
    assume(space_size(space))
    assert_enumerated(space)


MATMUL = parse_einsum(KINDS[0], extents={"m": 2, "n": 2, "k": 2})


def small_space(demand: dict[str, Any]) -> MapSpace:
    """Return a space of a 2 x 2 x 2 matmul with the demand at its outer level."""
    levels = (StorageLevel(name="DRAM", fanout_x=2), StorageLevel(name="RF"))
    machine = Architecture(name="small", levels=levels, compute_name="MAC", compute_energy_pj=1.0)
    return map_space(MATMUL, machine, constraints={"DRAM": replace(LevelConstraints(), **demand)})


@pytest.mark.parametrize("demand", demands(MATMUL, var="n", tensor="B"))
def test_exhaustive_keeps_to_every_constraint(demand: dict[str, Any]) -> None:
    assert_enumerated(small_space(demand))


def assert_enumerated(space: MapSpace) -> None:
    candidates = list(enumerate_candidates(space))
    found = [mapping_of(space, part, row) for part in candidates for row in range(len(part))]
    # The oracle leaves out what keeps a tensor nowhere; the search costs it, in vain.
    found = [mapping for mapping in found if all(keeps(mapping, tensor.name) for tensor in space.einsum.tensors)]
    assert len(found) == len(set(found))
    assert set(found) == set(mappings(space))


def keeps(mapping: Mapping, tensor: str) -> bool:
    return any(tensor in level.keep for level in mapping.levels)


@given(spaces(), st.sampled_from(SAMPLING), st.sampled_from(tuple(OBJECTIVES)), st.integers(0, 100))
@settings(max_examples=60)
def test_no_search_beats_the_exhaustive_one(space: MapSpace, name: str, objective: str, seed: int) -> None:
    try:
        result = SEARCHES[name](space, objective=OBJECTIVES[objective], budget=200, rng=np.random.default_rng(seed))
    except InfeasibleError:
        return
    best = search_exhaustive(space, objective=OBJECTIVES[objective])
    assert result.value >= best.value
    assert result.costed == 200
    assert not result.ran_through
    assert result.lower_bound == 0.0
    for each in result.front:
        assert not any(
            other.energy_pj <= each.energy_pj and other.cycles <= each.cycles
            for other in result.front
            if other is not each
        )


@given(spaces(), st.sampled_from(tuple(SEARCHES)), st.integers(0, 100))
@settings(max_examples=60)
def test_results_hold_in_the_space_and_re_evaluate_to_themselves(space: MapSpace, name: str, seed: int) -> None:
    budget = LARGEST if name == "exhaustive" else 500
    try:
        result = SEARCHES[name](space, objective=OBJECTIVES["edp"], budget=budget, rng=np.random.default_rng(seed))
    except InfeasibleError:
        return
    assert result.best in result.front
    for each in result.front:
        assert space.holds(each.mapping)
        report = evaluate(space.einsum, space.architecture, each.mapping, link_transfers=False)
        assert (each.energy_pj, each.cycles) == (report.energy_pj, report.cycles)


@given(spaces(), st.sampled_from(tuple(SEARCHES)), st.integers(0, 100))
@settings(max_examples=20)
def test_same_seed_same_result(space: MapSpace, name: str, seed: int) -> None:
    budget = LARGEST if name == "exhaustive" else 500

    def run() -> MappingResult:
        return SEARCHES[name](space, objective=OBJECTIVES["edp"], budget=budget, rng=np.random.default_rng(seed))

    try:
        result = run()
    except InfeasibleError:
        return
    assert spoken_of(run()) == spoken_of(result)


@given(spaces(most=100))
@settings(max_examples=25)
def test_random_draws_are_every_mapping_of_a_tiny_space(space: MapSpace) -> None:
    """And nothing but these, or those that do not fit a mesh, or that keep a tensor nowhere."""
    assume(space_size(space))
    drawn = random_search.draw(random_search.sampler_of(space), 10_000, rng=np.random.default_rng(0))
    distinct = {mapping_of(space, drawn, row) for row in unique_rows(drawn)}
    assert set(mappings(space)) <= distinct
    free = replace(space, min_parallelism=0.0)
    assert all(free.holds(mapping) for mapping in distinct)


def unique_rows(candidates: Candidates) -> list[int]:
    flat = np.concatenate(
        [part.reshape(len(candidates), -1) for part in (candidates.bounds, candidates.order, candidates.keep)], axis=1
    )
    rows: list[int] = np.unique(flat, axis=0, return_index=True)[1].tolist()
    return rows


def test_splits_are_drawn_evenly() -> None:
    """4 = 4 x 1 x 1 and so on: six splits over three levels, each a sixth of the draws."""
    levels = tuple(StorageLevel(name=f"L{place}") for place in range(3))
    space = MapSpace(
        einsum=parse_einsum("z[m] = a[m]", extents={"m": 4}),
        architecture=Architecture(name="three", levels=levels, compute_name="MAC", compute_energy_pj=1.0),
    )
    drawn = random_search.draw(random_search.sampler_of(space), 60_000, rng=np.random.default_rng(1))
    splits, counts = np.unique(drawn.bounds[:, 0, :, 0], axis=0, return_counts=True)
    assert len(splits) == 6
    assert counts.tolist() == pytest.approx([10_000] * 6, rel=0.05)


@given(spaces(most=100, networks=False), st.sampled_from(tuple(OBJECTIVES)))
@settings(max_examples=30)
def test_random_finds_the_optimum_of_a_tiny_space(space: MapSpace, objective: str) -> None:
    try:
        best = search_exhaustive(space, objective=OBJECTIVES[objective])
    except InfeasibleError:
        return
    result = search_random(space, objective=OBJECTIVES[objective], budget=5000, rng=np.random.default_rng(0))
    assert result.value == best.value
    assert [(m.cycles, m.energy_pj) for m in result.front] == [(m.cycles, m.energy_pj) for m in best.front]


@pytest.mark.parametrize("demand", demands(MATMUL, var="n", tensor="B"))
def test_neighbours_are_all_that_is_one_change_away(demand: dict[str, Any]) -> None:
    space = small_space(demand)
    everything = set(mappings(space))
    drawn = random_search.draw(random_search.sampler_of(space), 24, rng=np.random.default_rng(0))
    starts = [(row, mapping_of(space, drawn, row)) for row in np.flatnonzero(fit_meshes(space, drawn)).tolist()]
    starts = [(row, here) for row, here in starts if here in everything]
    assert starts
    for row, here in starts:
        around = hill_climbing.neighbours(space, drawn, row)
        found = [mapping_of(space, around, number) for number in range(len(around))]
        assert len(found) == len(set(found))
        # Some keep a tensor nowhere; the oracle leaves those out.
        valid = {each for each in found if all(keeps(each, tensor.name) for tensor in space.einsum.tensors)}
        assert valid <= everything
        for is_change in (one_tensor_flipped, two_loops_swapped):
            assert {each for each in valid if is_change(here, each)} == {
                each for each in everything if is_change(here, each)
            }
        # Where the loop of a factor that was moved is put among others is the search's choice.
        assert {bounds_of(each) for each in valid if one_factor_moved(here, each)} == {
            bounds_of(each) for each in everything if one_factor_moved(here, each)
        }
        assert all(
            any(is_change(here, each) for is_change in (one_tensor_flipped, two_loops_swapped, one_factor_moved))
            for each in found
        )


def bounds_of(mapping: Mapping) -> frozenset[tuple[int, Loop]]:
    return frozenset((place, loop) for place, level in enumerate(mapping.levels) for loop in level.loops)


def one_tensor_flipped(one: Mapping, other: Mapping) -> bool:
    flipped = sum(len(a.keep ^ b.keep) for a, b in zip(one.levels, other.levels, strict=True))
    return flipped == 1 and without_keep(one) == without_keep(other)


def two_loops_swapped(one: Mapping, other: Mapping) -> bool:
    """Two places differ, by a swap within one level."""
    pairs = list(zip(one.levels, other.levels, strict=True))
    if bounds_of(one) != bounds_of(other) or any(a.keep != b.keep for a, b in pairs):
        return False
    differ = [sum(x != y for x, y in zip(a.temporal, b.temporal, strict=True)) for a, b in pairs]
    return sorted(differ) == [0] * (len(pairs) - 1) + [2]


def one_factor_moved(one: Mapping, other: Mapping) -> bool:
    """All bounds are 1 or 2 here, so a factor that moves is a loop that moves, and the others stay in order."""
    gone, come = (bounds_of(a) - bounds_of(b) for a, b in ((one, other), (other, one)))
    pairs = list(zip(one.levels, other.levels, strict=True))
    if len(gone) != 1 or len(come) != 1 or any(a.keep != b.keep for a, b in pairs):
        return False
    ((_, before),), ((_, after),) = gone, come
    moved = {before.rank_var} if before.rank_var == after.rank_var else set()
    stay = [
        [[loop for loop in level.temporal if loop.rank_var not in moved] for level in each.levels]
        for each in (one, other)
    ]
    return bool(moved) and stay[0] == stay[1]


def without_keep(mapping: Mapping) -> Mapping:
    return Mapping(levels=tuple(replace(level, keep=frozenset()) for level in mapping.levels))


def test_hill_climbing_goes_down_until_nothing_around_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    space, objective = medium_space(), OBJECTIVES["edp"]
    path: list[tuple[Candidates, int] | None] = []
    neighbours, draw = hill_climbing.neighbours, random_search.draw

    def spied_neighbours(space: MapSpace, candidates: Candidates, row: int) -> Candidates:
        path.append((candidates, row))
        return neighbours(space, candidates, row)

    def spied_draw(*args: Any, **kwargs: Any) -> Candidates:
        path.append(None)
        return draw(*args, **kwargs)

    monkeypatch.setattr(hill_climbing, "neighbours", spied_neighbours)
    monkeypatch.setattr(hill_climbing, "draw", spied_draw)
    result = search_hill_climbing(space, objective=objective, budget=4000, rng=np.random.default_rng(5))
    valleys = 0
    for before, step in itertools.pairwise(path):
        if before is None:
            continue
        around = cost(space, neighbours(space, *before))
        lowest = np.min((around.energy_pj * around.cycles)[around.valid], initial=np.inf)
        (height,) = edp(space, *before)
        if step is None:
            valleys += 1
            assert lowest >= height
        else:
            assert edp(space, *step) == [lowest]
            assert lowest < height
    assert valleys >= 3
    assert result.value <= lowest
    drawn = search_random(space, objective=objective, budget=4000, rng=np.random.default_rng(5))
    assert result.value < drawn.value


def edp(space: MapSpace, candidates: Candidates, row: int) -> list[float]:
    result = cost(space, candidates.take(np.array([row])))
    edps: list[float] = (result.energy_pj * result.cycles).tolist()
    return edps


def medium_space() -> MapSpace:
    def level(name: str, energy_pj: float, **changes: Any) -> StorageLevel:
        return StorageLevel(
            name=name, read_energy_pj=energy_pj, write_energy_pj=energy_pj, update_energy_pj=energy_pj, **changes
        )

    levels = (
        level("DRAM", 64.0),
        level("GLB", 6.0, capacity_words=512, fanout_x=4, fanout_y=2),
        level("RF", 0.5, capacity_words=16),
    )
    return MapSpace(
        einsum=parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 24, "n": 32, "k": 36}),
        architecture=Architecture(name="three", levels=levels, compute_name="MAC", compute_energy_pj=0.5),
    )


def test_a_space_beyond_the_budget_is_refused_before_the_search() -> None:
    space = medium_space()
    with pytest.raises(
        HeatError,
        match=rf"too large for an exhaustive search \(got {space_size(space):,} mappings.*Constrain the space",
    ):
        search_exhaustive(space, objective=OBJECTIVES["edp"])


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    "demand",
    [{"temporal_bounds": {"m": 5}}, {"keep": frozenset("AB"), "temporal_bounds": {"m": 24, "n": 32, "k": 36}}],
)
def test_a_space_where_nothing_fits_is_refused(name: str, demand: dict[str, Any]) -> None:
    """The first space is empty, in the second one the tiles exceed the level."""
    space = medium_space()
    narrow = map_space(
        space.einsum, space.architecture, constraints={"RF": replace(LevelConstraints(), **demand)}
    )  # fmt: skip
    with pytest.raises(InfeasibleError, match="mapspace of Z on three: no mapping that was costed is valid"):
        SEARCHES[name](narrow, objective=OBJECTIVES["edp"], budget=3000, rng=np.random.default_rng(0))
