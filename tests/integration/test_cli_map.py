"""`heat-sim map` as a user meets it: what it finds, writes and refuses."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FFN = ROOT / "mappings" / "simba_l" / "bert_ffn" / "problem.yaml"
BERT = ("map", "--arch", "simba_l", "--problem", FFN)
FIELDS = ("energy_pJ", "cycles", "edp_pJ_cycles", "optimal", "lower_bound", "space_size", "pruned", "costed", "seconds",
          "mapping")  # fmt: skip
ARCH = """\
architecture:
  version: 0.3
  subtree:
  - name: system
    local:
    - name: DRAM
      class: SRAM
      attributes: {entries: %d, word_bits: 16, block_size: 1}
    subtree:
    - name: chip
      local:
      - name: RF
        class: regfile
        attributes: {entries: 24, word_bits: 16, block_size: 1}
      - name: MAC[0..3]
        class: intmac
        attributes: {datawidth: 16, meshX: 4}
"""
ERT = """\
ERT:
  version: 0.4
  tables:
  - name: DRAM
    actions: [{name: read, energy: 100.0}, {name: write, energy: 100.0}, {name: update, energy: 100.0}]
  - name: RF
    actions: [{name: read, energy: 1.0}, {name: write, energy: 1.0}, {name: update, energy: 1.0}]
  - name: MAC
    actions: [{name: compute, energy: 1.0}]
"""
PROBLEM = """\
problem:
  shape:
    name: gemm
    dimensions: [M, N, K]
    data_spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]], [[N]]]}
    - {name: Z, projection: [[[M]], [[N]]], read_write: true}
  instance: {M: %d, N: %d, K: %d}
"""


@pytest.fixture
def toy(tmp_path):
    """Return what writes the files of a small matmul on a small machine, and the options that name them."""

    def write(*, sizes: tuple[int, int, int] = (8, 6, 4), dram_words: int = 4096) -> list[object]:
        texts = {"arch": ARCH % dram_words, "ert": ERT, "problem": PROBLEM % sizes}
        options: list[object] = []
        for name, text in texts.items():
            path = tmp_path / f"{name}.yaml"
            path.write_text(text, encoding="utf-8")
            options += [f"--{name}", path]
        return options

    return write


def found_by(run, *words: object) -> dict[str, object]:
    """Return what the command writes to standard output as JSON."""
    code, out, err = run("map", *words, "--json", "-")
    assert code == 0, err
    return json.loads(out)


def test_json_has_the_fields_that_scripts_rely_on(run, toy):
    found = found_by(run, *toy())
    assert [field for field in FIELDS if field not in found] == []
    assert found["edp_pJ_cycles"] == found["energy_pJ"] * found["cycles"]
    assert found["optimal"] is True
    assert found["lower_bound"] == pytest.approx(found["edp_pJ_cycles"], rel=1e-12)
    assert found["space_size"] > found["costed"] >= 1
    assert "DRAM [A, B, Z]" in found["mapping"]


def test_each_objective_is_best_at_what_it_asks_for(run, toy):
    """Weighted with no weight is energy, with a large one the fewest cycles; a front's best is its least EDP."""
    options = toy()
    names = ("edp", "energy", "cycles", "ed2p", "weighted:0", "weighted:1000000000", "pareto", "hull")
    found = {name: found_by(run, *options, "--objective", name) for name in names}
    energy, cycles = ({name: each[field] for name, each in found.items()} for field in ("energy_pJ", "cycles"))
    assert energy["energy"] == energy["weighted:0"] == min(energy.values())
    assert cycles["cycles"] == cycles["weighted:1000000000"] == min(cycles.values()) == 8 * 6 * 4 // 4
    edp = {name: each["edp_pJ_cycles"] for name, each in found.items()}
    assert edp["edp"] == edp["pareto"] == edp["hull"] == min(edp.values())
    assert found["ed2p"]["energy_pJ"] * found["ed2p"]["cycles"] ** 2 == min(energy[n] * cycles[n] ** 2 for n in names)
    front = [(each["cycles"], each["energy_pJ"]) for each in found["pareto"]["front"]]
    assert front[0][0] == cycles["cycles"]
    assert front[-1][1] == energy["energy"]
    assert {(each["cycles"], each["energy_pJ"]) for each in found["hull"]["front"]} <= set(front)
    assert all(a < c and b > d for (a, b), (c, d) in itertools.pairwise(front))


def test_a_front_is_printed_fewest_cycles_first(run, toy):
    code, out, _ = run("map", *toy(), "--objective", "pareto")
    assert code == 0
    rows = [int(row.split()[0].replace(",", "")) for row in out.split("energy (uJ)")[1].strip().splitlines()]
    assert rows == sorted(rows)
    assert "proven optimal" in out


def test_a_constraints_file_is_obeyed_and_costs_something(run, toy, tmp_path):
    demands = tmp_path / "constraints.yaml"
    demands.write_text(
        "mapspace_constraints:\n"
        "  targets:\n"
        "  - {target: RF, type: bypass, bypass: [B], keep: [A, Z]}\n"
        "  - {target: DRAM, type: temporal, factors: M=2, permutation: KMN}\n",
        encoding="utf-8",
    )
    options = toy()
    free, bound = found_by(run, *options), found_by(run, *options, "--constraints", demands)
    assert bound["optimal"] is True
    assert bound["edp_pJ_cycles"] > free["edp_pJ_cycles"]
    assert "RF [A, Z]" in bound["mapping"]
    assert "for M in 0..1" in bound["mapping"].split("RF")[0]


