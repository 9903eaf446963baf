"""Loading models from a folder: what is refused, and that transformers stays silent."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import transformers  # noqa: E402

from heat_sim.distill.pretrained import content_of, load_classifier, load_tokenizer, quiet_transformers  # noqa: E402
from heat_sim.errors import HeatError  # noqa: E402
from tests.tiny_encoder import tiny_pretrained  # noqa: E402


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for ask in (lambda: load_classifier(tmp_path, classes=("a", "b")), lambda: content_of(tmp_path)):
        with pytest.raises(HeatError, match=r"not a pretrained model \(got no model files, expected config\.json"):
            ask()
    with pytest.raises(HeatError, match="cannot load its tokenizer"):
        load_tokenizer(tmp_path)


def test_a_broken_weight_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_pretrained(tmp_path)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(HeatError, match=r"cannot load its model .*Write it again"):
        load_classifier(folder, classes=("a", "b"))


def test_a_pretrained_encoder_gets_a_head_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tiny_pretrained(tmp_path)
    capfd.readouterr()
    model = load_classifier(folder, classes=("low", "middle", "high"))
    assert model.classifier.weight.shape == (3, 32)
    assert model.config.id2label == {0: "low", 1: "middle", 2: "high"}
    assert model.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


def test_the_content_is_every_file_that_matters(tmp_path: Path) -> None:
    before = content_of(tiny_pretrained(tmp_path))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(before)
    (tmp_path / "notes.md").touch()
    assert content_of(tmp_path) == before
    tiny_pretrained(tmp_path, seed=1)
    changed = {name for name, sha256 in content_of(tmp_path).items() if before[name] != sha256}
    assert changed == {"model.safetensors"}


def test_quiet_is_undone_afterwards() -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
