"""Design files: round trip, defaults of dense matrices, and every refusal with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from heat_sim.errors import SpecError
from heat_sim.tensorize import (
    Design,
    Factorization,
    LayerDesign,
    Tensorization,
    dump_design,
    load_design,
    parse_design,
    parse_tree,
)

SQUARE = Tensorization(out_modes=(384,), in_modes=(384,))
LOW_RANK = LayerDesign(
    factorization=Factorization(format="low-rank", tensorization=SQUARE, ranks=(64,)),
    trees=(parse_tree("((X G2) G1)"),),
)
TRAIN = LayerDesign(
    factorization=Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(32, 48), in_modes=(16, 24)), ranks=(1, 96, 1)
    ),
    trees=(parse_tree("(X (G1 G2))"),),
)
DENSE = LayerDesign(factorization=Factorization(format="dense", tensorization=SQUARE), trees=(("X", "W"),))
DESIGN = Design(
    id="d03",
    model="minilm-l6",
    tokens=128,
    architecture="simba_l",
    layers=(
        ("encoder.layer.0.attention.self.query", LOW_RANK),
        ("encoder.layer.0.intermediate.dense", TRAIN),
        ("encoder.layer.0.attention.output.dense", DENSE),
    ),
)

GOOD = """\
design:
  id: d03
  model: minilm-l6
  tokens: 128
  arch: simba_l
  matrices:
    query: {format: low-rank, out_modes: [384], in_modes: [384], ranks: [64], tree: "((X G2) G1)"}
    value: {format: dense, out_modes: [384], in_modes: [384]}
"""


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "d03.yaml"
    path.write_text(dump_design(DESIGN), encoding="utf-8")
    assert load_design(path) == DESIGN


@pytest.mark.parametrize("name", ["007", "1e3", "true", "null", "2024-01-01", "a: b", "# x", "é", "\x85", "*x", "- y"])
def test_awkward_names_survive(name: str) -> None:
    design = Design(id=name, model=name, tokens=1, architecture=name, layers=((name, DENSE),))
    assert parse_design(dump_design(design)) == design


def test_parameters_add_up() -> None:
    assert DESIGN.parameters == 2 * 384 * 64 + (32 * 16 * 96 + 96 * 48 * 24) + 384 * 384


def test_a_dense_matrix_needs_neither_ranks_nor_tree() -> None:
    assert parse_design(GOOD).layers == (("query", LOW_RANK), ("value", DENSE))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tokens: 128", "tokens: many", r"d.yaml:4 design.tokens: not a count \(got many, expected an integer"),
        ("tokens: 128", "tokens: 0", r"d.yaml:4 design.tokens: not a count \(got 0"),
        ("tokens: 128", "tokens: true", r"d.yaml:4 design.tokens: not a count \(got True"),
        ("id: d03", "id: 3", r"d.yaml:2 design.id: not a name \(got 3, expected a text\). Put it in quotes"),
        ("  arch: simba_l\n", "", r"design: key missing \(got id, model, tokens, matrices, expected arch\)"),
        ("  arch:", "  seed: 1\n  arch:", r"d.yaml:5 design.seed: unknown key \(got seed, expected id, model"),
        ("  arch:", "  id: d04\n  arch:", r"d.yaml:5 design.id: key given twice"),
        ("    value:", "    query:", r"d.yaml:8 design.matrices.query: key given twice"),
        ("format: low-rank", "format: svd", r"d.yaml:7 design.matrices.query.format: unknown format \(got 'svd'"),
        ("format: low-rank, ", "", r"d.yaml:7 design.matrices.query.format: unknown format \(got None"),
        ("ranks: [64]", "ranks: [385]", r"d.yaml:7 design.matrices.query: .*ranks\[0\]: not a usable rank \(got 385"),
        ("ranks: [64]", "ranks: [1, 64, 1]", r"d.yaml:7 design.matrices.query: .*wrong number of ranks"),
        ("ranks: [64]", "ranks: 64", r"d.yaml:7 design.matrices.query.ranks: not a list of integers \(got 64"),
        ("ranks: [64]", "ranks: [64], rank: 3", r"d.yaml:7 design.matrices.query: unknown key \(got rank"),
        ("ranks: [64]", "ranks: [64], ranks: [3]", r"d.yaml:7 design.matrices.query.ranks: key given twice"),
        (
            "out_modes: [384], in_modes: [384], ranks",
            "out_modes: [16, 24], in_modes: [384], ranks",
            "one output and one",
        ),
        ("((X G2) G1)", "(X G2)", r"d.yaml:7 design.matrices.query.tree: .*not a tree of einsum"),
        ("((X G2) G1)", "((X G2 G1)", r"d.yaml:7 design.matrices.query.tree: .*not nested pairs"),
        (', tree: "((X G2) G1)"', "", r"d.yaml:7 design.matrices.query.tree: no contraction tree \(got None"),
        ("tree:", "tree: 3 #", "not YAML"),
        ("id: d03", "id: &a d03\n  x: *a", "design.x: an alias"),
        ("id: d03", "id: !!python/name:os.system d03", r"d.yaml:2 design.id: not a plain value \(got tag:yaml.org"),
        ("id: d03", "id: !mine d03", r"d.yaml:2 design.id: not a plain value \(got !mine"),
        ("design:", "designs:", r"d.yaml:1: key missing \(got designs, expected design\)"),
        ("    query: {", "    query: [{", "not YAML"),
    ],
)
def test_refusals_name_file_line_and_key(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(SpecError, match=message):
        parse_design(GOOD.replace(old, new, 1), source="d.yaml")


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "design:", "design: 3", "design: {}", "a: &a [*a]", "a: 1\n---\n"])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"not a mapping|key missing|not YAML"):
        parse_design(text)


def test_no_matrix_is_refused() -> None:
    with pytest.raises(SpecError, match=r"design.matrices: no matrix"):
        parse_design(GOOD.partition("    query:")[0].replace("matrices:", "matrices: {}"))


def test_all_problems_at_once() -> None:
    text = GOOD.replace("tokens: 128", "tokens: 0").replace("ranks: [64]", "ranks: [0]").replace("dense", "sparse")
    with pytest.raises(SpecError, match="tokens") as refusal:
        parse_design(text + "  extra: 1\n")
    assert len(refusal.value.problems) == 4  # tokens, a rank, a format, a key


def test_a_tree_of_another_einsum_is_no_layer() -> None:
    with pytest.raises(SpecError, match=r"not a tree of einsum layer .got operands X, W, expected each of X, G1, G2"):
        LayerDesign(factorization=LOW_RANK.factorization, trees=(("X", "W"),))


def test_a_design_made_by_hand_is_checked_too() -> None:
    with pytest.raises(SpecError, match="tokens is not a count") as refusal:
        Design(id="", model="m", tokens=0, architecture="a", layers=(("q", DENSE), ("q", DENSE)))
    assert len(refusal.value.problems) == 3
