"""Exported folders, read by transformers in a process where heat_sim cannot be imported."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoTokenizer, BertConfig, BertModel  # noqa: E402

from heat_sim.distill.embedding import compress_embedding  # noqa: E402
from heat_sim.distill.export import modeling_heat_sim  # noqa: E402
from heat_sim.distill.export.hugging_face import export_to_hugging_face  # noqa: E402
from heat_sim.distill.to_dense import to_dense  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.tensorize import project  # noqa: E402
from heat_sim.tensorize.design import Design  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402
from tests.tiny_encoder import tiny_pretrained  # noqa: E402
from tests.unit.test_distill_to_dense import (  # noqa: E402
    JOINT,
    STUDENTS,
    make_student,
    random_model,
    student_design,
    tiny_config,
)

READER = """
import json, sys, warnings
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "heat_sim":
            raise ImportError("heat_sim is not installed here")
sys.meta_path.insert(0, Absent())
warnings.simplefilter("ignore")
import torch, transformers
transformers.utils.logging.disable_progress_bar()
root = sys.argv[1]
for name, auto_class in json.loads(sys.argv[2]):
    model = getattr(transformers, auto_class).from_pretrained(f"{root}/{name}", trust_remote_code=True)
    assert not model.training
    inputs = torch.load(f"{root}/{name}.inputs")
    torch.save([output.detach() for output in model(**inputs).to_tuple()], f"{root}/{name}.outputs")
    if name == sys.argv[3]:
        model.save_pretrained(f"{root}/again")
        model = getattr(transformers, auto_class).from_pretrained(f"{root}/again", trust_remote_code=True)
        torch.save([output.detach() for output in model(**inputs).to_tuple()], f"{root}/again.outputs")
        made = getattr(transformers, auto_class).from_config(model.config, trust_remote_code=True)
        assert all(parameter.isfinite().all() and parameter.std() < 1 for parameter in made.parameters())
        for where in (name, "again"):
            try:
                getattr(transformers, auto_class).from_pretrained(f"{root}/{where}", trust_remote_code=False)
            except ValueError as error:
                assert "trust_remote_code=True" in str(error), error
            else:
                raise AssertionError("a stock model with random matrices")
        from transformers import AutoTokenizer
        assert AutoTokenizer.from_pretrained(f"{root}/{name}")("good1 bad2")["input_ids"]
try:
    import heat_sim
except ImportError:
    pass
else:
    raise AssertionError("heat_sim was there all the time")
"""

HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering")
CLASSES = tuple(f"{family}For{head}" for family in ("Bert", "Roberta", "DistilBert") for head in HEADS)


def config_of(class_name: str) -> Any:
    """Return a tiny configuration; RoBERTa's padding is token 1, and its places are counted from 2."""
    labels = 2 if class_name.endswith("QuestionAnswering") else 3
    if class_name.startswith("Bert"):
        return BertConfig(**tiny_config(num_labels=labels))
    if class_name.startswith("Roberta"):
        return transformers.RobertaConfig(**tiny_config(num_labels=labels, type_vocab_size=1, pad_token_id=1))
    if class_name.startswith("DistilBert"):
        return transformers.DistilBertConfig(
            dim=16, n_layers=2, n_heads=2, hidden_dim=24, vocab_size=40, max_position_embeddings=32, num_labels=labels,
            initializer_range=0.3,
        )  # fmt: skip
    return transformers.ViTConfig(**tiny_config(num_labels=labels, image_size=8, patch_size=4))


def inputs_of(student: Any, *, batch: int = 3, tokens: int = 7) -> dict[str, torch.Tensor]:
    """Return random inputs; the first text is shorter than the others."""
    rng = np.random.default_rng(9)
    if student.config.model_type == "vit":
        return {"pixel_values": torch.tensor(rng.normal(size=(batch, 3, 8, 8)), dtype=torch.float32)}
    ids = torch.tensor(rng.integers(2, 40, size=(batch, tokens)))
    mask = torch.ones_like(ids)
    if tokens > 1:
        ids[0, -1] = student.config.pad_token_id
        mask[0, -1] = 0
    return {"input_ids": ids, "attention_mask": mask}


