"""Reading YAML strictly: what is refused, where it stands, and that hostile files are refused quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.specs import (
    load_architecture,
    load_mapping,
    load_problem,
    parse_architecture,
    parse_mapping,
    parse_problem,
)
from heat_sim.specs.cursor import parse_number, suggest
from heat_sim.specs.yaml_nodes import MAX_BYTES, parse_yaml, read_yaml

from .spec_texts import MATMUL, V3, spec_of, written


def test_lines_are_those_of_the_keys() -> None:
    root, problems = parse_yaml("a:\n  - 1\n  -\n    b: 2\nc: {d: 3}\n", source="f")
    a, c = root.children
    assert (a.line, c.line, c.children[0].line) == (1, 5, 5)
    assert [item.line for item in a.children] == [2, 4]
    assert problems == []


def test_scalars_stay_text() -> None:
    root, _ = parse_yaml("[1e3, 'yes', NO, 0x10, ~, 2026-01-01]", source="f")
    assert [child.text for child in root.children] == ["1e3", "yes", "NO", "0x10", "~", "2026-01-01"]
    assert [child.quoted for child in root.children] == [False, True, False, False, False, False]


def test_merged_keys_yield_to_own_keys() -> None:
    root, problems = parse_yaml("base: &b {x: 1, y: 2}\nd: {<<: *b, y: 3}\n", source="f")
    merged = root.children[1]
    assert dict(zip(merged.keys, (child.text for child in merged.children), strict=True)) == {"y": "3", "x": "1"}
    assert problems == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"^f:3 a: key given twice .*the first is in line 1"),
        ("x: {a: 1, a: 2}\n", r"f:1 a: key given twice"),
        (
            "a: !!python/object/apply:os.system ['true']\n",
            r"f:1: tag is not read \(got !!python/object/apply:os.system",
        ),
        ("a: !include other.yaml\n", r"f:1: tag is not read .*Paste the included text"),
        ("- !component {}\n", r"tag is not read \(got !component, expected none, or one of !Component"),
        ("a: !!binary aGk=\n", r"tag is not read \(got !!binary"),
        ("? [1, 2]\n: 3\n", r"f:1: a key is not a word"),
        ("b: &b {}\na: {<<<: *b}\n", r"f:2 <<<: recursive merge is not read"),
        ("a: {<<: 3}\n", r"f:1 <<: not a table to merge"),
    ],
)
def test_problems_that_do_not_stop_the_reading(text: str, message: str) -> None:
    _, problems = parse_yaml(text, source="f")
    assert len(problems) == 1
    with pytest.raises(SpecError, match=message):
        raise SpecError(problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {{ 2*256 }}\n", r"f:1: templating is not read \(got \{\{"),
        ("a: 1\n{% set x = 3 %}\n", r"f:2: templating is not read"),
        ("{# note #}\n", "templating is not read"),
        ("a: [1, 2\nb: 3\n", r"f:2: not YAML"),
        ("a: 1\n---\nb: 2\n", r"f:2: not YAML"),
        ("a: *nowhere\n", r"f:1: not YAML \(got found undefined alias"),
        ("a: \x00\n", r"f: not YAML"),
        ("", r"f: empty"),
        ("# only a comment\n", r"f: empty"),
    ],
)
def test_texts_that_are_no_spec(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_yaml(text, source="f")


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere.yaml: cannot be read \(got No such file"):
        read_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(SpecError, match=r"latin.yaml:2: not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


BILLION_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
)

HOSTILE = {
    "large": ("#" * (MAX_BYTES + 1), "too large for a spec"),
    "deep flow": ("[" * 100_000, "nested too deep"),
    "deep block": ("".join(" " * i + "a:\n" for i in range(600)), "nested too deep"),
    "billion laughs": (BILLION_LAUGHS, "too many values .*aliases written out"),
    "alias of itself": ("a: &a [*a]\n", r"nested too deep .*alias may contain itself"),
    "wide": ("[" + "a," * 100_000 + "]", "too many values"),
    "huge integer": (f"architecture: {{version: 0.4, nodes: [{{x: {'9' * 200_000}}}]}}", "node without a tag"),
    "long key": (f"{'k' * 1000}: 1\n", "not YAML|unknown key"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_quickly(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    start = time.perf_counter()
    with pytest.raises(SpecError, match=message) as refusal:
        load_architecture(path)
    assert time.perf_counter() - start < 5
    assert max(map(len, refusal.value.problems)) < 2000


def test_hostile_mappings_and_problems_are_refused_quickly(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    letters = written(tmp_path, f"mapping: [{{target: DRAM, type: temporal, permutation: {'MNK' * 60_000}}}]", "m.yaml")
    factors = written(tmp_path, f"mapping: [{{target: DRAM, type: temporal, factors: {'M=2 ' * 50_000}+}}]", "n.yaml")
    names = ", ".join(f"name_{i}: 1" for i in range(3000))
    coefficients = ", ".join(f"{{name: nome_{i}, default: 1}}" for i in range(2000))
    problem = written(tmp_path,
                      f"problem: {{shape: {{dimensions: [M], coefficients: [{coefficients}], data_spaces: []}}, "
                      f"instance: {{{names}}}}}", "p.yaml")  # fmt: skip
    start = time.perf_counter()
    with pytest.raises(SpecError, match="a dimension appears twice"):
        load_mapping(letters, einsum=MATMUL, spec=spec)
    with pytest.raises(SpecError, match="not a factor"):
        load_mapping(factors, einsum=MATMUL, spec=spec)
    with pytest.raises(SpecError, match="dimension without a bound"):
        load_problem(problem)
    assert time.perf_counter() - start < 10


NODES = "".join(f"  - !Component {{name: s{i}, class: DRAM, attributes: {{datawidth: 8}}}}\n" for i in range(900))
HOSTILE_SPECS = {
    "targets": (f"architecture:\n  nodes:\n{NODES}constraints:\n"
                + "".join(f"- {{target: x{i}, type: temporal}}\n" for i in range(1000)), "not a storage level"),
    "merged aliases": ("a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: *a{i - 1}}}\n"
                                                    for i in range(1, 40)), "too many values"),
    "parallel": ("architecture:\n  nodes:\n  - !Parallel\n    nodes:\n" + NODES.replace("  - ", "    - "),
                 "no compute units"),
    "brackets": (f"architecture: {{nodes: {'[!Hierarchical {nodes: ' * 40}[]{'}]' * 40}}}", "nested too deep"),
    "power": ("variables: {a: 9**9**9**9}\narchitecture: {nodes: []}\n", "no compute units"),
    "area": (f"architecture: {{nodes: []}}\nART: {{version: 0.4, tables: [{{name: D, area: {'9' * 50_000}}}]}}\n",
             "D.area: not a number in range"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), HOSTILE_SPECS.values(), ids=HOSTILE_SPECS)
def test_hostile_architectures_are_refused_quickly(text: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(SpecError, match=message) as refusal:
        parse_architecture(text)
    assert time.perf_counter() - start < 5
    assert max(map(len, refusal.value.problems)) < 2000


@pytest.mark.parametrize(
    "factors",
    [
        f"M={'9' * 200_000}",
        f"M=2,{'9' * 100_000}",
        "\\t" * 50_000 + "!",
        f"M{'a' * 200_000}",
        f"M<={2**54}",
        f"M>={2**54}",
    ],
    ids=["bound", "residual", "blanks", "name", "most", "least"],
)
def test_hostile_factors_are_refused_quickly(factors: str, tmp_path: Path) -> None:
    text = f'mapping: [{{target: DRAM, type: temporal, factors: "{factors}"}}]'
    spec = spec_of(tmp_path, V3)
    start = time.perf_counter()
    with pytest.raises(SpecError, match=r"not a factor|factor too large") as refusal:
        parse_mapping(text, einsum=MATMUL, spec=spec)
    assert time.perf_counter() - start < 5
    assert max(map(len, refusal.value.problems)) < 2000


def test_many_dimensions_are_read_quickly() -> None:
    names = [f"d{i}" for i in range(5000)]
    start = time.perf_counter()
    einsum = parse_problem(
        f"problem: {{version: 0.3, shape: {{dimensions: [{', '.join(names)}], data_spaces: ["
        "{name: A, projection: [d0]}, {name: Z, projection: [d1], read_write: true}]}, "
        f"instance: {{{', '.join(f'{name}: 2' for name in names)}}}}}"
    )
    assert len(einsum.extents) == 5000
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    "text", ["", "abc", "1_024", "010", "4K", "1e999", "0x", "nan", "inf", "9" * 41, "1.2.3", "--1"]
)
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


def test_suggestions_are_for_near_words_only() -> None:
    assert suggest("depht", ["width", "depth"]) == " Did you mean depth?"
    assert suggest("q", ["width", "depth"]) == ""
    assert suggest("x" * 100_000, ["x" * 100_001]) == ""
