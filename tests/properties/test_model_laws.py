"""What must hold of the model's counts, cycles and energies on every nest."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heat_sim import model
from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import InfeasibleError
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model import Report
from heat_sim.testing import random_mapping
from tests.oracles.loop_nest import Counts, walk
from tests.properties.nests import Case, nests

evaluate = partial(model.evaluate, link_transfers=False)
"""Neighbours hand each other nothing here; what they do otherwise, the golden cases say."""


def counts_of(report: Report) -> dict[tuple[str, str], Counts]:
    return {
        (level.name, tensor): Counts(words.reads, words.fills, words.updates)
        for level in report.levels
        for tensor, words in level.tensors.items()
        if words.kept
    }


def keepers(case: Case, tensor: TensorAccess) -> list[int]:
    return [place for place, level in enumerate(case.mapping.levels) if tensor.name in level.keep]


@given(nests())
@settings(max_examples=400)
def test_counts_are_those_of_the_executed_nest(case: Case) -> None:
    """Rules 1 to 6: the formulas against a walk through every iteration."""
    report, seen = evaluate(*case), walk(*case)
    assert counts_of(report) == seen.counts
    assert (report.ops, report.compute_cycles) == (seen.ops, seen.cycles)
    assert {level.name: level.occupied_words for level in report.levels} == {
        level.name: seen.peak_words[level.name] for level in case.architecture.levels if not level.is_virtual
    }


@given(nests())
@settings(max_examples=200)
def test_counts_with_partial_sums_are_those_of_the_executed_nest(case: Case) -> None:
    """Rule 5.5: where partial sums are there before the run, every arrival of an output finds one."""
    assert counts_of(evaluate(*case, accumulates=True)) == walk(*case, accumulates=True).counts


@given(nests(), st.data())
def test_a_loop_of_bound_one_changes_nothing(case: Case, data: st.DataObject) -> None:
    level, temporal, place = _some_place(case, data)
    rank_var = data.draw(st.sampled_from(case.einsum.rank_vars))
    loop = Loop(rank_var=rank_var, bound=1, dimension="temporal" if temporal else data.draw(st.sampled_from("xy")))
    loops = level.temporal if temporal else level.spatial
    changed = _with_loops(case.mapping, level, temporal=temporal, loops=(*loops[:place], loop, *loops[place:]))
    assert evaluate(case.einsum, case.architecture, changed) == evaluate(*case)


@given(nests(), st.data())
def test_splitting_a_loop_into_two_adjacent_ones_changes_nothing(case: Case, data: st.DataObject) -> None:
    splittable = [
        (level, temporal, place, divisor)
        for level in case.mapping.levels
        for temporal, loops in ((True, level.temporal), (False, level.spatial))
        for place, loop in enumerate(loops)
        for divisor in range(2, loop.bound)
        if loop.bound % divisor == 0
    ]
    if not splittable:
        return
    level, temporal, place, divisor = data.draw(st.sampled_from(splittable))
    loops = level.temporal if temporal else level.spatial
    pair = (replace(loops[place], bound=divisor), replace(loops[place], bound=loops[place].bound // divisor))
    changed = _with_loops(case.mapping, level, temporal=temporal, loops=(*loops[:place], *pair, *loops[place + 1 :]))
    assert evaluate(case.einsum, case.architecture, changed) == evaluate(*case)


@given(nests())
def test_names_mean_nothing(case: Case) -> None:
    """Other names, in another alphabetical order, for rank variables and tensors."""
    variables = {var: f"v{len(case.einsum.rank_vars) - n}" for n, var in enumerate(case.einsum.rank_vars)}
    tensors = {tensor.name: f"T{len(case.einsum.tensors) - n}" for n, tensor in enumerate(case.einsum.tensors)}

    def renamed(access: TensorAccess) -> TensorAccess:
        return TensorAccess(
            name=tensors[access.name],
            projection=tuple(tuple((variables[var], scale) for var, scale in rank) for rank in access.projection),
        )

    def loops(old: tuple[Loop, ...]) -> tuple[Loop, ...]:
        return tuple(replace(loop, rank_var=variables[loop.rank_var]) for loop in old)

    other = evaluate(
        Einsum(
            name=case.einsum.name,
            inputs=tuple(map(renamed, case.einsum.inputs)),
            output=renamed(case.einsum.output),
            extents=tuple((variables[var], extent) for var, extent in case.einsum.extents),
        ),
        case.architecture,
        Mapping(
            levels=tuple(
                LevelMapping(
                    level=level.level,
                    temporal=loops(level.temporal),
                    spatial=loops(level.spatial),
                    keep=frozenset(tensors[name] for name in level.keep),
                )
                for level in case.mapping.levels
            )
        ),
    )
    report = evaluate(*case)
    assert counts_of(other) == {(level, tensors[name]): words for (level, name), words in counts_of(report).items()}
    assert (other.cycles, other.energy_pj) == (report.cycles, pytest.approx(report.energy_pj, rel=1e-12))


@given(nests())
def test_which_axis_a_spatial_loop_lies_along_changes_no_count(case: Case) -> None:
    swap = {"x": "y", "y": "x"}
    architecture = replace(
        case.architecture,
        levels=tuple(
            replace(level, fanout_x=level.fanout_y, fanout_y=level.fanout_x) for level in case.architecture.levels
        ),
    )
    mapping = Mapping(
        levels=tuple(
            replace(
                level,
                # The order of spatial loops means nothing either.
                spatial=tuple(replace(loop, dimension=swap[loop.dimension]) for loop in reversed(level.spatial)),
            )
            for level in case.mapping.levels
        )
    )
    other, report = evaluate(case.einsum, architecture, mapping), evaluate(*case)
    assert counts_of(other) == counts_of(report)
    assert other.cycles == report.cycles


@given(st.integers(0, 2**32 - 1), nests())
def test_ops_do_not_depend_on_the_mapping(seed: int, case: Case) -> None:
    other = random_mapping(np.random.default_rng(seed), einsum=case.einsum, architecture=case.architecture)
    ops = math.prod(extent for _, extent in case.einsum.extents)
    assert evaluate(*case).ops == evaluate(case.einsum, case.architecture, other).ops == ops


@given(nests())
def test_every_word_is_filled_at_least_once(case: Case) -> None:
    """Compulsory traffic: below the outermost keeping level, an input's fills cover its distinct words."""
    counts = counts_of(evaluate(*case))
    for tensor in case.einsum.inputs:
        for place in keepers(case, tensor)[1:]:
            assert counts[case.mapping.levels[place].level, tensor.name].fills >= case.einsum.words(tensor.name)
    output = case.einsum.output.name
    for place in keepers(case, case.einsum.output):
        assert counts[case.mapping.levels[place].level, output].updates >= case.einsum.words(output)


