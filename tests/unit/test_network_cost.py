"""The EDP of a network: the sum of its parts, the block that is fused across its function, and the command."""

from __future__ import annotations

import itertools

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.network_cascades import attention, feed_forward
from heat_sim.codesign.network_cost import NetworkCost, NetworkCoster
from heat_sim.einsum import Cascade
from heat_sim.errors import SpecError
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import LayerOption, Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.networks import SIZES, network_from_config
from heat_sim.report.breakdown import breakdown
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.vector_op import VectorOp, VectorUnit

MACHINE = Architecture(
    name="small", compute_name="MAC", compute_energy_pj=1.0,
    levels=(
        StorageLevel(name="DRAM", read_energy_pj=50.0, update_energy_pj=50.0, shared_bandwidth_words_per_cycle=4.0),
        StorageLevel(
            name="GLB", capacity_words=600, read_energy_pj=2.0, write_energy_pj=2.0, update_energy_pj=2.0, fanout_x=4,
            fanout_y=4,
        ),
        StorageLevel(
            name="RF", capacity_words=8, read_energy_pj=0.25, write_energy_pj=0.25, update_energy_pj=0.25
        ),
    ),
)  # fmt: skip
CONFIG = {
    "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "vocab_size": 10, "max_position_embeddings": 16, "type_vocab_size": 2,
}  # fmt: skip
NETWORK = network_from_config(CONFIG, tokens=8, name="tiny")
UNIT = VectorUnit(energy_pj=0.5, operations_per_cycle=4)


def factorized(name: str, rank: int = 2) -> dict[str, Factorization]:
    found = {}
    for matrix in NETWORK.matrices:
        modes = {8: (4, 2), 32: (4, 8)} if name == "tt-matrix" else {8: (8,), 32: (32,)}
        ranks = {"dense": (), "low-rank": (rank,), "tt-matrix": (1, rank, 1)}[name]
        found[matrix.name] = Factorization(
            format=name, ranks=ranks,
            tensorization=Tensorization(out_modes=modes[matrix.out_features], in_modes=modes[matrix.in_features]),
        )  # fmt: skip
    return found


@pytest.mark.parametrize("name", ["dense", "low-rank", "tt-matrix"])
@pytest.mark.parametrize("unit", [None, UNIT])
def test_a_network_costs_the_sum_of_its_parts(name, unit):
    cost = NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=unit)).cost(NETWORK, factorized(name))
    assert cost.optimal
    assert cost.energy_pj == pytest.approx(sum(times * part.energy_pj for _, times, part in cost.parts))
    assert cost.cycles == sum(times * part.cycles for _, times, part in cost.parts)
    rows = breakdown(cost.parts, MACHINE)
    assert sum(row.total_pj for row in rows) == pytest.approx(cost.energy_pj)
    assert sum(row.cycles for row in rows) == cost.cycles
    assert all(row.achieved_ops_per_cycle <= row.attainable_ops_per_cycle * (1 + 1e-9) for row in rows)
    if name == "dense":
        attention_ops = 2 * 2 * 8 * 8 * 4 * NETWORK.layers  # two einsums, heads, queries, keys, features
        assert sum(row.ops for row in rows) == 8 * NETWORK.matrix_parameters + attention_ops
    assert any("softmax" in row.what for row in rows) == (unit is not None)
    assert any("gelu" in row.what for row in rows) == (unit is not None)


def test_no_choice_of_vertices_has_a_smaller_edp():
    coster = NetworkCoster(machine=Machine(architecture=MACHINE))
    factorizations = factorized("low-rank")
    cost = coster.cost(NETWORK, factorizations)
    kinds = dict.fromkeys(factorizations.values())
    options = [coster.layer(kind, NETWORK.tokens) for kind in kinds]
    times = [sum(each == kind for each in factorizations.values()) for kind in kinds]
    rest = [(times_, part) for name, times_, part in cost.parts if not name.startswith("low-rank")]
    for chosen in itertools.product(*options):
        energy_pj = sum(n * each.energy_pj for n, each in [*zip(times, chosen, strict=True), *rest])
        cycles = sum(n * each.cycles for n, each in [*zip(times, chosen, strict=True), *rest])
        assert cost.edp_pj_cycles <= energy_pj * cycles * (1 + 1e-12)


