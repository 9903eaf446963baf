"""Calibration: which matrices are read, and that their second moments are the plain sums over real tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import (  # noqa: E402
    calibration_path,
    prepare_calibration,
    second_moments,
    weight_matrices,
)
from heat_sim.distill.calibration import Calibration, load_calibration  # noqa: E402
from heat_sim.distill.pretrained import load_classifier, load_tokenizer  # noqa: E402
from heat_sim.distill.teacher import Teacher  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

PER_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """An encoder that was not trained: calibration does not care."""
    folder = tiny_pretrained(tmp_path_factory.mktemp("pretrained"))
    return Teacher(
        model=load_classifier(folder, classes=("negative", "positive")).eval(),
        tokenizer=load_tokenizer(folder),
        folder=folder,
        dev_accuracy=0.5,
        test_accuracy=0.5,
    )


@pytest.fixture(scope="module")
def batches(teacher: Teacher) -> tuple[Batch, ...]:
    rows = encode(teacher.tokenizer, tiny_task(100), split="train", max_length=24)
    return sorted_batches(rows, batch_size=9)


def test_the_matrices_are_the_encoders_and_neither_pooler_nor_head(teacher: Teacher) -> None:
    weights = weight_matrices(teacher.model)
    assert list(weights) == [f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in PER_LAYER]
    assert weights["encoder.layer.1.intermediate.dense"].shape == (64, 32)
    assert weights["encoder.layer.1.output.dense"].dtype == np.float32
    expected = teacher.model.bert.encoder.layer[1].output.dense.weight.detach().numpy()
    assert np.array_equal(weights["encoder.layer.1.output.dense"], expected)


def test_second_moments_are_the_mean_over_tokens_one_row_at_a_time(
    teacher: Teacher, batches: tuple[Batch, ...]
) -> None:
    sums = {}
    tokens = 0
    for batch in batches:
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            alone = ids[mask == 1][None]  # one sentence without any padding
            tokens += alone.shape[1]
            with torch.no_grad():
                states = teacher.model.bert(alone, output_hidden_states=True).hidden_states
                hidden = states[1][0].double()  # input of layer 1
                attended = teacher.model.bert.encoder.layer[1].attention(states[1])[0][0].double()
            for name, x in (("attention.self.key", hidden), ("intermediate.dense", attended)):
                sums[name] = sums.get(name, 0) + (x.T @ x).numpy()
    moments = second_moments(teacher.model, batches)
    for name, total in sums.items():
        moment = moments[f"encoder.layer.1.{name}"]
        assert moment.dtype == np.float64
        np.testing.assert_allclose(moment, total / tokens, rtol=1e-4, atol=1e-5)


def test_second_moments_are_symmetric_positive_and_the_same_again(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    first, again = (second_moments(teacher.model, batches) for _ in range(2))
    for name, moment in first.items():
        assert np.array_equal(moment, again[name])
        assert np.linalg.eigvalsh(moment).min() > -1e-12 * np.trace(moment)
    assert first["encoder.layer.0.attention.self.query"] is first["encoder.layer.0.attention.self.value"]
    assert first["encoder.layer.0.attention.self.query"] is not first["encoder.layer.1.attention.self.query"]


def test_calibrating_leaves_no_trace_in_the_model(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    teacher.model.train()
    second_moments(teacher.model, batches[:1])
    assert teacher.model.training
    teacher.model.eval()
    assert not any(module._forward_pre_hooks for module in teacher.model.modules())


def test_a_calibration_is_made_once_and_read_back(
    teacher: Teacher, batches: tuple[Batch, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task(100)
    made = prepare_calibration(teacher, task, sentences=20)
    path = calibration_path(teacher.folder, sentences=20)
    assert [each.name for each in teacher.folder.glob("*.npz")] == [path.name]
    monkeypatch.setattr(teacher.model, "forward", None)  # a second run must not need it
    again = prepare_calibration(teacher, task, sentences=20)
    assert again.tokens == made.tokens > 20
    assert all(np.array_equal(again.weights[name], weight) for name, weight in made.weights.items())
    assert all(np.array_equal(again.second_moments[name], moment) for name, moment in made.second_moments.items())
    shared = again.second_moments
    assert shared["encoder.layer.0.attention.self.query"] is shared["encoder.layer.0.attention.self.key"]


def test_what_is_not_a_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    for content in (b"text", b""):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"not a calibration .*Delete it and calibrate again"):
            load_calibration(path)
    np.savez(path, other=np.ones(3))
    with pytest.raises(SpecError, match="not a calibration"):
        load_calibration(path)


def test_weights_without_a_fitting_second_moment_are_refused() -> None:
    good = Calibration(weights={"a": np.ones((2, 3), np.float32)}, second_moments={"a": np.eye(3)}, tokens=1)
    with pytest.raises(
        SpecError, match=r"matrix a: no second moment that fits \(got shape \(2, 2\), expected shape \(3"
    ):
        replace(good, second_moments={"a": np.eye(2)})
    with pytest.raises(SpecError, match="got none"):
        replace(good, second_moments={})
