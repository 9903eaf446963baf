"""Two files given as one, and one spec given as several files; components and areas handed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs import ComponentSpec, load_architecture, load_mapping, load_problem

from .spec_texts import ERT, V3, V4, changed, spec_of, written

PROBLEM = """\
problem:
  shape:
    dimensions: [M, K]
    data_spaces:
    - {name: A, projection: [M, K]}
    - {name: X, projection: [K]}
    - {name: Z, projection: [M], read_write: true}
  instance: {M: 4, K: 2}
"""
MAPPING = "mapping:\n- {target: DRAM, type: temporal, factors: M=4 K=2, permutation: KM}\n"


def test_one_file_holds_everything(tmp_path: Path) -> None:
    path = written(tmp_path, V4 + PROBLEM + MAPPING + ERT, "all.yaml")
    spec, einsum = load_architecture(path), load_problem(path)
    assert spec.architecture == spec_of(tmp_path).architecture
    assert [loop.rank_var for loop in load_mapping(path, einsum=einsum, spec=spec).levels[0].temporal] == ["M", "K"]
    # Naming it again as the table of energies changes nothing.
    assert load_architecture(path, ert=path) == spec


def test_one_spec_in_several_files(tmp_path: Path) -> None:
    texts = {"v.yaml": "variables: {rows: 100, heads: 4}\n", "a.yaml": changed(V4, "depth: 100", "depth: rows"),
             "e.yaml": ERT, "p.yaml": changed(PROBLEM, "M: 4", "M: heads"), "m.yaml": MAPPING}  # fmt: skip
    files = [written(tmp_path, text, name) for name, text in texts.items()]
    spec, einsum = load_architecture(files), load_problem(files)
    assert spec.architecture == spec_of(tmp_path).architecture
    assert load_mapping(files, einsum=einsum, spec=spec).bound("M") == 4


def test_expressions_may_name_the_bounds_of_a_problem_beside_them(tmp_path: Path) -> None:
    text = changed(V4, "depth: 100", "depth: 10 * spec.problem.instance.M")
    spec = load_architecture(written(tmp_path, text + PROBLEM + ERT))
    assert spec.architecture.levels[1].capacity_words == 10 * 4 * 4
    with pytest.raises(SpecError, match=r"name spec.problem.instance.M is not in scope"):
        spec_of(tmp_path, text)


def test_problems_of_all_files_are_reported_together(tmp_path: Path) -> None:
    bad = written(tmp_path, changed(V4, "depth: 100", "depth: 0"), "bad.yaml")
    with pytest.raises(SpecError, match="depth") as refusal:
        load_architecture([bad, written(tmp_path, changed(ERT, "energy: 6}", "energy: -6}"), "e.yaml")])
    assert ["bad.yaml:13" in refusal.value.problems[0], "e.yaml:7" in refusal.value.problems[1]] == [True, True]
    with pytest.raises(SpecError, match="not YAML") as refusal:
        load_architecture([written(tmp_path, "a: [", "x.yaml"), written(tmp_path, "b: ]", "y.yaml")])
    assert len(refusal.value.problems) == 2
    with pytest.raises(SpecError, match="spec: no file"):
        load_architecture([])
    with pytest.raises(SpecError, match=r"y2.yaml:1 architecture: section given twice .*first is in .*bad.yaml:1"):
        load_architecture([bad, written(tmp_path, V4, "y2.yaml")])


ART = """\
ART:
  version: '0.4'
  tables:
  - {name: system_top_level.DRAM, area: 1}
  - {name: GLB, area: 1162549.0}
  - {name: "system.PE[0..7].RF[1..8]", area: 379.68}
  - {name: MAC, area: 1239.5}
"""


def test_areas_are_of_one_instance_in_square_millimetres(tmp_path: Path) -> None:
    architecture = spec_of(tmp_path, V4 + ART).architecture
    assert [level.area_mm2 for level in architecture.levels] == [1e-06, 1.162549, 0.00037968]
    assert architecture.compute_area_mm2 == 0.0012395
    assert architecture.area_mm2 == pytest.approx(1e-06 + 1.162549 + 8 * 0.00037968 + 8 * 0.0012395)


def test_a_row_that_instances_share_is_one_area(tmp_path: Path) -> None:
    text = changed(V4, "{datawidth: 16, depth: 32}", "{datawidth: 16, width: 64, cluster_size: 2, depth: 4}")
    assert spec_of(tmp_path, text + ART).architecture.levels[2].area_mm2 == 0.00037968 / 2


def test_an_area_that_is_missing_makes_the_total_unknown(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, V4 + changed(ART, "  - {name: GLB, area: 1162549.0}\n", ""))
    assert spec.architecture.area_mm2 is None
    assert "ART: no area of GLB; the total is unknown." in spec.warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area: 1162549.0", "area: -1", "ART GLB.area: not a number in range .got -1"),
        ("area: 1239.5", "aera: 1239.5", "aera: unknown key .*mean area"),
        ("name: GLB", "name: DRAM", "two tables for one component .*one table for DRAM"),
        ("  version: '0.4'\n", "", "ART: no version"),
    ],
)
def test_refused_areas(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, V4 + changed(ART, old, new))


def test_what_estimators_need_is_handed_on(tmp_path: Path) -> None:
    text = changed(V4, "    name: system\n", '    name: system\n    attributes: {technology: "45nm", type: "LPDDR4"}\n')
    text = changed(text, "    class: SRAM\n", "    class: SRAM\n    subclass: my_sram\n")
    text = changed(text, "width: 64, depth: 100", 'width: 64, depth: 10 * 10, n_banks: 2, type: "custom"')
    spec = spec_of(tmp_path, text)
    assert spec.components["GLB"] == ComponentSpec(
        class_name="SRAM",
        subclass="my_sram",
        attributes={"technology": "45nm", "type": "custom", "datawidth": 16, "width": 64, "depth": 100, "n_banks": 2},
    )
    assert spec.components["MAC"].attributes == {"technology": "45nm", "type": "LPDDR4"}
    assert spec.warnings == ()


def test_a_tree_hands_attributes_on_to_estimators_only(tmp_path: Path) -> None:
    text = changed(V3, "    local:\n", "    attributes: {technology: 45nm, n_ports: 2}\n    local:\n")
    spec = spec_of(tmp_path, text)
    assert spec.architecture == spec_of(tmp_path, V3).architecture
    assert spec.components["RF"].attributes["n_ports"] == 2


def test_a_minimum_of_utilization_is_kept(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, changed(V4, "depth: 100", "depth: 100, min_utilization: 0.5"))
    assert [level.min_utilization for level in spec.architecture.levels] == [0, 0.5, 0]