def test_fusion_never_makes_a_network_dearer_and_here_it_pays():
    costs = [
        NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT, fuse=fuse)).cost(
            NETWORK, factorized("dense")
        )
        for fuse in (True, False)
    ]
    assert costs[0].edp_pj_cycles < costs[1].edp_pj_cycles


def test_a_feed_forward_block_is_both_matrices_with_the_function_between():
    coster = NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT))
    kinds = factorized("low-rank")
    up, down = (
        min(coster.layer(kinds[f"encoder.layer.0.{place}.dense"], 8), key=lambda option: option.energy_pj)
        for place in ("intermediate", "output")
    )
    cascade, weights = feed_forward(up, down)
    assert [isinstance(step, VectorOp) for step in cascade.einsums].count(True) == 1
    ops = sum(step.ops for step in cascade.einsums if not isinstance(step, VectorOp))
    assert ops == up.order.cascade.ops + down.order.cascade.ops
    assert cascade.einsums[-1].output.name == "Y_"
    read = {tensor.name for step in cascade.einsums for tensor in step.inputs}
    written = {step.output.name for step in cascade.einsums}
    assert read - written - weights == {"X"}
    gelu = next(step for step in cascade.einsums if isinstance(step, VectorOp))
    reader = next(step for step in cascade.einsums if gelu.output.name in {tensor.name for tensor in step.inputs})
    assert reader.tensor(gelu.output.name).rank_vars == gelu.output.rank_vars


def test_attention_has_a_softmax_over_the_keys():
    cascade = attention(NETWORK)
    softmax = cascade.einsums[1]
    assert isinstance(softmax, VectorOp)
    assert softmax.over == ("t",)
    assert softmax.ops == 2 * 8 * 8


def test_a_stored_network_costs_what_it_did_and_is_searched_no_more(tmp_path):
    def cost(cache: MappingCache, **changes: object) -> tuple[NetworkCost, int]:
        machine = Machine(architecture=MACHINE, vector_unit=UNIT, **changes)
        return NetworkCoster(machine=machine, cache=cache).cost(NETWORK, factorized("low-rank")), machine.parts.searches

    with MappingCache(tmp_path / "cache.sqlite3") as cache:
        first, searches = cost(cache)
        again, no_searches = cost(cache)
        assert searches > 0
        assert no_searches == 0
        assert (again.energy_pj, again.cycles, again.optimal) == (first.energy_pj, first.cycles, first.optimal)
        assert breakdown(again.parts, MACHINE) == breakdown(first.parts, MACHINE)
        for changes in ({"fuse": False}, {"gap": 0.1}, {"merged": True}):
            assert cost(cache, **changes)[1] > 0
        assert not cost(cache, gap=0.1)[0].optimal


def test_a_matrix_without_a_factorization_is_refused():
    some = factorized("dense")
    some.pop("encoder.layer.1.output.dense")
    with pytest.raises(SpecError, match=r"no factorization of a weight matrix \(got encoder\.layer\.1\.output\.dense"):
        NetworkCoster(machine=Machine(architecture=MACHINE)).cost(NETWORK, some)


def test_known_sizes_have_the_published_matrices():
    """Per layer 12 x 768^2 in the base models (Devlin et al., 2019); DistilBERT has half of the layers."""
    matrices = {
        name: network_from_config(config, tokens=1, name=name).matrix_parameters for name, config in SIZES.items()
    }
    base = 12 * 12 * 768**2
    assert matrices == {
        "bert-base": base,
        "bert-large": 24 * 12 * 1024**2,
        "minilm-l6": 6 * 12 * 384**2,
        "distilbert-base": base // 2,
        "roberta-base": base,
        "vit-base": base,
        "gpt2": base,
        # 32 + 32 query and output heads, 8 + 8 key and value heads of 64 features; gate, up, down
        "llama-3.2-1b": 16 * (2048 * 64 * (2 * 32 + 2 * 8) + 3 * 2048 * 8192),
    }


