"""The model against what Timeloop reported for the same files, count for count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heat_sim.einsum import Einsum
from heat_sim.errors import InfeasibleError
from heat_sim.model import evaluate
from heat_sim.specs import load_architecture, load_mapping, load_problem
from heat_sim.testing import assert_same_counts
from tests.oracles.loop_nest import walk

GOLDEN = Path(__file__).parents[1] / "golden"

REQUIRED = frozenset(
    {
        "01_gemm_1level",
        "02_gemm_2level_os",
        "03_gemm_2level_ws",
        "04_gemm_2level_is",
        "05_gemm_2level_psum_spill",
        "06_gemm_3level",
        "07_gemm_4level_cross_reuse",
        "08_spatial_x_multicast",
        "09_spatial_xy_reduction",
        "15_batched_matmul",
    }
)
WALKED_OPS, QUICKLY_WALKED_OPS = 60_000, 10_000
"""Up to the second the walker takes about a second, up to the first several; larger cases are only extrapolated."""
QUICKLY_EXTRAPOLATED_OPS = 10**8


def expected_of(case: Path) -> dict[str, Any]:
    """Return what Timeloop reported, without transfers between neighbours."""
    without_links = case / "expected_no_link_transfers.json"
    text = (without_links if without_links.exists() else case / "expected.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def einsum_of(case: Path) -> Einsum:
    return load_problem(case / "problem.yaml")


CASES = sorted(path.parent for path in GOLDEN.glob("timeloop*/*/expected.json"))
VALID = [case for case in CASES if expected_of(case)["valid"] and "quirk" not in expected_of(case)]
PLAIN = [case for case in VALID if all(tensor.is_plain for tensor in einsum_of(case).tensors)]


def named(cases: list[Path]) -> list[Any]:
    return [pytest.param(case, id=f"{case.parent.name}/{case.name}") for case in cases]


def slow_beyond(ops: int, cases: list[Path]) -> list[Any]:
    """Return the cases as parameters, those of more ops for `make test-all` only."""
    quick = [case for case in cases if einsum_of(case).ops <= ops]
    long = [case for case in cases if einsum_of(case).ops > ops]
    return named(quick) + [pytest.param(*each.values, id=each.id, marks=pytest.mark.slow) for each in named(long)]


def test_the_required_cases_are_among_those_compared() -> None:
    assert {case.name for case in PLAIN if case.parent.name == "timeloop"} >= REQUIRED


@pytest.mark.parametrize("case", named(VALID))
def test_the_model_reports_what_timeloop_reports(case: Path) -> None:
    """Rules 1 to 9, on the same four files, without transfers between neighbours."""
    assert_same_counts(report_of(case, link_transfers=False), expected_of(case))


LINKED = [case for case in VALID if case.parent.name != "timeloop-random"]
"""The folders recorded with transfers between neighbours."""


@pytest.mark.parametrize("case", named(LINKED))
def test_the_model_reports_what_timeloop_reports_with_link_transfers(case: Path) -> None:
    """Rule 9.4: most of these have none, and must not grow any."""
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    expected.pop("link_transfers_per_instance", None)  # named after levels that Timeloop's front end puts in
    assert_same_counts(report_of(case, link_transfers=True), expected)


def report_of(case: Path, *, link_transfers: bool) -> dict[str, Any]:
    spec = load_architecture(case / "arch.yaml", ert=case / "ert.yaml")
    einsum = einsum_of(case)
    mapping = load_mapping(case / "mapping.yaml", einsum=einsum, spec=spec)
    return evaluate(einsum, spec.architecture, mapping, link_transfers=link_transfers).to_json()


SMALL = [case for case in VALID if einsum_of(case).ops <= WALKED_OPS]


@pytest.mark.parametrize("case", slow_beyond(QUICKLY_WALKED_OPS, SMALL))
def test_the_walker_counts_what_timeloop_reports(case: Path) -> None:
    """The oracle itself is held to the recorded counts, so that it cannot share a mistake with the model."""
    assert_walked_as_reported(case, expected_of(case), extrapolated=False, link_transfers=False)


@pytest.mark.parametrize("case", slow_beyond(QUICKLY_EXTRAPOLATED_OPS, VALID))
def test_the_walker_extrapolates_what_timeloop_reports(case: Path) -> None:
    assert_walked_as_reported(case, expected_of(case), extrapolated=True, link_transfers=False)


@pytest.mark.parametrize("case", slow_beyond(QUICKLY_EXTRAPOLATED_OPS, LINKED))
def test_the_walker_hands_on_between_neighbours_what_timeloop_reports(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    assert_walked_as_reported(case, expected, extrapolated=True, link_transfers=True)


def assert_walked_as_reported(
    case: Path, expected: dict[str, Any], *, extrapolated: bool, link_transfers: bool
) -> None:
    spec = load_architecture(case / "arch.yaml", ert=case / "ert.yaml")
    einsum = einsum_of(case)
    mapping = load_mapping(case / "mapping.yaml", einsum=einsum, spec=spec)
    seen = walk(einsum, spec.architecture, mapping, extrapolated=extrapolated, link_transfers=link_transfers)
    assert (seen.ops, seen.cycles) == (expected["compute"]["computes"], expected["compute"]["cycles"])
    used = {level["name"]: level["data_spaces"] for level in expected["levels"]}
    assert {place: tuple(words) for place, words in seen.counts.items()} == {
        (level, tensor): (words["reads"], words["fills"], words["updates"])
        for level, tensors in used.items()
        for tensor, words in tensors.items()
        if words["kept"]
    }
    handed_on = {
        (network["name"].partition(" <==>")[0], tensor): words["link_transfers_per_instance"]
        for network in expected.get("networks", ())
        for tensor, words in network["data_spaces"].items()
        if words["link_transfers_per_instance"]
    }
    if "networks" in expected:
        assert seen.links == {
            (level, tensor): words * used[level][tensor]["instances_used"]
            for (level, tensor), words in handed_on.items()
        }


def test_tiles_that_do_not_fit_are_refused_with_the_words_they_need() -> None:
    case = GOLDEN / "timeloop" / "22_invalid_capacity"
    spec = load_architecture(case / "arch.yaml", ert=case / "ert.yaml")
    einsum = einsum_of(case)
    mapping = load_mapping(case / "mapping.yaml", einsum=einsum, spec=spec)
    with pytest.raises(InfeasibleError, match="level RF: the tiles do not fit") as refusal:
        evaluate(einsum, spec.architecture, mapping)
    need = 4 * 4 + 4 * 4 + 16  # tiles of A, B and Z, from the case's own note
    assert (refusal.value.need, refusal.value.capacity) == (need, 40)
