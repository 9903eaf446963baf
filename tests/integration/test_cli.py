"""The command line as a user meets it: results, refusals, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import heat_sim.cli.evaluate
from heat_sim.testing import assert_same_counts

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SIMBA = ROOT / "arch_specs" / "simba_l"
FFN = ROOT / "mappings" / "simba_l" / "bert_ffn"


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


CASE_FILES = ("arch.yaml", "problem.yaml", "mapping.yaml", "ert.yaml")


def copy_case(case: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for name in CASE_FILES:
        (target / name).write_text((case / name).read_text(encoding="utf-8"), encoding="utf-8")
    return target


def test_a_folder_of_cases_goes_on_after_a_bad_one(run, tmp_path):
    folder, target = tmp_path / "cases", tmp_path / "out" / "json"
    copy_case(GOLDEN / "timeloop" / "09_spatial_xy_reduction", folder / "a_good")
    copy_case(GOLDEN / "timeloop" / "22_invalid_capacity", folder / "b_too_large")
    (copy_case(GOLDEN / "timeloop" / "01_gemm_1level", folder / "c_broken") / "mapping.yaml").write_text("mapping: 7")
    copy_case(GOLDEN / "timeloop" / "01_gemm_1level", folder / "d_good")
    (copy_case(GOLDEN / "timeloop" / "01_gemm_1level", folder / "e_no_case") / "ert.yaml").unlink()
    (folder / "notes.txt").write_text("no case either")
    code, out, _ = run("evaluate", "--cases", folder, "--json-dir", target)
    assert code == 0
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["a_good", "b_too_large", "c_broken", "d_good"]
    assert lines[-1] == "4 cases: 2 evaluated, 2 refused"
    assert sorted(path.name for path in target.iterdir()) == [
        "a_good.json", "b_too_large.json", "c_broken.json", "d_good.json"
    ]  # fmt: skip
    written = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in target.iterdir()}
    for name, case in (("a_good", "09_spatial_xy_reduction"), ("d_good", "01_gemm_1level")):
        expected = json.loads((GOLDEN / "timeloop" / case / "expected.json").read_text(encoding="utf-8"))
        assert_same_counts(written[name], expected)
    assert "48 words" in written["b_too_large"]["error"][0]
    assert not written["c_broken"]["valid"]


def test_a_fault_of_ours_costs_no_other_case_and_is_not_hidden(run, tmp_path, monkeypatch):
    folder, target = tmp_path / "cases", tmp_path / "out"
    for name in ("a", "b"):
        copy_case(GOLDEN / "timeloop" / "01_gemm_1level", folder / name)
    evaluate = heat_sim.cli.evaluate.evaluate
    calls: list[object] = []

    def fails_first(*words: object, **options: object) -> object:
        calls.append(words)
        if len(calls) == 1:
            raise ZeroDivisionError("division by zero")
        return evaluate(*words, **options)

    monkeypatch.setattr("heat_sim.cli.evaluate.evaluate", fails_first)
    code, out, err = run("evaluate", "--cases", folder, "--json-dir", target)
    assert code == 1
    assert "a: heat_sim failed, please report it: ZeroDivisionError" in out
    assert "1 cases met a fault of heat_sim" in err
    assert json.loads((target / "a.json").read_text(encoding="utf-8"))["valid"] is False
    assert json.loads((target / "b.json").read_text(encoding="utf-8"))["valid"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cases", "{empty}"), "no case in the folder"),
        (("--cases", "{empty}/missing"), "no such folder"),
        (("--cases", "{empty}", "--arch", "simba_l"), r"does not go with options of one mapping \(got --arch"),
        (("--json-dir", "{empty}"), "it goes with --cases"),
        (("--arch", "simba_l"), r"something to evaluate is missing \(got no --problem, --mapping"),
    ],
)
def test_what_to_evaluate_must_be_clear(run, tmp_path, words, message):
    code, out, err = run("evaluate", *(word.format(empty=tmp_path) for word in words))
    assert (code, out) == (2, "")
    assert re.search(message, err)


def test_link_transfers_can_be_left_out(run):
    case = GOLDEN / "timeloop" / "23_conv1d_link_transfers"
    for words, name in (((), "expected.json"), (("--no-link-transfers",), "expected_no_link_transfers.json")):
        _, out, _ = run("evaluate", *case_options(case), *words, "--json", "-")
        assert_same_counts(json.loads(out), json.loads((case / name).read_text(encoding="utf-8")))


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
    assert "timeloop" in listing
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--formats", "hodlr"], "formats: unknown"),
        (["--arch", "simba_xl"], "simba_l"),
        (["--out", "."], "not empty"),
    ],
)
@pytest.mark.parametrize("command", ["run", "codesign"])
def test_what_a_search_would_refuse_is_refused_before_training(run, monkeypatch, tmp_path, command, words, message):
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "nothing"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    code, _, err = run(command, *words)
    assert code == 2
    assert message in err
