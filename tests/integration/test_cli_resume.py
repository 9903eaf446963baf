"""A search that is killed at any moment and goes on ends in the front of one that was left alone."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heat_sim.distill.calibration import Calibration, save_calibration
from heat_sim.networks import network_from_config

CONFIG = {
    "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": 50, "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip
HEAT_SIM = [sys.executable, "-c", "from heat_sim.cli import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A folder with a configuration, and a calibration of random weights beside it: no torch is needed."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    rng = np.random.default_rng(0)
    matrices = network_from_config(CONFIG, tokens=16, name="tiny").matrices
    moments = {width: np.cov(rng.standard_normal((width, 100))) for width in {m.in_features for m in matrices}}
    calibration = Calibration(
        weights={m.name: rng.standard_normal((m.out_features, m.in_features)).astype(np.float32) for m in matrices},
        second_moments={m.name: moments[m.in_features] for m in matrices},
        gradient_moments={m.name: np.cov(rng.standard_normal((m.out_features, 100))) for m in matrices},
        tokens=100,
    )
    save_calibration(calibration, folder / "calibration.npz")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    return {**os.environ, "HEAT_SIM_CACHE": str(tmp_path_factory.mktemp("cache"))}


def words(model: Path, out: Path) -> list[str]:
    return [
        *HEAT_SIM, "codesign", "--model", str(model), "--calibration", str(model / "calibration.npz"),
        "--arch", "simba_l", "--tokens", "16", "--formats", "low-rank", "--population", "10",
        "--generations", "12", "--out", str(out),
    ]  # fmt: skip


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stopped(command: list[str], folder: Path, *, after: int, by: signal.Signals, environment: dict[str, str]) -> int:
    """Send a signal when so many more points are on the disk; return the exit code."""
    points = folder / "points.jsonl"
    before = points.read_bytes().count(b"\n") if points.exists() else 0
    # A shell that runs the suite in the background ignores SIGINT, and so would this child.
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=_heed_interrupts
    ) as process:
        while process.poll() is None:
            if points.exists() and points.read_bytes().count(b"\n") >= before + after:
                process.send_signal(by)
                break
            time.sleep(0.005)
        return process.wait()


@pytest.fixture(scope="module")
def undisturbed(model, environment, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(words(model, out), env=environment, check=True, capture_output=True)
    return out


def same_results(one: Path, other: Path) -> bool:
    names = ["front.csv", *(f"designs/{path.name}" for path in sorted((one / "designs").iterdir()))]
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_killed_twice_and_resumed_it_ends_in_the_same_front(model, environment, undisturbed, tmp_path):
    out = tmp_path / "run"
    assert stopped(words(model, out), out, after=20, by=signal.SIGKILL, environment=environment) == -signal.SIGKILL
    resume = [*HEAT_SIM, "codesign", "--resume", str(out)]
    assert stopped(resume, out, after=30, by=signal.SIGKILL, environment=environment) == -signal.SIGKILL
    assert not (out / "front.csv").exists()
    subprocess.run(resume, env=environment, check=True, capture_output=True)
    assert same_results(undisturbed, out)
    assert (out / "points.jsonl").read_bytes() == (undisturbed / "points.jsonl").read_bytes()
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["designs_costed"] == (out / "points.jsonl").read_bytes().count(b"\n") - 1


def test_ctrl_c_leaves_the_front_so_far_and_the_run_goes_on(model, environment, undisturbed, tmp_path):
    out = tmp_path / "run"
    assert stopped(words(model, out), out, after=30, by=signal.SIGINT, environment=environment) == 130
    assert (out / "front.csv").is_file()
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["facts"]["interrupted"]
    subprocess.run([*HEAT_SIM, "codesign", "--resume", str(out)], env=environment, check=True, capture_output=True)
    assert same_results(undisturbed, out)


def test_a_finished_run_costs_nothing_again(environment, undisturbed):
    before = (undisturbed / "points.jsonl").read_bytes()
    front = (undisturbed / "front.csv").read_bytes()
    resume = [*HEAT_SIM, "codesign", "--resume", str(undisturbed)]
    subprocess.run(resume, env=environment, check=True, capture_output=True)
    assert (undisturbed / "points.jsonl").read_bytes() == before
    assert (undisturbed / "front.csv").read_bytes() == front


def test_runs_are_compared_at_equal_loss(model, environment, undisturbed, tmp_path):
    other = tmp_path / "random-start"
    subprocess.run([*words(model, other), "--no-seeding"], env=environment, check=True, capture_output=True)
    compared = subprocess.run(
        [*HEAT_SIM, "compare", str(undisturbed), str(other), "--losses", "0,0.5,1", "--json", "-"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    first, second = json.loads(compared.stdout)
    assert (first["differs"], second["differs"]) == ("", "seeding False")
    for row, folder in ((first, undisturbed), (second, other)):
        lines = (folder / "points.jsonl").read_text(encoding="utf-8").splitlines()[1:]
        points = [json.loads(line) for line in lines]
        dense = next(csv.DictReader((folder / "front.csv").read_text(encoding="utf-8").splitlines()))
        edp = float(dense["edp_pj_cycles"])
        for loss in (0, 0.5, 1):
            gains = [edp / (p["energy_pj"] * p["cycles"]) for p in points if p["estimated_loss"] <= loss]
            assert row["edp_gain_at_loss"][str(float(loss))] == pytest.approx(max(gains))
        assert row["designs"] == len(points)
    table = subprocess.run(
        [*HEAT_SIM, "compare", str(undisturbed)], env=environment, check=True, capture_output=True, text=True
    )
    assert table.stdout.startswith("| run ")
    for wrong, message in ((["--losses", "few"], "not numbers"), (["--format", "pdf"], "unknown")):
        refused = subprocess.run(
            [*HEAT_SIM, "compare", str(undisturbed), *wrong], env=environment, capture_output=True, text=True
        )
        assert refused.returncode == 2
        assert message in refused.stderr


def test_what_cannot_go_on_is_refused(model, environment, undisturbed, tmp_path):
    def refused(*arguments: str) -> str:
        done = subprocess.run([*HEAT_SIM, "codesign", *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        return done.stderr

    assert "not the manifest of a run" in refused("--resume", str(tmp_path))
    moved = tmp_path / "run"
    moved.mkdir()
    manifest = json.loads((undisturbed / "manifest.json").read_text(encoding="utf-8"))
    for change, message in (
        ({"spec_sha256": dict.fromkeys(manifest["spec_sha256"], "0")}, "another architecture"),
        ({"arguments": {"model": "x", "data": "y"}}, "no arguments to go on with"),
        ({"seed": 7}, "points of another search"),
    ):
        (moved / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
        (moved / "points.jsonl").write_bytes((undisturbed / "points.jsonl").read_bytes())
        assert message in refused("--resume", str(moved))
