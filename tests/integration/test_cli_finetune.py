"""`heat-sim finetune`: the metric and the folder, from the cache the second time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from heat_sim.cli.app import app
from heat_sim.distill import teacher
from heat_sim.errors import SpecError
from tests.tiny_tasks import tiny_model, tiny_questions, tiny_words


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["finetune", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_words_are_fine_tuned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
    model, data = tiny_model(tmp_path / "tiny", "token-classification"), tmp_path / "words.jsonl"
    task = tiny_words(100)
    lines = [
        json.dumps({"words": words, "tags": [task.class_names[tag] for tag in tags]})
        for words, tags in zip(task.sentences, task.tags, strict=True)
    ]
    data.write_text("\n".join(lines), encoding="utf-8")
    options = ("--model", str(model), "--data", str(data), "--epochs", "1", "--learning-rate", "0.003",
               "--batch-size", "8", "--max-length", "16", "--max-rows", "32", "--seed", "3")  # fmt: skip
    first = call(*options)
    (folder,) = (tmp_path / "cache" / "teachers").iterdir()
    result = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
    assert len(result["losses"]) == 4  # 32 rows in batches of 8
    assert result["settings"]["max_length"] == 16
    rows = len({(words, tags) for words, tags in zip(task.sentences, task.tags, strict=True)})
    test, dev = rows // 5, rows // 10
    assert f"tiny on words (token-classification; rows: {rows - test - dev} train, {dev} dev, {test} test)" in first
    assert f"f1: dev {result['dev_accuracy']:.4f}, test {result['test_accuracy']:.4f}" in first
    assert f"recall: test {result['test_further']['recall']:.4f}" in first
    assert f"folder: {folder}" in first

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("fine-tuned again")

    monkeypatch.setattr(teacher, "_fine_tune", fail)
    assert call(*options).splitlines()[-6:] == first.splitlines()[-6:]


def test_questions_are_given_windows_of_384_tokens_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
    model, data = tiny_model(tmp_path / "tiny", "question-answering"), tmp_path / "questions.jsonl"
    data.write_text(
        "\n".join(
            json.dumps(
                {"id": one.id, "question": one.text, "context": one.context,
                 "answers": {"text": one.answers, "answer_start": one.starts}}
            )
            for one in tiny_questions(40).questions
        ),
        encoding="utf-8",
    )  # fmt: skip
    output = call("--model", str(model), "--data", str(data), "--epochs", "1")
    assert "exact_match: test" in output
    (folder,) = (tmp_path / "cache" / "teachers").iterdir()
    assert json.loads((folder / "teacher.json").read_text(encoding="utf-8"))["settings"]["max_length"] == 384


def test_data_that_is_not_there_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.csv: cannot be read"):
        call("--model", str(tmp_path), "--data", str(tmp_path / "none.csv"))