@given(nests())
def test_parents_read_what_children_fill_but_for_multicast(case: Case) -> None:
    counts = counts_of(evaluate(*case))
    for tensor in case.einsum.inputs:
        for parent, child in itertools.pairwise(keepers(case, tensor)):
            levels = case.mapping.levels
            copies = math.prod(
                loop.bound
                for level in levels[parent:child]
                for loop in level.spatial
                if loop.rank_var not in tensor.rank_vars
            )
            reads = counts[levels[parent].level, tensor.name].reads
            assert counts[levels[child].level, tensor.name].fills == reads * copies


@given(nests())
def test_a_result_leaves_a_level_as_often_as_it_comes_back_and_once_more(case: Case) -> None:
    """Rule 5: each instance begins every element it ever sees once without a read, and hands it up one last time."""
    report = evaluate(*case)
    output = case.einsum.output.name
    for level in report.levels:
        words = level.tensors[output]
        if words.kept:
            assert words.updates - words.reads == words.partition_words * level.instances_used


@given(nests(), st.data())
def test_a_larger_level_never_makes_a_feasible_mapping_infeasible(case: Case, data: st.DataObject) -> None:
    report = evaluate(*case)
    need = {level.name: level.occupied_words for level in report.levels}
    tight = _resized(case.architecture, need)
    assert counts_of(evaluate(case.einsum, tight, case.mapping)) == counts_of(report)
    grown = data.draw(st.sampled_from(sorted(need)))
    roomier = _resized(case.architecture, need | {grown: need[grown] + data.draw(st.integers(1, 100))})
    assert counts_of(evaluate(case.einsum, roomier, case.mapping)) == counts_of(report)


