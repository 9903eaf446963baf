"""What the searched structures promise against what real mappings cost: prices are exact, bounds are bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.mapper.boundary import OUTPUT, irrelevant, least_crossing_pj, serving_pj
from heat_sim.mapper.candidates import cost, mapping_of
from heat_sim.mapper.frame import Frame, frame_of, passing_pj
from heat_sim.mapper.inside import root_bound
from heat_sim.mapper.judge import judge_of
from heat_sim.mapper.matmul import Matmul, as_matmul
from heat_sim.mapper.matmul_problem import Problem, problem_of
from heat_sim.mapper.mesh import mesh_choices
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.mapper.random_search import draw, sampler_of
from heat_sim.mapper.space import MapSpace
from heat_sim.mapper.space_size import space_size
from heat_sim.mapper.structure import collect_structures
from heat_sim.mapping import Mapping
from heat_sim.model import Report, evaluate
from tests.properties.matmul_spaces import points, spaces


class Case(NamedTuple):
    """A random mapping of a random space, its report, and its structure as the kernels see it."""

    space: MapSpace
    matmul: Matmul
    mapping: Mapping
    report: Report
    p: Problem
    f: Frame


def bounds_of(matmul: Matmul, mapping: Mapping, *, spatial: bool) -> np.ndarray:
    """Return (L, 4) the bounds of the classes over the children, or in time."""
    return np.array(
        [
            [
                math.prod(
                    loop.bound for loop in (level.spatial if spatial else level.temporal) if loop.rank_var in group
                )
                for group in matmul.members
            ]
            for level in mapping.levels
        ],
        dtype=np.int64,
    )


@st.composite
def cases(draw_: st.DrawFn) -> Case:
    space = draw_(spaces(ops=2000, most=10**30))
    assume(space_size(space))
    drawn = draw(sampler_of(space), 200, rng=np.random.default_rng(draw_(st.integers(0, 1000))))
    valid = np.flatnonzero(cost(space, drawn).valid)
    assume(len(valid))
    mapping = mapping_of(space, drawn, int(valid[0]))
    matmul = as_matmul(space.einsum)
    names = [tensor.name for tensor in space.einsum.tensors]
    keep = np.array([sum(1 << t for t, name in enumerate(names) if name in level.keep) for level in mapping.levels])
    p = problem_of(space, matmul)
    return Case(
        space, matmul, mapping, evaluate(space.einsum, space.architecture, mapping, link_transfers=False), p,
        frame_of(p, keep, bounds_of(matmul, mapping, spatial=True)),
    )  # fmt: skip


def turns_of(case: Case, child: int) -> list[int]:
    """Return how often the tile of each tensor is handed to an instance of the level (R), by the model's counts."""
    turns = [0, 0, 0]
    for t, tensor in enumerate(case.space.einsum.tensors):
        if case.f.crosses[child, t]:
            copies = int(case.f.above[child, irrelevant(t)])
            fills = case.report.level(case.mapping.levels[child].level).tensors[tensor.name].fills
            # Sums come in again but for the first time (model section 5.3).
            turns[t], odd = divmod(fills, case.space.einsum.words(tensor.name) * copies)
            turns[t] += t == OUTPUT
            assert odd == 0
    return turns


@given(cases())
@settings(max_examples=150)
def test_prices_of_boundaries_add_up_to_the_energy_of_the_model(case: Case) -> None:
    """Whole accesses per instance (model section 7.1): compute, every crossing, what the units ask, and leakage."""
    p, f = case.p, case.f
    levels = len(f.keep)
    energy_pj = p.compute_pj
    for child in range(levels):
        turns = turns_of(case, child)
        energy_pj += sum(passing_pj(p, f, child, t, turns[t]) for t in range(3) if f.crosses[child, t])
    asked = sum(serving_pj(p, t, f.parent[levels, t], f.above, p.ops) for t in range(3))
    energy_pj += asked + f.leak * (case.report.cycles - p.latency)
    assert energy_pj == case.report.energy_pj


@given(cases())
@settings(max_examples=150)
def test_stalls_of_boundaries_add_up_to_the_cycles_of_the_model(case: Case) -> None:
    """The slowest of compute and every bandwidth (model sections 8.2 and 8.3)."""
    p, f = case.p, case.f
    levels, limits = len(f.keep), f.rest_stall.shape[1]
    asked = [float(f.rest_stall[levels, j]) for j in range(limits)]
    for child in range(levels):
        turns = turns_of(case, child)
        for j in range(limits):
            asked[j] += sum(f.stall[child, j, t] * turns[t] for t in range(3)) - f.first_stall[child, j]
    cycles = max([p.ops / f.instances[levels], *asked])
    assert math.ceil(cycles * (1 - 1e-12)) + p.latency == case.report.cycles


