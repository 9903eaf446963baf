"""Stacked queries, keys and values: the network, its weights and moments, and that nothing else changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heat_sim.codesign.joint import one_input, rows, stacked, stacked_network, unrelated
from heat_sim.networks import SIZES, network_from_config

BERT = network_from_config(SIZES["bert-base"], tokens=128, name="bert-base")


def test_stacking_keeps_parameters_layers_and_all_other_matrices() -> None:
    joint = stacked_network(BERT)
    assert joint.network.matrix_parameters == BERT.matrix_parameters
    assert len(joint.groups) == BERT.layers
    inside = {name for members in joint.groups.values() for name in members}
    assert [m for m in joint.network.matrices if m.name not in joint.groups] == [
        m for m in BERT.matrices if m.name not in inside
    ]
    assert [m.layer for m in joint.network.matrices] == sorted(m.layer for m in joint.network.matrices)


def test_keys_and_values_of_fewer_heads_are_left_alone() -> None:
    network = network_from_config(
        dict(model_type="llama", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=96, vocab_size=50, max_position_embeddings=32),
        tokens=16, name="llama",
    )  # fmt: skip
    joint = stacked_network(network)
    assert joint.groups == {}
    assert joint.network == network


def test_a_matrix_that_is_stacked_already_is_left_alone() -> None:
    network = network_from_config(SIZES["gpt2"], tokens=16, name="gpt2")
    assert stacked_network(network).network == dataclasses.replace(network)


def test_the_stacked_error_is_the_sum_of_the_members() -> None:
    rng = np.random.default_rng(0)
    names = ("q", "k", "v")
    groups = {"qkv": names}
    weights = {name: rng.standard_normal((3, 4)) for name in names}
    lost = {name: rng.standard_normal((3, 4)) for name in names}
    moment = np.cov(rng.standard_normal((4, 30)))
    gradients = {name: np.cov(rng.standard_normal((3, 30))) for name in names}

    def square(error, inputs, outputs):
        return float(np.trace(outputs @ error @ inputs @ error.T))

    moments = dict.fromkeys(names, moment)
    whole = square(
        stacked(groups, lost, together=rows)["qkv"], stacked(groups, moments, together=one_input)["qkv"],
        stacked(groups, gradients, together=unrelated)["qkv"],
    )  # fmt: skip
    assert whole == pytest.approx(sum(square(lost[name], moment, gradients[name]) for name in names))
    assert stacked(groups, weights, together=rows)["qkv"].shape == (9, 4)
    assert stacked(groups, {}, together=rows) == {}
