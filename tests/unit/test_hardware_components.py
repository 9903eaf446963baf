"""Component costs: the points of the tables exactly, the rules between and beyond them by hand, the rest refused."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.hardware import Dram, Mac, Register, Sram, mac, register, sram

TABLES = Path(__file__).parents[2] / "heat_sim" / "hardware" / "tables"


def rows(name: str) -> list[dict[str, str]]:
    with (TABLES / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_sram_row_comes_back_exactly() -> None:
    table = rows("sram.csv")
    assert len(table) == 2 * 4 * 18  # nodes x widths x capacities 256 B to 32 MiB
    for row in table:
        width = int(row["width_bits"])
        cost = sram(depth=int(row["capacity_bytes"]) * 8 // width, width_bits=width, node_nm=int(row["node_nm"]))
        for field in ("read_energy_pj", "write_energy_pj", "area_mm2", "leakage_power_mw"):
            assert getattr(cost, field) == float(row[field]), row


def test_every_logic_row_comes_back_exactly() -> None:
    squares = 0
    for row in rows("logic.csv"):
        node, width = int(row["node_nm"]), int(row["width_a_bits"])
        if row["component"] == "register":
            cost = register(width_bits=width, node_nm=node)
        elif row["component"] == "int_mac":
            cost = mac(multiplier_bits=width, accumulator_bits=int(row["accumulator_bits"]), node_nm=node)
            squares += 1
        else:
            continue
        assert cost.energy_pj == float(row["energy_pj"])
        assert cost.area_mm2 == pytest.approx(float(row["area_um2"]) * 1e-6, rel=1e-12)
        assert cost.leakage_power_mw == float(row["leakage_power_mw"])
    assert squares == 6 * 7  # nodes x widths


def test_between_two_capacities_the_logarithm_is_linear() -> None:
    """64 bit at 22 nm: 1,024 words 1.59026 pJ and 2,048 words 2.6436 pJ; 1,536 is log2(1.5) of the way."""
    along = math.log2(1.5)
    cost = sram(depth=1536, width_bits=64, node_nm=22)
    assert cost.read_energy_pj == pytest.approx(1.59026 ** (1 - along) * 2.6436**along, rel=1e-12)
    assert cost.area_mm2 == pytest.approx(0.00626543 ** (1 - along) * 0.0150736**along, rel=1e-12)


def test_between_two_widths_and_two_capacities() -> None:
    """1,024 x 96 bit is 12 KiB: log2(1.5) of the way from 8 to 16 KiB, and as far from 64 to 128 bit."""
    part = math.log2(1.5)
    narrow = 1.59026 ** (1 - part) * 2.6436**part  # 8 and 16 KiB at 64 bit
    wide = 2.00944 ** (1 - part) * 3.82976**part  # at 128 bit
    cost = sram(depth=1024, width_bits=96, node_nm=22)
    assert cost.read_energy_pj == pytest.approx(narrow ** (1 - part) * wide**part, rel=1e-12)


@pytest.mark.parametrize(
    ("node", "width", "depth", "read", "area_um2"),
    [  # rows of the package's own small SRAMs: hwcomponents-library 1.0.58 on hwcomponents-cacti 1.0.40
        (22, 8, 64, 0.0680817, 62.8858),
        (22, 16, 128, 0.123244, 225.555),
        (22, 16, 512, 0.343632, 860.19),
        (22, 32, 32, 0.0834706, 125.772),
        (22, 64, 1, 0.0119903, 7.97953),
        (22, 256, 4, 0.252843, 200.859),
        (22, 8, 1, 0.00265589, 0.98259),
        (22, 16, 8, 0.018401, 15.7214),
    ],
)
def test_narrow_and_shallow_banks_cost_what_the_package_says(node, width, depth, read, area_um2) -> None:
    cost = sram(depth=depth, width_bits=width, node_nm=node)
    assert cost.read_energy_pj == pytest.approx(read, rel=1e-5)
    assert cost.area_mm2 * 1e6 == pytest.approx(area_um2, rel=1e-5)


@pytest.mark.parametrize(("node", "read", "write"), [(22, 3.79, 3.10), (16, 3.23, 2.65), (12, 2.80, 2.29),
                                                     (7, 2.14, 1.75), (45, 17.0, 15.4)])  # fmt: skip
def test_32_kib_of_64_bit_by_node_as_the_package_gives_it(node, read, write) -> None:
    cost = sram(depth=4096, width_bits=64, node_nm=node)
    assert float(f"{cost.read_energy_pj:.3g}") == read
    assert float(f"{cost.write_energy_pj:.3g}") == write


def test_area_and_leakage_below_22_nm() -> None:
    large, small = (sram(depth=4096, width_bits=64, node_nm=node) for node in (22, 16))
    assert small.area_mm2 == pytest.approx(large.area_mm2 * 16 / 22)
    assert small.leakage_power_mw == pytest.approx(large.leakage_power_mw * 0.79 * math.sqrt(16 / 22))


def test_a_mac_between_the_rows_is_a_multiplier_and_an_adder() -> None:
    """Aladdin's points at 40 nm: multiplier 32x32 12.68 pJ, 6350 um2; adder 32 bit 0.21 pJ, 278 um2."""
    cost = mac(multiplier_bits=12, accumulator_bits=28, node_nm=40)
    assert cost.energy_pj == pytest.approx(12.68 * (12 * 12) / (32 * 32) + 0.21 * 28 / 32, rel=1e-5)
    assert cost.area_mm2 * 1e6 == pytest.approx(6350 * (12 * 12) / (32 * 32) + 278 * 28 / 32, rel=1e-5)