@given(nests(), st.data())
def test_one_word_less_than_the_tiles_need_is_refused(case: Case, data: st.DataObject) -> None:
    need = {level.name: level.occupied_words for level in evaluate(*case).levels if level.occupied_words > 1}
    if not need:
        return
    name = data.draw(st.sampled_from(sorted(need)))
    with pytest.raises(InfeasibleError, match="the tiles do not fit") as refusal:
        evaluate(case.einsum, _resized(case.architecture, {name: need[name] - 1}), case.mapping)
    assert (refusal.value.level, refusal.value.need, refusal.value.capacity) == (name, need[name], need[name] - 1)


@given(nests(), st.sampled_from((0.5, 2.0, 3.0)))
def test_scaling_the_energy_table_scales_the_energy(case: Case, scale: float) -> None:
    architecture = replace(
        case.architecture,
        compute_energy_pj=case.architecture.compute_energy_pj * scale,
        levels=tuple(
            replace(level, **{f.name: getattr(level, f.name) * scale for f in fields(level) if "energy_pj" in f.name})
            for level in case.architecture.levels
        ),
    )
    other, report = evaluate(case.einsum, architecture, case.mapping), evaluate(*case)
    assert other.energy_pj == pytest.approx(report.energy_pj * scale, rel=1e-12)
    assert other.cycles == report.cycles


@given(nests())
def test_cycles_are_bounded_by_compute_and_by_every_bandwidth(case: Case) -> None:
    report = evaluate(*case)
    assert report.cycles * case.architecture.peak_ops_per_cycle >= report.ops
    assert report.compute_cycles * report.units_used == report.ops
    storages = [level for level in case.architecture.levels if not level.is_virtual]
    for storage, level in zip(storages, report.levels, strict=True):
        reads = sum(words.reads for words in level.tensors.values()) / level.instances_used
        writes = sum(words.fills + words.updates for words in level.tensors.values()) / level.instances_used
        for bandwidth, traffic in (
            (storage.read_bandwidth_words_per_cycle, reads),
            (storage.write_bandwidth_words_per_cycle, writes),
            (storage.shared_bandwidth_words_per_cycle, reads + writes),
        ):
            assert bandwidth is None or report.cycles >= traffic / bandwidth * (1 - 1e-12)
    slowest = max(report.compute_cycles, *(level.cycles for level in report.levels))
    network = sum(level.network_fill_latency_cycles + level.network_drain_latency_cycles for level in storages)
    assert report.cycles == slowest + network


@given(nests())
def test_energy_is_the_sum_of_counts_times_the_table_when_accesses_are_words(case: Case) -> None:
    """Rule 7, for one word per access and nothing but storages and compute switched on."""
    architecture = replace(
        case.architecture,
        levels=tuple(
            replace(level, words_per_access=1, leakage_energy_pj_per_cycle=0.0, hop_energy_pj=0.0, router_energy_pj=0.0)
            for level in case.architecture.levels
        ),
    )
    report = evaluate(case.einsum, architecture, case.mapping)
    expected = report.ops * architecture.compute_energy_pj
    for (name, _), words in counts_of(report).items():
        storage = architecture.levels[architecture.index(name)]
        expected += words.reads * storage.read_energy_pj
        expected += words.fills * storage.write_energy_pj
        expected += words.updates * storage.update_energy_pj
    assert report.energy_pj == pytest.approx(expected, rel=1e-12)


def _some_place(case: Case, data: st.DataObject) -> tuple[LevelMapping, bool, int]:
    """Draw a gap between two loops, temporal or spatial (virtual levels have no loops in time)."""
    place = data.draw(st.integers(0, len(case.mapping.levels) - 1))
    level = case.mapping.levels[place]
    temporal = data.draw(st.booleans()) and not case.architecture.levels[place].is_virtual
    return level, temporal, data.draw(st.integers(0, len(level.temporal if temporal else level.spatial)))


def _with_loops(mapping: Mapping, level: LevelMapping, *, temporal: bool, loops: tuple[Loop, ...]) -> Mapping:
    changed = replace(level, temporal=loops) if temporal else replace(level, spatial=loops)
    return Mapping(levels=tuple(changed if old is level else old for old in mapping.levels))


def _resized(architecture: Architecture, words: dict[str, int]) -> Architecture:
    """Return the architecture with the named levels of exactly so many usable words."""
    return replace(
        architecture,
        levels=tuple(
            replace(level, capacity_words=words[level.name] or None, multiple_buffering=1.0)
            if level.name in words
            else level
            for level in architecture.levels
        ),
    )
