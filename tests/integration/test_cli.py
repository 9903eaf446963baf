"""The command line as a user meets it: results, refusals, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from heat_sim.cli import main
from heat_sim.testing import assert_same_counts

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SIMBA = ROOT / "arch_specs" / "simba_l"
FFN = ROOT / "mappings" / "simba_l" / "bert_ffn"


@pytest.fixture
def run(monkeypatch, capsys):
    """Return what runs one command line: (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["heat-sim", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def case_options(case: Path) -> list[object]:
    return ["--arch", case / "arch.yaml", "--ert", case / "ert.yaml", "--problem", case / "problem.yaml",
            "--mapping", case / "mapping.yaml"]  # fmt: skip


@pytest.mark.parametrize(
    "case", ["timeloop/09_spatial_xy_reduction", "timeloop/15_batched_matmul", "timeloop-v4/07_tt_step_variables"]
)
def test_evaluate_writes_the_golden_schema_to_standard_output(run, case):
    code, out, _ = run("evaluate", *case_options(GOLDEN / case), "--json", "-")
    assert code == 0
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf-8"))
    # Networks are in the newer folders' cases only where they cost something.
    assert_same_counts(json.loads(out), expected)


def test_evaluate_prints_nest_and_table(run):
    code, out, _ = run("evaluate", "--arch", SIMBA, "--problem", FFN / "problem.yaml",
                       "--mapping", FFN / "weight_stationary.yaml")  # fmt: skip
    assert code == 0
    assert "parallel-for-y" in out
    # 128 * 3072 * 768 ops on 1,024 units
    assert f"{128 * 3072 * 768 // 1024:,} cycles" in out


def test_refused_mapping_is_exit_code_2_and_valid_false(run, tmp_path):
    target = tmp_path / "out.json"
    code, _, err = run("evaluate", *case_options(GOLDEN / "timeloop/22_invalid_capacity"), "--json", target)
    assert code == 2
    assert "level RF" in err
    assert "Traceback" not in err
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written["valid"] is False
    assert "48 words" in written["error"][0]


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--arch", None, "No such file"),
        ("--arch", "architecture: [", "heat-sim: .*arch"),
        ("--problem", "problem: {shape: 3}", "heat-sim: .*problem"),
        ("--mapping", "mapping: 7", "heat-sim: .*mapping"),
    ],
)
def test_bad_file_is_one_message(run, tmp_path, option, content, message):
    bad = tmp_path / f"{option.strip('-')}.yaml"
    if content is not None:
        bad.write_text(content, encoding="utf-8")
    words = case_options(GOLDEN / "timeloop/01_gemm_1level")
    words[words.index(option) + 1] = bad
    code, out, err = run("evaluate", *words)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert re.search(message, err)


def test_unknown_preset_names_the_known_ones(run):
    code, _, err = run("map", "--arch", "simba_xl", "--problem", FFN / "problem.yaml")
    assert code == 2
    assert "simba_l" in err


def test_map_is_never_worse_than_the_mapping_by_hand_and_its_file_reads_back(run, tmp_path):
    result, mapping = tmp_path / "result.json", tmp_path / "mapping.yaml"
    code, out, _ = run("map", "--arch", "simba_l", "--problem", FFN / "problem.yaml", "--json", result,
                       "--save-mapping", mapping)  # fmt: skip
    assert code == 0
    assert "proven optimal" in out
    found = json.loads(result.read_text(encoding="utf-8"))
    evaluate = ["evaluate", "--arch", SIMBA, "--problem", FFN / "problem.yaml", "--json", "-", "--mapping"]
    _, by_hand, _ = run(*evaluate, FFN / "weight_stationary.yaml")
    _, again, _ = run(*evaluate, mapping)
    hand, back = json.loads(by_hand), json.loads(again)
    assert found["edp_pJ_cycles"] <= hand["energy_pJ"] * hand["cycles"]
    assert back["energy_pJ"] == found["energy_pJ"]
    assert back["cycles"] == found["cycles"]


def test_every_command_has_an_example_in_its_help(run):
    _, listing, _ = run("--help")
    for command in ("run", "evaluate", "map", "codesign", "distill", "table", "plot"):
        assert command in listing
        code, text, _ = run(command, "--help")
        assert code == 0
        assert f"Example: heat-sim {command}" in " ".join(text.split())


@pytest.mark.parametrize("command", ["table", "plot", "distill"])
def test_folder_that_is_no_run_is_refused(run, tmp_path, command):
    code, _, err = run(command, tmp_path)
    assert code == 2
    assert "Give the folder of a run" in err
