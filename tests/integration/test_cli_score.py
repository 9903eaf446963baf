"""`heat-sim score` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heat_sim.networks import load_network
from heat_sim.tensorize.design import Design, LayerDesign, dump_design
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization

CONFIG = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "vocab_size": 10, "max_position_embeddings": 16, "type_vocab_size": 2,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def test_table_and_json_agree(run, model, tmp_path) -> None:
    target = tmp_path / "out.json"
    code, out, err = run(
        "score", "--arch", "edge_16x16", "--model", model, "--tokens", 8, "--vector-unit", "1.0,16", "--json", target
    )
    assert code == 0, err
    found = json.loads(target.read_text(encoding="utf-8"))
    assert found["optimal"]
    assert f"{found['cycles']:,} cycles" in out
    assert "proven optimal under the rules" in out
    assert sum(row["cycles"] for row in found["breakdown"]) == found["cycles"]
    assert found["edp_pJ_cycles"] == found["energy_pJ"] * found["cycles"]
    assert {row["what"].split("(")[0].split("= ")[-1] for row in found["breakdown"]} >= {"softmax", "gelu"}


def test_without_a_vector_unit_it_says_what_is_left_out(run, model) -> None:
    code, out, _ = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8)
    assert code == 0
    assert "softmax and gelu left out" in out


def test_a_design_is_costed_and_another_model_is_refused(run, model, tmp_path) -> None:
    network = load_network(model, tokens=8)
    layers = []
    for matrix in network.matrices:
        factorization = Factorization(
            format="low-rank", ranks=(4,),
            tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
        )  # fmt: skip
        layers.append((matrix.name, LayerDesign(factorization=factorization, tree=(("X", "G2"), "G1"))))
    design = tmp_path / "d.yaml"
    design.write_text(
        dump_design(Design(id="d", model="tiny", tokens=8, architecture="edge_16x16", layers=tuple(layers))),
        encoding="utf-8",
    )
    edps = []
    for words in ((), ("--design", design)):
        code, out, err = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8, *words, "--json", "-")
        assert code == 0, err
        edps.append(json.loads(out)["edp_pJ_cycles"])
    assert edps[1] < edps[0]
    code, _, err = run("score", "--arch", "edge_16x16", "--model", "bert-base", "--design", design)
    assert code == 2
    assert "a weight matrix of the network is not in the design" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--vector-unit", "1.0"), "--vector-unit: not two numbers (got 1.0"),
        (("--vector-unit", "1.0,0"), "--vector-unit: not two numbers"),
        (("--model", "no-such-folder"), "no-such-folder"),
        (("--design", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_refusals_are_one_message_and_exit_code_2(run, words, message) -> None:
    code, _, err = run("score", "--arch", "edge_16x16", *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
