"""The commands that work with Timeloop, as a user meets them; a stand-in takes the tool's place."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from heat_sim.model import evaluate
from heat_sim.specs import load_architecture, load_mapping, load_problem
from heat_sim.testing import assert_same_counts
from tests.integration.test_cli import CASE_FILES, FFN, GOLDEN, SIMBA, case_options
from tests.unit.test_timeloop_mapper_result import as_map_text, as_map_yaml
from tests.unit.test_timeloop_stats import as_stats_text

EXPORTED = sorted(path.parent for path in GOLDEN.glob("timeloop-v4/0[1-7]*/expected.json"))


def read_folder(folder: Path):
    arch, problem, mapping, ert = (folder / name for name in CASE_FILES)
    spec = load_architecture(arch, ert=ert)
    einsum = load_problem(problem)
    return spec, einsum, load_mapping(mapping, einsum=einsum, spec=spec)


def test_files_that_timeloop_reads_already_are_copied(run, tmp_path):
    case = GOLDEN / "timeloop" / "20_bert_attention_simba"
    code, out, _ = run("timeloop", "export", *case_options(case), tmp_path / "out")
    assert code == 0
    assert "timeloop-model arch.yaml problem.yaml mapping.yaml ert.yaml -o out" in out
    for name in CASE_FILES:
        assert (tmp_path / "out" / name).read_bytes() == (case / name).read_bytes()


@pytest.mark.parametrize("case", EXPORTED, ids=lambda case: case.name)
def test_what_is_exported_is_old_style_and_costs_the_same(run, tmp_path, case):
    assert run("timeloop", "export", *case_options(case), tmp_path)[0] == 0
    spec, einsum, nest = read_folder(tmp_path)
    assert spec.version == "0.3"
    got = evaluate(einsum, spec.architecture, nest).to_json()
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    # Meshes without storage become levels that keep nothing, as in Timeloop's own front end.
    got["levels"] = [level for level in got["levels"] if any(each["kept"] for each in level["data_spaces"].values())]
    assert_same_counts(got, expected)


def test_an_exported_mapping_has_the_text_form_timeloop_reads(run, tmp_path):
    assert run("timeloop", "export", *case_options(EXPORTED[0]), tmp_path)[0] == 0
    text = (tmp_path / "mapping.yaml").read_text(encoding="utf-8")
    assert re.search(r'factors: "?\w+=\d+( \w+=\d+)*"?\n', text)
    assert re.search(r'permutation: "[A-Z]+"\n', text)
    assert "[" not in "".join(line for line in text.splitlines() if "keep" not in line and "bypass" not in line)


LONG_NAMES = """\
problem:
  version: 0.3
  shape:
    name: gemm
    dimensions: [rows, cols, K]
    data_spaces:
    - {name: A, projection: [[[rows]], [[K]]]}
    - {name: B, projection: [[[K]], [[cols]]]}
    - {name: Z, projection: [[[rows]], [[cols]]], read_write: true}
  instance: {rows: 4, cols: 6, K: 8}
