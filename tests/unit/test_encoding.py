"""Rows of integers: one spelling per design, and operators that keep every gene in its range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.codesign.encoding import Encoding
from heat_sim.codesign.nsga2 import _SlotCrossover, _SlotMutation, evolve, evolve_ranks
from heat_sim.codesign.space import RANK_STEPS, HardwareGene, design_space
from heat_sim.codesign.strategy import Search
from heat_sim.networks import SIZES, network_from_config

NETWORK = network_from_config(SIZES["minilm-l6"], tokens=16, name="minilm-l6")
SPACE = design_space(NETWORK, formats=("dense", "low-rank", "tt-matrix", "tucker"), per="role")
CODE = Encoding(SPACE)


def random_rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODE.sizes, size=(count, len(CODE.sizes)))


@given(st.integers(0, 10_000))
def test_rows_are_spelt_alike_exactly_if_they_mean_the_same_design(seed: int) -> None:
    rows = random_rows(2, seed)
    rows[1] = np.where(np.random.default_rng(seed).random(len(CODE.sizes)) < 0.9, rows[0], rows[1])
    spelt = CODE.canonical(rows)
    meant = [SPACE.decode(CODE.genome(row)) for row in rows]
    assert [SPACE.decode(CODE.genome(row)) for row in spelt] == meant
    assert np.array_equal(CODE.canonical(spelt), spelt)
    assert np.array_equal(spelt[0], spelt[1]) == (meant[0] == meant[1])


def test_equal_designs_are_found_in_other_spellings() -> None:
    """Without it the law above could hold by chance: dense ignores its rank genes."""
    rows = random_rows(2, 0)
    rows[1] = np.where(CODE.is_option, 0, rows[1])
    rows[0] = np.where(CODE.is_option, 0, rows[0])
    assert not np.array_equal(rows[0], rows[1])
    assert np.array_equal(*CODE.canonical(rows))


@given(st.integers(0, 10_000))
def test_children_have_slots_of_either_parent_or_blended_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = np.stack([random_rows(6, seed), random_rows(6, seed + 1)])
    children = _SlotCrossover(CODE)._do(None, parents, random_state=rng)
    assert ((children >= 0) & (children < CODE.sizes)).all()
    for slot in range(len(SPACE.slots)):
        genes = CODE.slot_of == slot
        option = genes & CODE.is_option
        for mating in range(6):
            (one, other) = (tuple(parents[k, mating, option]) for k in (0, 1))
            got = [tuple(children[k, mating, option]) for k in (0, 1)]
            assert sorted(got) == sorted([one, other])
            if one != other:  # then a slot is taken whole
                whole = {tuple(parents[k, mating, genes]) for k in (0, 1)}
                assert {tuple(children[k, mating, genes]) for k in (0, 1)} == whole


@given(st.integers(0, 10_000))
def test_mutants_stay_in_range_and_most_differ(seed: int) -> None:
    rows = random_rows(40, seed)
    mutants = _SlotMutation(CODE)._do(None, rows, random_state=np.random.default_rng(seed))
    assert ((mutants >= 0) & (mutants < CODE.sizes)).all()
    assert (mutants != rows).any(axis=1).mean() > 0.5


def test_every_gene_is_mutated_now_and_then_and_options_reach_every_value() -> None:
    rows = np.zeros((4000, len(CODE.sizes)), dtype=np.int64)
    mutants = _SlotMutation(CODE)._do(None, rows, random_state=np.random.default_rng(0))
    assert (mutants != rows).any(axis=0).all()
    for gene in CODE.is_option.nonzero()[0]:
        assert set(mutants[:, gene]) == set(range(CODE.sizes[gene]))


def test_the_search_beats_as_many_random_designs() -> None:
    """Parameters kept against a loss that only low-rank has little of: the best designs need one option everywhere."""
    dense = sum(slot.shape[0] * slot.shape[1] for slot in SPACE.slots)

    def objectives(genomes):
        found = []
        for genome in genomes:
            design = SPACE.decode(genome)
            share = sum(f.parameters for f in design) / dense
            found.append((share, (1 - share) + sum(f.format != "low-rank" for f in design)))
        return found

    def judged(genomes):
        return [(values, ()) for values in objectives(genomes)]

    asked = []
    budget = dict(objectives=("edp", "loss"), constraints=0, population=30, generations=30, seed=1)
    front = evolve(Search(space=SPACE, judge=lambda genomes: asked.extend(genomes) or judged(genomes), **budget))
    random = objectives([CODE.genome(row) for row in random_rows(len(asked), 1)])
    best = objectives(front)
    assert len(asked) <= 30 * 30
    assert len({tuple(row) for row in CODE.rows(asked)}) == len(asked)  # no design is asked for twice
    assert min(share + loss for share, loss in best) < min(share + loss for share, loss in random)
    assert any(loss < 1 for _, loss in best)
    assert evolve(Search(space=SPACE, judge=judged, **budget)) == front


def test_rank_genes_reach_from_the_least_to_the_largest_rank_that_saves() -> None:
    for slot in SPACE.slots:
        for option, (name, _) in enumerate(slot.options):
            for ranks in slot.rank_values[option]:
                assert len(ranks) == RANK_STEPS
                assert list(ranks) == sorted(ranks)
                assert name != "dense"


HARDWARE = (HardwareGene(name="GLB.depth", size=5, base=2), HardwareGene(name="PE.meshX", size=3, base=1))
WITH_HARDWARE = Encoding(replace(SPACE, hardware=HARDWARE))


def test_genes_of_the_machine_stand_last_and_mean_the_base_unless_told_otherwise() -> None:
    plain = {variable.name: 0 for variable in SPACE.variables}
    rows = WITH_HARDWARE.rows([plain, {**plain, "PE.meshX": 2}])
    assert rows[:, -2:].tolist() == [[2, 1], [2, 2]]
    assert WITH_HARDWARE.space.machine(plain) == (2, 1)
    assert WITH_HARDWARE.space.machine(WITH_HARDWARE.genome(rows[1])) == (2, 2)
    assert WITH_HARDWARE.canonical(rows).tolist() == rows.tolist()


def test_operators_move_the_machine_within_its_values_and_mix_that_of_the_parents() -> None:
    rng = np.random.default_rng(0)
    rows = WITH_HARDWARE.canonical(rng.integers(0, WITH_HARDWARE.sizes, size=(400, len(WITH_HARDWARE.sizes))))
    changed = _SlotMutation(WITH_HARDWARE)._do(None, rows, random_state=rng)
    assert (changed >= 0).all()
    assert (changed < WITH_HARDWARE.sizes).all()
    moved = (changed[:, -2:] != rows[:, -2:]).mean(axis=0)
    assert (moved > 0.05).all()
    assert (moved < 0.6).all()
    parents = np.stack([rows[:200], rows[200:]])
    children = _SlotCrossover(WITH_HARDWARE)._do(None, parents, random_state=rng)
    low, high = parents[:, :, -2:].min(axis=0), parents[:, :, -2:].max(axis=0)
    reach = np.ceil((high - low) * 0.25)  # blended children may lie a quarter beyond
    assert (children[:, :, -2:] >= np.maximum(0, low - reach)).all()
    assert (children[:, :, -2:] <= high + reach).all()
    for column in (-2, -1):
        differ = parents[0, :, column] != parents[1, :, column]
        from_first = children[0, differ, column] == parents[0, differ, column]
        assert 0.2 < from_first.mean() < 0.8


def test_heats_rank_search_leaves_the_machine_alone() -> None:
    asked = []

    def judge(genomes):
        asked.extend(genomes)
        return [((1.0, 0.5), ()) for _ in genomes]

    search = Search(
        space=WITH_HARDWARE.space, judge=judge, objectives=("edp", "loss"), constraints=0, population=8, generations=2,
        seed=0,
    )  # fmt: skip
    evolve_ranks(search, options=[1] * len(SPACE.slots), score=lambda _genome, figures: figures[0][0], first=[])
    assert {WITH_HARDWARE.space.machine(genome) for genome in asked} == {(2, 1)}
