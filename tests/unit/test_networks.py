"""Networks from configurations: matrices, attention, parameters."""

from __future__ import annotations

import json

import pytest

from heat_sim.errors import SpecError
from heat_sim.networks import load_network, network_from_config

MINILM = dict(
    model_type="bert", hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
    vocab_size=30522, max_position_embeddings=512, type_vocab_size=2,
)  # fmt: skip
BERT_BASE = MINILM | dict(hidden_size=768, num_hidden_layers=12, intermediate_size=3072)


def test_minilm_has_the_parameters_of_the_published_checkpoint():
    network = network_from_config(MINILM, tokens=128, name="minilm")
    per_layer = 4 * 384 * 384 + 2 * 384 * 1536
    assert network.matrix_parameters == 6 * per_layer
    # 103 tensors of the published safetensors file hold 22,713,216 numbers.
    assert network.matrix_parameters + network.other_parameters == 22_713_216


def test_bert_base_has_its_published_parameters():
    network = network_from_config(BERT_BASE, tokens=128, name="bert")
    # 109.48 million, as transformers counts BertModel of bert-base-uncased.
    assert network.matrix_parameters + network.other_parameters == 109_482_240


def test_classes_group_matrices_by_shape():
    network = network_from_config(MINILM, tokens=128, name="minilm")
    assert {shape: len(members) for shape, members in network.classes.items()} == {
        (384, 384): 6 * 4, (1536, 384): 6, (384, 1536): 6,
    }  # fmt: skip


def test_attention_ops_are_those_of_the_paper():
    # HEAT, BERT-base at 384 tokens: 32.61 G linear and 2.72 G attention multiply-accumulates.
    network = network_from_config(BERT_BASE, tokens=384, name="bert")
    linear = 384 * network.matrix_parameters
    attention = network.layers * sum(einsum.ops for einsum in network.attention)
    assert round(linear / 1e9, 2) == 32.61
    assert round(attention / 1e9, 2) == 2.72


def test_all_problems_of_a_config_are_told_together():
    config = MINILM | dict(hidden_size="wide", model_type="llama")
    with pytest.raises(SpecError, match=r"hidden_size.*got wide[\s\S]*model_type.*got llama"):
        network_from_config(config, tokens=128, name="x")


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(SpecError, match=r"hidden_size.*multiple of 7"):
        network_from_config(MINILM | dict(num_attention_heads=7), tokens=128, name="x")


def test_network_is_read_from_a_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MINILM), encoding="utf-8")
    assert load_network(tmp_path, tokens=64).tokens == 64


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
def test_broken_config_is_one_message(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(SpecError, match=r"config\.json"):
        load_network(tmp_path, tokens=64)
