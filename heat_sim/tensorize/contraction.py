"""Contraction trees: in which order the operands of an einsum are multiplied two by two.

A tree is a tensor's name or a pair of trees: ``(("X", "G2"), "G1")``, as text ``((X G2) G1)``. Every
step keeps exactly the rank variables that the output or an operand outside the step still needs.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import opt_einsum

from heat_sim.einsum import Cascade, Einsum, TensorAccess
from heat_sim.errors import SpecError, describe

ContractionTree: TypeAlias = str | tuple["ContractionTree", "ContractionTree"]
"""A tensor's name, or the pair of trees whose results are multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contraction:
    """An einsum as pairwise steps, split at what can be done once and stored.

    Attributes:
        offline: Steps on ahead-of-time tensors alone, in order.
        online: Steps of every inference, in order; the last one writes the einsum's output.
        stored: ``(tensor, words)`` of the ahead-of-time tensors that the online steps read, in the order they are read.
    """

    offline: tuple[Einsum, ...]
    online: Cascade
    stored: tuple[tuple[str, int], ...]

    @property
    def stored_words(self) -> int:
        """Words held between inferences."""
        return sum(words for _, words in self.stored)


def contraction_trees(einsum: Einsum) -> tuple[ContractionTree, ...]:
    """Return all ``(2n - 3)!!`` contraction trees of an einsum with n operands, in a fixed order.

    Trees that differ only in the order of a pair are one tree; it is written with the pair that
    holds the earlier operand first.

    >>> from heat_sim.einsum import parse_einsum
    >>> abc = parse_einsum("Y[s,o] = X[s,i] * G1[o,r] * G2[r,i]", extents={"s": 2, "o": 3, "i": 4, "r": 5})
    >>> [tree_to_text(tree) for tree in contraction_trees(abc)]
    ['(X (G1 G2))', '((X G1) G2)', '((X G2) G1)']
    """
    return tuple(_trees(tuple(operand.name for operand in einsum.inputs)))


def _trees(names: tuple[str, ...]) -> Iterator[ContractionTree]:
    if len(names) == 1:
        yield names[0]
        return
    first, others = names[0], names[1:]
    for size in range(len(others)):  # how many join the first operand on its side of the root
        for beside in itertools.combinations(others, size):
            rest = tuple(name for name in others if name not in beside)
            yield from itertools.product(_trees((first, *beside)), _trees(rest))


def leaves(tree: ContractionTree) -> tuple[str, ...]:
    """Return the names of the operands of a tree, from left to right.

    >>> leaves((("X", "G2"), "G1"))
    ('X', 'G2', 'G1')
    """
    return (tree,) if isinstance(tree, str) else (*leaves(tree[0]), *leaves(tree[1]))


def check_tree(einsum: Einsum, tree: ContractionTree) -> None:
    """Raise SpecError unless every operand of the einsum is a leaf of the tree exactly once."""
    wanted = [operand.name for operand in einsum.inputs]
    if sorted(leaves(tree)) != sorted(wanted):
        raise SpecError(
            describe(f"contraction tree {tree_to_text(tree)}", f"not a tree of einsum {einsum.name}",
                     got=f"operands {', '.join(leaves(tree))}", expected=f"each of {', '.join(wanted)} once",
                     remedy="Name every operand once.")
        )  # fmt: skip


