"""Measurements of a run: their file, the paired comparison, the table, the figures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.container import ErrorbarContainer

from heat_sim.codesign.front import FrontRow
from heat_sim.report.accuracy_table import AccuracyRow, accuracy_rows
from heat_sim.report.curves import Curve, read_curve, write_curve
from heat_sim.report.figures.accuracy import accuracy_figure, estimate_figure
from heat_sim.report.figures.training import training_figure
from heat_sim.report.measured import Measured, Stage, read_measured, write_measured
from heat_sim.report.paired import paired_change
from heat_sim.report.seed_table import seed_rows


def record(design: str, stage: Stage, rows: str, *, seed: int | None = None, seconds: float | None = None) -> Measured:
    values = tuple(map(float, rows))
    return Measured(design=design, stage=stage, seed=seed, metric="accuracy", value=sum(values) / len(values),
                    per_row=values, seconds=seconds)  # fmt: skip


def front(design: str, gain: float) -> FrontRow:
    return FrontRow(design=design, edp_gain=gain, energy_pj=1.0, cycles=1, edp_pj_cycles=1.0, parameters=10,
                    encoder_parameters=5, estimated_loss=0.1)  # fmt: skip


def test_measurements_are_read_back_and_the_last_of_a_kind_stays(tmp_path: Path) -> None:
    first, again = record("d01", "both", "1100", seed=0), record("d01", "both", "1110", seed=0, seconds=2.5)
    other = Measured(design="d01", stage="projected", seed=None, metric="f1", value=0.5, per_row=(0.25, 0.75))
    write_measured(tmp_path, [first, other, again])
    assert read_measured(tmp_path) == [other, again]  # in the order of the stages
    assert read_measured(tmp_path / "none") == []


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_with_one_seed_the_interval_is_that_of_the_differences(pairs: list[tuple[bool, bool]]) -> None:
    teacher, student = ([float(pair[k]) for pair in pairs] for k in (0, 1))
    change = paired_change(teacher, [student])
    differences = [b - a for a, b in zip(teacher, student, strict=True)]
    mean = sum(differences) / len(differences)
    variance = sum((each - mean) ** 2 for each in differences) / (len(differences) - 1)
    half = 1.959963984540054 * math.sqrt(variance / len(differences))
    assert change.mean == pytest.approx(mean)
    assert change.high - change.mean == pytest.approx(half)
    assert change.mean - change.low == pytest.approx(half)
    assert change.spread is None


def test_seeds_that_differ_widen_the_interval() -> None:
    teacher = [1.0] * 8
    alike = paired_change(teacher, [[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]])
    apart = paired_change(teacher, [[1] * 8, [0, 0, 0, 0, 1, 1, 1, 1]])
    assert alike.mean == apart.mean == -0.25
    assert alike.spread == 0.0
    assert apart.spread == pytest.approx(0.5 / math.sqrt(2))
    # rows: halves of four of eight rows in both; seeds: (0.5 / sqrt 2)^2 / 2 more.
    extra = (apart.high - apart.mean) ** 2 - (alike.high - alike.mean) ** 2
    assert extra == pytest.approx(1.959963984540054**2 * 0.125 / 2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        teacher = (rng.random(300) < 0.9).astype(float)
        seeds = [(rng.random(300) < 0.85).astype(float) for _ in range(3)]  # 0.05 lower
        change = paired_change(list(teacher), [list(each) for each in seeds])
        hits += change.low <= -0.05 <= change.high
    # Seeds are independent of rows here, so both parts count the same noise in part: never below 95 % by much.
    assert 0.93 <= hits / 400 <= 1.0


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        paired_change([], [])


def test_the_table_has_means_over_seeds_and_the_change_of_the_last_stage() -> None:
    records = [
        record("dense", "dense", "11110"), record("d01", "projected", "11000"),
        record("d01", "layers", "11100", seed=0), record("d01", "layers", "11100", seed=1),
        record("d01", "both", "11110", seed=0, seconds=10.0), record("d01", "both", "11100", seed=1, seconds=20.0),
        record("d02", "projected", "10000"),
    ]  # fmt: skip
    rows = accuracy_rows([front("d02", 3.0), front("dense", 1.0), front("d01", 2.0), front("d03", 9.0)], records)
    assert [row.design for row in rows] == ["dense", "d02", "d01"]
    dense, d02, d01 = rows
    assert (dense.projected, dense.both, dense.seeds) == (0.8, None, 0)
    assert (d01.projected, d01.layers, d01.both, d01.seeds) == (0.4, pytest.approx(0.6), pytest.approx(0.7), 2)
    assert d01.change == pytest.approx(-0.1)
    assert d01.seconds == 15.0
    assert (d02.both, d02.change, d02.spread) == (None, pytest.approx(-0.6), None)


def test_every_training_has_a_row_of_its_own() -> None:
    records = [
        record("dense", "dense", "11110"), record("d01", "projected", "11000"),
        record("d01", "both", "11110", seed=1, seconds=10.0), record("d01", "layers", "11100", seed=1),
        record("d01", "both", "11111", seed=0), record("d09", "both", "11111", seed=0),
        record("d02", "logits", "00000", seed=0),
    ]  # fmt: skip
    rows = seed_rows([front("d01", 2.0), front("dense", 1.0), front("d02", 3.0)], records)
    assert [(row.design, row.seed, row.stage) for row in rows] == [
        ("d02", 0, "logits"), ("d01", 0, "both"), ("d01", 1, "layers"), ("d01", 1, "both"),
    ]  # fmt: skip
    assert [row.value for row in rows] == [0.0, 1.0, 0.6, 0.8]
    assert [row.change for row in rows] == pytest.approx([-0.8, 0.2, -0.2, 0.0])
    assert [row.seconds for row in rows] == [None, None, None, 10.0]
    # One of five rows differs: standard error sqrt(0.2 * 0.8 * 5 / 4 / 5) = 0.2.
    assert rows[1].high - rows[1].low == pytest.approx(2 * 1.959963984540054 * 0.2)
    assert seed_rows([front("d01", 2.0)], records[1:]) == ()  # nothing to compare with


def test_figures_show_every_design() -> None:
    rows = [
        AccuracyRow(design="dense", edp_gain=1, encoder_parameters=9, parameters=9, estimated_loss=0, seeds=0,
                    projected=0.9),
        *(AccuracyRow(design=name, edp_gain=gain, encoder_parameters=9, parameters=9, estimated_loss=loss, seeds=2,
                      projected=0.7, both=0.88, change=-0.02, low=-0.03, high=-0.01)
          for name, gain, loss in (("d01", 9, 0.4), ("d02", 5, 0.3), ("d02-cp", 2, 0.8), ("d02-low-rank", 3, 0.7),
                                   ("d02-tt-matrix", 1, 0.9), ("d02-tucker", 3, 0.6))),
    ]  # fmt: skip
    (axes,) = accuracy_figure(rows).axes
    assert [text.get_text() for text in axes.texts] == ["d01", "d02", "d02", "d02", "d02", "d02"]
    handles, labels = axes.get_legend_handles_labels()
    assert {"dense", "searched, as projected", "searched, distilled", "uniform cp"} <= set(labels)
    trained = [handle[0] for handle in handles if isinstance(handle, ErrorbarContainer)]
    assert len({line.get_color() for line in trained}) == 5
    (axes,) = estimate_figure(rows).axes
    x, y = axes.lines[1].get_data()
    assert list(x) == [0.4, 0.3, 0.8, 0.7, 0.9, 0.6]
    assert list(y) == pytest.approx([2.0] * 6)


def test_a_course_of_training_is_read_back(tmp_path: Path) -> None:
    curves = (
        Curve(stage="distill layers", losses=(1.5, 0.5), rates=(0.5, 1.0), checks=((0, 1.0, 0.5), (2, 0.75, 0.9))),
        Curve(stage="distill logits", losses=(0.25,), rates=(1.0,), checks=()),
    )
    write_curve(tmp_path / "c.csv", curves)
    assert read_curve(tmp_path / "c.csv") == curves
    left, right = training_figure({"d01": curves}).axes
    assert len(left.lines) == 2
    assert list(zip(*right.lines[0].get_data(), strict=True)) == [(0, 50.0), (2, 90.0)]
