"""`heat-sim distill`, `baselines`, `validate` and the training figure, on a run of the tiny encoder."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from heat_sim.cli import main
from heat_sim.cli import measure as measuring
from heat_sim.cli.distill_plan import PLAN, read_plan
from heat_sim.cli.state_folder import StateFolder
from heat_sim.distill.checkpoint import Checkpoints
from heat_sim.distill.train import distill
from heat_sim.report.curves import read_curve
from heat_sim.report.measured import MEASURED, Measured, read_measured, write_measured
from heat_sim.report.run_folder import read_baselines, read_front
from heat_sim.tensorize.design import load_design
from tests.tiny_encoder import tiny_pretrained, tiny_task

QUICK = ("--layer-epochs", "1", "--logit-epochs", "1", "--max-rows", "96", "--validation-rows", "30")


class Cli:
    """Calls the command line with the cache of the run."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def __call__(self, *words: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEAT_SIM_CACHE", str(self.cache))
            patch.setattr("sys.argv", ["heat-sim", *map(str, words)])
            try:
                main()
            except SystemExit as end:
                return int(end.code or 0)
        return 0


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cli]:
    """Return the folder of a search, not to be written to, and the command line."""
    root = tmp_path_factory.mktemp("job")
    task = tiny_task(400)
    with (root / "tiny.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(text, task.class_names[label]) for text, label in zip(task.texts, task.labels, strict=True)]
        csv.writer(file).writerows([("text", "label"), *rows])
    cli = Cli(root / "cache")
    code = cli("codesign", "--model", tiny_pretrained(root / "tiny"), "--data", root / "tiny.csv", "--tokens", 16,
               "--per", "shape", "--formats", "low-rank", "--population", 8, "--generations", 2, "--designs", 2,
               "--teacher-epochs", 3, "--joint", "apart", "--out", root / "run")  # fmt: skip
    assert code == 0
    return root / "run", cli


@pytest.fixture
def run(job: tuple[Path, Cli], tmp_path: Path) -> Path:
    return Path(shutil.copytree(job[0], tmp_path / "run"))


@pytest.fixture
def cli(job: tuple[Path, Cli]) -> Cli:
    return job[1]


def without_seconds(folder: Path) -> list[Measured]:
    return [replace(record, seconds=None) for record in read_measured(folder)]


def test_every_stage_of_every_seed_is_measured(run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("distill", run, "--designs", "d01", "--seeds", 2, "--stages", "all", *QUICK) == 0
    assert "heat-sim validate" in capsys.readouterr().out
    found = {record.what for record in read_measured(run)}
    trained = {("d01", stage, seed) for stage in ("layers", "both", "logits") for seed in (0, 1)}
    assert found == {("dense", "dense", None), ("d01", "projected", None), ("d02", "projected", None)} | trained
    both = [record.value for record in read_measured(run) if record.stage == "both"]
    row = {row.design: row for row in read_front(run)}["d01"]
    assert row.distilled_accuracy == pytest.approx(sum(both) / 2)
    curve = read_curve(run / "training" / "d01-both-seed1.csv")
    assert [(each.stage, len(each.losses), len(each.checks)) for each in curve] == [
        ("distill layers", 3, 2), ("distill logits", 3, 2)  # a look before and one after
    ]  # fmt: skip
    assert not list((run / "checkpoints").glob("*"))
    assert [path.name for path in (run / "students").iterdir()] == ["d01"]


def test_validate_prints_what_was_measured_and_draws_it(
    run: Path, cli: Cli, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli("distill", run, "--designs", "d02", "--seeds", 2, *QUICK) == 0
    capsys.readouterr()
    assert cli("validate", run, "--format", "csv", "--again") == 0
    printed = capsys.readouterr()
    assert "1 students measured again: all as before" in printed.err.replace("\n", " ")
    table = {row["design"]: row for row in csv.DictReader(printed.out.splitlines())}
    records = read_measured(run)
    dense = next(record for record in records if record.stage == "dense")
    both = [record for record in records if record.stage == "both"]
    change = 100 * (sum(record.value for record in both) / 2 - dense.value)
    assert float(table["d02"]["change (points)"]) == pytest.approx(change, abs=0.0051)
    assert float(table["d02"]["95 % from"]) <= change <= float(table["d02"]["to"])
    assert table["d02"]["seeds"] == "2"
    assert table["d01"]["both (%)"] == "-" or table["d01"]["both (%)"] == ""
    for name in ("accuracy.md", "accuracy.tex", "accuracy.png", "estimate.pdf", "seeds.tex"):
        assert (run / name).stat().st_size > 0
    assert cli("validate", run, "--format", "csv", "--per-seed") == 0
    alone = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    of_both = [float(row["metric (%)"]) for row in alone if row["trained"] == "both"]
    assert of_both == pytest.approx([100 * record.value for record in both], abs=0.0051)
    assert [row["seed"] for row in alone] == ["0", "0", "1", "1"]  # after stage 1 and after both
    assert cli("plot", run, "--figures", "training", "--out", tmp_path / "figures") == 0
    assert (tmp_path / "figures" / "training.png").stat().st_size > 0


def test_the_states_of_the_teacher_are_stored_while_it_trains_and_the_disk_given_back(
    run: Path, cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = []
    fill = StateFolder.fill
    monkeypatch.setattr(StateFolder, "fill", lambda self, progress: filled.append(fill(self, progress)))
    assert cli("distill", run, "--designs", "d01", *QUICK) == 0  # auto
    assert read_plan(run).teacher_states == "store"
    assert not (run / "teacher-states").exists()
    assert len(filled) == 1
    losses = read_curve(run / "training" / "d01-both-seed0.csv")[0].losses
    assert cli("distill", run, "--designs", "d01", *QUICK, "--teacher-states", "ask") == 0
    assert read_plan(run).teacher_states == "ask"
    assert read_curve(run / "training" / "d01-both-seed0.csv")[0].losses == pytest.approx(losses, rel=0.01)
    assert len(filled) == 1
    full = shutil.disk_usage(run)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert cli("distill", run, "--designs", "d01", *QUICK) == 0  # no room: auto asks
    assert read_plan(run).teacher_states == "ask"
    assert cli("distill", run, "--designs", "d01", *QUICK, "--stages", "logits", "--teacher-states", "store") == 0
    assert read_plan(run).teacher_states == "ask"  # nothing needs them
    assert len(filled) == 1


def test_a_student_that_is_not_the_measured_one_is_found(
    run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("distill", run, "--designs", "d01", *QUICK) == 0
    records = [replace(r, value=0.25) if r.stage == "both" else r for r in read_measured(run)]
    write_measured(run, records)
    assert cli("validate", run, "--again") == 2
    assert "not the student that was measured" in capsys.readouterr().err


@pytest.mark.parametrize("left", [6, 9], ids=["in stage 1", "in stage 2"])
def test_a_killed_distill_goes_on_and_ends_as_if_undisturbed(
    left: int, run: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A training saves twice in each stage, and what stage 1 came to: `left` is within the second one.
    words = ("--designs", "all", "--seeds", 2, "--save-every", 2, *QUICK)
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    assert cli("distill", whole, *words) == 0

    class Killed(BaseException):
        pass

    saved = Checkpoints.save

    def deadly(self: Checkpoints, states: object) -> None:
        nonlocal left
        saved(self, states)  # type: ignore[arg-type]
        left -= 1
        if left == 0:
            raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(Checkpoints, "save", deadly)
        cli("distill", run, *words)
    assert left == 0
    assert 0 < len(read_measured(run)) < len(read_measured(whole))
    assert list((run / "checkpoints").glob("*/checkpoint.pt"))
    begun: list[int] = []

    def counted(*args: object, **options: object) -> object:
        begun.append(options["settings"].seed)  # type: ignore[attr-defined]
        return distill(*args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "distill", counted)
        assert cli("distill", run, "--resume") == 0
    assert begun == [1, 0, 1]  # the first training was finished; of the second one the rest is done
    assert without_seconds(run) == without_seconds(whole)
    # The time of a resumed training is that of all its steps.
    assert all(record.seconds for record in read_measured(run) if record.stage == "both")
    for name in ("d01", "d02"):
        weights = [folder / "students" / name / "model.safetensors" for folder in (run, whole)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert [path.name for path in sorted((run / "training").iterdir())] == [
        path.name for path in sorted((whole / "training").iterdir())
    ]


def test_another_stage_2_does_not_train_stage_1_again(
    run: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    words = ("--designs", "d01", *QUICK)
    gentler = (*words, "--logit-rate", "1e-5", "--dropout", "layers")
    assert cli("distill", whole, *gentler) == 0
    assert cli("distill", run, *words) == 0
    first = without_seconds(run)
    assert (run / "stage-1" / "d01-seed0" / "checkpoint.pt").is_file()
    given: list[Any] = []

    def spy(*args: Any, **options: Any) -> object:
        given.append(options["layers"])
        return distill(*args, **options)

    monkeypatch.setattr(measuring, "distill", spy)
    assert cli("distill", run, *gentler) == 0
    assert [state.stage for state in given.pop()] == ["distill layers"]
    assert without_seconds(run) == without_seconds(whole) != first
    assert (run / "training" / "d01-both-seed0.csv").read_bytes() == (
        whole / "training" / "d01-both-seed0.csv"
    ).read_bytes()
    assert cli("distill", run, *gentler, "--layer-rate", "1e-5") == 0
    assert given == [[]]


def test_sigkill_loses_no_more_than_the_steps_since_the_last_checkpoint(run: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("--designs", "d01", "--layer-epochs", "1", "--logit-epochs", "8", "--save-every", "2", "--precision",
             "float32", "--validation-rows", "30")  # fmt: skip
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    assert cli("distill", whole, *words) == 0
    child = subprocess.Popen(
        [sys.executable, "-c", "from heat_sim.cli import main; main()", "distill", str(run), *words],
        env={**os.environ, "HEAT_SIM_CACHE": str(cli.cache)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    checkpoint = run / "checkpoints" / "d01-both-seed0" / "checkpoint.pt"
    patience = time.monotonic() + 120
    while not checkpoint.exists():
        assert child.poll() is None, "it ended before there was a checkpoint"
        assert time.monotonic() < patience
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert checkpoint.exists()
    assert ("d01", "both", 0) not in {record.what for record in read_measured(run)}
    assert cli("distill", run, "--resume") == 0
    assert without_seconds(run) == without_seconds(whole)
    weights = [folder / "students" / "d01" / "model.safetensors" for folder in (run, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_trainings_in_processes_of_their_own_are_all_measured(
    run: Path, cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    words = ("--designs", "d01", "--seeds", 2, *QUICK)
    assert cli("distill", whole, *words) == 0
    capsys.readouterr()
    assert cli("distill", run, *words, "--jobs", 2) == 0
    assert capsys.readouterr().err.count("teacher logits") == 1  # asked once, for all of them
    one, two = without_seconds(whole), without_seconds(run)
    assert [record.what for record in one] == [record.what for record in two]
    # Two processes have one thread each: sums may round otherwise, a row in forty may turn over.
    assert [record.value for record in one] == pytest.approx([record.value for record in two], abs=0.05)
    assert (run / "students" / "d01" / "model.safetensors").is_file()
    assert cli("distill", run, "--resume", "--jobs", 2) == 0  # nothing is left to do
    assert without_seconds(run) == two


def test_baselines_have_the_size_of_their_design_and_are_trained_like_it(
    run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("baselines", run, "--designs", "d01", "--formats", "low-rank,tucker") == 0
    assert "d01-tucker" in capsys.readouterr().out
    rows = {row.design: row for row in read_baselines(run)}
    assert list(rows) == ["d01-low-rank", "d01-tucker"]
    size = next(row.parameters for row in read_front(run) if row.design == "d01")
    design = load_design(run / "designs" / "d01-low-rank.yaml")
    ranks = {layer.factorization.ranks for _, layer in design.layers}
    assert len(ranks) == 1  # the same everywhere
    # A rank more in all matrices of both layers is 2 * (4 * (32 + 32) + 2 * (64 + 32)) = 896 words, of which half may
    # be missing.
    # Designs of so small a network may multiply cores ahead of time, which stores other words than the cores have.
    cores = sum(layer.factorization.parameters for _, layer in design.layers)
    dense = next(row for row in read_front(run) if row.design == "dense")
    assert abs(cores + dense.parameters - dense.encoder_parameters - size) <= 448
    assert cli("distill", run, "--designs", "d01-tucker", *QUICK) == 0
    assert ("d01-tucker", "both", 0) in {record.what for record in read_measured(run)}
    assert "d01-tucker" not in {row.design for row in read_front(run)}
    capsys.readouterr()
    assert cli("validate", run) == 0
    assert "d01-tucker" in capsys.readouterr().out
    assert cli("baselines", run, "--designs", "d77") == 2


def test_resume_without_a_plan_says_what_to_do(run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("distill", run, "--resume") == 2
    assert "Leave out --resume" in capsys.readouterr().err
    (run / PLAN).write_text(json.dumps({"designs": "d01"}), encoding="utf-8")
    assert cli("distill", run, "--resume") == 2
    assert "distill.json: nothing to go on with" in capsys.readouterr().err.replace("\n", "")


def test_the_plan_is_read_back(run: Path, cli: Cli) -> None:
    assert cli("distill", run, "--designs", "d01", "--core-rates", "fan-in", "--layer-mode", "blocks", *QUICK) == 0
    plan = read_plan(run)
    assert (plan.designs, plan.settings.rates, plan.settings.layerwise_mode) == ("d01", "fan-in", "blocks")
    assert read_curve(run / "training" / "d01-both-seed0.csv")[0].stage == "distill layers 1"


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"design": "d01"}',
        '{"design": "d", "stage": "x", "seed": 0, "metric": "m", "value": 1, "per_row": ""}',
    ],
)
def test_a_broken_measurement_is_one_clear_message(
    line: str, run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / MEASURED).write_text(line + "\n", encoding="utf-8")
    assert cli("validate", run) == 2
    assert f"{MEASURED}:1: not a measurement" in capsys.readouterr().err.replace("\n", "")


def test_nothing_measured_is_said(run: Path, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("validate", run) == 2
    assert "nothing measured" in capsys.readouterr().err