GATED = network_from_config(
    {
        "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 32, "vocab_size": 10,
    },
    tokens=8, name="gated",
)  # fmt: skip
MODES = {4: (2, 2), 8: (4, 2), 32: (4, 8)}


def gated_factorized(forms: dict[str, str]) -> dict[str, Factorization]:
    """Return a factorization of every matrix of `GATED`: dense, but for roles in `forms`."""
    found = {}
    for matrix in GATED.matrices:
        form = forms.get(matrix.role, "dense")
        out, into = matrix.out_features, matrix.in_features
        found[matrix.name] = Factorization(
            format=form, ranks={"dense": (), "low-rank": (2,), "tt-matrix": (1, 2, 1)}[form],
            tensorization=Tensorization(out_modes=MODES[out], in_modes=MODES[into])
            if form == "tt-matrix" else Tensorization(out_modes=(out,), in_modes=(into,)),
        )  # fmt: skip
    return found


def gated_block(coster: NetworkCoster, forms: dict[str, str]) -> tuple[dict[str, LayerOption], Cascade, frozenset[str]]:
    kinds = gated_factorized(forms)
    options = {
        role: min(coster.layer(kinds[f"layers.0.mlp.{role}_proj"], GATED.tokens), key=lambda option: option.energy_pj)
        for role in ("gate", "up", "down")
    }
    return options, *feed_forward(options["up"], options["down"], gate=options["gate"], function=GATED.function)


def test_a_gated_block_is_the_statements_of_its_definition():
    cascade, weights = gated_block(NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT)), {})[1:]
    assert str(cascade).splitlines() == [
        "H[s,o1] = X[s,i1] * W[o1,i1]",
        "A[s,o1] = silu(H[s,o1])",
        "U[s,o1] = X[s,i1] * W_u[o1,i1]",
        "B[s,o1] = mul(A[s,o1], U[s,o1])",
        "Y_[s,o1_] = B[s,o1] * W_[o1_,o1]",
    ]
    assert weights == {"W", "W_u", "W_"}


@pytest.mark.parametrize(
    ("forms", "read_anew"),
    [
        ({}, set()),
        ({"gate": "low-rank", "up": "low-rank", "down": "low-rank"}, set()),
        ({"gate": "tt-matrix", "up": "tt-matrix", "down": "tt-matrix"}, set()),
        ({"up": "low-rank"}, set()),
        ({"up": "tt-matrix"}, {"X'", "U'"}),  # reads and writes 4 x 2 and 4 x 8 features, gate and down 8 and 32
        ({"gate": "tt-matrix"}, {"X'", "U'", "B'"}),
        ({"down": "tt-matrix"}, {"B'"}),
    ],
)
def test_a_gated_block_is_three_matrices_and_two_functions(forms, read_anew):
    coster = NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT))
    options, cascade, weights = gated_block(coster, forms)
    functions = [step for step in cascade.einsums if isinstance(step, VectorOp)]
    assert [step.function for step in functions] == ["silu", "mul"]
    assert all(step.ops == 8 * 32 for step in functions)  # tokens, features
    ops = sum(step.ops for step in cascade.einsums if not isinstance(step, VectorOp))
    assert ops == sum(option.order.cascade.ops for option in options.values())
    read = {tensor.name for step in cascade.einsums for tensor in step.inputs}
    written = {step.output.name for step in cascade.einsums}
    assert read - written - weights == {"X", *read_anew}
    assert written - read == {"Y_", *(name.removesuffix("'") for name in read_anew if name != "X'")}
    # Every rank variable is one thing.
    extents: dict[str, int] = {}
    for step in cascade.einsums:
        for var, extent in step.extents:
            assert extents.setdefault(var, extent) == extent


