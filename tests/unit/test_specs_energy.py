"""Energy reference tables: names, actions, defaults and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs.energy import component_name

from .spec_texts import ERT, changed, spec_of


@pytest.mark.parametrize(
    "name", ["PE", "PE[1..16]", "system_top_level.PE[1..16]", "a[0..3].b.PE", "top.PE[0..3][1..2]"]
)
def test_component_names(name: str) -> None:
    assert component_name(name) == "PE"


def test_the_largest_of_several_entries_counts(tmp_path: Path) -> None:
    text = changed(
        ERT, "[{name: read, energy: 6}", "[{name: read, energy: 6}, {name: read, energy: 9}, {name: read, energy: 8}"
    )
    assert spec_of(tmp_path, energies=text).architecture.levels[1].read_energy_pj == 9


def test_a_missing_update_is_a_write_and_a_missing_leak_nothing(tmp_path: Path) -> None:
    glb = spec_of(tmp_path).architecture.levels[1]
    assert glb.update_energy_pj == glb.write_energy_pj == 7
    assert glb.leakage_energy_pj_per_cycle == 0


def test_tables_and_actions_of_other_tools_are_left_alone(tmp_path: Path) -> None:
    text = ERT + "  - name: XY_NoC\n    actions: [{name: transfer, energy: 1}]\nERT_summary: {anything: 1}\n"
    text = changed(text, "[{name: compute", "[{name: idle, energy: 3}, {name: compute")
    assert spec_of(tmp_path, energies=text) == spec_of(tmp_path)


REFUSALS = {
    "no version": ("  version: 0.4\n", "", "ERT: no version"),
    "version": ("version: 0.4", "version: 0.2", "ERT.version: unknown version .got 0.2, expected 0.3 or 0.4"),
    "key": ("  tables:", "  table:", r"ERT.table: unknown key .*Did you mean tables"),
    "no read": ("{name: read, energy: 6}, ", "", r"ert.yaml:6 ERT GLB: no energy for action read \(got actions write"),
    "no write": (", {name: write, energy: 7}", "", "ERT GLB: no energy for action write"),
    "no compute": ("name: compute", "name: mac", "ERT MAC: no energy for action compute"),
    "misspelt update": ("{name: update, energy: 230}", "{name: updates, energy: 230}",
                        "ERT DRAM: no energy for action update .*Did you mean updates"),
    "no table": ("  - name: GLB", "  - name: GLBuf",
                 r"GLB: no table in the ERT \(got tables for DRAM, GLBuf.*mean GLBuf"),
    "twice": ("  - name: GLB", "  - name: chip.RF[1..8]", "two tables for one component .*expected one table for RF"),
    "negative": ("energy: 6", "energy: -6", r"ERT GLB.read: not a number in range \(got -6, expected a number >= 0"),
    "expression": ("energy: 6", "energy: 12/2", "ERT GLB.read: not a number in range .got 12/2"),
    "infinite": ("energy: 6", "energy: .inf", "not a number in range"),
    "no energy": ("name: write, energy: 7", "name: write", r"no energy \(got keys name"),
    "entry key": ("energy: 7", "energy: 7, energi: 8", "energi: unknown key .*mean energy"),
    "actions are no list": ("[{name: compute, energy: 1.25}]", "{compute: 1.25}", "ERT MAC: not a list"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, energies=changed(ERT, old, new))
