"""Rows costed on hardware so simple that energy and delay are both the number of multiply-accumulates."""

from __future__ import annotations

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.heat_ratios import mac_growth
from heat_sim.codesign.heat_rerun import HeatRerun
from heat_sim.codesign.heat_rows import heat_row
from heat_sim.mapper.layer import Machine
from heat_sim.report.heat_table import row_json, row_table

LAYERS, WIDTH, INNER = 12, 768, 3072


@pytest.fixture(scope="module")
def rerun() -> HeatRerun:
    chip = Architecture(
        name="chip", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0
    )  # fmt: skip
    return HeatRerun(machine=Machine(architecture=chip, merged=True))


def macs(words: int, tokens: int) -> int:
    """Return those of BERT-base whose matrices of all layers have so many words at run time."""
    attention = LAYERS * 2 * tokens * tokens * WIDTH  # layers x (scores, context) x ..
    return words * tokens + attention


DENSE = LAYERS * (4 * WIDTH * WIDTH + 2 * INNER * WIDTH)
RUN_TIME = {
    # two products with a common rank, of 4 square and 2 other matrices
    "tucker": 106 * LAYERS * (4 * (WIDTH + WIDTH) + 2 * (INNER + WIDTH)),
    # likewise, but for square matrices the cores are multiplied ahead of time: 401 (768 + 768) > 768 x 768
    "cp": LAYERS * (4 * WIDTH * WIDTH + 401 * 2 * (INNER + WIDTH)),
    # with ranks as large as these the dense matrix has fewer
    "tt-matrix": DENSE,
}


@pytest.mark.parametrize("task", ["SQuAD-v1.1", "SST-2"])
@pytest.mark.parametrize("form", RUN_TIME)
def test_gain_is_that_of_multiply_accumulates_squared(rerun: HeatRerun, form: str, task) -> None:
    published = heat_row("bert-base", task, form, "a1")
    row = rerun.row(published)
    tokens = published.tokens
    assert row.dense.cycles == row.dense.energy_pj == macs(DENSE, tokens)
    assert row.cost.cycles == row.cost.energy_pj == macs(RUN_TIME[form], tokens)
    assert row.edp_gain == pytest.approx((macs(DENSE, tokens) / macs(RUN_TIME[form], tokens)) ** 2)
    assert row.edp_gain == pytest.approx(row.energy_gain * row.delay_gain)
    assert row.over_published == pytest.approx(row.edp_gain / published.edp_gain)
    assert row.cost.matrix_parameters == RUN_TIME[form]


def test_low_rank_of_the_size_of_a_cp_row(rerun: HeatRerun) -> None:
    row = rerun.row(heat_row("bert-base", "SQuAD-v1.1", "cp", "a1"))
    per_rank = LAYERS * (4 * (WIDTH + WIDTH) + 2 * (INNER + WIDTH))
    rank = round((48.88e6 - 24_547_584) / per_rank)  # all but the matrices: embeddings, biases, norms, pooler
    assert row.two_factors.cycles == macs(rank * per_rank, 384)
    assert row.two_factor_gain == pytest.approx((macs(DENSE, 384) / macs(rank * per_rank, 384)) ** 2)
    assert row.two_factor_gain > row.edp_gain


def test_distilbert_has_the_ranks_and_the_gain_of_bert(rerun: HeatRerun) -> None:
    of_bert = rerun.row(heat_row("bert-base", "SST-2", "tucker", "a1"))
    row = rerun.row(heat_row("distilbert-base", "SST-2", "tucker", "a1"))
    assert row.rank == of_bert.rank == 106
    assert row.edp_gain == of_bert.edp_gain
    assert row.dense.edp_pj_cycles == of_bert.dense.edp_pj_cycles / 4  # half the energy, half the time
    assert row.published.edp_gain == 1.30 / 0.17  # its own


def test_ratios_of_hardware_without_memory_costs(rerun: HeatRerun) -> None:
    ratios = rerun.ratios()
    assert ratios.edp == pytest.approx(mac_growth() ** 2)
    assert ratios.distilbert == 0.25
    assert ratios.short_share == pytest.approx(0, abs=1e-12)  # nothing is paid for weights alone
    assert ratios.long_share == pytest.approx(0, abs=1e-12)


def test_table_and_json_say_the_same(rerun: HeatRerun) -> None:
    row = rerun.row(heat_row("bert-base", "SQuAD-v1.1", "tucker", "a1"))
    *_, line = row_table([row]).splitlines()
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["Tucker a1", "42.14", "42.13", "106"]
    assert cells[5:7] == ["-4.75", "6.99x"]
    assert cells[7] == f"{row.edp_gain:.2f}x"
    assert cells[-2] == f"{row.edp_gain / (34.31 / 4.91):.2f}"
    assert cells[-1] == f"{row.two_factor_gain:.2f}x"
    values = row_json(row)
    assert (values["row"], values["rank"], values["edp_gain"]) == ("tucker-a1", 106, row.edp_gain)