@pytest.mark.parametrize("forms", [{}, {"gate": "low-rank", "up": "low-rank"}, {"up": "tt-matrix"}])
@pytest.mark.parametrize("unit", [None, UNIT])
def test_a_gated_network_costs_the_sum_of_its_parts(forms, unit):
    kinds = gated_factorized(forms)
    costs = [
        NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=unit, fuse=fuse)).cost(GATED, kinds)
        for fuse in (True, False)
    ]
    assert all(cost.optimal for cost in costs)
    assert costs[0].edp_pj_cycles <= costs[1].edp_pj_cycles
    for cost in costs:
        rows = breakdown(cost.parts, MACHINE)
        assert sum(row.total_pj for row in rows) == pytest.approx(cost.energy_pj)
        assert sum(row.cycles for row in rows) == cost.cycles
        functions = {row.what.split("(")[0].split("= ")[-1] for row in rows if row.ops == 0 and "(" in row.what}
        assert functions == ({"softmax", "silu", "mul"} if unit else set())
    if not forms:
        attention_ops = 2 * 4 * 8 * 8 * 2 * GATED.layers  # two einsums, query heads, queries, keys, features
        assert all(
            sum(row.ops for row in breakdown(cost.parts, MACHINE)) == 8 * GATED.matrix_parameters + attention_ops
            for cost in costs
        )


def test_a_gate_costs_what_it_adds_when_nothing_is_fused():
    """Without fusion every step costs what it costs alone: a gated block is a plain one, a matrix and a product."""
    coster = NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT, fuse=False))
    options, cascade, weights = gated_block(coster, {})
    plain, plain_weights = feed_forward(options["gate"], options["down"], function="silu")
    product = Cascade(name="mul", einsums=(cascade.einsums[3],))
    energy_pj = [
        coster.machine.map_cascade(each, objective=OBJECTIVES["energy"], weights=names).best.energy_pj
        for each, names in ((cascade, weights), (plain, plain_weights), (product, frozenset()))
    ]
    up = min(option.energy_pj for option in coster.layer(gated_factorized({})["layers.0.mlp.up_proj"], GATED.tokens))
    assert energy_pj[0] == pytest.approx(energy_pj[1] + energy_pj[2] + up)


def test_the_function_of_a_network_is_the_one_that_counts():
    cheap, dear = (
        NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT)).cost(
            network_from_config(CONFIG | {"hidden_act": function}, tokens=8, name="tiny"), factorized("dense")
        )
        for function in ("relu", "gelu")
    )
    assert cheap.energy_pj < dear.energy_pj
    assert any("relu" in row.what for row in breakdown(cheap.parts, MACHINE))


def test_a_function_has_its_own_place_in_the_cache(tmp_path):
    with MappingCache(tmp_path / "cache.sqlite3") as cache:
        found = [
            NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT), cache=cache).cost(
                network_from_config(CONFIG | {"hidden_act": function}, tokens=8, name="tiny"), factorized("dense")
            )
            for function in ("gelu", "relu", "gelu")
        ]
    assert found[0].energy_pj == found[2].energy_pj > found[1].energy_pj


def test_attention_in_groups_has_a_softmax_over_the_keys():
    cascade = attention(GATED)
    assert str(cascade).splitlines() == [
        "S[g,h,q,t] = Q[g,h,q,d] * K[g,d,t]",
        "P[g,h,q,t] = softmax(S[g,h,q,t]) over t",
        "O[g,h,q,d] = P[g,h,q,t] * V[g,t,d]",
    ]
    assert cascade.einsums[1].ops == 2 * 2 * 8 * 8  # key heads, query heads of each, queries, keys


def test_one_matrix_for_query_key_and_value_is_one_part():
    network = network_from_config(
        {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 10, "n_positions": 16},
        tokens=8, name="tiny",
    )  # fmt: skip
    dense = {
        matrix.name: Factorization(
            format="dense",
            tensorization=Tensorization(out_modes=(matrix.out_features,), in_modes=(matrix.in_features,)),
        )
        for matrix in network.matrices
    }
    cost = NetworkCoster(machine=Machine(architecture=MACHINE, vector_unit=UNIT)).cost(network, dense)
    assert [(name, times) for name, times, _ in cost.parts] == [
        ("dense 24x8", 2), ("dense 8x8", 2), ("FFN dense 32x8, dense 8x32", 2), ("attention", 2)
    ]  # fmt: skip