def test_padding_fills_the_array_with_a_prime(run, toy):
    """7 x 5 x 3 has no factor of 4; padded, the four units have work for most of the time."""
    options = [*toy(sizes=(7, 5, 3)), "--objective", "cycles"]
    perfect, padded = found_by(run, *options), found_by(run, *options, "--padded")
    assert perfect["cycles"] == 7 * 5  # three of the units at work
    assert padded["trimmed"]["cycles"] < perfect["cycles"]
    assert padded["trimmed"]["cycles"] <= padded["cycles"]
    assert all(padded["padded_extents"][var] >= extent for var, extent in {"M": 7, "N": 5, "K": 3}.items())
    _, out, _ = run("map", *options, "--padded")
    assert "padded to M=" in out


def test_random_search_says_that_nothing_is_proven(run, toy):
    options = toy()
    drawn = found_by(run, *options, "--search", "random", "--budget", 500, "--seed", 3)
    assert drawn["search"] == "random"
    assert (drawn["costed"], drawn["optimal"]) == (500, False)
    assert drawn["edp_pJ_cycles"] >= found_by(run, *options)["edp_pJ_cycles"]
    _, out, _ = run("map", *options, "--search", "random")
    assert "no proof" in out


@pytest.mark.parametrize("words", [(), ("--padded",), ("--search", "random"), ("--objective", "pareto")])
def test_the_saved_mapping_re_evaluates_to_the_same_numbers(run, toy, tmp_path, words):
    options, mapping = toy(sizes=(7, 6, 5)), tmp_path / "mapping.yaml"
    found = found_by(run, *options, *words, "--save-mapping", mapping)
    expected = found.get("trimmed", found)
    code, out, err = run("evaluate", *options, "--mapping", mapping, "--no-link-transfers", "--json", "-")
    assert code == 0, err
    report = json.loads(out)
    assert (report["energy_pJ"], report["cycles"]) == (expected["energy_pJ"], expected["cycles"])


def test_the_saved_mapping_of_a_bert_layer_re_evaluates_on_the_preset(run, tmp_path):
    mapping = tmp_path / "mapping.yaml"
    code, out, _ = run(*BERT, "--json", "-", "--save-mapping", mapping)
    assert code == 0
    found = json.loads(out)
    words = ("--arch", "simba_l", "--problem", FFN, "--mapping", mapping, "--no-link-transfers", "--json", "-")
    _, out, _ = run("evaluate", *words)
    assert json.loads(out)["energy_pJ"] == found["energy_pJ"]
    assert json.loads(out)["cycles"] == found["cycles"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--objective", "epd"), r"no such objective \(got epd, expected edp, energy"),
        (("--objective", "weighted:-1"), r"no such objective \(got weighted:-1"),
        (("--search", "randm"), r"no such search \(got randm, expected optimal, .*random"),
        (("--search", "random", "--padded"), "take perfect bounds only"),
    ],
)
def test_a_typo_is_one_message(run, toy, words, message):
    code, out, err = run("map", *toy(), *words)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert err.count("heat-sim: ") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{target: RFF, type: temporal, factors: M=2}", "RFF"),
        ("{target: RF, type: temporal, factors: Q=2}", "unknown rank variable .got Q, expected one of M, N, K"),
        ("{target: RF, type: bypass, bypass: [C]}", "unknown tensor .got C, expected one of A, B, Z"),
    ],
)
def test_a_typo_in_the_constraints_names_what_is_known(run, toy, tmp_path, target, message):
    demands = tmp_path / "constraints.yaml"
    demands.write_text(f"mapspace_constraints:\n  targets:\n  - {target}\n", encoding="utf-8")
    code, out, err = run("map", *toy(), "--constraints", demands)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert "Traceback" not in err


def test_a_machine_without_room_says_which_level_lacks_how_much(run, toy):
    # 8 x 4 + 4 x 6 + 8 x 6 words of A, B and Z
    code, out, err = run("map", *toy(dram_words=100))
    assert (code, out) == (2, "")
    assert re.search(r"level DRAM.*got 104 words.*expected at most 100 words", err)
    assert re.search("Enlarge DRAM to at least 104", err)


def test_a_bound_that_does_not_divide_is_refused_with_the_reason(run, toy, tmp_path):
    demands = tmp_path / "constraints.yaml"
    demands.write_text(
        "mapspace_constraints:\n  targets:\n  - {target: RF, type: temporal, factors: M=5}\n", encoding="utf-8"
    )
    code, out, err = run("map", *toy(), "--constraints", demands)
    assert (code, out) == (2, "")
    assert re.search("mapspace of .*M", err)
    assert "Traceback" not in err


def test_a_budget_too_small_asks_for_more(run):
    code, out, err = run(*BERT, "--budget", 1)
    assert (code, out) == (2, "")
    assert re.search(r"budget ended before a mapping was found \(got 1.*Raise the budget", err)
