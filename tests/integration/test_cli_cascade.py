"""`heat-sim map --cascade` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CASCADE = Path(__file__).parents[2] / "mappings" / "edge_16x16" / "bert_ffn_low_rank" / "cascade.yaml"
BERT = ("map", "--arch", "edge_16x16", "--cascade", CASCADE)


def test_json_adds_up_and_fusion_pays_here(run) -> None:
    found = {}
    for flag in ("--fuse", "--no-fuse"):
        code, out, err = run(*BERT, flag, "--json", "-")
        assert code == 0, err
        result = found[flag] = json.loads(out)
        assert result["optimal"]
        assert result["edp_pJ_cycles"] == result["energy_pJ"] * result["cycles"]
        assert result["energy_pJ"] == pytest.approx(sum(group["energy_pJ"] for group in result["groups"]))
        for group in result["groups"]:
            assert group["cycles"] >= sum(each["times"] * each["cycles_each"] for each in group["einsums"])
        for what, total in (("cycles", result["cycles"]), ("energy_pJ", result["energy_pJ"])):
            rows = [row[what] for row in result["breakdown"]]
            assert sum(sum(row.values()) if what == "energy_pJ" else row for row in rows) == pytest.approx(total)
    assert found["--no-fuse"]["edp_pJ_cycles"] == found["--fuse"]["unfused"]["edp_pJ_cycles"]
    assert found["--fuse"]["edp_pJ_cycles"] < found["--no-fuse"]["edp_pJ_cycles"]


def test_the_picture_shows_the_group_and_what_is_at_home(run) -> None:
    code, out, _ = run(*BERT)
    assert code == 0
    assert "at GlobalBuffer: H passes through" in out
    assert "H[m,f] = X[m,k] * U[k,f]:" in out
    assert "x less than without fusion: proven optimal under the rules" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("map", "--arch", "edge_16x16"), "map: not one workload (got neither"),
        ((*BERT, "--problem", CASCADE), "map: not one workload (got both"),
        ((*BERT, "--padded"), "map --cascade: an option that only one einsum has"),
        ((*BERT, "--objective", "pareto"), "objective: a cascade has no such objective (got pareto"),
        (("map", "--arch", "edge_16x16", "--cascade", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_refusals_are_one_message_and_exit_code_2(run, words, message) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
