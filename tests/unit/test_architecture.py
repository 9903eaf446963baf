"""What an architecture derives, draws and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.errors import SpecError


def machine(*levels: StorageLevel, **changes: Any) -> Architecture:
    fields = {"name": "toy", "compute_name": "MAC", "compute_energy_pj": 1.0} | changes
    return Architecture(levels=levels, **fields)


def test_instances_are_the_product_of_the_fanouts_above() -> None:
    toy = machine(
        StorageLevel(name="DRAM"),
        StorageLevel(name="GLB", capacity_words=1024, fanout_x=4, fanout_y=2),
        StorageLevel(name="mesh", fanout_x=3, is_virtual=True),
        StorageLevel(name="RF", capacity_words=16, word_bits=8, fanout_y=5),
    )
    assert [toy.instances(place) for place in range(5)] == [1, 1, 4 * 2, 4 * 2 * 3, 4 * 2 * 3 * 5]
    assert toy.peak_ops_per_cycle == 4 * 2 * 3 * 5
    assert toy.index("RF") == 3
    with pytest.raises(KeyError, match="L2"):
        toy.index("L2")
    assert str(toy).splitlines() == [
        "toy: 120 x MAC (1 pJ/op)",
        "  DRAM x 1: unbounded",
        "    GLB x 1: 1,024 words of 16 bits -> 4 x 2 children",
        "      mesh x 8: no storage -> 3 x 1 children",
        "        RF x 24: 16 words of 8 bits -> 1 x 5 children",
    ]


def test_multiple_buffering_leaves_whole_words() -> None:
    assert StorageLevel(name="L1", capacity_words=100, multiple_buffering=1.5).usable_words == 66
    assert StorageLevel(name="DRAM", multiple_buffering=2.0).usable_words is None


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("word_bits", 0, "an integer >= 1"),
        ("words_per_access", 1.5, "an integer >= 1"),
        ("fanout_x", -2, "an integer >= 1"),
        ("capacity_words", 0, "an integer >= 1, or None for unbounded"),
        ("read_energy_pj", -1.0, "a finite number >= 0"),
        ("hop_energy_pj", float("nan"), "a finite number >= 0"),
        ("leakage_energy_pj_per_cycle", float("inf"), "a finite number >= 0"),
        ("network_fill_latency_cycles", -1, "a finite number >= 0"),
        ("read_bandwidth_words_per_cycle", 0.0, "a number > 0, or None for unlimited"),
        ("multiple_buffering", 0.5, "a number >= 1"),
    ],
)
def test_bad_fields_are_refused_by_name(field: str, value: object, expected: str) -> None:
    with pytest.raises(SpecError, match=rf"level L1\.{field}: bad value \(got {value}, expected {expected}\)"):
        StorageLevel(name="L1", **{field: value})


def test_all_problems_of_a_level_come_together() -> None:
    with pytest.raises(SpecError, match="word_bits") as refusal:
        StorageLevel(name="L1", word_bits=0, capacity_words=-1, read_energy_pj=-1.0)
    assert len(refusal.value.problems) == 3


def test_bad_architectures_are_refused() -> None:
    with pytest.raises(SpecError, match="no storage level"):
        machine()
    with pytest.raises(SpecError, match="the outermost level must be a storage level"):
        machine(StorageLevel(name="mesh", is_virtual=True))
    with pytest.raises(SpecError, match=r"a name is used twice \(got RF, expected unique names\)"):
        machine(StorageLevel(name="RF"), StorageLevel(name="RF"))
    with pytest.raises(SpecError, match=r"a name is used twice \(got MAC"):
        machine(StorageLevel(name="MAC"))
    with pytest.raises(SpecError, match=r"MAC\.compute_energy_pj: bad value \(got -1\.0"):
        machine(StorageLevel(name="DRAM"), compute_energy_pj=-1.0)
