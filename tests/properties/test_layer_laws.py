"""Contraction orders of a layer: the best of all of them, in whatever way they are looked at."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Cascade, Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.cascade import map_cascade
from heat_sim.mapper.cascade.parts import PartSearch
from heat_sim.mapper.cascade.trees import candidate_trees, orders_of, unfused_hull
from heat_sim.mapper.layer import Machine
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.space import MapSpace
from heat_sim.model import evaluate
from heat_sim.tensorize.contraction import contract, contraction_trees, mac_optimal_tree, tree_to_text
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization
from tests.oracles.exhaustive_space import mappings

LAYERS = {
    "low-rank": "Y[s,o] = X[s,i] * G[o,r] * H[r,i]",
    "tt": "Y[s,o,p] = X[s,i,j] * G[o,i,r] * H[r,p,j]",
    "tucker": "Y[s,o] = X[s,i] * U[o,r] * C[r,q] * V[q,i]",
}
ROOMY = Architecture(
    name="roomy", compute_name="MAC", compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=9.0, update_energy_pj=9.0, shared_bandwidth_words_per_cycle=0.5),
        StorageLevel(
            name="GLB", capacity_words=40, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0, fanout_x=2,
            fanout_y=2,
        ),
    ),
)  # fmt: skip


@st.composite
def layers(draw: st.DrawFn) -> Einsum:
    text = LAYERS[draw(st.sampled_from(sorted(LAYERS)))]
    return parse_einsum(text, extents={var: draw(st.sampled_from((1, 2, 3))) for var in "soprqij"}, name="layer")


@st.composite
def machines(draw: st.DrawFn) -> Architecture:
    energy = st.integers(1, 160).map(lambda quarter: quarter / 4)
    return Architecture(
        name="tiny", compute_name="MAC", compute_energy_pj=draw(energy),
        levels=(
            StorageLevel(
                name="DRAM", read_energy_pj=draw(energy), update_energy_pj=draw(energy),
                shared_bandwidth_words_per_cycle=draw(st.sampled_from((None, 0.5, 2.0))),
            ),
            StorageLevel(
                name="GLB", capacity_words=draw(st.integers(6, 40)), read_energy_pj=draw(energy),
                write_energy_pj=draw(energy), update_energy_pj=draw(energy), fanout_x=draw(st.sampled_from((1, 2))),
            ),
        ),
    )  # fmt: skip


@given(layers(), machines(), st.sampled_from(("edp", "energy", "cycles", "hull")), st.booleans())
@settings(max_examples=30)
def test_no_order_by_itself_is_better_than_the_best_of_all(layer, machine, name, fuse):
    """Every order as a cascade of its own, with nothing known of the others."""
    objective = parse_objective(name)
    values = []
    for tree in contraction_trees(layer):
        for order in orders_of(layer, tree, activations="X"):
            try:
                alone = map_cascade(order.cascade, machine, objective=objective, fuse=fuse, weights=order.weights)
            except InfeasibleError:
                continue
            values.append((alone.value, order))
    assume(values)
    found = Machine(architecture=machine, fuse=fuse).map_layer(layer, activations="X", objective=objective)
    assert found.result.optimal
    assert fuse or len(values) >= found.orders  # the law looks at products of weights in every inference as well
    assert found.result.value == pytest.approx(min(value for value, _ in values), rel=1e-12)
    assert found.best.order is not None
    assert found.best.ops == found.best.order.cascade.ops


@given(layers(), machines(), st.sampled_from((0.02, 0.2)))
@settings(max_examples=15)
def test_a_gap_leaves_out_no_more_than_it_says(layer, machine, gap):
    try:
        exact = Machine(architecture=machine).map_layer(layer, activations="X")
    except InfeasibleError:
        assume(False)
    near = Machine(architecture=machine, gap=gap).map_layer(layer, activations="X")
    assert exact.result.value <= near.result.value * (1 + 1e-12)
    assert near.result.value * (1 - gap) <= exact.result.value * (1 + 1e-12)
    assert not near.result.optimal
    assert near.result.gap == gap


@given(layers(), machines())
@settings(max_examples=20)
def test_dynamic_programming_over_subsets_has_the_hull_of_all_trees(layer, machine):
    parts = PartSearch(architecture=machine)
    weights = frozenset(tensor.name for tensor in layer.inputs) - {"X"}
    points = []
    for tree in contraction_trees(layer):
        cascade = contract(layer, tree, ahead_of_time=weights).online
        try:
            front = map_cascade(cascade, machine, objective=OBJECTIVES["hull"], fuse=False).front
        except InfeasibleError:
            continue
        points += [each.point for each in front]
    assume(points)
    found = [point for point, _ in unfused_hull(layer, parts, activations="X")]
    for slope in (0.0, 0.5, 5.0, 1e5):
        best = min(energy_pj + slope * cycles for energy_pj, cycles in points)
        assert min(energy_pj + slope * cycles for energy_pj, cycles in found) == pytest.approx(best, rel=1e-12)


@given(st.tuples(*[st.sampled_from((1, 2, 3))] * 4), st.integers(1, 2), machines(), st.booleans())
@settings(max_examples=8)
def test_a_sum_is_its_first_term_and_the_best_way_to_add_the_second(sizes, rank, machine, fuse):
    """The second term is enumerated: every mapping, evaluated with partial sums that are there already (rule 5.5)."""
    blocks, rows, columns, tokens = sizes
    shape = Tensorization(out_modes=(blocks, rows), in_modes=(blocks, columns))
    rank = min(rank, FORMATS["block-low-rank"].max_ranks(shape)[0])
    low_rank, diagonal = Factorization(format="block-low-rank", tensorization=shape, ranks=(rank,)).einsums(tokens)
    added = []
    for mapping in mappings(MapSpace(einsum=diagonal, architecture=machine)):
        try:
            report = evaluate(diagonal, machine, mapping, link_transfers=False, accumulates=True)
        except InfeasibleError:
            continue
        if "Y" in mapping.levels[0].keep:
            added.append((report.energy_pj, report.cycles))
    on = Machine(architecture=machine, fuse=fuse)
    try:
        first = on.map_layer(low_rank, activations="X", objective=OBJECTIVES["hull"]).options
    except InfeasibleError:
        assume(False)
    assume(added)
    sums = [(option.energy_pj + e, option.cycles + t) for option in first for e, t in added]
    found = on.map_sum((low_rank, diagonal), activations="X")
    for slope in (0.0, 0.5, 5.0, 1e5):
        best = min(energy_pj + slope * cycles for energy_pj, cycles in sums)
        assert min(each.energy_pj + slope * each.cycles for each in found) == pytest.approx(best, rel=1e-12)
    for option in found:
        assert [len(order.cascade.einsums) for order in option.orders][1:] == [1]
        residences = [part.residence for group in option.mapped.groups for part in group.parts]
        assert [each is not None and each.accumulates for each in residences][-1]
        assert sum(each is not None and each.accumulates for each in residences) == 1
        assert option.stored_words == sum(order.contraction.stored_words for order in option.orders)


def test_with_many_operands_the_trees_come_from_the_hull_and_the_result_is_not_proven():
    names = "abcdefg"
    cores = " * ".join(f"G{i}[{names[i]},{names[i + 1]}]" for i in range(6))
    layer = parse_einsum(f"Y[s,g] = X[s,a] * {cores}", extents=dict.fromkeys(names, 2) | {"s": 4}, name="chain")
    assert len(layer.inputs) == 7
    machine = Machine(architecture=ROOMY)
    trees = candidate_trees(layer, machine.parts, activations="X")
    assert 1 <= len(trees) < 20
    found = machine.map_layer(layer, activations="X")
    assert not found.result.optimal
    assert math.isinf(found.result.gap)
    assert found.result.value <= found.result.unfused_value
    hull = unfused_hull(layer, machine.parts, activations="X")
    assert found.result.unfused_value == pytest.approx(min(e * t for (e, t), _ in hull), rel=1e-12)
    assert Machine(architecture=ROOMY, fuse=False).map_layer(layer, activations="X").result.optimal


def test_a_product_of_weights_is_made_ahead_of_time_or_in_every_inference_whichever_is_better():
    """One token and a slow main memory: two small factors are read, multiplied on the chip, and used there."""
    layer = parse_einsum(LAYERS["low-rank"], extents={"s": 6, "o": 6, "i": 6, "r": 1}, name="layer")
    orders = [
        order for tree in contraction_trees(layer) for order in orders_of(layer, tree, activations="X")
    ]  # fmt: skip
    assert [len(order.cascade.einsums) for order in orders if tree_to_text(order.tree) == "(X (G H))"] == [1, 2]
    ahead, online = (order for order in orders if tree_to_text(order.tree) == "(X (G H))")
    assert (ahead.contraction.stored_words, online.contraction.stored_words) == (36, 12)
    slow = [map_cascade(order.cascade, ROOMY, weights=order.weights) for order in (ahead, online)]
    assert slow[1].best.groups[0].plan.intermediates == {"T1"}
    assert slow[1].value != slow[0].value
    best = Machine(architecture=ROOMY).map_layer(layer, activations="X")
    assert best.result.value <= min(each.value for each in slow)


def test_the_mac_optimal_order_is_no_better_than_the_best():
    layer = parse_einsum(LAYERS["tt"], extents={"s": 8, "o": 4, "p": 4, "i": 4, "j": 4, "r": 3}, name="layer")
    machine = Machine(architecture=ROOMY)
    best = machine.map_layer(layer, activations="X")
    by_macs = machine.map_mac_optimal(layer, activations="X")
    assert by_macs.best.order.tree == mac_optimal_tree(layer)
    assert best.result.value <= by_macs.result.value


def test_members_of_a_class_may_lie_along_both_axes():
    """Rule 10.10: i and j of 2 each fill a mesh of 2 x 2, which one rank variable of 4 cannot."""
    einsum = parse_einsum("y[s,i,j] = a[s] * w[i,j]", extents={"s": 1, "i": 2, "j": 2}, name="outer")
    cascade = Cascade(name="one", einsums=(einsum,))
    apart = Machine(architecture=ROOMY).map_cascade(cascade, objective=OBJECTIVES["cycles"])
    merged = Machine(architecture=ROOMY, merged=True).map_cascade(cascade, objective=OBJECTIVES["cycles"])
    assert apart.best.cycles <= merged.best.cycles
    mesh = Architecture(
        name="mesh", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM", read_energy_pj=1.0, update_energy_pj=1.0, fanout_x=2, fanout_y=2),),
    )  # fmt: skip
    assert Machine(architecture=mesh).map_cascade(cascade).best.cycles == 1
    assert Machine(architecture=mesh, merged=True).map_cascade(cascade).best.cycles == 2
    assert map_einsum(einsum, mesh).best.cycles == 1
