"""AccelForge's energies and latencies of matmuls fused and not, from its mappings and from searches of our own.

Published figures, designs, mappings and rules are in ``tests/published/accelforge``; docs/validation.md has the tables.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from heat_sim.mapper.result import MappedEinsum
from heat_sim.model import evaluate
from tests.published.accelforge.cases import CHAINS, HERTZ, JOULE, MATMULS, Chain, mappings_of, spec_of
from tests.published.accelforge.rules import figures_of, leaves
from tests.published.accelforge.search import plain, recosted, under_its_rules
from tests.published.accelforge.table import HEADERS, markdown, rows

ROOT = Path(__file__).parents[2]
each_chain = pytest.mark.parametrize("chain", CHAINS, ids=str)
fused_or_not = pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])


@each_chain
@fused_or_not
def test_accelforge_mappings_cost_what_it_published(chain: Chain, fused: bool) -> None:
    """Its mappings, our counts, its rules: actions are equal, energies and latencies agree to 1e-6, one by one."""
    published = chain.published(fused=fused)
    mappings = mappings_of(chain, fused=fused)
    assert len(mappings) == len(published["actions"])
    energy = latency = 0.0
    for (einsum, mapping), label in zip(mappings, published["actions"], strict=True):
        figures = figures_of(chain.design, einsum, mapping)
        theirs = {component: dict(each) for component, each in published["energy_per_action"][label].items()}
        theirs["leak"] = {
            "leak": sum(each.pop("leak", 0.0) for each in theirs.values())
        }  # our designs leak in one place
        seconds = published["latency_per_component"][label]
        assert leaves(figures.actions) == leaves(published["actions"][label])
        assert leaves(figures.joule) == pytest.approx(leaves(theirs), rel=1e-6, abs=0)
        assert leaves(figures.seconds) == pytest.approx(leaves(seconds), rel=1e-6, abs=0)
        energy += figures.energy
        latency += figures.latency
    assert energy == pytest.approx(published["energy"], rel=1e-6, abs=0)
    assert latency == pytest.approx(published["latency"], rel=1e-6, abs=0)


@each_chain
@fused_or_not
def test_without_accelforge_rules_its_mappings_cost_what_the_model_says(chain: Chain, fused: bool) -> None:
    """So the rules are the whole difference between the model and the published figures."""
    for einsum, mapping in mappings_of(chain, fused=fused):
        report = evaluate(einsum, spec_of(chain.design).architecture, mapping, link_transfers=False)
        figures = figures_of(chain.design, einsum, mapping, rules=())
        assert figures.energy == pytest.approx(report.energy_pj * JOULE[chain.design], rel=1e-9, abs=0)
        assert figures.latency == report.cycles / HERTZ[chain.design]


@each_chain
def test_map_cascade_under_accelforge_rules_finds_what_accelforge_found(chain: Chain) -> None:
    """The least EDP, with AccelForge's rules folded into energies and constraints: fused and not, to 1e-6."""
    for fused, cost in under_its_rules(chain).items():
        published = chain.published(fused=fused)
        assert cost.energy == pytest.approx(published["energy"], rel=1e-6, abs=0)
        assert cost.latency == pytest.approx(published["latency"], rel=1e-6, abs=0)


@each_chain
def test_map_cascade_is_never_worse_than_accelforge_mappings(chain: Chain) -> None:
    """Both costed by our model alone: the EDP of what it proves best is at most that of AccelForge's mappings."""
    result = plain(chain)
    assert result.optimal
    for fused, ours in ((False, result.unfused), (True, result.best)):
        architecture = spec_of(chain.design).architecture
        reports = [
            evaluate(einsum, architecture, mapping, link_transfers=False)
            for einsum, mapping in mappings_of(chain, fused=fused)
        ]
        theirs = sum(report.energy_pj for report in reports) * sum(report.cycles for report in reports)
        assert ours.energy_pj * ours.cycles <= theirs * (1 + 1e-9)


@pytest.mark.parametrize("workload", MATMULS)
def test_on_tpu_v4i_multicast_lets_weights_bypass_the_global_buffer(workload: str) -> None:
    """What map_cascade finds there reads weights from MainMemory for all cores at once; unicast makes that worse."""
    chain = Chain("tpu_v4i", workload)
    result = plain(chain)
    for fused, best in ((False, result.unfused), (True, result.best)):
        published = chain.published(fused=fused)
        assert recosted(chain.design, best).edp > published["energy"] * published["latency"]
        for mapped in (each for group in best.groups for each in group.mapped):
            assert isinstance(mapped, MappedEinsum)
            (buffer,) = (level for level in mapped.mapping.levels if level.level == "GlobalBuffer")
            assert "Weights" not in buffer.keep
            assert [(loop.rank_var, loop.bound) for loop in buffer.spatial] == [("m", 4)]


@each_chain
def test_where_map_cascade_beats_accelforge_at_its_charges_it_breaks_order_or_min_usage(chain: Chain) -> None:
    """simba: PEs lie idle. eyeriss: weights stay in their scratchpad while inputs are refilled for more rows."""
    result = plain(chain)
    for fused, best in ((False, result.unfused), (True, result.best)):
        published = chain.published(fused=fused)
        if recosted(chain.design, best).edp >= published["energy"] * published["latency"] * (1 - 1e-6):
            continue
        for mapped in (each for group in best.groups for each in group.mapped):
            assert isinstance(mapped, MappedEinsum)
            levels = {level.level: level for level in mapped.mapping.levels}
            if chain.design == "simba":
                assert math.prod(loop.bound for loop in levels["GlobalBuffer"].spatial) < 16
            else:
                assert chain.design == "eyeriss"
                above = [*levels["GlobalBuffer"].temporal, *levels["InputScratchpad"].temporal]
                assert above[-1].rank_var not in mapped.einsum.tensor("Weights").rank_vars


@each_chain
def test_the_document_has_the_rows_that_the_command_prints(chain: Chain) -> None:
    """docs/validation.md: a row that differs is pasted anew from ``python -m tests.published.accelforge.table``."""
    lines = set((ROOT / "docs" / "validation.md").read_text(encoding="utf-8").splitlines())
    assert {markdown(header) for header in HEADERS} <= lines
    assert {markdown(row) for both in rows(chain) for row in both} <= lines