def test_a_register_between_the_rows_is_linear_in_width() -> None:
    """Aladdin's point at 40 nm: 0.009 pJ and 5.98 um2 per bit."""
    cost = register(width_bits=10, node_nm=40)
    assert cost.energy_pj == pytest.approx(10 * 0.009)
    assert cost.area_mm2 * 1e6 == pytest.approx(10 * 5.98)


def test_banks_share_the_row() -> None:
    one = sram(depth=512, width_bits=64, node_nm=16)
    eight = Sram(banks=8).cost(depth=512, width_bits=8 * 64, node_nm=16)
    assert eight == one.scaled(energy=8, area=8, leakage=8)
    two = Register(banks=2).cost(depth=1, width_bits=2 * 128, node_nm=16)
    assert two.read_energy_pj == two.write_energy_pj == 2 * 0.230072


@pytest.mark.parametrize(("kind", "width", "energy_pj"), [("LPDDR4", 64, 512), ("DDR3", 16, 16 * 70),
                                                          ("HBM2", 1024, 1024 * 6.25)])  # fmt: skip
def test_main_memory_costs_energy_per_bit_and_no_area(kind, width, energy_pj) -> None:
    cost = Dram(type=kind).cost(depth=None, width_bits=width, node_nm=16)
    assert cost.read_energy_pj == cost.write_energy_pj == energy_pj
    assert cost.area_mm2 == cost.leakage_power_mw == 0


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: sram(depth=64, width_bits=512, node_nm=22),
         "SRAM bank of 64 x 512 bit: too narrow or too wide for the table (got 512 bit, expected 8 to 256 bit per bank)"
         ". Change the width or the number of banks."),
        (lambda: sram(depth=64, width_bits=7, node_nm=22), "(got 7 bit, expected 8 to 256 bit per bank)"),
        (lambda: sram(depth=2**20 + 1, width_bits=256, node_nm=22), "expected 1 to 1,048,576 words per bank)"),
        (lambda: sram(depth=0, width_bits=32, node_nm=22), "(got 0 words, expected 1 to 8,388,608 words per bank)"),
        (lambda: sram(depth=64, width_bits=32, node_nm=32), "(got 32 nm, expected 45 nm, or 7 to 22 nm)"),
        (lambda: sram(depth=64, width_bits=32, node_nm=5), "(got 5 nm, expected 45 nm, or 7 to 22 nm)"),
        (lambda: register(width_bits=129, node_nm=16), "register: too narrow or too wide for the table (got 129 bit"),
        (lambda: register(width_bits=8, node_nm=12), "(got 12 nm, expected one of 7, 16, 22, 32, 40, 45 nm)"),
        (lambda: mac(multiplier_bits=33, accumulator_bits=32, node_nm=16), "multiplier: too narrow or too wide"),
        (lambda: mac(multiplier_bits=8, accumulator_bits=65, node_nm=16), "adder: too narrow or too wide"),
        (lambda: mac(multiplier_bits=8, accumulator_bits=24, node_nm=16.5), "(got 16.5 nm, expected one of 7, 16"),
        (lambda: Mac(multiplier_bits=8, accumulator_bits=24).cost(node_nm=28), "no table for this node (got 28 nm"),
        (lambda: Register().cost(depth=2, width_bits=8, node_nm=16), "register: more than one row (got depth 2"),
        (lambda: Sram().cost(depth=None, width_bits=8, node_nm=16), "SRAM: no size in whole rows"),
        (lambda: Sram(banks=3).cost(depth=64, width_bits=64, node_nm=16), "(got 64 bit in 3 banks, expected a whole"),
        (lambda: Dram(type="DDR4").cost(depth=None, width_bits=64, node_nm=16),
         "DRAM: unknown type (got DDR4, expected one of LPDDR4, LPDDR, DDR3, HBM2, HBM3, HBM4)"),
        (lambda: Dram(type="LPDDR4").cost(depth=None, width_bits=65, node_nm=16), "expected >= 1 bit and <= 64 bit)"),
        (lambda: Dram(type="HBM2").cost(depth=None, width_bits=64, node_nm=16), "(got 64 bit, expected >= 1024 bit)"),
    ],
)  # fmt: skip
def test_what_is_outside_the_tables_is_refused(ask, message) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        ask()
