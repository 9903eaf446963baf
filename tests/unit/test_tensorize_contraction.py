"""Contraction trees: how many, what each step keeps, what is stored, and that every tree gives the same tensor."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import SpecError
from heat_sim.tensorize import (
    Contraction,
    ContractionTree,
    Factorization,
    Tensorization,
    contract,
    contraction_trees,
    mac_optimal_tree,
    parse_tree,
    tree_to_text,
)
from heat_sim.tensorize.contraction import leaves

Arrays = dict[str, NDArray[np.float64]]

EINSUMS = {
    "one operand": parse_einsum("Y[a] = A[a,b]", extents={"a": 3, "b": 4}),
    "matmul": parse_einsum("Y[s,o] = X[s,i] * W[o,i]", extents={"s": 3, "o": 4, "i": 5}),
    "low-rank": parse_einsum("Y[s,o] = X[s,i] * A[o,r] * B[r,i]", extents={"s": 3, "o": 4, "i": 5, "r": 2}),
    "shared by three": parse_einsum("Y[s,o] = X[s,r] * A[o,r] * B[r]", extents={"s": 3, "o": 4, "r": 2}),
    "a sum of its own": parse_einsum("Y[s] = X[s,i] * A[i,p] * B[i,q]", extents={"s": 3, "i": 5, "p": 2, "q": 4}),
    "nothing shared": parse_einsum("Y[a,b,c] = A[a] * B[b] * C[c]", extents={"a": 2, "b": 3, "c": 4}),
    "outer product first": parse_einsum("Y[s] = X[s,a,b] * A[a] * B[b]", extents={"s": 9, "a": 2, "b": 3}),
    "to a scalar": parse_einsum("Y[] = A[a,b] * B[b,c] * C[c,a]", extents={"a": 2, "b": 3, "c": 4}),
    "train of two": Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3), in_modes=(3, 2)), ranks=(1, 4, 1)
    ).einsums(5)[0],
    "train of three": Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(2, 3, 2), in_modes=(3, 2, 2)), ranks=(1, 4, 3, 1)
    ).einsums(2)[0],
    "CP": parse_einsum(
        "Y[s,o,p] = X[s,i] * A[o,r] * B[p,r] * C[i,r]", extents={"s": 3, "o": 2, "p": 3, "i": 4, "r": 5}
    ),
}


def run(einsum: Einsum, arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The oracle: one numpy einsum."""
    letters = {var: chr(ord("a") + k) for k, var in enumerate(einsum.rank_vars)}
    terms = ["".join(letters[var] for var in tensor.rank_vars) for tensor in einsum.tensors]
    operands = [arrays[tensor.name] for tensor in einsum.inputs]
    return np.asarray(np.einsum(f"{','.join(terms[:-1])}->{terms[-1]}", *operands))


def random_arrays(einsum: Einsum) -> Arrays:
    rng = np.random.default_rng(0)
    return {tensor.name: rng.normal(size=tensor.shape(dict(einsum.extents))) for tensor in einsum.inputs}


def run_contraction(contraction: Contraction, arrays: Arrays) -> Arrays:
    """Offline steps first; then the online ones, which may read only what is stored or made online."""
    known = dict(arrays)
    for step in contraction.offline:
        known[step.output.name] = run(step, known)
    made = {step.output.name for step in contraction.online.einsums}
    activations = set(arrays) - {name for name, _ in contraction.stored}
    allowed = {name for name, _ in contraction.stored} | made | activations
    for step in contraction.online.einsums:
        assert {tensor.name for tensor in step.inputs} <= allowed
        known[step.output.name] = run(step, known)
    return known


@pytest.mark.parametrize("einsum", EINSUMS.values(), ids=EINSUMS)
def test_every_tree_gives_the_tensor_of_the_einsum(einsum: Einsum) -> None:
    arrays = random_arrays(einsum)
    expected = run(einsum, arrays)
    names = [tensor.name for tensor in einsum.inputs]
    subsets = itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names)))
    for ahead in subsets:
        for tree in contraction_trees(einsum):
            contraction = contract(einsum, tree, ahead_of_time=frozenset(ahead))
            found = run_contraction(contraction, arrays)[einsum.output.name]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12, err_msg=tree_to_text(tree))


@pytest.mark.parametrize("operands", [1, 2, 3, 4, 5, 6])
def test_as_many_trees_as_there_are(operands: int) -> None:
    names = [f"A{k}" for k in range(operands)]
    text = f"Y[a] = {' * '.join(f'{name}[a]' for name in names)}"
    trees = contraction_trees(parse_einsum(text, extents={"a": 2}))
    assert len(trees) == math.prod(range(1, 2 * operands - 2, 2))  # (2n - 3)!!
    assert len({unordered(tree) for tree in trees}) == len(trees)
    assert all(sorted(leaves(tree)) == names for tree in trees)
    assert trees == contraction_trees(parse_einsum(text, extents={"a": 2}))


def unordered(tree: ContractionTree) -> object:
    return tree if isinstance(tree, str) else frozenset(map(unordered, tree))


@pytest.mark.parametrize("einsum", EINSUMS.values(), ids=EINSUMS)
def test_a_step_keeps_exactly_what_is_still_needed(einsum: Einsum) -> None:
    """Dropping any rank variable of an intermediate would lose one that a later step or the output reads."""
    for tree in contraction_trees(einsum):
        steps = contract(einsum, tree, ahead_of_time=frozenset()).online.einsums
        for number, step in enumerate(steps[:-1]):
            pending = {t.name for t in einsum.inputs} | {s.output.name for s in steps[:number]}
            pending -= {t.name for s in steps[: number + 1] for t in s.inputs}
            tensors = {t.name: t for s in steps for t in s.inputs}
            later = {var for name in pending for var in tensors[name].rank_vars} | set(einsum.output.rank_vars)
            available = {var for t in step.inputs for var in t.rank_vars}
            assert set(step.output.rank_vars) == available & later


