"""The mapper against the exhaustive oracle, and laws of its results (docs/model.md, mapper)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.edp import least_edp
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.model import evaluate
from heat_sim.testing import random_mapping
from tests.oracles import exhaustive_mapper

SMALL = (1, 2, 3, 4)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Einsum, Architecture]:
    """Return a matmul and a two- or three-level machine small enough for the oracle."""
    energy = st.integers(1, 40).map(lambda quarter: quarter / 4)
    three_levels = draw(st.booleans())
    sizes = [draw(st.sampled_from((1, 2) if three_levels else SMALL)) for _ in range(3)]
    text = "Z[m,n] = A[m,k] * B[k,n]"
    einsum = parse_einsum(text, extents=dict(zip("mnk", sizes, strict=True)))
    names = ("DRAM", "L1", "RF")[: 3 if three_levels else 2]
    levels = tuple(
        StorageLevel(
            name=name,
            capacity_words=None if place == 0 else draw(st.integers(1, 24)),
            fanout_x=draw(st.sampled_from((1, 1, 2))),
            fanout_y=draw(st.sampled_from((1, 1, 2))),
            read_energy_pj=draw(energy),
            write_energy_pj=draw(energy),
            update_energy_pj=draw(energy),
        )
        for place, name in enumerate(names)
    )
    assume(math.prod(level.fanout for level in levels) <= 4)
    return einsum, Architecture(name="tiny", levels=levels, compute_name="MAC", compute_energy_pj=draw(energy))


@given(problems(), st.sampled_from(tuple(OBJECTIVES)))
@settings(max_examples=40)
def test_unlimited_search_finds_the_exhaustive_optimum(problem, objective):
    einsum, architecture = problem
    value_of = OBJECTIVES[objective]
    result = map_einsum(einsum, architecture, objective=objective, budget=10**9)
    best = min(value_of(r.energy_pj, r.cycles) for r in exhaustive_mapper.reports(einsum, architecture))
    assert result.optimal
    assert result.value == pytest.approx(best, rel=1e-12)
    assert result.lower_bound <= best * (1 + 1e-12)


@given(problems(), st.integers(1, 4), st.floats(0.25, 4.0))
@settings(max_examples=20)
def test_bound_holds_with_blocks_and_bandwidth(problem, words_per_access, bandwidth):
    einsum, plain = problem
    levels = [replace(level, words_per_access=words_per_access) for level in plain.levels]
    levels[0] = replace(levels[0], shared_bandwidth_words_per_cycle=bandwidth)
    architecture = replace(plain, levels=tuple(levels))
    result = map_einsum(einsum, architecture, budget=10**9)
    best = min(r.edp_pj_cycles for r in exhaustive_mapper.reports(einsum, architecture))
    assert result.lower_bound <= best * (1 + 1e-9)
    assert result.value >= best * (1 - 1e-9)
    if result.optimal:
        assert result.value == pytest.approx(best, rel=1e-9)


@given(problems())
def test_returned_mapping_re_evaluates_to_the_returned_value(problem):
    einsum, architecture = problem
    result = map_einsum(einsum, architecture)
    report = evaluate(einsum, architecture, result.best.mapping, link_transfers=False)
    assert report.edp_pj_cycles == result.value == result.best.report.edp_pj_cycles


@given(problems())
@settings(max_examples=25)
def test_a_larger_buffer_never_hurts(problem):
    einsum, architecture = problem
    inner = architecture.levels[-1]
    larger = replace(architecture, levels=(*architecture.levels[:-1], replace(inner, capacity_words=1000)))
    small = map_einsum(einsum, architecture, budget=10**9)
    assert map_einsum(einsum, larger, budget=10**9).value <= small.value * (1 + 1e-12)


def test_merged_ranks_cost_what_the_plain_matmul_costs():
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


def test_machine_without_room_is_refused_with_the_level():
    machine = Architecture(
        name="tiny", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM", capacity_words=5),),
    )  # fmt: skip
    einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=2, n=2, k=2))
    with pytest.raises(InfeasibleError, match=r"DRAM.*got 5 words, expected at least 12"):
        map_einsum(einsum, machine)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    st.data(),
)
def test_network_edp_is_the_least_over_all_combinations(parts, data):
    counts = [data.draw(st.integers(1, 2)) for _ in parts]
    # Dumb oracle: every copy of every part chooses freely.
    sums = {(0, 0)}
    for part, count in zip(parts, counts, strict=True):
        for _ in range(count):
            sums = {(e + de, t + dt) for e, t in sums for de, dt in part}
    assert least_edp(parts, counts).edp == min(e * t for e, t in sums)


@pytest.mark.parametrize("seed", range(3))
def test_mapper_is_never_worse_than_random_mappings(seed):
    rng = np.random.default_rng(seed)
    machine = Architecture(
        name="three", compute_name="MAC", compute_energy_pj=0.5,
        levels=(
            StorageLevel(name="DRAM", read_energy_pj=64.0, write_energy_pj=64.0, update_energy_pj=64.0),
            StorageLevel(
                name="GLB", capacity_words=512, read_energy_pj=6.0, write_energy_pj=6.0, update_energy_pj=6.0,
                fanout_x=4, fanout_y=2,
            ),
            StorageLevel(
                name="RF", capacity_words=16, read_energy_pj=0.5, write_energy_pj=0.5, update_energy_pj=0.5
            ),
        ),
    )  # fmt: skip
    einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=24, n=32, k=36))
    best = map_einsum(einsum, machine, budget=10**9)
    assert best.optimal
    everything = frozenset("ABZ")
    for _ in range(300):
        mapping = random_mapping(rng, einsum=einsum, architecture=machine)
        # In the mapper's space the outermost level keeps all tensors.
        outermost = replace(mapping.levels[0], keep=everything)
        mapping = replace(mapping, levels=(outermost, *mapping.levels[1:]))
        assert evaluate(einsum, machine, mapping, link_transfers=False).edp_pj_cycles >= best.value * (1 - 1e-12)


def test_counts_beyond_64_bits_are_refused_before_the_search():
    machine = Architecture(
        name="one", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0
    )  # fmt: skip
    einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(m=10**9, n=10**9, k=10**9))
    with pytest.raises(HeatError, match="counts exceed 64 bits"):
        map_einsum(einsum, machine)
