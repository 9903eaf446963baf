"""`heat-sim hardware` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIMBA = ROOT / "arch_specs" / "simba_l"
RANGES = SIMBA / "ranges.yaml"


def test_table_and_json_agree(run, tmp_path) -> None:
    target = tmp_path / "out.json"
    code, out, err = run("hardware", RANGES, "--json", target)
    assert code == 0, err
    found = json.loads(target.read_text(encoding="utf-8"))
    assert f"simba_l: {found['size']:,} machines of 7 ranges at 16 nm" in out
    assert list(found["machines"]) == ["base", "smallest", "largest"]
    for name, machine in found["machines"].items():
        assert f"{name}: {machine['compute_units']:,} x MAC, {machine['area_mm2']:.4g} mm2" in out
        assert machine["area_mm2"] == pytest.approx(sum(row["area_mm2"] for row in machine["components"]))
    for gene in found["genes"]:
        assert re.search(rf"\| {gene['name']} +\| {', '.join(f'{value:g}' for value in gene['values'])} +\|", out)
    assert found["machines"]["base"]["compute_units"] == 4 * 4 * 8 * 8
    assert found["machines"]["smallest"]["compute_units"] == 2 * 2 * 8 * 8
    assert found["machines"]["largest"]["compute_units"] == 8 * 8 * 8 * 8
    assert found["machines"]["base"]["values"] == {gene["name"]: gene["base"] for gene in found["genes"]}
    assert "no wires, no control" in out


def test_json_alone_on_standard_output(run) -> None:
    code, out, err = run("hardware", RANGES, "--json", "-")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["machines"]["base"]["components"]}
    assert rows["GlobalBuffer"]["size_bits"] == 64 * 8192
    assert rows["DRAM"] | {"size_bits": None} == {
        "name": "DRAM", "instances": 1, "size_bits": None, "area_mm2": 0.0, "read_energy_pJ": 512.0,
        "write_energy_pJ": 512.0,
    }  # fmt: skip
    assert rows["MAC"]["write_energy_pJ"] is None


def test_the_architecture_on_the_command_line_is_the_base(run, tmp_path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(RANGES.read_text(encoding="utf-8").replace("  base: .\n", ""), encoding="utf-8")
    code, out, err = run("hardware", path, "--arch", "simba_l")
    assert code == 0, err
    assert "simba_l: 8,640 machines" in out
    code, _, err = run("hardware", path)
    assert code == 2
    assert "no architecture to vary (got no base, expected a key base" in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PE.meshX: [2, 4, 8]", "PE.meshX: [2, 8]", "hardware.ranges.PE.meshX: the value of the base is not among the "
         "values (got 2, 8, expected 4 among them). Add it."),
        ("node_nm: 16", "node_nm: 10", "no table for this node (got 10, expected one of 7, 16, 22, 45 nm)"),
        ("hardware:", "hardware: {", "ranges.yaml:4: not YAML"),
    ],
)  # fmt: skip
def test_bad_input_exits_2_with_one_message(run, tmp_path, old, new, message) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(RANGES.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    code, out, err = run("hardware", path, "--arch", SIMBA)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_file_that_is_not_there(run, tmp_path) -> None:
    code, _, err = run("hardware", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml: cannot be read" in err


def test_the_page_shows_what_the_command_prints(run) -> None:
    """Every line of the output in docs/hardware.md is there, but for those left out at "..."."""
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    _, out, _ = run("hardware", "arch_specs/simba_l/ranges.yaml")
    block = page.partition("$ heat-sim hardware")[2].partition("\n")[2].partition("```")[0]
    lines = [line for line in block.splitlines() if line.strip() and line != "..."]
    assert len(lines) >= 10
    missing = [line for line in lines if line not in out]
    assert not missing
