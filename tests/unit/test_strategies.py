"""Strategies on a space whose figures are a formula: what they ask for, and that they keep to their rules."""

from __future__ import annotations

import math

import pytest

from heat_sim.codesign.baselines import _SHARES, tensorly_ranks
from heat_sim.codesign.encoding import Encoding
from heat_sim.codesign.pareto import hypervolume
from heat_sim.codesign.search import SearchSettings
from heat_sim.codesign.space import RANK_STEPS, design_space
from heat_sim.codesign.strategies import STRATEGIES
from heat_sim.codesign.strategy import Search
from heat_sim.codesign.strategy_names import BASELINES, EVOLUTIONARY
from heat_sim.errors import SpecError
from heat_sim.tensorize.tensorization import Tensorization
from tests.unit.test_codesign import NETWORK

SPACE = design_space(NETWORK, formats=("dense", "low-rank", "tt-matrix"))
CODE = Encoding(SPACE)
WHOLE = sum(slot.members * slot.shape[0] * slot.shape[1] for slot in SPACE.slots)


def figures(genome):
    """Parameters for EDP; a loss that falls with them, less for tensor trains."""
    share = lost = 0.0
    for slot, each in zip(SPACE.slots, SPACE.decode(genome), strict=True):
        kept = each.parameters / (slot.shape[0] * slot.shape[1])
        share += slot.members * each.parameters / WHOLE
        lost += (0.0 if each.format == "dense" else math.exp(-4 * kept)) / len(SPACE.slots)
        lost += 0.05 * (each.format == "tt-matrix")
    return (share, lost), ()


def run(name: str, **changed):
    asked, reports = [], []

    def judge(genomes):
        asked.extend(genomes)
        return [figures(genome) for genome in genomes]

    budget = dict(objectives=("edp", "loss"), constraints=0, population=20, generations=12, seed=3) | changed
    STRATEGIES[name](Search(space=SPACE, judge=judge, report=reports.append, **budget))
    return asked, reports


@pytest.mark.parametrize("name", [*EVOLUTIONARY, *BASELINES])
def test_a_strategy_asks_for_genomes_of_the_space_and_is_reproducible(name) -> None:
    asked, reports = run(name)
    for genome in asked:
        assert all(0 <= genome[variable.name] < variable.size for variable in SPACE.variables)
    assert asked == run(name)[0]
    assert [report.index for report in reports] == sorted(report.index for report in reports)


@pytest.mark.parametrize("name", EVOLUTIONARY)
def test_evolution_finds_more_than_random_genomes(name) -> None:
    volumes = {}
    for each in (name, "random"):
        asked, _ = run(each)
        volumes[each] = hypervolume([figures(genome)[0] for genome in asked], worst=(1.0, 1.0))
        assert len(asked) <= 20 * 12 + 20
    assert volumes[name] > volumes["random"]


def test_heat_uses_one_format_and_one_shape_of_each_slot_once_level_1_is_over() -> None:
    asked, _ = run("heat")
    whole_network = [
        genome for genome in asked if all(each.format != "dense" for each in SPACE.decode(genome))
    ]  # fmt: skip
    assert whole_network
    options = set()
    for genome in whole_network:
        formats = {each.format for each in SPACE.decode(genome)}
        assert len(formats) == 1
        options.add(tuple(genome[f"option{index}"] for index in range(len(SPACE.slots))))
    assert len(options) == 2  # low-rank, tt-matrix


def test_heat_wants_edp_and_loss() -> None:
    with pytest.raises(SpecError, match="strategy heat"):
        run("heat", objectives=("edp", "parameters"))


def test_uniform_costs_every_step_of_every_format() -> None:
    asked, reports = run("uniform")
    assert len(asked) % RANK_STEPS == 1  # and the dense network
    for genome in asked[1:]:
        assert len({genome[v.name] for v in SPACE.variables if v.ordered}) == 1
    assert reports[-1].evaluations == len(asked)


def test_tensorly_ranks_keep_about_the_share_that_was_asked_for() -> None:
    modes = Tensorization(out_modes=(24, 32), in_modes=(32, 24))
    for name in ("low-rank", "cp", "tt-matrix", "tucker", "tensor-ring"):
        shape = Tensorization(out_modes=(768,), in_modes=(768,)) if name == "low-rank" else modes
        assert tensorly_ranks(name, shape, 0.3) is not None
    (rank,) = tensorly_ranks("low-rank", Tensorization(out_modes=(768,), in_modes=(768,)), 0.3)
    assert 2 * 768 * rank == pytest.approx(0.3 * 768 * 768, rel=0.01)
    asked, _ = run("tensorly")
    for genome in asked[1:]:
        assert len({each.format for each in SPACE.decode(genome)}) == 1
        for slot, each in zip(SPACE.slots, SPACE.decode(genome), strict=True):
            if each.format == "low-rank":
                values = slot.rank_values[[name for name, _ in slot.options].index("low-rank")][0]
                wanted = {tensorly_ranks("low-rank", each.tensorization, share)[0] for share in _SHARES}
                assert each.ranks[0] in {min(values, key=lambda value: abs(value - rank)) for rank in wanted}
    found = {SPACE.decode(genome)[0].ranks for genome in asked[1:] if SPACE.decode(genome)[0].format == "low-rank"}
    assert len(found) > 3  # small ones and large ones


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(SpecError, match="strategy"):
        SearchSettings(strategy="nsga9")
