"""The search for loops in time against every nest of one structure, large enough for runs to cross levels."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapping import LevelConstraints
from heat_sim.model.batch import MappingBatch, evaluate_batch

LEVELS = ("DRAM", "L2", "L1", "RF")


@st.composite
def structures(draw: st.DrawFn) -> tuple[Einsum, Architecture, list[frozenset[str]]]:
    """Return a matmul, a machine of four storages without meshes, and what each of them keeps."""
    energy = st.integers(1, 80).map(lambda quarter: quarter / 4)
    rate = st.sampled_from((None, None, None, 0.5, 2.0))
    sizes = draw(st.tuples(*[st.sampled_from((2, 4, 6, 8))] * 3))
    einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents=dict(zip("mnk", sizes, strict=True)))
    keeps = [frozenset("ABZ"), *(draw(st.frozensets(st.sampled_from("ABZ"), max_size=2)) for _ in LEVELS[1:])]
    room = st.sampled_from((1, 2, 3, 4, 6, 8, 16))
    levels = tuple(
        StorageLevel(
            name=name, capacity_words=None if place == 0 else draw(room), read_energy_pj=draw(energy),
            write_energy_pj=draw(energy), update_energy_pj=draw(energy), shared_bandwidth_words_per_cycle=draw(rate),
        )
        for place, name in enumerate(LEVELS)
    )  # fmt: skip
    return einsum, Architecture(name="four", levels=levels, compute_name="MAC", compute_energy_pj=1.0), keeps


@cache
def splits(extent: int) -> list[tuple[int, ...]]:
    """Return every ordered factorisation over the levels."""
    divisors = [d for d in range(1, extent + 1) if extent % d == 0]
    return [split for split in itertools.product(divisors, repeat=len(LEVELS)) if np.prod(split) == extent]


def every_nest(einsum: Einsum, keeps: list[frozenset[str]]) -> MappingBatch:
    """Return all bounds in time with each choice of the innermost loop per level; the order of the others is idle."""
    # bounds: (N, L, 3) of the rank variables of the einsum, in their order.
    bounds = np.array(list(itertools.product(*(splits(extent) for _, extent in einsum.extents)))).transpose(0, 2, 1)
    rotations = np.array([(1, 2, 0), (0, 2, 1), (0, 1, 2)])  # the last is the innermost
    orders = rotations[np.array(list(itertools.product(range(3), repeat=len(LEVELS) - 1)))]
    orders = np.concatenate([orders, np.broadcast_to(rotations[2], (len(orders), 1, 3))], axis=1)
    loop_var = np.tile(orders, (len(bounds), 1, 1))
    loop_bound = np.take_along_axis(np.repeat(bounds, len(orders), axis=0), loop_var, axis=2)
    count = len(loop_var)
    mesh = np.ones((count, len(LEVELS), 3), dtype=np.int64)
    keep = np.array([[tensor.name in here for here in keeps] for tensor in einsum.tensors])
    return MappingBatch(
        loop_var=loop_var, loop_bound=loop_bound, mesh_x=mesh, mesh_y=mesh,
        keep=np.broadcast_to(keep, (count, *keep.shape)).copy(),
    )  # fmt: skip


@given(structures(), st.sampled_from(("energy", "edp", "pareto")))
@settings(max_examples=400)
def test_the_loops_of_a_structure_are_the_best_of_all_nests(structure, objective):
    """Nothing that the label search leaves out - nests with movable loops, dearer labels of one future - is better."""
    einsum, machine, keeps = structure
    found = evaluate_batch(einsum, machine, every_nest(einsum, keeps))
    assume(found.valid.any())
    energy_pj, cycles = found.energy_pj[found.valid], found.cycles[found.valid]
    constraints = {
        name: LevelConstraints(keep=keep, bypass=frozenset("ABZ") - keep)
        for name, keep in zip(LEVELS, keeps, strict=True)
    }
    result = map_einsum(einsum, machine, objective=objective, constraints=constraints)
    assert result.optimal
    if objective == "energy":
        assert result.value == energy_pj.min()
    elif objective == "edp":
        assert result.value == (energy_pj * cycles).min()
    else:
        front: list[tuple[float, int]] = []
        for index in np.lexsort((energy_pj, cycles)):
            if not front or energy_pj[index] < front[-1][0]:
                front.append((energy_pj[index], cycles[index]))
        assert [(each.energy_pj, each.cycles) for each in result.front] == front


@given(structures())
@settings(max_examples=10)
def test_a_structure_without_a_nest_is_refused(structure):
    einsum, machine, keeps = structure
    constraints = {
        name: LevelConstraints(keep=keep, bypass=frozenset("ABZ") - keep)
        for name, keep in zip(LEVELS, keeps, strict=True)
    }
    fits = evaluate_batch(einsum, machine, every_nest(einsum, keeps)).valid.any()
    try:
        map_einsum(einsum, machine, constraints=constraints)
    except InfeasibleError:
        assert not fits
    else:
        assert fits
