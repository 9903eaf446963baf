"""The EDP of a network: the sum of its parts, the block that is fused across its function, and the command."""

from __future__ import annotations

import itertools

import pytest

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.network_cost import NetworkCost, NetworkCoster, attention, feed_forward
from heat_sim.errors import SpecError
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
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


def test_known_sizes_have_the_published_parameters():
    """Devlin et al. (2019): 12 x (4 x 768^2 + 2 x 768 x 3072) and 24 x 12 x 1024^2 in matrices; DistilBERT half."""
    matrices = {
        name: network_from_config(config, tokens=1, name=name).matrix_parameters for name, config in SIZES.items()
    }
    assert matrices == {
        "bert-base": 84_934_656, "bert-large": 301_989_888, "distilbert-base": 42_467_328,
    }  # fmt: skip