mapping:
- {target: DRAM, type: temporal, factors: rows=4 cols=6 K=8, permutation: [K, cols, rows]}
"""
"""The case 01_gemm_1level under other names, problem and mapping in one file."""


def test_dimensions_of_several_letters_get_one(run, tmp_path):
    case = GOLDEN / "timeloop" / "01_gemm_1level"
    both, target = tmp_path / "both.yaml", tmp_path / "out"
    both.write_text(LONG_NAMES, encoding="utf-8")
    code, _, _ = run("timeloop", "export", "--arch", case / "arch.yaml", "--ert", case / "ert.yaml",
                     "--problem", both, "--mapping", both, target)  # fmt: skip
    assert code == 0
    spec, einsum, nest = read_folder(target)
    assert einsum.rank_vars == ("A", "B", "C")
    assert "| A | rows |" in (target / "README.md").read_text(encoding="utf-8")
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    assert_same_counts(evaluate(einsum, spec.architecture, nest).to_json(), expected)


def install(folder: Path, monkeypatch, lines: str) -> None:
    folder.mkdir()
    tool = folder / "timeloop-model"
    tool.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{lines}", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_compare_runs_the_tool_on_the_exported_case(run, tmp_path, monkeypatch):
    case = GOLDEN / "timeloop" / "09_spatial_xy_reduction"
    stats = as_stats_text(json.loads((case / "expected.json").read_text(encoding="utf-8")))
    install(tmp_path / "bin", monkeypatch,
            "names = [pathlib.Path(word).name for word in sys.argv[1:]]\n"
            "assert names[:5] == ['arch.yaml', 'problem.yaml', 'mapping.yaml', 'ert.yaml', '-o']\n"
            f"pathlib.Path(sys.argv[6], 'timeloop-model.stats.txt').write_text({stats!r})\n")  # fmt: skip
    code, out, _ = run("timeloop", "compare", *case_options(case))
    assert code == 0
    assert re.search(r"all \d+ figures agree", out)
    assert re.search(r"\| GLB +\| A +\| reads +\|", out)


def test_compare_shows_what_differs_from_recorded_stats(run, tmp_path):
    case = GOLDEN / "timeloop" / "09_spatial_xy_reduction"
    recorded = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    recorded["cycles"] += 3
    stats = tmp_path / "timeloop-model.stats.txt"
    stats.write_text(as_stats_text(recorded), encoding="utf-8")
    code, out, _ = run("timeloop", "compare", *case_options(case), "--stats", stats, "--json", tmp_path / "rows.json")
    assert code == 0
    assert re.search(r"cycles +\| +\S+ \| +\S+ \| +-3 \| NO", out)
    assert re.search(r"1 of \d+ figures differ", out)
    written = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["difference"] for row in written["rows"] if not row["agrees"]] == [-3]
    assert written["agrees"] is False


def test_both_tools_may_refuse_a_case(run, tmp_path, monkeypatch):
    case = GOLDEN / "timeloop" / "22_invalid_capacity"
    message = json.loads((case / "expected.json").read_text(encoding="utf-8"))["error"][0]
    install(tmp_path / "bin", monkeypatch, f"print({message!r})\nsys.exit(1)\n")
    code, out, _ = run("timeloop", "compare", *case_options(case), "--json", "-")
    assert code == 0
    both = json.loads(out)
    assert both["agrees"] is True
    assert "48 words" in both["ours"][0]
    assert both["theirs"] == [message]


def test_without_timeloop_the_message_says_how_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run("timeloop", "compare", *case_options(GOLDEN / "timeloop" / "01_gemm_1level"))
    assert code == 2
    assert "no timeloop-model on PATH" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("form", "suffix"), [(as_map_text, "txt"), (as_map_yaml, "yaml")])
def test_an_imported_mapping_is_written_in_the_architectures_own_form(run, tmp_path, form, suffix):
    spec = load_architecture(SIMBA / "arch.yaml", ert=SIMBA / "ert.yaml")
    einsum = load_problem(FFN / "problem.yaml")
    nest = load_mapping(FFN / "weight_stationary.yaml", einsum=einsum, spec=spec)
    found, saved = tmp_path / f"timeloop-mapper.map.{suffix}", tmp_path / "mapping.yaml"
    found.write_text(form(nest, einsum, spec), encoding="utf-8")
    code, out, _ = run("timeloop", "import-mapping", found, "--arch", "simba_l", "--problem", FFN / "problem.yaml",
                       "--save-mapping", saved)  # fmt: skip
    assert code == 0
    assert "parallel-for-y" in out
    assert evaluate(einsum, spec.architecture, load_mapping(saved, einsum=einsum, spec=spec)) == evaluate(
        einsum, spec.architecture, nest
    )


def test_every_timeloop_command_has_an_example_in_its_help(run):
    _, listing, _ = run("timeloop", "--help")
    for command in ("export", "compare", "import-mapping"):
        assert command in listing
        code, text, _ = run("timeloop", command, "--help")
        assert code == 0
        assert f"Example: heat-sim timeloop {command}" in " ".join(text.split())
