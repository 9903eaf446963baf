"""Laws of component costs and of machines of many sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.hardware import Mac, Sram, load_space, sram
from heat_sim.hardware.tables import sram_table

SPACE = load_space(Path(__file__).parents[2] / "arch_specs" / "simba_l" / "ranges.yaml")
VALUES = ("read_energy_pj", "write_energy_pj", "area_mm2", "leakage_power_mw")
TINY = 1e-5
"""The table has 6 digits: a row and a rule that gives the same row differ by that."""

nodes = st.sampled_from([7, 12, 16, 22, 45])
choices = st.tuples(*(st.integers(0, len(gene.values) - 1) for gene in SPACE.genes))


@given(
    width_bits=st.integers(8, 256), depth=st.integers(1, 100_000), more=st.floats(1, 8), node_nm=nodes
)  # fmt: skip
def test_a_deeper_bank_never_costs_less(width_bits, depth, more, node_nm) -> None:
    small, large = (sram(depth=each, width_bits=width_bits, node_nm=node_nm) for each in (depth, int(depth * more)))
    for field in VALUES:
        assert getattr(small, field) <= getattr(large, field) * (1 + TINY)


@given(width_bits=st.integers(32, 256), capacity=st.integers(0, 16), part=st.floats(1, 2), node_nm=nodes)
def test_between_points_a_cost_is_between_theirs(width_bits, capacity, part, node_nm) -> None:
    node = min(max(node_nm, 22), 45)
    depth = max(64, round(256 * 2**capacity * part * 8 / width_bits))
    cost = sram(depth=depth, width_bits=width_bits, node_nm=node)
    size = min(depth * width_bits / 8, 2.0**25)
    widths = [width for width in (32, 64, 128, 256) if width_bits / 2 < width < 2 * width_bits]
    around = [
        row for (held, width), row in sram_table()[node].items() if size / 2 < held < 2 * size and width in widths
    ]
    for field in VALUES:
        values = [getattr(row, field) for row in around]
        assert min(values) * (1 - TINY) <= getattr(cost, field) <= max(values) * (1 + TINY)


@given(width_bits=st.integers(8, 256), depth=st.integers(1, 4096), node_nm=nodes)
def test_a_smaller_node_never_costs_more_energy_or_area(width_bits, depth, node_nm) -> None:
    costs = [sram(depth=depth, width_bits=width_bits, node_nm=node) for node in (node_nm, 45)]
    for field in ("read_energy_pj", "write_energy_pj", "area_mm2"):
        assert getattr(costs[0], field) <= getattr(costs[1], field)


@given(banks=st.integers(1, 64), width_bits=st.integers(8, 256), depth=st.integers(1, 4096))
def test_banks_multiply(banks, width_bits, depth) -> None:
    one = sram(depth=depth, width_bits=width_bits, node_nm=16)
    row = Sram(banks=banks).cost(depth=depth, width_bits=banks * width_bits, node_nm=16)
    assert all(getattr(row, field) == pytest.approx(banks * getattr(one, field)) for field in VALUES)


@given(multiplier=st.integers(1, 31), accumulator=st.integers(1, 63), node_nm=st.sampled_from([7, 16, 22, 45]))
def test_a_wider_mac_costs_more(multiplier, accumulator, node_nm) -> None:
    small = Mac(multiplier_bits=multiplier, accumulator_bits=accumulator).cost(node_nm=node_nm)
    large = Mac(multiplier_bits=multiplier + 1, accumulator_bits=accumulator + 1).cost(node_nm=node_nm)
    assert small.energy_pj < large.energy_pj
    assert small.area_mm2 < large.area_mm2


@given(choice=choices)
def test_a_machine_is_what_its_genes_say(choice) -> None:
    machine = SPACE.point(choice)
    chip, values = machine.architecture, machine.values
    levels = {level.name: level for level in chip.levels}
    for name in ("GlobalBuffer", "InputBuffer", "WeightBuffer", "AccumulationBuffer"):
        level = levels[name]
        assert level.capacity_words == values[f"{name}.depth"] * level.words_per_access
        assert level.update_energy_pj == level.write_energy_pj
    assert chip.peak_ops_per_cycle == values["PE.meshX"] * values["PE.meshY"] * 64  # lanes x multipliers
    instances = sum((level.area_mm2 or 0) * chip.instances(place) for place, level in enumerate(chip.levels))
    assert machine.area_mm2 == pytest.approx(instances + chip.peak_ops_per_cycle * (chip.compute_area_mm2 or 0))
    own = {"GlobalBuffer", "InputBuffer", "WeightBuffer", "AccumulationBuffer", "DRAM"}
    for level, base in zip(chip.levels, SPACE.base.architecture.levels, strict=True):
        assert (level.name, level.word_bits, level.words_per_access) == (
            base.name, base.word_bits, base.words_per_access)  # fmt: skip
        assert level.name in own or level.capacity_words == base.capacity_words


@given(choice=choices, gene=st.integers(0, len(SPACE.genes) - 1))
def test_a_larger_value_never_makes_a_smaller_chip(choice, gene) -> None:
    larger = list(choice)
    larger[gene] = min(choice[gene] + 1, len(SPACE.genes[gene].values) - 1)
    before, after = SPACE.point(choice), SPACE.point(larger)
    assert before.area_mm2 <= after.area_mm2 * (1 + 1e-12)
    if SPACE.genes[gene].attribute == "shared_bandwidth":
        assert after.area_mm2 == before.area_mm2
