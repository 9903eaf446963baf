"""HEAT's published rows: the arithmetic on them that does not depend on any hardware."""

from __future__ import annotations

from collections import Counter

import pytest

from heat_sim.codesign.heat_ratios import fixed_share, mac_growth, macs, published_ratios
from heat_sim.codesign.heat_rows import HEAT_ROWS, TOKENS, dense_row, encoder_compression, heat_row
from heat_sim.networks import SIZES, count_parameters, network_from_config

SETTINGS = [(form, setting) for setting in ("a1", "a2", "a3") for form in ("tt-matrix", "tucker", "cp")]


def test_nine_rows_of_each_network_on_each_task() -> None:
    assert Counter((row.network, row.task) for row in HEAT_ROWS) == {
        (network, task): 9 for network in ("bert-base", "distilbert-base") for task in TOKENS
    }
    assert {row.tokens for row in HEAT_ROWS} == {128, 384}


# EDP gain, change of F1 and compression of the encoder, derived by hand from table 1, row by row.
DERIVED = [
    (1.37, -2.15, 4.96), (6.99, -4.75, 4.81), (5.73, -1.05, 3.48),
    (1.19, -1.45, 3.87), (4.61, -2.65, 3.21), (3.81, -0.37, 2.46),
    (1.05, -0.80, 2.81), (3.30, -1.81, 2.17), (2.37, -0.25, 1.71),
]  # fmt: skip


@pytest.mark.parametrize(("which", "derived"), list(zip(SETTINGS, DERIVED, strict=True)))
def test_gain_loss_and_compression_follow_from_table_1(which, derived) -> None:
    row = heat_row("bert-base", "SQuAD-v1.1", *which)
    network = network_from_config(SIZES["bert-base"], name="bert-base")
    encoder = count_parameters(network).encoder
    found = row.edp_gain, row.metric_change, encoder_compression(row, encoder_parameters=encoder)
    assert tuple(round(each, 2) for each in found) == derived


def test_headlines_of_tables_2_and_3() -> None:
    sst2 = heat_row("bert-base", "SST-2", "cp", "a1")
    assert (round(sst2.edp_gain, 1), round(sst2.metric_change, 2)) == (10.4, -0.34)
    distilbert = heat_row("distilbert-base", "SQuAD-v1.1", "cp", "a1")
    assert (round(distilbert.edp_gain, 2), round(distilbert.metric_change, 2)) == (5.72, 0.19)
    bert = dense_row("bert-base", "SQuAD-v1.1")
    assert round(bert.edp_uj_s / distilbert.edp_uj_s, 1) == 22.9
    worse_than_dense = [row.name for row in HEAT_ROWS if row.network == "bert-base" and row.edp_gain < 1]
    assert worse_than_dense == ["tt-matrix-a2", "tt-matrix-a3"]  # on SST-2


def test_what_is_not_compressed_is_embeddings_and_pooler() -> None:
    network = network_from_config(SIZES["bert-base"], name="bert-base")
    count = count_parameters(network)
    total = dense_row("bert-base", "SQuAD-v1.1").parameters_millions
    assert total is not None
    rest = 1e6 * total - count.encoder
    assert count.embeddings + count.head == pytest.approx(rest, abs=0.02e6)  # to two decimals
    assert count.embeddings == (30522 + 512 + 2) * 768  # words, positions, types
    assert count.head == 768 * 768 + 768
    distilbert = count_parameters(network_from_config(SIZES["distilbert-base"], name="distilbert-base"))
    assert distilbert.embeddings == (30522 + 512) * 768
    assert (2 * distilbert.encoder, distilbert.head) == (count.encoder + 2 * 768, 0)  # both count the embeddings' norm


def test_no_parameters_of_distilbert_were_published() -> None:
    with pytest.raises(KeyError, match="no published parameters of distilbert-base cp-a1"):
        encoder_compression(heat_row("distilbert-base", "SST-2", "cp", "a1"), encoder_parameters=1)


def test_multiply_accumulates() -> None:
    for tokens in (128, 384):
        network = network_from_config(SIZES["bert-base"], tokens=tokens, name="bert-base")
        linear = 12 * (4 * 768 * 768 + 2 * 768 * 3072) * tokens  # layers x matrices x tokens
        assert macs(network) == linear + 12 * 2 * 12 * tokens * tokens * 64  # layers x (scores, context) x heads x ..
    assert mac_growth() == pytest.approx(35.33 / 11.17, rel=1e-3)


def test_share_is_what_makes_up_the_energy_ratio() -> None:
    fixed, growing, growth = 3.0, 5.0, 3.16
    ratio = (fixed + growth * growing) / (fixed + growing)
    assert fixed_share(ratio, growth) == pytest.approx(fixed / (fixed + growing))
    low, high = published_ratios()
    assert low.edp == high.edp == pytest.approx(34.31 / 5.21)
    assert low.distilbert == pytest.approx(8.58 / 34.31)
    # 384 tokens: the same energy over the energy at 384, which is the energy ratio times as much
    assert low.long_share == pytest.approx(low.short_share / (34.31 / 5.21 / 3))