def student_of(class_name: str, kind: str) -> tuple[Any, Design]:
    model = random_model(getattr(transformers, class_name), config_of(class_name))
    design = student_design(model, kind)
    return make_student(model, design), design


@dataclass(frozen=True)
class Case:
    name: str
    class_name: str
    kind: str

    @property
    def auto_class(self) -> str:
        return f"AutoModelFor{self.class_name.partition('For')[2]}"


CASES = (
    *(Case(f"bert-{kind}", "BertForSequenceClassification", kind) for kind in STUDENTS),
    *(Case(name, name, JOINT) for name in (*CLASSES, "ViTForImageClassification")),
)
WITH_TOKENIZER = f"bert-{JOINT}"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of exported folders, the student's outputs beside each and, after the reader, its own."""
    root = tmp_path_factory.mktemp("exported")
    tokenizer = AutoTokenizer.from_pretrained(tiny_pretrained(root / "pretrained"))
    for case in CASES:
        student, design = student_of(case.class_name, case.kind)
        export_to_hugging_face(
            student, root / case.name, design=design, edp_gain=12.34,
            processor=tokenizer if case.name == WITH_TOKENIZER else None,
        )  # fmt: skip
        inputs = inputs_of(student)
        torch.save(inputs, root / f"{case.name}.inputs")
        with torch.inference_mode():
            torch.save([output.clone() for output in student(**inputs).to_tuple()], root / f"{case.name}.expected")
    names = json.dumps([(case.name, case.auto_class) for case in CASES])
    done = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(root), names, WITH_TOKENIZER], cwd=root, capture_output=True,
        env={**os.environ, "HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "1"}, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MISSING" not in done.stderr, done.stderr
    assert "UNEXPECTED" not in done.stderr, done.stderr
    return root


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_folder_is_read_without_heat_sim_and_computes_what_the_student_does(case: Case, root: Path) -> None:
    got, expected = (torch.load(root / f"{case.name}.{what}") for what in ("outputs", "expected"))
    assert len(got) == len(expected) == (2 if case.class_name.endswith("Answering") else 1)
    for one, other in zip(got, expected, strict=True):
        assert float(other.std()) > 0.01  # no constant that any weights would give
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_what_is_read_can_be_written_and_read_again(root: Path) -> None:
    (got,), (expected,) = (torch.load(root / name) for name in ("again.outputs", f"{WITH_TOKENIZER}.expected"))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_file_holds_every_parameter_of_the_student_once(case: Case, root: Path) -> None:
    student, _ = student_of(case.class_name, case.kind)
    weights = load_file(root / case.name / "model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == student.num_parameters()


def test_the_configuration_says_all_about_the_matrices(root: Path) -> None:
    config = json.loads((root / WITH_TOKENIZER / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "heat_sim-bert"
    assert config["auto_map"]["AutoModelForSequenceClassification"].startswith("modeling_heat_sim.")
    joint, *others = config["heat_sim"]["matrices"]
    layer = "bert.encoder.layer"
    assert joint["modules"] == [f"{layer}.0.attention.self.{role}" for role in ("query", "key", "value")]
    assert (joint["out_features"], joint["out_modes"], joint["padding"]) == (48, [6, 9], [6, 0])
    assert joint["one_input"]
    assert joint["cores"] == [["G1", [6, 4, 5]], ["G2", [5, 9, 4]]]
    ups = next(entry for entry in others if len(entry["modules"]) > 1)
    assert ups["modules"] == [f"{layer}.{place}.intermediate.dense" for place in (1, 0)]  # the lender is the first
    assert ups["lent"] == ["G2"]
    query = next(entry for entry in others if entry["modules"] == [f"{layer}.1.attention.self.query"])
    assert query["terms"] == [
        [
            {"equation": "ab,cb->ac", "inputs": ["X", "G2"], "output": "T1"},
            {"equation": "ac,bc->ab", "inputs": ["T1", "G1"], "output": "Y"},
        ]
    ]
    listed = [name for entry in config["heat_sim"]["matrices"] for name in entry["modules"]]
    assert len(listed) == len(set(listed)) == 11  # of 12, one of which stays dense


def test_the_model_card_shows_how_to_load_it_and_what_it_is(root: Path) -> None:
    text = (root / WITH_TOKENIZER / "README.md").read_text(encoding="utf-8")
    assert 'AutoModelForSequenceClassification.from_pretrained("FOLDER", trust_remote_code=True)' in text
    assert "12.3 times less energy-delay product" in text
    # Query, key and value of 16 x 16: 6*4*5 + 5*9*4 = 300 of 768; two of 24 x 16: 2 * 24*3 + 3*16 = 192 of 768.
    assert "| tt-matrix | (6,9)x(4,4) | 1, 5, 1 | 300 | 39.1 % |" in text
    assert "| low-rank | (24)x(16) | 3 | 192 | 25.0 % |" in text
    assert str(root) not in text


def test_the_copied_code_needs_torch_and_transformers_alone(root: Path) -> None:
    source = (root / WITH_TOKENIZER / "modeling_heat_sim.py").read_text(encoding="utf-8")
    assert source == Path(modeling_heat_sim.__file__).read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert outside == {"torch", "transformers"}


def test_the_exported_product_of_joint_matrices_is_computed_once_and_never_stale() -> None:
    steps = [
        {"equation": "ab,cb->ac", "inputs": ["X", "G2"], "output": "T1"},
        {"equation": "ab,cb->ac", "inputs": ["T1", "G1"], "output": "Y"},
    ]
    entry = {"modules": ["q", "k", "v"], "cores": [["G1", [12, 3]], ["G2", [3, 8]]], "in_modes": [8],
             "padding": [0, 0], "out_features": 12, "lent": [], "terms": [steps]}  # fmt: skip
    product = modeling_heat_sim.JointProduct(entry)
    calls: list[None] = []
    product.register_forward_hook(lambda *_: calls.append(None))
    members = [modeling_heat_sim.JointMember(product, place=place, bias=None) for place in range(3)]

    def check(place: int, x: torch.Tensor) -> None:
        weight = (product.cores["G1"] @ product.cores["G2"])[4 * place : 4 * place + 4]
        torch.testing.assert_close(members[place](x), x @ weight.T, rtol=1e-5, atol=1e-7)

    x = torch.ones(2, 8)
    for place in range(3):
        check(place, x)
    assert len(calls) == 1
    assert product._kept is None
    check(0, x)
    x.mul_(2)
    check(1, x)  # the input has changed
    with torch.no_grad():
        product.cores["G2"].mul_(3)
    check(2, x)  # a core has changed
    check(2, x)  # this member has read it
    check(1, x.clone())  # another tensor
    assert len(calls) == 6


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    student, design = student_of("BertForSequenceClassification", "low-rank")
    with pytest.raises(SpecError, match=r"already there \(got a folder"):
        export_to_hugging_face(student, tmp_path, design=design)
    with pytest.raises(SpecError, match="nothing is factorised"):
        export_to_hugging_face(to_dense(student), tmp_path / "a", design=design)
    with pytest.raises(SpecError, match=r"got BertModel, expected one of BertForSequenceClassification, .*to_dense"):
        export_to_hugging_face(BertModel(student.config), tmp_path / "a", design=design)
    modes = Tensorization(out_modes=(5, 8), in_modes=(4, 4))
    table = Factorization(format="tt-matrix", tensorization=modes, ranks=(1, 2, 1))
    name = "embeddings.word_embeddings"
    cores = project(student.bert.get_submodule(name).weight.detach().numpy(), table)
    smaller = compress_embedding(student, name, factorization=table, cores=cores)
    with pytest.raises(SpecError, match=r"bert\.embeddings\.word_embeddings: cannot be written"):
        export_to_hugging_face(smaller, tmp_path / "a", design=design)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, design = student_of("BertForSequenceClassification", "low-rank")

    class Broken:
        def save_pretrained(self, folder: Path) -> None:
            assert (folder / "model.safetensors").is_file()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_to_hugging_face(student, tmp_path / "a", design=design, processor=Broken())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_version_says_so() -> None:
    config = modeling_heat_sim.HeatBertConfig(**tiny_config(), heat_sim={"version": 2, "matrices": []})
    with pytest.raises(ValueError, match=r"another version \(got 2, expected 1\)"):
        modeling_heat_sim.HeatBertForSequenceClassification(config)
