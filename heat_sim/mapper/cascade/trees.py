"""Contraction trees of a layer as cascades: every order, and what is multiplied ahead of time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from heat_sim.einsum import Cascade, Einsum
from heat_sim.mapper.cascade.incumbent import Incumbent
from heat_sim.mapper.cascade.parts import HULL, PartSearch
from heat_sim.mapper.cascade.plan import Part
from heat_sim.mapper.cascade.search import search_cascade
from heat_sim.mapper.edp import Point, lower_left_hull
from heat_sim.tensorize.contraction import (
    Contraction,
    ContractionTree,
    check_tree,
    contract,
    contraction_trees,
    leaves,
    mac_optimal_tree,
)

MOST_OPERANDS = 6
"""Up to so many operands every tree is looked at (945 for six); beyond, those on the hull of unfused orders."""


class Order(NamedTuple):
    """One way to run a layer, but for fusion and mappings.

    Attributes:
        tree: Over the operands.
        contraction: Its steps.
        weights: Tensors of the steps at run time that are made of weights alone.
    """

    tree: ContractionTree
    contraction: Contraction
    weights: frozenset[str]

    @property
    def cascade(self) -> Cascade:
        """The steps at run time."""
        return self.contraction.online

    @property
    def multiplies_weights(self) -> bool:
        """Whether a product of weights alone is made in every inference.

        Without fusion that is never better than ahead of time: the product is written and read, instead of only read.
        """
        return any({tensor.name for tensor in step.inputs} <= self.weights for step in self.cascade.einsums)


def orders_of(einsum: Einsum, tree: ContractionTree, *, activations: str) -> Iterator[Order]:
    """Yield the orders of a tree: what of its weights is multiplied ahead of time, and which side is done first.

    >>> from heat_sim.einsum import parse_einsum
    >>> layer = parse_einsum("Y[s,o] = X[s,i] * G1[o,r] * G2[r,i]", extents={"s": 2, "o": 3, "i": 4, "r": 5})
    >>> for order in orders_of(layer, ("X", ("G1", "G2")), activations="X"):
    ...     print([str(step) for step in order.cascade.einsums], order.contraction.stored)
    ['Y[s,o] = X[s,i] * T1[i,o]'] (('T1', 12),)
    ['T1[i,o] = G1[o,r] * G2[r,i]', 'Y[s,o] = X[s,i] * T1[i,o]'] (('G1', 15), ('G2', 20))
    """
    check_tree(einsum, tree)
    known = frozenset(tensor.name for tensor in einsum.inputs if tensor.name != activations)
    for at_run_time in _at_run_time(tree, known):
        for right_first in _right_first(tree, at_run_time, known):
            contraction = contract(
                einsum, tree, ahead_of_time=known, at_run_time=at_run_time, right_first=right_first
            )  # fmt: skip
            weights = set(known | {step.output.name for step in contraction.offline})
            for step in contraction.online.einsums:
                if {tensor.name for tensor in step.inputs} <= weights:
                    weights.add(step.output.name)
            yield Order(tree, contraction, frozenset(weights))


def _at_run_time(tree: ContractionTree, known: frozenset[str]) -> Iterator[frozenset[ContractionTree]]:
    """Yield the sets of subtrees of weights alone that are multiplied in every inference, the empty one first."""
    if isinstance(tree, str):
        yield frozenset()
        return
    only_weights = set(leaves(tree)) <= known
    if only_weights:
        yield frozenset()
    for left, right in itertools.product(_at_run_time(tree[0], known), _at_run_time(tree[1], known)):
        yield left | right | ({tree} if only_weights else set())


def _right_first(
    tree: ContractionTree, at_run_time: frozenset[ContractionTree], known: frozenset[str]
) -> Iterator[frozenset[ContractionTree]]:
    """Yield the sets of pairs of which the right side may be done first: both sides have steps at run time."""
    if isinstance(tree, str) or (set(leaves(tree)) <= known and tree not in at_run_time):
        yield frozenset()
        return
    both = all(
        not isinstance(side, str) and (not set(leaves(side)) <= known or side in at_run_time) for side in tree
    )  # fmt: skip
    sides = (_right_first(tree[0], at_run_time, known), _right_first(tree[1], at_run_time, known))
    for left, right in itertools.product(*map(list, sides)):
        yield left | right
        if both:
            yield left | right | {tree}


def candidate_trees(einsum: Einsum, parts: PartSearch, *, activations: str) -> tuple[ContractionTree, ...]:
    """Return the trees that a search looks at: all up to `MOST_OPERANDS`, else those of `unfused_hull`."""
    if len(einsum.inputs) <= MOST_OPERANDS:
        return contraction_trees(einsum)
    return tuple(dict.fromkeys(tree for _, tree in unfused_hull(einsum, parts, activations=activations)))


def unfused_hull(
    einsum: Einsum, parts: PartSearch, *, activations: str
) -> list[tuple[Point, ContractionTree]]:  # fmt: skip
    """Return the vertices of the (energy, cycles) hull over all trees, nothing fused, weights multiplied ahead of time.

    Dynamic programming over subsets of the operands: the intermediate of a subset has the same ranks whatever the order
    inside, so the hull of a subset is that over all ways to part it in two. Exact, because hulls add up. The tree with
    the fewest multiply-accumulates comes first: what that beats is not looked at.

    Args:
        einsum: The layer.
        parts: Knows the machine.
        activations: Name of the operand that is known at run time only.
    """
    names = tuple(tensor.name for tensor in einsum.inputs)
    known = frozenset(names) - {activations}
    by_macs = mac_optimal_tree(einsum)
    incumbent = Incumbent(objective=HULL)
    order = next(orders_of(einsum, by_macs, activations=activations))
    search_cascade(order.cascade, parts, incumbent, fuse=False, weights=order.weights)
    first = [(each.point, by_macs) for each in incumbent.front]
    best: dict[frozenset[str], list[tuple[Point, ContractionTree]]] = {
        frozenset((name,)): [((0.0, 0.0), name)] for name in names
    }
    for size in range(2, len(names) + 1):
        for chosen in itertools.combinations(names, size):
            subset = frozenset(chosen)
            found: list[tuple[Point, ContractionTree]] = []
            for left in _parts_with_first(chosen):
                right = subset - left
                if not best[left] or not best[right]:
                    continue
                least = [
                    (min(e for (e, _), _ in side), min(t for (_, t), _ in side)) for side in (best[left], best[right])
                ]
                for step in _step_points(einsum, left, right, known, parts, incumbent, _sum(least)):
                    for (one, tree), (other, beside) in itertools.product(best[left], best[right]):
                        point = (one[0] + other[0] + step[0], one[1] + other[1] + step[1])
                        found.append((point, (tree, beside)))
            if size == len(names):
                found += first
            best[subset] = [found[i] for i in lower_left_hull([point for point, _ in found])] if found else []
    return best[frozenset(names)]


def _sum(points: list[Point]) -> Point:
    return sum(energy_pj for energy_pj, _ in points), sum(cycles for _, cycles in points)


def _parts_with_first(names: tuple[str, ...]) -> Iterator[frozenset[str]]:
    for size in range(len(names) - 1):
        for beside in itertools.combinations(names[1:], size):
            yield frozenset((names[0], *beside))


def _step_points(
    einsum: Einsum, left: frozenset[str], right: frozenset[str], known: frozenset[str], parts: PartSearch,
    incumbent: Incumbent, least: Point,
) -> list[Point]:  # fmt: skip
    """Return the hull of multiplying the results of two subsets, which take so much at the least.

    Nothing is returned if the incumbent beats the three of them.
    """
    if left | right <= known:
        return [(0.0, 0.0)]
    whole = frozenset(tensor.name for tensor in einsum.inputs)
    rest = tuple(sorted(whole - left - right))
    # As a tree: the two subsets, each as one operand, then everything else.
    tree: ContractionTree = (_any_tree(left), _any_tree(right))
    for name in rest:
        tree = (tree, name)
    steps = contract(einsum, tree, ahead_of_time=known)
    step = next(
        step
        for step, inside in zip(steps.online.einsums, _online_leaves(tree, known), strict=True)
        if inside == left | right
    )
    weights = frozenset(
        tensor.name for tensor, side in zip(step.inputs, (left, right), strict=True) if side <= known
    )  # fmt: skip
    energy_pj, cycles = parts.bound(Part(step, None, 1), weights=weights)
    if incumbent.beats(least[0] + energy_pj, least[1] + cycles):
        return []
    hull = parts.relaxed(Part(step, None, 1), weights=weights)
    return [(each.energy_pj, float(each.cycles)) for each in hull]


def _any_tree(names: frozenset[str]) -> ContractionTree:
    first, *others = sorted(names)
    tree: ContractionTree = first
    for name in others:
        tree = (tree, name)
    return tree


def _online_leaves(tree: ContractionTree, known: frozenset[str]) -> list[frozenset[str]]:
    """Return the operands below every step at run time, in the order of the steps."""
    if isinstance(tree, str):
        return []
    here = frozenset(leaves(tree))
    inside = [*_online_leaves(tree[0], known), *_online_leaves(tree[1], known)]
    return inside if here <= known else [*inside, here]