def contract(
    einsum: Einsum,
    tree: ContractionTree,
    *,
    ahead_of_time: frozenset[str],
    at_run_time: Collection[ContractionTree] = (),
    right_first: Collection[ContractionTree] = (),
) -> Contraction:
    """Return the pairwise steps of the tree.

    A step whose operands all derive from `ahead_of_time` is done offline and its result stored in their
    place. Results are named T1, T2, ... in the order of the steps (passing over names the einsum uses); the last one
    keeps the name of the einsum's output, and its ranks in their order. The others have theirs in the order of
    the einsum's rank variables.

    Args:
        einsum: Any number of operands, each rank indexed by one rank variable.
        tree: Over its operands.
        ahead_of_time: Names of operands that are known before the inference: the weights. Not all of them.
        at_run_time: Subtrees of weights alone that are multiplied in every inference all the same.
        right_first: Subtrees whose right side is done before the left one.

    Raises:
        SpecError: The tree is not one of this einsum, a projection is not plain, a name is
            unknown, or nothing is left for the inference.

    >>> from heat_sim.einsum import parse_einsum
    >>> layer = parse_einsum("Y[s,o] = X[s,i] * G1[o,r] * G2[r,i]", extents={"s": 2, "o": 3, "i": 4, "r": 5})
    >>> print(contract(layer, (("X", "G2"), "G1"), ahead_of_time=frozenset({"G1", "G2"})).online)
    T1[s,r] = X[s,i] * G2[r,i]
    Y[s,o] = T1[s,r] * G1[o,r]
    >>> contract(layer, ("X", ("G1", "G2")), ahead_of_time=frozenset({"G1", "G2"})).stored
    (('T1', 12),)
    """
    _check(einsum, tree, ahead_of_time)
    free_names = (name for k in itertools.count(1) if (name := f"T{k}") not in {t.name for t in einsum.tensors})
    offline: list[Einsum] = []
    online: list[Einsum] = []

    def visit(subtree: ContractionTree) -> tuple[TensorAccess, bool]:
        """Emit the steps of a subtree; return its result and whether that is known ahead of time."""
        if isinstance(subtree, str):
            return einsum.tensor(subtree), subtree in ahead_of_time
        if subtree in right_first:
            right, right_known = visit(subtree[1])
            left, left_known = visit(subtree[0])
        else:
            left, left_known = visit(subtree[0])
            right, right_known = visit(subtree[1])
        result = einsum.output if subtree == tree else _result(einsum, subtree, name=next(free_names))
        known = left_known and right_known and subtree not in at_run_time
        (offline if known else online).append(_step(einsum, (left, right), result))
        return result, known

    visit(tree)
    if isinstance(tree, str):
        online.append(einsum)
    known_names = ahead_of_time | {step.output.name for step in offline}
    stored = {t.name: step.words(t.name) for step in online for t in step.inputs if t.name in known_names}
    return Contraction(
        offline=tuple(offline), online=Cascade(name=einsum.name, einsums=tuple(online)), stored=tuple(stored.items())
    )


