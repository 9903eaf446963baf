"""Range files: the machines of simba_l, and every way in which a file can be wrong."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from heat_sim.errors import SpecError
from heat_sim.hardware import HardwareSpace, load_space, parse_space
from heat_sim.specs import ArchitectureSpec, load_architecture

ROOT = Path(__file__).parents[2]
SIMBA = ROOT / "arch_specs" / "simba_l"
RANGES = (SIMBA / "ranges.yaml").read_text(encoding="utf-8")
EDGE = """
hardware:
  version: 1
  base: edge_16x16
  node_nm: 22
  components:
    DRAM: {kind: dram, type: LPDDR4}
    GlobalBuffer: {kind: sram}
    InputSpad: {kind: sram}
    WeightSpad: {kind: sram}
    PsumSpad: {kind: sram}
    MAC: {kind: mac, multiplier: 8, accumulator: 32}
  ranges:
    GlobalBuffer.width: [64, 128, 256]
    GlobalBuffer.depth: [4096, 8192]
    PE.meshY: [1, 16]
    GlobalBuffer.shared_bandwidth: [8, 16]
"""


def simba() -> ArchitectureSpec:
    return load_architecture(SIMBA / "arch.yaml", ert=SIMBA / "ert.yaml")


@pytest.fixture
def space() -> HardwareSpace:
    return load_space(SIMBA / "ranges.yaml")


def energies_in_file() -> Iterator[tuple[str, str, str]]:
    """Yield component, action and energy as the file spells it."""
    text = (SIMBA / "ert.yaml").read_text(encoding="utf-8")
    for table in yaml.load(text, Loader=yaml.BaseLoader)["ERT"]["tables"]:
        for action in table["actions"]:
            yield table["name"], action["name"], action["energy"]


def test_the_tables_give_the_energies_of_simba_l_to_their_printed_digits(space) -> None:
    machine = space.point(space.base_choice).architecture
    levels = {level.name: level for level in machine.levels}
    seen = 0
    for component, action, text in energies_in_file():
        compute = action == "compute"
        found = machine.compute_energy_pj if compute else getattr(levels[component], f"{action}_energy_pj")
        last_digit = 10.0 ** -len(text.partition(".")[2])
        assert abs(found - float(text)) <= 0.5 * last_digit * (1 + 1e-9), (component, action, found)
        seen += 1
    assert seen == 6 * 3 + 1  # storages x actions, and the MAC


def test_the_base_choice_is_the_base_but_for_energies_and_areas(space) -> None:
    base, machine = simba().architecture, space.point(space.base_choice)
    copied = ("read_energy_pj", "write_energy_pj", "update_energy_pj", "area_mm2")
    for own, level in zip(base.levels, machine.architecture.levels, strict=True):
        assert replace(level, **{field: getattr(own, field) for field in copied}) == own
    assert machine.architecture.name == base.name
    assert machine.architecture.clock_hz == base.clock_hz
    assert machine.constraints == simba().constraints


def test_the_area_of_the_base_is_the_sum_over_instances(space) -> None:
    """At 22 nm from the rows of the table, in mm2; SRAM shrinks by 16/22, logic has rows at 16 nm."""
    srams = {
        "GlobalBuffer": 0.0650164,  # 64 KiB x 256 bit
        "InputBuffer": 16 * 0.00626543,  # PEs x 8 KiB x 64 bit
        "WeightBuffer": 16 * 8 * 0.00350925,  # PEs x banks x 4 KiB x 64 bit
        "AccumulationBuffer": 16 * 8 * 24 / 32 * 0.00045111,  # PEs x banks x 24 of 32 bit x 512 B
    }
    expected = {name: area * 16 / 22 for name, area in srams.items()}
    expected |= {"DRAM": 0.0, "WeightRegister": 1024 * 13.1376e-6, "MAC": 1024 * 166.245e-6}
    machine = space.point(space.base_choice)
    assert machine.area_by_component_mm2 == pytest.approx(expected)
    assert machine.area_mm2 == pytest.approx(sum(expected.values()))
    assert machine.architecture.area_mm2 == pytest.approx(machine.area_mm2)


def test_the_readme_gives_the_areas_of_the_base(space) -> None:
    text = (SIMBA / "README.md").read_text(encoding="utf-8")
    machine = space.point(space.base_choice)
    for name, area_mm2 in machine.area_by_component_mm2.items():
        assert re.search(rf"^\| {name} \|.*\| {re.escape(f'{area_mm2:.5g}')} \|", text, re.MULTILINE), name
    assert f"{machine.area_mm2:.4g} mm" in text
    assert f"{space.size:,} machines" in text


def test_genes_are_in_file_order_and_point_is_what_they_say(space) -> None:
    assert [gene.name for gene in space.genes] == [
        "GlobalBuffer.depth", "InputBuffer.depth", "WeightBuffer.depth", "AccumulationBuffer.depth", "PE.meshX",
        "PE.meshY", "DRAM.shared_bandwidth",
    ]  # fmt: skip
    assert space.size == 5 * 4 * 4 * 4 * 3 * 3 * 3
    assert space.base_choice == (2, 2, 2, 1, 1, 1, 1)
    machine = space.point((4, 0, 2, 1, 2, 0, 2))
    levels = {level.name: level for level in machine.architecture.levels}
    assert levels["GlobalBuffer"].capacity_words == 8192 * 32  # rows x words per row
    assert levels["InputBuffer"].capacity_words == 256 * 8
    assert (levels["GlobalBuffer"].fanout_x, levels["GlobalBuffer"].fanout_y) == (8, 2)
    assert levels["DRAM"].shared_bandwidth_words_per_cycle == 51.2
    assert machine.architecture.peak_ops_per_cycle == 8 * 2 * 8 * 8  # PE mesh x lanes
    assert machine.values["PE.meshX"] == 8
    assert machine.architecture.name == (
        "simba_l (GlobalBuffer.depth 8192, InputBuffer.depth 256, PE.meshX 8, PE.meshY 2, DRAM.shared_bandwidth 51.2)"
    )
    assert space.point([4, 0, 2, 1, 2, 0, 2]) is machine
    assert pickle.loads(pickle.dumps(space)).point((4, 0, 2, 1, 2, 0, 2)) == machine


def test_another_width_keeps_the_rows_and_leakage_is_counted_where_the_base_does(tmp_path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(EDGE, encoding="utf-8")
    space = load_space(path)
    base = space.point(space.base_choice).architecture.levels[1]
    # the rows of arch_specs/edge_16x16/README.md: 128 KiB x 128 bit at 22 nm, 0.0188655 mW x 2 ns
    assert (base.read_energy_pj, base.write_energy_pj) == (11.846, 10.4815)
    assert base.leakage_energy_pj_per_cycle == pytest.approx(0.0188655e-3 * 2e-9 * 1e12)
    wide = space.point((2, 1, 0, 0)).architecture.levels[1]
    assert wide.words_per_access == 256 // 8
    assert wide.capacity_words == 8192 * 256 // 8
    assert wide.read_energy_pj == 30.0223  # the row 256 KiB x 256 bit
    assert wide.shared_bandwidth_words_per_cycle == 8
    assert (wide.fanout_x, wide.fanout_y) == (16, 1)


def test_a_given_base_goes_before_the_one_in_the_file(tmp_path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(RANGES.replace("base: .", "base: nowhere"), encoding="utf-8")
    assert load_space(path, base=simba()).size == load_space(SIMBA / "ranges.yaml").size
    shutil.copy(SIMBA / "arch.yaml", tmp_path)
    shutil.copy(SIMBA / "ert.yaml", tmp_path)
    for named in (".", "simba_l", str(SIMBA)):
        path.write_text(RANGES.replace("base: .", f"base: {named}"), encoding="utf-8")
        assert load_space(path).base.architecture == simba().architecture


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "hardware:3 hardware.version: unknown version (got 2, expected 1)"),
        ("node_nm: 16", "node_nm: 32", "hardware:5 hardware.node_nm: no table for this node (got 32, expected one of "
         "7, 16, 22, 45 nm). Take a node of the tables."),
        ("  node_nm: 16\n", "", "hardware: no node_nm (got keys version, base, components, ranges"),
        ("  ranges:", "  rangs:", "hardware.rangs: unknown key (got rangs, expected one of version, base, node_nm, "
         "components, ranges). Correct or delete it. Did you mean ranges?"),
        ("    InputBuffer: {kind: sram}\n", "", "hardware.components: no InputBuffer"),
        ("    InputBuffer: {kind: sram}\n", "    InputBuffer: {kind: sram}\n    InputBuffer: {kind: sram}\n",
         "InputBuffer: key given twice"),
        ("    InputBuffer: {kind", "    InputBufer: {kind", "Did you mean InputBuffer?"),
        ("InputBuffer: {kind: sram}", "InputBuffer: {kind: sramm}", "hardware.components.InputBuffer: not a kind that "
         "it can be (got sramm, expected sram or register or dram). Write kind: sram, for example. Did you mean sram?"),
        ("InputBuffer: {kind: sram}", "InputBuffer: {banks: 2}", "(got no kind, expected sram or register or dram)"),
        ("InputBuffer: {kind: sram}", "InputBuffer: sram", "InputBuffer: not a table of keys"),
        ("{kind: mac, multiplier: 8, accumulator: 24}", "{kind: sram}", "MAC: not a kind that it can be (got sram, "
         "expected mac)"),
        ("InputBuffer: {kind: sram}", "InputBuffer: {kind: sram, type: LPDDR4}", "InputBuffer.type: unknown key"),
        ("InputBuffer: {kind: sram}", "InputBuffer: {kind: sram, banks: 0}", "InputBuffer.banks: not an integer in"),
        ("InputBuffer: {kind: sram}", "InputBuffer: {kind: sram, banks: 3}", "InputBuffer: banks: the row does not "
         "divide among them (got 64 bit in 3 banks"),
        ("WeightBuffer: {kind: sram, banks: 8}", "WeightBuffer: {kind: sram}", "hardware.components.WeightBuffer: SRAM "
         "bank of 128 x 512 bit: too narrow or too wide for the table (got 512 bit, expected 8 to 256 bit per bank)"),
        ("type: LPDDR4", "type: DDR4", "hardware.components.DRAM: DRAM: unknown type (got DDR4"),
        (", type: LPDDR4", "", "hardware.components.DRAM: no type"),
        ("accumulator: 24", "accumulator: 99", "hardware.components.MAC: adder: too narrow or too wide"),
        (", accumulator: 24", "", "hardware.components.MAC: no accumulator"),
        ("GlobalBuffer.depth: [512", "GlobalBufer.depth: [512", "hardware.ranges.GlobalBufer.depth: no such level (got "
         "GlobalBufer, expected one of DRAM, GlobalBuffer, InputBuffer, WeightBuffer, AccumulationBuffer, "
         "WeightRegister). Write LEVEL.depth. Did you mean GlobalBuffer?"),
        ("GlobalBuffer.depth: [512", "depth: [512", "no such level (got no name"),
        ("GlobalBuffer.depth: [512", "GlobalBuffer.dept: [512", "not what can vary of kind sram (got dept, expected "
         "one of depth, width, read_bandwidth, write_bandwidth, shared_bandwidth; meshX, meshY of a mesh). Correct or "
         "delete it. Did you mean depth?"),
        ("DRAM.shared_bandwidth", "DRAM.depth", "not what can vary of kind dram (got depth"),
        ("DRAM.shared_bandwidth", "WeightRegister.depth", "not what can vary of kind register (got depth"),
        ("PE.meshX", "PEs.meshX", "no such mesh in the base (got PEs, expected one of PE, lanes)"),
        ("PE.meshX", "WeightRegister.meshX", "no such mesh in the base (got WeightRegister"),
        ("[12.8, 25.6, 51.2]", "[12.8, 51.2]", "hardware.ranges.DRAM.shared_bandwidth: the value of the base is not "
         "among the values (got 12.8, 51.2, expected 25.6 among them). Add it."),
        ("[12.8, 25.6, 51.2]", "[25.6, 12.8]", "not values in ascending order (got 25.6, 12.8"),
        ("[12.8, 25.6, 51.2]", "[25.6, 25.6]", "not values in ascending order (got 25.6, 25.6"),
        ("[12.8, 25.6, 51.2]", "[]", "expected 1 to 64 values, each above the last"),
        ("[12.8, 25.6, 51.2]", "25.6", "hardware.ranges.DRAM.shared_bandwidth: not a list"),
        ("[12.8, 25.6, 51.2]", "[0, 25.6]", "DRAM.shared_bandwidth[0]: not a number in range (got 0"),
        ("PE.meshX: [2, 4, 8]", "PE.meshX: [2.5, 4]", "PE.meshX[0]: not an integer in range (got 2.5"),
        ("DRAM.shared_bandwidth: [12.8, 25.6, 51.2]", "InputBuffer.read_bandwidth: [8]", "the base has no such value "
         "(got InputBuffer is unlimited"),
        ("GlobalBuffer.depth: [512, 1024, 2048, 4096, 8192]", "GlobalBuffer.width: [256, 260]", "a row does not hold "
         "whole words (got 260 bit, expected multiples of 8 bit)"),
        ("GlobalBuffer.depth: [512, 1024, 2048, 4096, 8192]", "GlobalBuffer.depth: [2048, 4000000]",
         "hardware.components.GlobalBuffer: SRAM bank of 4,000,000 x 256 bit: too small or too large for the table"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_where_and_what_to_do(old, new, message) -> None:
    assert RANGES.count(old) >= 1
    with pytest.raises(SpecError, match=re.escape(message)):
        parse_space(RANGES.replace(old, new, 1), base=simba())


def test_all_problems_come_together() -> None:
    wrong = RANGES.replace("banks: 8", "banks: none").replace("[2, 4, 8]", "[2, 8]").replace("version: 1", "version: 3")
    with pytest.raises(SpecError) as refused:
        parse_space(wrong, base=simba())
    assert len(refused.value.problems) == 5  # version, two components, both sides of the mesh


def test_of_many_sizes_outside_the_table_the_first_is_reported() -> None:
    wide = RANGES.replace("GlobalBuffer.depth: [512, 1024, 2048,", "GlobalBuffer.depth: [2048, 2000000, 4000000,")
    with pytest.raises(SpecError) as refused:
        parse_space(wide.replace("4000000, 4096, 8192]", "4000000]"), base=simba())
    assert len(refused.value.problems) == 1
    assert "SRAM bank of 2,000,000 x 256 bit" in refused.value.problems[0]


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", "hardware:", "hardware: 5", "hardware: []", "hardware: {version: 1, components: 3, ranges: 4}",
     RANGES.partition("  components:")[0] + "  components: []\n  ranges: []\n",
     RANGES.replace("{kind: sram}", "[sram]"), RANGES.replace("kind: sram", "kind: [sram]"),
     RANGES.replace("type: LPDDR4", "type: {}"), RANGES.replace("[2, 4, 8]", "[[2], 4]"),
     RANGES.replace("[2, 4, 8]", "[]"), RANGES.replace("12.8", ".inf"), RANGES.replace("base: .", "base: []")],
)  # fmt: skip
def test_whatever_the_text_it_is_a_space_or_a_refusal(text) -> None:
    try:
        space = parse_space(text, base=simba())
    except SpecError as refused:
        assert refused.problems  # noqa: PT017
    else:
        assert space.size >= 1


def test_the_file_in_the_document_is_a_range_file() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    space = parse_space(text, base=simba())
    assert space.size == 3 * 3 * 3
    assert space.point(space.base_choice).area_mm2 == pytest.approx(0.6621, abs=5e-5)


def test_nothing_to_vary_is_refused() -> None:
    with pytest.raises(SpecError, match="nothing varies"):
        parse_space(RANGES.partition("  ranges:")[0] + "  ranges: {}\n", base=simba())


def test_a_file_without_base_needs_one(tmp_path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(RANGES.replace("  base: .\n", ""), encoding="utf-8")
    with pytest.raises(SpecError, match="hardware: no architecture to vary"):
        load_space(path)
    path.write_text(RANGES.replace("base: .", "base: simba_xl"), encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"ranges.yaml:4 hardware.base: base: no such file, folder or preset \(got simb"
    ):
        load_space(path)


def test_rows_that_instances_share_are_refused() -> None:
    text = (SIMBA / "arch.yaml").read_text(encoding="utf-8") + (SIMBA / "ert.yaml").read_text(encoding="utf-8")
    shared = text.replace("{datawidth: 8, width: 8, depth: 1}", "{datawidth: 8, width: 16, depth: 1, cluster_size: 2}")
    from heat_sim.specs import parse_architecture

    with pytest.raises(
        SpecError, match=r"WeightRegister: a row that instances share has no cost per instance \(got cl"
    ):
        parse_space(RANGES, base=parse_architecture(shared))


def test_leakage_needs_a_clock() -> None:
    spec = simba()
    leaky = tuple(replace(level, leakage_energy_pj_per_cycle=1.0) for level in spec.architecture.levels[:2])
    chip = replace(spec.architecture, levels=(*leaky, *spec.architecture.levels[2:]), clock_hz=None)
    with pytest.raises(SpecError, match="GlobalBuffer: no clock to count its leakage per cycle"):
        parse_space(RANGES, base=replace(spec, architecture=chip))


@pytest.mark.parametrize("choice", [(), (0,) * 6, (0,) * 8, (5, 0, 0, 0, 0, 0, 0), (-1, 0, 0, 0, 0, 0, 0)])
def test_a_choice_that_is_not_there(space, choice) -> None:
    with pytest.raises(SpecError, match="choice of a machine: not one place per gene"):
        space.point(choice)


def test_a_space_without_the_value_of_the_base_has_no_base_choice(space) -> None:
    genes = (replace(space.genes[0], values=(512, 1024)), *space.genes[1:])
    with pytest.raises(SpecError, match=r"GlobalBuffer.depth: .* \(got 512, 1024, expected 2048 among them\). Add it."):
        _ = replace(space, genes=genes).base_choice
