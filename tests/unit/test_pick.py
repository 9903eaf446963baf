"""Which design the main job distils."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from heat_sim.cli.measure import pick
from heat_sim.codesign.front import FrontRow


def row(design: str, gain: float, accuracy: float | None) -> FrontRow:
    return FrontRow(
        design=design, edp_gain=gain, energy_pj=1.0, cycles=1, edp_pj_cycles=1.0, parameters=1, encoder_parameters=1,
        estimated_loss=0.0, projected_accuracy=accuracy,
    )  # fmt: skip


def test_the_largest_gain_above_nine_tenths_of_the_way_is_picked():
    rows = [row("dense", 1, 0.86), row("d01", 9, 0.82), row("d02", 6, 0.83), row("d03", 2, 0.85)]
    # Nine tenths of the way from 0.5 to 0.86 is 0.824.
    assert pick(rows, chance=0.5) == ["d02"]


def test_if_projection_ruins_them_all_the_largest_gain_is_picked():
    assert pick([row("dense", 1, 0.9), row("d01", 9, 0.5), row("d02", 6, 0.52)], chance=0.5) == ["d01"]


def test_without_measurements_nothing_is_picked():
    assert pick([row("dense", 1, None), row("d01", 9, None)], chance=0.5) == []
    assert pick([row("dense", 1, 0.8)], chance=0.5) == []