@given(cases())
@settings(max_examples=150)
def test_no_crossing_costs_less_than_its_bound(case: Case) -> None:
    """Whatever the tile and the loops outside, as long as it fits; likewise what is inside, cycles and the total."""
    p, f = case.p, case.f
    levels = len(f.keep)
    spent = float(sum(serving_pj(p, t, f.parent[levels, t], f.above, p.ops) for t in range(3)))
    tile = np.ones(4, dtype=np.int64)
    in_time, over = (bounds_of(case.matmul, case.mapping, spatial=spatial) for spatial in (False, True))
    for child in reversed(range(levels)):
        tile = tile * in_time[child] * over[child]
        turns = turns_of(case, child)
        crossing = sum(float(f.slope_pj[child, t]) * turns[t] for t in range(3))
        most = p.extent // f.above[child]
        nothing_known = (np.ones(3), np.ones(3, dtype=np.int64))
        bound = least_crossing_pj(p, child, f.keep[child], f.slope_pj[child], *nothing_known, f.inside[child], most)
        assert bound <= crossing * (1 + 1e-12)
        # The tile itself as the least and the most, and the run as it is: then nothing is left open.
        full = np.array([p.extent[irrelevant(t)] / (f.above[child, irrelevant(t)] * tile[irrelevant(t)])
                         for t in range(3)])  # fmt: skip
        run = np.array([max(1, round(full[t] / turns[t])) if turns[t] else 1 for t in range(3)], dtype=np.int64)
        known = least_crossing_pj(p, child, f.keep[child], f.slope_pj[child], full, run, tile, tile)
        assert known == pytest.approx(crossing, rel=1e-9)
        spent += crossing - f.first_pj[child]
        assert f.rest_pj[child] <= spent + 1e-9 * abs(spent)
    assert f.least_cycles + p.latency <= case.report.cycles
    total = p.compute_pj + f.rest_pj[0] + f.leak * f.least_cycles
    assert total <= case.report.energy_pj * (1 + 1e-12)


@given(cases())
@settings(max_examples=60)
def test_the_structure_of_every_mapping_is_collected_below_its_cost(case: Case) -> None:
    """Unless batch loops stand where they never need to; nothing is found yet, so nothing is set aside."""
    p, f = case.p, case.f
    choices = [mesh_choices(case.space, case.matmul, level=level) for level in range(len(p.usable))]
    meshes, first = np.concatenate(choices), np.cumsum([0, *map(len, choices)])
    nothing = judge_of(OBJECTIVES["edp"], best=math.inf, points=[])
    assume(math.prod(map(len, choices)) * 8 ** (len(p.usable) - 1) <= 100_000)
    found = collect_structures(p, nothing, meshes, first, -1.0, math.inf, 200_000, 10**7)
    rows = [
        row
        for row in range(len(found.keep))
        if (found.keep[row] == f.keep).all() and (meshes[found.mesh[row]] == f.spatial).all()
    ]
    assert len(rows) == 1
    assert found.energy_pj[rows[0]] <= case.report.energy_pj * (1 + 1e-12)
    assert found.cycles[rows[0]] <= case.report.cycles
    energy_pj, cycles = root_bound(p, meshes, first)
    assert energy_pj <= found.energy_pj[rows[0]] * (1 + 1e-12)
    assert cycles <= found.cycles[rows[0]]


@given(spaces(most=8000))
@settings(max_examples=60)
def test_no_mapping_is_below_the_root(space: MapSpace) -> None:
    """The bound before anything is chosen holds for the least energy and the fewest cycles of the whole space."""
    found = points(space)
    assume(found)
    matmul = as_matmul(space.einsum)
    choices = [mesh_choices(space, matmul, level=level) for level in range(len(space.architecture.levels))]
    energy_pj, cycles = root_bound(
        problem_of(space, matmul), np.concatenate(choices), np.cumsum([0, *map(len, choices)])
    )
    assert energy_pj <= min(energy for energy, _ in found) * (1 + 1e-12)
    assert cycles <= min(cycles for _, cycles in found)
