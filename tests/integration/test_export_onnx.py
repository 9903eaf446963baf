"""Exported ONNX graphs, run by onnxruntime at sizes they were not traced with."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from heat_sim.distill.export.onnx_graph import export_to_onnx  # noqa: E402
from heat_sim.distill.layers import FactorizedLinear  # noqa: E402
from heat_sim.errors import MissingDependencyError, SpecError  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402
from tests.integration.test_export_hugging_face import inputs_of, student_of  # noqa: E402
from tests.unit.test_distill_to_dense import JOINT, MIXED  # noqa: E402

CASES = (
    ("BertForSequenceClassification", MIXED),
    ("BertForSequenceClassification", JOINT),
    ("BertForQuestionAnswering", "low-rank"),
    ("RobertaForTokenClassification", "low-rank"),
    ("DistilBertForSequenceClassification", "low-rank"),
    ("ViTForImageClassification", JOINT),
)


def test_every_format_is_among_the_mixed() -> None:
    _, design = student_of("BertForSequenceClassification", MIXED)
    assert {layer.factorization.format for _, layer in design.layers} == set(FORMATS)


@pytest.mark.parametrize(("class_name", "kind"), CASES, ids=lambda value: value)
def test_a_graph_computes_what_the_student_does_at_any_size(class_name: str, kind: str, tmp_path: Path) -> None:
    student, design = student_of(class_name, kind)
    export_to_onnx(student, tmp_path / "graph", design=design)
    session = onnxruntime.InferenceSession(tmp_path / "graph" / "model.onnx")
    longest = 30  # 32 places; RoBERTa's start at 2
    for batch, tokens in ((1, 4), (5, longest), (2, 1)):
        inputs = inputs_of(student, batch=batch, tokens=tokens)
        if class_name.startswith("Bert"):
            inputs["token_type_ids"] = torch.arange(tokens).ge(2).long().expand(batch, -1)
        got = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        with torch.inference_mode():
            expected = student(**inputs).to_tuple()
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-4)


def test_the_graph_is_factorised_and_names_what_it_reads(tmp_path: Path) -> None:
    student, design = student_of("BertForSequenceClassification", JOINT)
    layers = [module for module in student.train().modules() if isinstance(module, FactorizedLinear)]
    for layer in layers:
        layer.execution = "reconstructed"  # for training; the graph has the cascade of the design
    export_to_onnx(student, tmp_path / "graph", design=design, edp_gain=2.0)
    assert student.training
    assert {layer.execution for layer in layers} == {"reconstructed"}
    graph = onnx.load(tmp_path / "graph" / "model.onnx").graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "token_type_ids": ["batch", "sequence"],
        "logits": ["batch", 3],
    }
    # The tt-matrix of query, key and value has one product with the input, not one per member; 8 low-rank two each.
    einsums = [node for node in graph.node if node.op_type == "Einsum"]
    assert 2 * 8 < len(einsums) <= 2 * 8 + 2
    assert "Dropout" not in {node.op_type for node in graph.node}
    sizes = [int(np.prod(tensor.dims)) for tensor in graph.initializer]
    assert sum(sizes) < student.num_parameters() + 1000  # constants of the graph
    assert "session.run" in (tmp_path / "graph" / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "graph").iterdir()) == ["README.md", "config.json", "model.onnx"]


def test_missing_packages_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student, design = student_of("BertForSequenceClassification", "low-rank")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(MissingDependencyError, match=r'got no onnxscript, .*pip install "heat_sim\[onnx\]"'):
        export_to_onnx(student, tmp_path / "graph", design=design)


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    student, design = student_of("BertForSequenceClassification", "low-rank")
    with pytest.raises(SpecError, match="already there"):
        export_to_onnx(student, tmp_path, design=design)