def test_the_worked_example_of_a_train_of_two() -> None:
    layer = Factorization(
        format="tt-matrix", tensorization=Tensorization(out_modes=(16, 24), in_modes=(48, 32)), ranks=(1, 8, 1)
    ).einsums(128)[0]
    weights = frozenset({"G1", "G2"})
    chained = contract(layer, parse_tree("((X G2) G1)"), ahead_of_time=weights)
    assert str(chained.online) == "\n".join(
        ["T1[s,o2,i1,r1] = X[s,i1,i2] * G2[r1,o2,i2]", "Y[s,o1,o2] = T1[s,o2,i1,r1] * G1[o1,i1,r1]"]
    )
    assert chained.offline == ()
    assert chained.stored == (("G2", 8 * 24 * 32), ("G1", 16 * 48 * 8))
    # s i1 i2 o2 r1, then s o1 o2 i1 r1
    assert chained.online.ops == 128 * 48 * 32 * 24 * 8 + 128 * 16 * 24 * 48 * 8
    folded = contract(layer, parse_tree("(X (G1 G2))"), ahead_of_time=weights)
    assert str(folded.offline[0]) == "T1[o1,o2,i1,i2] = G1[o1,i1,r1] * G2[r1,o2,i2]"
    assert str(folded.online) == "Y[s,o1,o2] = X[s,i1,i2] * T1[o1,o2,i1,i2]"
    assert folded.stored == (("T1", 384 * 1536),)
    assert folded.stored_words == 384 * 1536


def test_names_of_steps_pass_over_names_in_use() -> None:
    einsum = parse_einsum("Y[a] = T1[a] * T3[a] * B[a] * C[a]", extents={"a": 2})
    steps = contract(einsum, parse_tree("(((T1 T3) B) C)"), ahead_of_time=frozenset()).online.einsums
    assert [step.output.name for step in steps] == ["T2", "T4", "Y"]
    assert [step.name for step in steps] == ["Y.T2", "Y.T4", "Y.Y"]


@pytest.mark.parametrize("einsum", EINSUMS.values(), ids=EINSUMS)
def test_no_tree_has_fewer_ops_than_the_mac_optimal_one(einsum: Einsum) -> None:
    def ops(tree: ContractionTree) -> int:
        return contract(einsum, tree, ahead_of_time=frozenset()).online.ops

    best = mac_optimal_tree(einsum)
    assert best in contraction_trees(einsum)
    assert ops(best) == min(map(ops, contraction_trees(einsum)))


def test_heats_example_of_the_mac_optimal_order() -> None:
    """HEAT figure 2: CP of 768 x 768 (output modes 12 x 64), rank 280, 384 tokens; 1.6e8 MACs are given."""
    extents = {"s": 384, "o": 12, "p": 64, "i": 768, "r": 280}
    layer = parse_einsum("Y[s,o,p] = X[s,i] * A[o,r] * B[p,r] * C[i,r]", extents=extents)
    tree = mac_optimal_tree(layer)
    assert tree_to_text(tree) == "((X C) (A B))"
    contraction = contract(layer, tree, ahead_of_time=frozenset({"A", "B", "C"}))
    # X C: s i r; (X C)(A B): s o p r. A B is done once: o p r words stored.
    assert contraction.online.ops == 384 * 768 * 280 + 384 * 12 * 64 * 280
    assert contraction.stored == (("C", 768 * 280), ("T2", 12 * 64 * 280))


@pytest.mark.parametrize("tree", [*contraction_trees(EINSUMS["CP"]), "X", (("G2", "X"), "G1")], ids=tree_to_text)
def test_text_round_trip(tree: ContractionTree) -> None:
    assert parse_tree(tree_to_text(tree)) == tree


def test_blanks_do_not_matter() -> None:
    assert parse_tree("  ( (X   G2)G1 ) ") == (("X", "G2"), "G1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        "(X)",
        "(X G1 G2)",
        "((X G1)",
        "(X G1))",
        "X G1",
        ")X(",
        "(X 3)",
        "(X, G1)",
        "(" * 5000,
        "(X " * 5000 + "X" + ")" * 5000,
    ],
)
def test_refuses_texts_that_are_no_trees(text: str) -> None:
    with pytest.raises(SpecError, match="contraction tree: not nested pairs of names"):
        parse_tree(text)


@pytest.mark.parametrize("text", ["(X A)", "((X A) A)", "((X A) (B C))", "X"])
def test_refuses_trees_of_other_einsums(text: str) -> None:
    with pytest.raises(SpecError, match=r"not a tree of einsum Y .*expected each of X, A, B once"):
        contract(EINSUMS["low-rank"], parse_tree(text), ahead_of_time=frozenset())


@pytest.mark.parametrize("ahead", [{"X", "A", "B"}, {"A", "Z"}])
def test_refuses_an_inference_without_input(ahead: set[str]) -> None:
    with pytest.raises(SpecError, match="these cannot be the tensors known ahead of time"):
        contract(EINSUMS["low-rank"], parse_tree("((X A) B)"), ahead_of_time=frozenset(ahead))


def test_refuses_sums_of_rank_variables() -> None:
    convolution = parse_einsum("O[p] = I[p+r] * W[r]", extents={"p": 16, "r": 3})
    with pytest.raises(SpecError, match=r"I is indexed by sums of rank variables .got I\[p\+r\]"):
        contract(convolution, ("I", "W"), ahead_of_time=frozenset({"W"}))
