"""Calibration on functions whose best factors are known, and a re-run on tiny hardware."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.heat_calibration import MOST_PROBES, MemoryScales, calibrate, distance, scaled
from heat_sim.codesign.heat_ratios import DenseRatios, mac_growth, published_ratios

LOW, HIGH = published_ratios()
TARGET = LOW.edp


def ratios_of_weights(scales: MemoryScales, *, weights: float = 0.1, delay: float | None = None) -> DenseRatios:
    """Return the ratios of a machine whose weights cost so much at 128 tokens, all else 1."""
    growth = mac_growth()
    fixed = weights * scales.energy
    energy = (fixed + growth) / (fixed + 1)
    return DenseRatios(
        edp=energy * (growth if delay is None else delay * scales.bandwidth), distilbert=0.25,
        short_share=fixed / (fixed + 1), long_share=fixed / (fixed + growth),
    )  # fmt: skip


def test_energy_alone_is_enough() -> None:
    fit = calibrate(ratios_of_weights)
    growth = mac_growth()
    # (f + g) / (f + 1) * g = target, f = 0.1 x factor
    wanted = 10 * (growth**2 - TARGET) / (TARGET - growth)
    assert fit.scales.bandwidth == 1
    assert fit.scales.energy == pytest.approx(wanted, rel=0.03)
    assert fit.is_met
    assert fit.distance == distance(fit.ratios) < 0.005
    assert fit.costed <= MOST_PROBES // 3


def test_bandwidth_too_if_it_must() -> None:
    fit = calibrate(lambda scales: ratios_of_weights(scales, delay=2 * mac_growth()))
    assert fit.scales.bandwidth == 0.5
    assert fit.distance < 0.005


def test_what_cannot_be_met_is_said() -> None:
    fit = calibrate(lambda _: replace(LOW, edp=2 * TARGET, short_share=2 * HIGH.short_share))
    assert fit.distance == pytest.approx(math.sqrt(2) * math.log(2))
    assert not fit.is_met


def test_shares_count_outside_their_range_only() -> None:
    assert distance(LOW) == distance(HIGH) == 0
    assert distance(replace(LOW, long_share=LOW.long_share / 1.5)) == pytest.approx(math.log(1.5))
    assert distance(replace(LOW, long_share=HIGH.long_share * 1.5)) == pytest.approx(math.log(1.5))
    assert distance(replace(LOW, long_share=-0.1)) == math.inf


def test_nothing_but_main_memory_is_scaled() -> None:
    memory = StorageLevel(name="DRAM", read_energy_pj=1.0, write_energy_pj=2.0, update_energy_pj=3.0,
                          read_bandwidth_words_per_cycle=4.0, leakage_energy_pj_per_cycle=5.0)  # fmt: skip
    buffer = StorageLevel(name="buffer", capacity_words=8, read_energy_pj=1.0, shared_bandwidth_words_per_cycle=2.0)
    chip = Architecture(name="chip", levels=(memory, buffer), compute_name="MAC", compute_energy_pj=1.0)
    found = scaled(chip, MemoryScales(energy=3.0, bandwidth=0.5))
    changed = replace(memory, read_energy_pj=3.0, write_energy_pj=6.0, update_energy_pj=9.0,
                      read_bandwidth_words_per_cycle=2.0)  # fmt: skip
    assert found == replace(chip, levels=(changed, buffer))
    assert scaled(chip, MemoryScales()) == chip
