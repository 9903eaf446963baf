"""Which designs are distilled."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from heat_sim.cli.pick import choose
from heat_sim.codesign.front import FrontRow


def row(design: str, gain: float, accuracy: float | None) -> FrontRow:
    return FrontRow(
        design=design, edp_gain=gain, energy_pj=1.0, cycles=1, edp_pj_cycles=1.0, parameters=1, encoder_parameters=1,
        estimated_loss=0.0, projected_accuracy=accuracy,
    )  # fmt: skip


def test_the_largest_gains_above_nine_tenths_of_the_way_come_first() -> None:
    rows = [row("dense", 1, 0.86), row("d01", 9, 0.82), row("d02", 6, 0.83), row("d03", 2, 0.85)]
    # Nine tenths of the way from 0.5 to 0.86 is 0.824.
    assert choose("best:1", rows, chance=0.5) == ["d02"]
    assert choose("best:3", rows, chance=0.5) == ["d02", "d03", "d01"]


def test_if_projection_ruins_them_all_those_that_keep_most_come_first() -> None:
    assert choose("best:1", [row("dense", 1, 0.9), row("d01", 9, 0.5), row("d02", 6, 0.52)], chance=0.5) == ["d02"]


def test_baselines_are_trained_by_name_only() -> None:
    rows = [row("dense", 1, 0.9), row("d01", 9, 0.8), row("d01-cp", 2, 0.89)]
    assert choose("best:3", rows, chance=0.5) == ["d01"]
    assert choose("d01-cp, d01", rows, chance=0.5) == ["d01-cp", "d01"]
    assert choose("all", rows, chance=0.5) == ["d01", "d01-cp"]


def test_without_measurements_nothing_is_picked() -> None:
    assert choose("best:1", [row("dense", 1, None), row("d01", 9, None)], chance=0.5) == []
    assert choose("best:1", [row("dense", 1, 0.8)], chance=0.5) == []
