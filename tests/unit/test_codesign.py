"""Design space, estimate, evaluator and search on a small encoder and a small machine."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.codesign.aims import Aims, parse_constraints
from heat_sim.codesign.chosen import chosen_designs, front_rows
from heat_sim.codesign.estimate import ActivationError
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.codesign.network_cost import NetworkCoster
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.points import PointStore
from heat_sim.codesign.search import SearchSettings, search_designs, spread
from heat_sim.codesign.space import RANK_STEPS, dense_genome, design_space
from heat_sim.codesign.start import strong_start
from heat_sim.einsum import Cascade
from heat_sim.errors import SpecError
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.networks import network_from_config
from heat_sim.tensorize.error import relative_error
from heat_sim.tensorize.projection import project, reconstruct

NETWORK = network_from_config(
    dict(model_type="bert", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
         vocab_size=50, max_position_embeddings=16),
    tokens=16, name="small",
)  # fmt: skip
ARCHITECTURE = Architecture(
    name="edge", compute_name="MAC", compute_energy_pj=0.2,
    levels=(
        StorageLevel(
            name="DRAM", read_energy_pj=64.0, write_energy_pj=64.0, update_energy_pj=64.0,
            shared_bandwidth_words_per_cycle=4.0,
        ),
        StorageLevel(
            name="GLB", capacity_words=2048, read_energy_pj=2.0, write_energy_pj=2.0, update_energy_pj=2.0,
            fanout_x=4, fanout_y=4,
        ),
        StorageLevel(name="RF", capacity_words=8, read_energy_pj=0.1, write_energy_pj=0.1, update_energy_pj=0.1),
    ),
)  # fmt: skip
SPACE = design_space(NETWORK)


def weights_and_moments() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    weights = {m.name: rng.standard_normal((m.out_features, m.in_features)) for m in NETWORK.matrices}
    inputs = {m.name: rng.standard_normal((200, m.in_features)) ** 3 for m in NETWORK.matrices}
    return weights, {name: x.T @ x / len(x) for name, x in inputs.items()}


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    weights, moments = weights_and_moments()
    return Evaluator(
        network=NETWORK,
        ways=LayerWays(machine=Machine(architecture=ARCHITECTURE, fuse=False), tokens=NETWORK.tokens),
        estimate=ActivationError(errors=MatrixErrors(weights=weights, second_moments=moments)),
    )


@given(st.data())
def test_every_genome_means_a_design_that_saves_parameters_or_is_dense(data):
    genome = {v.name: data.draw(st.integers(0, v.size - 1), label=v.name) for v in SPACE.variables}
    for space, factorization in zip(SPACE.slots, SPACE.decode(genome), strict=True):
        assert (factorization.out_features, factorization.in_features) == space.shape
        dense = space.shape[0] * space.shape[1]
        assert factorization.parameters < dense or factorization.format == "dense" or set(factorization.ranks) == {1}


def test_more_rank_is_never_fewer_parameters():
    option = next(i for i, (name, _) in enumerate(SPACE.slots[0].options) if name == "low-rank")
    genome = dense_genome(SPACE) | {"option0": option}
    sizes = [SPACE.decode(genome | {"rank0_0": step})[0].parameters for step in range(RANK_STEPS)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_unknown_format_is_refused():
    with pytest.raises(SpecError, match=r"formats.*got hodlr, expected some of dense"):
        design_space(NETWORK, formats=("dense", "hodlr"))


def test_estimate_is_the_rms_error_of_the_projections_themselves(evaluator):
    weights, moments = weights_and_moments()
    for name in ("low-rank", "tt-matrix"):
        option = next(i for i, (each, _) in enumerate(SPACE.slots[0].options) if each == name)
        genome = dense_genome(SPACE) | {"option0": option, "rank0_0": 11, "rank0_1": 11}
        design = SPACE.per_matrix(genome)
        errors = []
        for matrix, factorization in design.items():
            cores = project(weights[matrix], factorization, second_moment=moments[matrix])
            approximation = reconstruct(cores, factorization)
            errors.append(relative_error(weights[matrix], approximation, second_moment=moments[matrix]))
        reached, estimated = np.sqrt(np.mean(np.square(errors))), evaluator.estimate(design)
        if name == "low-rank":
            assert estimated == pytest.approx(reached, rel=1e-4)
        else:  # leading parts of one decomposition: an upper bound, and not a loose one
            assert reached * (1 - 1e-4) <= estimated <= 1.5 * reached


def test_estimate_needs_the_moments_of_every_matrix():
    weights, moments = weights_and_moments()
    moments.pop("encoder.layer.1.output.dense")
    with pytest.raises(SpecError, match=r"no second moment.*encoder\.layer\.1\.output\.dense"):
        MatrixErrors(weights=weights, second_moments=moments)


def test_cost_of_a_design_is_the_sum_of_its_parts(evaluator):
    genome = dense_genome(SPACE) | {"option1": 1}
    cost = evaluator.cost(SPACE.per_matrix(genome))
    parts = [*(cost.ways[factorization] for factorization in cost.design.values()), *(cost.attention * NETWORK.layers)]
    assert len(parts) == len(NETWORK.matrices) + 2 * NETWORK.layers
    assert cost.energy_pj == pytest.approx(sum(part.energy_pj for part in parts))
    assert cost.cycles == sum(part.cycles for part in parts)
    assert cost.matrix_parameters == sum(part.stored_words for part in parts)
    assert cost.estimated_loss > 0.0


def test_the_dense_network_loses_nothing_and_no_way_beats_the_compute_units(evaluator):
    cost = evaluator.cost(SPACE.per_matrix(dense_genome(SPACE)))
    assert cost.estimated_loss == 0.0
    assert cost.matrix_parameters == NETWORK.matrix_parameters
    for name, factorization in cost.design.items():
        assert factorization.format == "dense"
        words = factorization.out_features * factorization.in_features
        assert cost.ways[factorization].cycles >= words * NETWORK.tokens / ARCHITECTURE.peak_ops_per_cycle, name


def test_the_ways_of_a_design_have_the_least_edp_of_all(evaluator):
    """Every choice of one way per kind of matrix and attention einsum, by brute force."""
    cost = evaluator.cost(SPACE.per_matrix({variable.name: 5 % variable.size for variable in SPACE.variables}))
    kinds = [*dict.fromkeys(cost.design.values())]
    times = [*(list(cost.design.values()).count(kind) for kind in kinds), NETWORK.layers, NETWORK.layers]
    hulls = [evaluator.ways(kind) for kind in kinds]
    hulls += [evaluator.ways.of_cascade(Cascade(name=one.name, einsums=(one,))) for one in NETWORK.attention]
    assert any(len(hull) > 1 for hull in hulls)
    best = min(
        sum(n * way.energy_pj for n, way in zip(times, choice, strict=True))
        * sum(n * way.cycles for n, way in zip(times, choice, strict=True))
        for choice in itertools.product(*hulls)
    )
    assert cost.edp_pj_cycles == pytest.approx(best, rel=1e-12)


def test_what_was_found_before_is_read_back(evaluator, tmp_path):
    genome = dense_genome(SPACE) | {"option0": len(SPACE.slots[0].options) - 1, "rank0_0": 7}
    design = SPACE.per_matrix(genome)
    with MappingCache(tmp_path / "cache.sqlite3") as cache:
        machine = Machine(architecture=ARCHITECTURE, fuse=False)
        first = Evaluator(
            network=NETWORK, estimate=evaluator.estimate, ways=LayerWays(machine=machine, tokens=16, cache=cache)
        )
        made = first.cost(design)
        again = Evaluator(
            network=NETWORK, estimate=evaluator.estimate,
            ways=LayerWays(machine=Machine(architecture=ARCHITECTURE, fuse=False), tokens=16, cache=cache),
        )  # fmt: skip
        found = again.cost(design)
        assert again.ways.machine.parts.searches == 0 < machine.parts.searches
    assert (found.ways, found.attention, found.edp_pj_cycles) == (made.ways, made.attention, made.edp_pj_cycles)
    assert again.ways.proven == again.ways.asked == first.ways.proven


@pytest.mark.parametrize(("per", "slots"), [("shape", 3), ("role", 6), ("matrix", 12)])
def test_slots_hold_every_matrix_once(per, slots):
    space = design_space(NETWORK, per=per)
    assert len(space.slots) == slots
    names = [name for slot in space.slots for name in slot.matrices]
    assert sorted(names) == sorted(matrix.name for matrix in NETWORK.matrices)
    shapes = {matrix.name: (matrix.out_features, matrix.in_features) for matrix in NETWORK.matrices}
    assert all(shapes[name] == slot.shape for slot in space.slots for name in slot.matrices)


def test_no_contraction_order_beats_the_chosen_one(evaluator):
    """The chosen point of a layer is on the hull over all orders, so none has both less energy and fewer cycles."""
    from heat_sim.mapper import map_einsum
    from heat_sim.mapper.roles import matmul_shape, role_einsum
    from heat_sim.tensorize.contraction import contract, contraction_trees

    option = next(i for i, (name, _) in enumerate(SPACE.slots[0].options) if name == "tt-matrix")
    factorization = SPACE.decode(dense_genome(SPACE) | {"option0": option, "rank0_0": 5})[0]
    (einsum,) = factorization.einsums(NETWORK.tokens)
    chosen = evaluator.ways.machine.map_layer(einsum, activations="X", objective=OBJECTIVES["hull"]).options
    for tree in contraction_trees(einsum):
        live, energy_pj, cycles = "X", 0.0, 0
        for step in contract(einsum, tree, ahead_of_time=frozenset(factorization.core_names)).online.einsums:
            best = map_einsum(role_einsum(matmul_shape(step, inputs=live)), ARCHITECTURE).best
            live, energy_pj, cycles = step.output.name, energy_pj + best.energy_pj, cycles + best.cycles
        assert min(option.energy_pj * option.cycles for option in chosen) <= energy_pj * cycles * (1 + 1e-12)


def test_by_multiply_accumulates_a_network_costs_what_its_design_does(evaluator):
    option = next(i for i, (name, _) in enumerate(SPACE.slots[0].options) if name == "tt-matrix")
    machine = Machine(architecture=ARCHITECTURE, fuse=False)
    macs = Evaluator(
        network=NETWORK, ways=LayerWays(machine=machine, tokens=NETWORK.tokens, order="macs"), estimate=lambda _: 0.0
    )
    differ = 0
    for rank in (5, 23):
        design = SPACE.per_matrix(dense_genome(SPACE) | {"option0": option, "rank0_0": rank, "rank0_1": rank})
        searched = macs.cost(design)
        found = NetworkCoster(machine=machine, order="macs").cost(NETWORK, design)
        assert (found.cycles, found.energy_pj) == (searched.cycles, pytest.approx(searched.energy_pj))
        differ += found.edp_pj_cycles > evaluator.cost(design).edp_pj_cycles * (1 + 1e-9)
    assert differ


def test_search_is_reproducible_and_its_front_is_a_front(evaluator):
    settings = SearchSettings(population=10, generations=3, seed=5)
    first = search_designs(SPACE, evaluator, settings=settings)
    second = search_designs(SPACE, evaluator, settings=settings)
    assert [d.design for d in first.front] == [d.design for d in second.front]
    points = [(d.edp_pj_cycles, d.estimated_loss) for d in first.front]
    assert all(not (a[0] <= b[0] and a[1] <= b[1]) for a in points for b in points if a != b)
    # The first generation holds the dense network, so the front reaches zero loss.
    assert points[-1][1] == 0.0
    assert points[-1][0] <= first.dense.edp_pj_cycles


def test_no_design_with_equal_rank_genes_has_less_error_for_the_same_energy_and_delay_than_a_strong_start(evaluator):
    few = (3, 9, 17)
    dense = evaluator.cost(SPACE.per_matrix(dense_genome(SPACE)))
    seeds = strong_start(SPACE, evaluator, estimate=evaluator.estimate, count=50, steps=few)
    tables = []
    for index, (each, members) in enumerate(zip(SPACE.slots, NETWORK.classes.values(), strict=True)):
        table = set()
        for option, step in itertools.product(range(len(each.options)), few):
            genome = {v.name: step for v in SPACE.variables} | {f"option{i}": 0 for i in range(len(SPACE.slots))}
            factorization = SPACE.decode(genome | {f"option{index}": option})[index]
            error = sum(evaluator.estimate.squared(matrix.name, factorization) for matrix in members)
            hull = evaluator.ways.machine.map_sum(factorization.einsums(NETWORK.tokens), activations="X")
            cost = min(way.energy_pj / dense.energy_pj + way.cycles / dense.cycles for way in hull)
            table.add((factorization, len(members) * cost, error))
        tables.append(list(table))
    every = [(sum(c for _, c, _ in one), sum(e for *_, e in one)) for one in itertools.product(*tables)]
    assert len(seeds) > 3
    for seed in seeds:
        chosen = SPACE.decode(seed)
        picked = [next(row for row in t if row[0] == f) for t, f in zip(tables, chosen, strict=True)]
        cost, error = sum(c for _, c, _ in picked), sum(e for *_, e in picked)
        assert error <= min(e for c, e in every if c <= cost) * (1 + 1e-12)


def test_a_search_from_a_strong_start_has_its_designs_or_better_ones(evaluator):
    seeds = strong_start(SPACE, evaluator, estimate=evaluator.estimate, count=5)
    found = search_designs(SPACE, evaluator, settings=SearchSettings(population=10, generations=1), seeds=seeds)
    for seed in seeds:
        cost = evaluator.cost(SPACE.per_matrix(seed))
        assert any(
            each.edp_pj_cycles <= cost.edp_pj_cycles and each.estimated_loss <= cost.estimated_loss
            for each in found.front
        )


def test_the_front_under_constraints_is_that_of_the_points_that_keep_to_them(evaluator):
    aims = Aims(objectives=("energy", "parameters", "loss"), constraints=parse_constraints(["gain >= 1.2", "loss<=.9"]))
    store = PointStore(None, about={})
    settings = SearchSettings(population=12, generations=4, seed=2)
    found = search_designs(SPACE, evaluator, settings=settings, store=store, aims=aims)
    dense = found.dense
    assert found.front
    for each in found.front:
        assert dense.edp_pj_cycles / each.edp_pj_cycles >= 1.2
        assert each.estimated_loss <= 0.9
    triples = {(each.energy_pj, each.matrix_parameters, each.estimated_loss) for each in found.front}
    assert all(not (a != b and all(x <= y for x, y in zip(a, b, strict=True))) for a in triples for b in triples)
    nothing = Aims(constraints=parse_constraints(["gain >= 1e6"]))
    assert search_designs(SPACE, evaluator, settings=settings, store=store, aims=nothing).front == ()


def test_a_design_that_cannot_be_costed_is_recorded_and_the_search_goes_on(evaluator):
    def fragile(design):
        if any(each.format == "tt-matrix" for each in design.values()):
            raise ValueError("no trains today")
        return evaluator.estimate(design)

    store = PointStore(None, about={})
    other = Evaluator(network=NETWORK, ways=evaluator.ways, estimate=fragile)
    found = search_designs(SPACE, other, settings=SearchSettings(population=10, generations=3), store=store)
    assert 0 < found.failed < found.costed == len(store)
    assert found.front
    assert all(each.format != "tt-matrix" for cost in found.front for each in cost.design.values())
    genome = dense_genome(SPACE) | {"option0": [name for name, _ in SPACE.slots[0].options].index("tt-matrix")}
    with pytest.raises(ValueError, match="no trains today"):
        other.cost(SPACE.per_matrix(genome))


def test_spread_designs_become_rows_and_files(evaluator):
    result = search_designs(SPACE, evaluator, settings=SearchSettings(population=10, generations=3))
    chosen = spread(result.front, dense=result.dense, count=3)
    assert 1 <= len(chosen) <= 3
    rows = front_rows(result.dense, chosen, network=NETWORK)
    assert rows[0].edp_gain == 1.0
    assert all(row.edp_gain > 1.0 for row in rows[1:])
    assert all(row.edp_pj_cycles == row.energy_pj * row.cycles for row in rows)
    designs = chosen_designs(chosen, network=NETWORK)
    assert [row.design for row in rows[1:]] == [design.id for design in designs]
    assert all(len(design.layers) == len(NETWORK.matrices) for design in designs)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30))
def test_front_is_the_definition(points):
    """O(n^2): a point is on the front if no other one is at least as good in both and better in one."""
    expected = {
        p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)
    }  # fmt: skip
    assert non_dominated(points, lambda p: p) == sorted(expected)


@pytest.mark.parametrize(("setting", "value"), [("population", 1), ("generations", 0), ("seed", -1)])
def test_bad_search_settings_are_refused(setting, value):
    with pytest.raises(SpecError, match=rf"{setting}.*got {value}"):
        SearchSettings(**{setting: value})


def test_edp_gain_of_a_halved_network_is_about_four(evaluator):
    """Energy and delay both fall with the work, so half of both is a quarter of the product."""
    config = dict(model_type="bert", hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
                  vocab_size=50, max_position_embeddings=16)  # fmt: skip
    half = network_from_config(config, tokens=16, name="half")
    smaller = Evaluator(network=half, ways=evaluator.ways, estimate=lambda _: 0.0)
    dense = SPACE.per_matrix(dense_genome(SPACE))
    assert math.isclose(evaluator.cost(dense).edp_pj_cycles, 4 * smaller.cost(dense).edp_pj_cycles)
