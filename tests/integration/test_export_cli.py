"""`heat-sim export` of a run with a trained design."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

from heat_sim.codesign.chosen import DENSE  # noqa: E402
from heat_sim.codesign.front import FrontRow  # noqa: E402
from heat_sim.distill.convert import load_student, save_student  # noqa: E402
from heat_sim.distill.pretrained import quiet_transformers  # noqa: E402
from heat_sim.report.run_folder import write_baselines, write_front, write_manifest  # noqa: E402
from tests.tiny_encoder import tiny_pretrained  # noqa: E402
from tests.unit.test_distill_to_dense import JOINT, make_student, random_model, student_design  # noqa: E402


def front_row(design: str, edp_gain: float) -> FrontRow:
    return FrontRow(
        design=design, edp_gain=edp_gain, energy_pj=1e6 / edp_gain, cycles=1000, edp_pj_cycles=1e9 / edp_gain,
        parameters=1000, encoder_parameters=900, estimated_loss=0.1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run in which d1 and the baseline d1-cp were distilled, d2 and d1-tucker were not."""
    root = tmp_path_factory.mktemp("export")
    pretrained = tiny_pretrained(root / "tiny")
    folder = root / "run"
    folder.mkdir()
    write_manifest(folder, {"arguments": {"model": str(pretrained)}, "seed": 0})
    write_front(folder, (front_row(DENSE, 1.0), front_row("d1", 4.5), front_row("d2", 9.0)))
    write_baselines(folder, (front_row("d1-cp", 1.5), front_row("d1-tucker", 2.5)))
    with quiet_transformers():
        model = random_model(AutoModelForSequenceClassification.from_config, AutoConfig.from_pretrained(pretrained))
    design = student_design(model, JOINT)
    for name in ("d1", "d1-cp"):
        save_student(make_student(model, design), design, folder / "students" / name)
    return folder


def test_to_hugging_face(finished: Path, run) -> None:
    code, printed, err = run("export", finished, "d1", "--to", "hf")
    assert code == 0, err
    target = finished / "exports" / "d1-hf"
    assert printed.strip() == str(target)
    student, _ = load_student(finished / "students" / "d1")
    weights = load_file(target / "model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in student.state_dict().items())
    assert "AutoModelForSequenceClassification" in json.loads((target / "config.json").read_text())["auto_map"]
    assert "at 4.5 times less energy-delay product" in (target / "README.md").read_text(encoding="utf-8")
    assert (
        AutoTokenizer.from_pretrained(target)("good1")["input_ids"]
        == (AutoTokenizer.from_pretrained(finished.parent / "tiny")("good1")["input_ids"])
    )
    texts = [path.read_text(encoding="utf-8") for path in target.iterdir() if path.suffix in {".json", ".md", ".py"}]
    assert len(texts) >= 5
    assert not any(str(finished.parent) in text for text in texts)
    code, _, err = run("export", finished, "d1", "--to", "hf")
    assert code == 2
    assert "d1-hf: already there" in err


def test_to_onnx(finished: Path, run, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    target = tmp_path / "graph"
    code, printed, err = run("export", finished, "d1", "--to", "onnx", "--out", target)
    assert code == 0, err
    assert printed.strip() == str(target)
    student, _ = load_student(finished / "students" / "d1")
    inputs = AutoTokenizer.from_pretrained(target)(["good1 bad2 not", "word1"], padding=True, return_tensors="pt")
    (got,) = runtime.InferenceSession(target / "model.onnx").run(None, {k: v.numpy() for k, v in inputs.items()})
    torch.testing.assert_close(torch.tensor(got), student(**inputs).logits.detach(), rtol=1e-4, atol=1e-4)


def test_a_baseline_goes_out_like_a_design(finished: Path, run) -> None:
    code, printed, err = run("export", finished, "d1-cp", "--to", "hf")
    assert code == 0, err
    assert "at 1.5 times less energy-delay product" in (Path(printed.strip()) / "README.md").read_text(encoding="utf-8")
    code, _, err = run("export", finished, "d1-tucker", "--to", "hf")
    assert code == 2
    assert "not trained yet" in err


def test_a_design_that_is_not_trained_or_not_there(finished: Path, run) -> None:
    code, _, err = run("export", finished, "d2", "--to", "onnx")
    assert code == 2
    assert f"not trained yet (got no {finished / 'students' / 'd2'}" in err
    assert f"Run: heat-sim distill {finished} --designs d2" in err
    for name in ("d9", DENSE):
        code, _, err = run("export", finished, name, "--to", "hf")
        assert code == 2
        assert f"not a design of the run (got {name}, expected d1, d2, d1-cp, d1-tucker)" in err
    assert not (finished / "exports" / "d2-onnx").exists()
