"""The main job from end to end on a tiny encoder and a tiny task, without a network."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from heat_sim.cli import main
from heat_sim.report.run_folder import read_front
from heat_sim.tensorize.design import load_design
from tests.tiny_encoder import tiny_pretrained, tiny_task


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """Return the folder of a run of the main job, and what it printed."""
    root = tmp_path_factory.mktemp("job")
    task = tiny_task(600)
    data = root / "tiny.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([text, task.class_names[label]] for text, label in zip(task.texts, task.labels, strict=True))
    words = [
        "run", "--model", tiny_pretrained(root / "tiny"), "--data", data, "--tokens", 16, "--population", 8,
        "--generations", 2, "--designs", 3, "--teacher-epochs", 3, "--out", root / "out",
    ]  # fmt: skip
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
        patch.setattr("sys.argv", ["heat-sim", *map(str, words)])
        with contextlib.suppress(SystemExit):
            main()
    return root / "out", printed.getvalue()


def test_it_writes_everything_it_promises(finished):
    folder, _ = finished
    for name in ("front.csv", "front.md", "front.tex", "front.png", "manifest.json", "designs/d01.yaml"):
        assert (folder / name).stat().st_size > 0, name


def test_rows_hold_measured_accuracies_of_dense_projected_and_distilled(finished):
    folder, _ = finished
    rows = read_front(folder)
    assert rows[0].design == "dense"
    assert rows[0].edp_gain == 1.0
    assert all(row.projected_accuracy is not None for row in rows)
    distilled = [row for row in rows if row.distilled_accuracy is not None]
    assert len(distilled) == 1
    assert distilled[0].design != "dense"
    assert (folder / "students" / distilled[0].design / "model.safetensors").is_file()


def test_designs_are_those_of_the_rows(finished):
    folder, _ = finished
    for row in read_front(folder)[1:]:
        design = load_design(folder / "designs" / f"{row.design}.yaml")
        assert design.id == row.design
        matrices = [name for entry, layer in design.layers for name in layer.members or (entry,)]
        assert len(set(matrices)) == len(matrices) == 2 * 6


def test_manifest_says_how_to_repeat_the_run(finished):
    folder, _ = finished
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 0
    assert manifest["arguments"]["population"] == 8
    assert set(manifest["spec_sha256"]) == {"arch.yaml", "ert.yaml"}
    assert manifest["packages"]["torch"].startswith("2.")


def test_it_ends_with_the_table_and_the_paths(finished):
    folder, printed = finished
    assert "EDP gain" in printed
    assert str(folder / "front.csv") in printed.replace("\n", "")


def test_results_are_never_overwritten(finished, monkeypatch, capsys):
    folder, _ = finished
    from heat_sim.errors import SpecError
    from heat_sim.report.run_folder import new_run_folder

    with pytest.raises(SpecError, match="not empty"):
        new_run_folder(folder, name="x")


def test_distilling_again_replaces_the_model_and_its_accuracy(finished, monkeypatch):
    folder, _ = finished
    name = next(row.design for row in read_front(folder) if row.distilled_accuracy is not None)
    weights = folder / "students" / name / "model.safetensors"
    before = weights.read_bytes()
    monkeypatch.setenv("HEAT_SIM_CACHE", str(folder.parent / "cache"))
    monkeypatch.setattr(
        "sys.argv",
        ["heat-sim", "distill", str(folder), "--designs", name, "--layer-epochs", "0", "--logit-epochs", "2"],
    )
    with contextlib.suppress(SystemExit):
        main()
    assert weights.read_bytes() != before
    assert [row.design for row in read_front(folder) if row.distilled_accuracy is not None] == [name]


def test_a_design_that_is_not_in_the_run_is_refused_with_those_that_are(finished, monkeypatch, capsys):
    folder, _ = finished
    monkeypatch.setenv("HEAT_SIM_CACHE", str(folder.parent / "cache"))
    monkeypatch.setattr("sys.argv", ["heat-sim", "distill", str(folder), "--designs", "d99"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "got d99, expected best:N, all, or some of d01" in capsys.readouterr().err


def test_codesign_runs_without_torch_from_a_calibration_file(finished):
    """In a process where importing torch or transformers fails."""
    import subprocess
    import sys

    folder, _ = finished
    root = folder.parent
    (calibration,) = root.glob("cache/teachers/*/calibration-*.npz")
    words = ["codesign", "--model", str(root / "tiny"), "--calibration", str(calibration), "--tokens", "16",
             "--population", "4", "--generations", "1", "--designs", "2", "--out", str(root / "no-torch")]  # fmt: skip
    code = f"""
import sys
class Missing:  # not None in sys.modules, where scipy looks for torch without importing it
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["heat-sim", *{words!r}]
from heat_sim.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "EDP gain" in done.stdout
    assert (root / "no-torch" / "front.csv").is_file()
