"""`heat-sim reproduce` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest


@pytest.fixture
def chip(tmp_path: Path, monkeypatch) -> Path:
    """Return hardware whose mappings are found at once: a memory and its multiply-accumulate units."""
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "arch.yaml"
    path.write_text(
        """
architecture:
  version: 0.4
  nodes:
  - !Component
    name: DRAM
    class: DRAM
    attributes: {datawidth: 8, width: 64, shared_bandwidth: 16}
  - !Component
    name: buffer
    class: smartbuffer_SRAM
    attributes: {datawidth: 8, width: 8, depth: 65536}
  - !Component
    name: MAC
    class: intmac
""",
        encoding="utf-8",
    )
    (tmp_path / "ert.yaml").write_text(
        """
ERT:
  version: 0.4
  tables:
  - name: system.DRAM[1..1]
    actions: [{name: read, energy: 50.0}, {name: write, energy: 50.0}, {name: update, energy: 50.0}]
  - name: system.buffer[1..1]
    actions: [{name: read, energy: 1.0}, {name: write, energy: 1.0}, {name: update, energy: 1.0}]
  - name: system.MAC[1..1]
    actions: [{name: compute, energy: 0.5}]
""",
        encoding="utf-8",
    )
    return path


def test_rows_beside_the_published_ones(run, chip, tmp_path) -> None:
    target = tmp_path / "out"
    code, out, err = run(
        "reproduce", "heat", "--arch", chip, "--ert", tmp_path / "ert.yaml", "--rows", "tucker-a*", "--tokens", 128,
        "--calibrate", "--out", target,
    )  # fmt: skip
    assert code == 0, err
    assert "calibrate on dense networks" in err
    assert "cost rows" in err
    text = (target / "heat.md").read_text(encoding="utf-8")
    assert out.startswith(text)
    found = json.loads((target / "heat.json").read_text(encoding="utf-8"))
    assert [(row["network"], row["row"], row["tokens"]) for row in found["rows"]] == [
        (network, f"tucker-{setting}", 128)
        for network in ("bert-base", "distilbert-base")
        for setting in ("a1", "a2", "a3")
    ]
    # at 128 tokens: of 3 shapes the dense matrix, three ranks of tucker and of low-rank; scores and context
    assert found["parts"] == found["parts_proven_optimal"] == 3 * (1 + 3 + 3) + 2
    assert "23 of 23 parts of the rows: proven optimal" in text
    fit = found["calibration"]
    assert f"energy of main memory x {fit['energy']:g}, its bandwidth x {fit['bandwidth']:g}" in text
    assert f"residual {fit['residual']:.2%}" in text
    assert "| EDP of BERT, 384 over 128 tokens                  | 6.585        |" in text
    gains = [row["edp_gain"] for row in found["rows"]]
    assert gains[:3] == gains[3:] == sorted(gains[:3], reverse=True)
    assert all(f"{row['edp_gain']:.2f}x" in text for row in found["rows"])
    assert [round(row["heat"]["edp_gain"], 1) for row in found["rows"][:3]] == [11.6, 7.6, 5.1]  # 5.21 / 0.45 ..


@pytest.mark.slow
def test_our_front_stands_beside_the_rows_of_bert(run, chip, tmp_path) -> None:
    code, out, err = run(
        "reproduce", "heat", "--arch", chip, "--ert", tmp_path / "ert.yaml", "--rows", "tucker-a1", "--tokens", 128,
        "--front", "--population", 8, "--generations", 1, "--jobs", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "## Our front, 128 tokens: EDP gain at the estimated loss of each row" in out
    found = json.loads((tmp_path / "out" / "heat.json").read_text(encoding="utf-8"))
    (beside,) = found["front"]
    assert (beside["row"], beside["tokens"]) == ("tucker-a1", 128)
    assert 0 < beside["estimated_loss"] < 1
    assert f"{beside['edp_gain']:.2f}x" in out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rows", "svd-a1", r"--rows: no such row \(got svd-a1, expected tt-matrix-a1, .*\)\. Correct"),
        ("--tokens", "256", r"--tokens: not a published length \(got 256, expected 384 or 128\)\. Choose"),
    ],
)
def test_what_was_not_published_is_refused(run, option, value, message) -> None:
    code, out, err = run("reproduce", "heat", option, value)
    assert (code, out) == (2, "")
    assert re.search(message, err)
