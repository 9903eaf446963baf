"""Problem files: projections, coefficients, bounds, and every refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.einsum import parse_einsum
from heat_sim.errors import SpecError
from heat_sim.specs import load_problem

from .spec_texts import changed, written

MATMUL = """\
problem:
  version: 0.4
  shape:
    name: matmul
    dimensions: [M, N, K]
    data_spaces:
    - name: A
      projection: [[[M]], [[K]]]
    - name: B
      projection: [K, N]
    - name: Z
      projection: [[[M]], [[N]]]
      read_write: True
  instance: {M: 4, N: 6, K: 8}
"""

CONV = """\
problem:
  shape:
    name: conv
    dimensions: [P, R]
    coefficients:
    - {name: stride, default: 1}
    - {name: dilation, default: 3}
    data_spaces:
    - {name: W, projection: [[[R]]]}
    - {name: I, projection: [[[P, stride], [R, dilation]]], read_write: false}
    - {name: O, projection: [[[P]]], read_write: yes}
  instance: {P: 16, R: 3, stride: 2, comment: 1}
"""


def test_a_matmul(tmp_path: Path) -> None:
    expected = parse_einsum("Z[M,N] = A[M,K] * B[K,N]", extents={"M": 4, "N": 6, "K": 8}, name="matmul")
    found = load_problem(written(tmp_path, MATMUL))
    assert (found.name, found.inputs, found.output) == (expected.name, expected.inputs, expected.output)
    assert found.extents == (("M", 4), ("N", 6), ("K", 8))


def test_coefficients_have_defaults_that_the_instance_overrides(tmp_path: Path) -> None:
    found = load_problem(written(tmp_path, CONV))
    assert str(found) == "O[P] = W[R] * I[2*P+3*R]"
    assert found.output.name == "O"


def test_bounds_may_be_expressions_of_variables(tmp_path: Path) -> None:
    text = "variables: {version: 0.4, heads: 3}\n" + changed(MATMUL, "M: 4", "M: heads * 2**2")
    assert load_problem(written(tmp_path, text)).extent("M") == 12


def test_version_and_name_may_be_missing(tmp_path: Path) -> None:
    text = changed(changed(MATMUL, "  version: 0.4\n", ""), "    name: matmul\n", "")
    assert load_problem(written(tmp_path, text)).ops == 4 * 6 * 8


REFUSALS = {
    "no section": ("problem:", "architecture:", "no problem section .got keys architecture"),
    "version": ("version: 0.4", "version: 0.5", "problem.version: unknown version"),
    "key": ("  shape:", "  shapes:", "shapes: unknown key .*mean shape"),
    "no instance": ("  instance: {M: 4, N: 6, K: 8}\n", "", "problem: no instance"),
    "shape key": ("    data_spaces:", "    dataspaces:", "problem.shape.dataspaces: unknown key .*mean data_spaces"),
    "long dimension": ("[M, N, K]", "[M, N, K, S1]", r"dimensions\[3\]: not a dimension name \(got S1"),
    "dimension twice": ("[M, N, K]", "[M, N, K, M]", r"dimensions\[3\]: dimension given twice"),
    "no bound": ("K: 8", "L: 8", "problem.instance: dimension without a bound .got K"),
    "bound 0": ("K: 8", "K: 0", r"problem.instance.K: not a bound \(got 0, expected an integer >= 1"),
    "bound float": ("K: 8", "K: 16 / 2", r"problem.instance.K: not a bound \(got 8.0"),
    "unknown dimension": ("[[[M]], [[K]]]", "[[[M]], [[L]]]", "A.projection.*: unknown dimension .got L"),
    "one bracket": ("[[[M]], [[K]]]", "[[M], [K]]", r"A.projection\[0\]\[0\]: not a term .*Write \[\[M\]\]"),
    "text": ("[[[M]], [[K]]]", "M K", "A.projection: not a list"),
    "number for a coefficient": ("[[[M]], [[K]]]", "[[[M, 2]], [[K]]]",
                                 r"unknown coefficient \(got 2, expected one of none"),
    "three words": ("[[[M]], [[K]]]", "[[[M, K, N]]]", "not a term"),
    "twice in a rank": ("[[[M]], [[K]]]", "[[[M], [M]], [[K]]]", "dimension twice in one rank .got M"),
    "read_write 1": ("read_write: True", "read_write: 1", "Z.read_write: not true or false .got 1"),
    "no output": ("read_write: True", "read_write: False", "not exactly one output .got none"),
    "two outputs": ("[K, N]", "[K, N]\n      read_write: true", "not exactly one output .got B, Z"),
    "same data space": ("- name: B", "- name: A", "data space given twice .got A"),
    "no projection": ("      projection: [K, N]\n", "", "no projection"),
    "two problems": ("K: 8", "K: 0, M: 3", "M: key given twice"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_problem(written(tmp_path, changed(MATMUL, old, new)))


CONV_REFUSALS = {
    "misspelt coefficient": ("stride: 2", "strid: 2", "problem.instance.strid: unknown coefficient .*mean stride"),
    "undeclared": ("[P, stride]", "[P, strides]", "unknown coefficient .got strides.*mean stride"),
    "no default": ("{name: stride, default: 1}", "{name: stride}", "no default"),
    "zero": ("stride: 2", "stride: 0", "problem.instance.stride: not a bound"),
    "default": ("default: 3", "default: -3", "default: not an integer in range"),
}


@pytest.mark.parametrize(("old", "new", "message"), CONV_REFUSALS.values(), ids=CONV_REFUSALS)
def test_refusals_of_coefficients(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_problem(written(tmp_path, changed(CONV, old, new)))


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    text = changed(changed(MATMUL, "K: 8", "K: 0"), "read_write: True", "read_write: 1")
    with pytest.raises(SpecError, match="not a bound") as refusal:
        load_problem(written(tmp_path, text))
    assert [problem.split("yaml:")[1].split(":")[0] for problem in refusal.value.problems] == [
        "14 problem.instance.K", "13 Z.read_write", "6 problem.shape.data_spaces",
    ]  # fmt: skip
