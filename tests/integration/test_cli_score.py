"""`heat-sim score` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


PARAMETERS = {
    "embeddings": (10 + 16 + 2) * 32,  # words, positions, types
    # per layer: attention, feed-forward, biases of both, two norms; and the norm of the embeddings
    "encoder": 2 * (4 * 32 * 32 + 2 * 32 * 64 + 4 * 32 + (64 + 32) + 2 * 2 * 32) + 2 * 32,
    "head": 32 * 32 + 32,  # the pooler
}


def test_parameters_are_counted_by_place(run, model) -> None:
    code, out, err = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8, "--no-fuse")
    assert code == 0, err
    numbers = " + ".join(f"{number:,} {place}" for place, number in PARAMETERS.items())
    assert f"parameters: {numbers} = {sum(PARAMETERS.values()):,}\n" in out
    code, out, err = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8, "--no-fuse", "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert found["parameters"] == PARAMETERS | {"total": sum(PARAMETERS.values())}
    assert "compressed_embedding" not in found


def test_the_word_embedding_is_counted_as_a_tensor_train(run, tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"vocab_size": 119}), encoding="utf-8")
    words = ("score", "--arch", "edge_16x16", "--model", path, "--tokens", 8, "--no-fuse", "--embedding-ranks", 3)
    code, out, err = run(*words)
    assert code == 0, err
    train = 4 * 4 * 3 + 3 * 5 * 4 * 3 + 3 * 6 * 2  # 120 = 4 * 5 * 6 rows, one of them padding; 32 = 4 * 4 * 2 columns
    dense = sum(PARAMETERS.values()) + (119 - 10) * 32
    assert (
        f"= {dense:,}; with embeddings.word_embeddings as tt-matrix (4*5*6)x(4*4*2)-1,0, ranks (1, 3, 3, 1): "
        f"{train:,} instead of {119 * 32:,}, {dense - 119 * 32 + train:,} in all"
    ) in out
    code, out, err = run(*words, "--json", "-")
    assert code == 0, err
    found = json.loads(out)
    assert found["parameters"]["total"] == dense
    factorization = Factorization.from_json(found["compressed_embedding"].pop("factorization"))
    assert (factorization.out_features, factorization.in_features, factorization.parameters) == (119, 32, train)
    assert found["compressed_embedding"] == {
        "table": "embeddings.word_embeddings", "parameters": train, "total": dense - 119 * 32 + train
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG, "model config, word embedding: cannot be split (got 10x32, expected rows and columns that are"),
        (
            {"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 64, "image_size": 8, "patch_size": 4},
            "model config, word embedding: there is none (got embeddings.position_embeddings, expected one of",
        ),
    ],
)  # fmt: skip
def test_embeddings_that_cannot_be_compressed_are_refused(run, tmp_path, config, message) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    code, _, err = run("score", "--arch", "edge_16x16", "--model", path, "--embedding-ranks", 2)
    assert code == 2
    assert message in " ".join(err.split())


def test_without_a_vector_unit_it_says_what_is_left_out(run, model) -> None:
    code, out, _ = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8)
    assert code == 0
    assert "softmax and gelu left out" in out


@pytest.mark.parametrize(
    ("config", "tokens", "functions"),
    [
        (
            {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": 10},
            128, {"softmax", "silu", "mul"},
        ),
        (
            {"model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 64, "image_size": 8, "patch_size": 4},
            5, {"softmax", "gelu"},
        ),
    ],
)  # fmt: skip
def test_decoders_and_image_models_are_costed_with_their_functions(run, tmp_path, config, tokens, functions) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code, out, err = run(
        "score", "--arch", "edge_16x16", "--model", tmp_path, "--vector-unit", "1.0,16", "--no-fuse", "--json", "-"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["tokens"] == tokens
    rows = [row["what"] for row in found["breakdown"] if row["ops"] == 0 and "(" in row["what"]]
    assert {row.split("(")[0].split("= ")[-1] for row in rows} == functions


def test_a_known_size_is_taken_by_its_name(run) -> None:
    code, out, err = run("score", "--arch", "edge_16x16", "--model", "minilm-l6", "--tokens", 4, "--no-fuse")
    assert code == 0, err
    assert "minilm-l6, 4 tokens on edge_16x16" in out


@pytest.mark.parametrize("model", ["bert-base-uncased", "google/vit-base-patch16-224"])
def test_a_model_on_the_hub_without_a_network_is_one_message(model, tmp_path) -> None:
    pytest.importorskip("transformers")
    command = "import sys; from heat_sim.cli import main; sys.argv = ['heat-sim', *sys.argv[1:]]; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "score", "--arch", "edge_16x16", "--model", model],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    message = " ".join(done.stderr.split())
    assert f"model {model}: not found (got no such path; the hub: " in message
    assert "expected a folder with config.json" in message
    assert message.count("expected") == 1
    assert "Traceback" not in message


def test_a_model_on_the_hub_is_read_as_transformers_gives_it(run, monkeypatch) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**CONFIG)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda name: {"someone/tiny": config}[name])
    code, out, err = run("score", "--arch", "edge_16x16", "--model", "someone/tiny", "--tokens", 8, "--no-fuse")
    assert code == 0, err
    assert "tiny, 8 tokens on edge_16x16" in out


def test_a_model_on_the_hub_without_transformers_is_one_message(run, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run("score", "--arch", "edge_16x16", "--model", "bert-base-uncased")
    assert code == 2
    assert "no such path, and transformers is not installed" in " ".join(err.split())


def test_a_design_is_costed_and_another_model_is_refused(run, model, tmp_path) -> None:
    network = load_network(model, tokens=8)
    layers = []
    for matrix in network.matrices:
        factorization = Factorization(
            format="low-rank", ranks=(4,),
            tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
        )  # fmt: skip
        layers.append((matrix.name, LayerDesign(factorization=factorization, trees=((("X", "G2"), "G1"),))))
    design = tmp_path / "d.yaml"
    design.write_text(
        dump_design(Design(id="d", model="tiny", tokens=8, architecture="edge_16x16", layers=tuple(layers))),
        encoding="utf-8",
    )
    edps, encoders = [], []
    for words in ((), ("--design", design)):
        code, out, err = run("score", "--arch", "edge_16x16", "--model", model, "--tokens", 8, *words, "--json", "-")
        assert code == 0, err
        edps.append(json.loads(out)["edp_pJ_cycles"])
        encoders.append(json.loads(out)["parameters"]["encoder"])
    assert edps[1] < edps[0]
    dense, low_rank = 4 * 32 * 32 + 2 * 32 * 64, 4 * 4 * (32 + 32) + 2 * 4 * (32 + 64)  # per layer, rank 4
    assert encoders == [PARAMETERS["encoder"], PARAMETERS["encoder"] - 2 * (dense - low_rank)]
    code, _, err = run("score", "--arch", "edge_16x16", "--model", "bert-base", "--design", design)
    assert code == 2
    assert "a weight matrix of the network is not in the design" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--vector-unit", "1.0"), "--vector-unit: not two numbers (got 1.0"),
        (("--vector-unit", "1.0,0"), "--vector-unit: not two numbers"),
        (("--model", "no/such/folder"), "no/such/folder: not a readable config.json"),
        (("--model", "no-such.json"), "no-such.json: not a readable config.json"),
        (("--design", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_refusals_are_one_message_and_exit_code_2(run, words, message) -> None:
    code, _, err = run("score", "--arch", "edge_16x16", *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
