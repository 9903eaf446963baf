"""The walker against itself, and the model against the walker where nests slide, stop short or have neighbours."""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import given, settings

from heat_sim.model import evaluate
from heat_sim.testing import EINSUMS, PLAIN_KINDS
from tests.oracles.loop_nest import Counts, Walk, _Run, _tiles, walk
from tests.properties.nests import Case, nests

ALL_KINDS = tuple(EINSUMS)
WINDOWS = tuple(kind for kind in EINSUMS if kind not in PLAIN_KINDS)


@given(nests())
def test_without_windows_the_extrapolation_changes_nothing(case: Case) -> None:
    assert walk(*case, extrapolated=True) == walk(*case)


@given(nests(kinds=ALL_KINDS, imperfect=True))
def test_every_op_is_executed_once_in_no_more_time_than_the_full_bounds_take(case: Case) -> None:
    seen = walk(*case)
    full = 1
    for level in case.mapping.levels:
        for loop in level.temporal:
            full *= loop.bound
    assert seen.ops == case.einsum.ops
    assert seen.cycles <= full


@given(nests(max_ops=256, kinds=ALL_KINDS, imperfect=True))
def test_a_tile_is_the_box_around_the_words_touched_below(case: Case) -> None:
    """The walker computes where a tile begins and ends; here the words themselves are collected."""
    run = _Run(*case, extrapolated=False, link_transfers=False)
    for place, tensor in itertools.product(range(len(case.mapping.levels) + 1), case.einsum.tensors):
        boxes = {
            (moment, who): box
            for moment, (_, step) in enumerate(_tiles(run, tensor, place=place))
            for who, box in step.items()
        }
        touched = touched_below(case, tensor.name, place=place)
        assert boxes == {
            key: tuple((min(column), max(column) + 1) for column in zip(*words, strict=True))
            for key, words in touched.items()
        }


def touched_below(case: Case, name: str, *, place: int) -> dict[tuple[int, tuple[int, ...]], set[tuple[int, ...]]]:
    """Return (moment, instance) of the level at `place` -> words, by running every op in range."""
    levels = case.mapping.levels
    loops = [(depth < place, loop) for depth, level in enumerate(levels) for loop in level.loops]
    moments: dict[tuple[int, ...], int] = {}
    times = itertools.product(*(range(loop.bound) for above, loop in loops if above and loop.dimension == "temporal"))
    moments = {time: n for n, time in enumerate(times)}
    touched: dict[tuple[int, tuple[int, ...]], set[tuple[int, ...]]] = defaultdict(set)
    for indices in itertools.product(*(range(loop.bound) for _, loop in loops)):
        at = dict.fromkeys(case.einsum.rank_vars, 0)
        for (_, loop), index in zip(loops, indices, strict=True):
            at[loop.rank_var] = at[loop.rank_var] * loop.bound + index
        if all(at[var] < extent for var, extent in case.einsum.extents):
            above = [(loop, index) for (is_above, loop), index in zip(loops, indices, strict=True) if is_above]
            time = tuple(index for loop, index in above if loop.dimension == "temporal")
            who = tuple(index for loop, index in above if loop.dimension != "temporal")
            projection = case.einsum.tensor(name).projection
            touched[moments[time], who].add(tuple(sum(scale * at[var] for var, scale in rank) for rank in projection))
    return touched


def assert_same_walk(case: Case, seen: Walk, *, link_transfers: bool) -> None:
    report = evaluate(*case, link_transfers=link_transfers)
    assert {
        (level.name, tensor): Counts(words.reads, words.fills, words.updates)
        for level in report.levels
        for tensor, words in level.tensors.items()
        if words.kept
    } == seen.counts
    assert (report.ops, report.compute_cycles) == (seen.ops, seen.cycles)
    assert {level.name: level.occupied_words for level in report.levels} == {
        level.name: seen.peak_words[level.name] for level in case.architecture.levels if not level.is_virtual
    }


@given(nests(kinds=WINDOWS))
@settings(max_examples=300)
def test_sliding_windows_are_counted_as_the_walker_extrapolates(case: Case) -> None:
    assert_same_walk(case, walk(*case, extrapolated=True), link_transfers=False)


@given(nests(kinds=ALL_KINDS))
@settings(max_examples=300)
def test_neighbours_hand_on_in_the_model_what_they_do_in_the_walk(case: Case) -> None:
    assert_same_walk(case, walk(*case, extrapolated=True, link_transfers=True), link_transfers=True)


@given(nests(kinds=ALL_KINDS, imperfect=True))
@settings(max_examples=300)
def test_imperfect_nests_are_counted_as_the_walker_executes_them(case: Case) -> None:
    # A perfect nest of windows is extrapolated, as Timeloop does; one with residuals is executed.
    assert_same_walk(case, walk(*case, extrapolated=case.mapping.is_perfect), link_transfers=False)