def _check(einsum: Einsum, tree: ContractionTree, ahead_of_time: frozenset[str]) -> None:
    check_tree(einsum, tree)
    names = {operand.name for operand in einsum.inputs}
    problems = [
        describe(f"contraction of {einsum.name}", f"{tensor.name} is indexed by sums of rank variables", got=tensor,
                 expected="one rank variable per rank", remedy="Only plain einsums have contraction trees.")
        for tensor in einsum.tensors
        if not tensor.is_plain
    ]  # fmt: skip
    if not ahead_of_time < names:
        problems.append(
            describe(f"contraction of {einsum.name}", "these cannot be the tensors known ahead of time",
                     got=", ".join(sorted(ahead_of_time)), expected=f"some, not all, of {', '.join(sorted(names))}",
                     remedy="Leave the activations out.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)


def _result(einsum: Einsum, subtree: ContractionTree, *, name: str) -> TensorAccess:
    """Return the intermediate of a subtree: the rank variables it has and somebody outside of it needs."""
    inside = set(leaves(subtree))
    has = {var for operand in einsum.inputs if operand.name in inside for var in operand.rank_vars}
    needed = {var for tensor in einsum.tensors if tensor.name not in inside for var in tensor.rank_vars}
    return TensorAccess(name=name, projection=tuple(((var, 1),) for var in einsum.rank_vars if var in has & needed))


def _step(einsum: Einsum, operands: Sequence[TensorAccess], result: TensorAccess) -> Einsum:
    extents = dict(einsum.extents)
    used = {var for tensor in (*operands, result) for var in tensor.rank_vars}
    return Einsum(
        name=f"{einsum.name}.{result.name}",
        inputs=tuple(operands),
        output=result,
        extents=tuple((var, extents[var]) for var in einsum.rank_vars if var in used),
    )


def mac_optimal_tree(einsum: Einsum) -> ContractionTree:
    """Return the tree with the fewest ops over all its steps, offline ones included, as opt_einsum finds it.

    This is the order HEAT (Gu et al., 2022) uses. opt_einsum's dynamic programming counts the iteration
    space of a step, which is our ops (model vocabulary); outer products are searched too.

    >>> from heat_sim.einsum import parse_einsum
    >>> layer = parse_einsum("Y[s,o] = X[s,i] * G1[o,r] * G2[r,i]", extents={"s": 90, "o": 30, "i": 40, "r": 5})
    >>> tree_to_text(mac_optimal_tree(layer))
    '((X G2) G1)'
    """
    names = [operand.name for operand in einsum.inputs]
    if len(names) <= 2:
        return next(_trees(tuple(names)))
    letters = {var: opt_einsum.get_symbol(k) for k, var in enumerate(einsum.rank_vars)}
    terms = ["".join(letters[var] for var in tensor.rank_vars) for tensor in einsum.tensors]
    extents = dict(einsum.extents)
    path, _ = opt_einsum.contract_path(
        f"{','.join(terms[:-1])}->{terms[-1]}",
        *(operand.shape(extents) for operand in einsum.inputs),
        shapes=True,
        optimize=opt_einsum.DynamicProgramming(minimize="flops", search_outer=True),
    )
    pending: list[ContractionTree] = list(names)
    for positions in path:  # opt_einsum's linear form: the operands are taken out, the result goes to the end
        taken = [pending[k] for k in positions]
        pending = [tree for k, tree in enumerate(pending) if k not in positions]
        pending.append(taken[0] if len(taken) == 1 else (taken[0], taken[1]))
    return _canonical(pending[0], names)


def _canonical(tree: ContractionTree, names: Sequence[str]) -> ContractionTree:
    """Return the tree with the side of the earlier operand first in every pair."""
    if isinstance(tree, str):
        return tree
    pair = sorted(tree, key=lambda side: min(names.index(leaf) for leaf in leaves(side)))
    return (_canonical(pair[0], names), _canonical(pair[1], names))


def tree_to_text(tree: ContractionTree) -> str:
    """Return the text form of a tree, which `parse_tree` reads back.

    >>> tree_to_text((("X", "G2"), "G1"))
    '((X G2) G1)'
    """
    return tree if isinstance(tree, str) else f"({tree_to_text(tree[0])} {tree_to_text(tree[1])})"


def parse_tree(text: str) -> ContractionTree:
    """Return the tree that the text describes.

    Raises:
        SpecError: It is not nested pairs of names.

    >>> parse_tree("((X G2) G1)")
    (('X', 'G2'), 'G1')
    """
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    depths = list(itertools.accumulate((word == "(") - (word == ")") for word in words))
    if not words or depths[-1] != 0 or min(depths) < 0 or max(depths) > 64:
        raise SpecError(_not_a_tree(text))
    tree, rest = _read(words, text)
    if rest:
        raise SpecError(_not_a_tree(text))
    return tree


def _read(words: Sequence[str], text: str) -> tuple[ContractionTree, Sequence[str]]:
    """Read one tree from the front; return it and the words after it."""
    if words and words[0].isidentifier():
        return words[0], words[1:]
    if not words or words[0] != "(":
        raise SpecError(_not_a_tree(text))
    left, words = _read(words[1:], text)
    right, words = _read(words, text)
    if not words or words[0] != ")":
        raise SpecError(_not_a_tree(text))
    return (left, right), words[1:]


def _not_a_tree(text: str) -> str:
    return describe("contraction tree", "not nested pairs of names", got=repr(text), expected="a text like ((X G2) G1)",
                    remedy="Bracket the operands two by two.")  # fmt: skip
