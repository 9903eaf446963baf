"""Being joint as a gene: every design of a small space, its one spelling and its cost; and the operators."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from heat_sim.codesign.baselines import random_strategy, tensorly_strategy, uniform_strategy
from heat_sim.codesign.chosen import chosen_designs
from heat_sim.codesign.encoding import Encoding
from heat_sim.codesign.estimate import WeightError, search_estimate
from heat_sim.codesign.evaluator import Evaluator
from heat_sim.codesign.heat_strategy import heat_strategy
from heat_sim.codesign.joint import one_input, rows, stacked, with_stacked
from heat_sim.codesign.joint_moves import carried, linked
from heat_sim.codesign.layer_ways import LayerWays
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.codesign.network_cost import NetworkCoster
from heat_sim.codesign.pareto import non_dominated
from heat_sim.codesign.search import SearchSettings, search_designs
from heat_sim.codesign.seeds import table_genomes
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, dense_genome, design_space
from heat_sim.codesign.start import strong_start
from heat_sim.codesign.strategy import Search
from heat_sim.mapper.layer import Machine
from heat_sim.networks import network_from_config
from heat_sim.tensorize.projection import project, reconstruct
from tests.unit.test_codesign import ARCHITECTURE

NETWORK = network_from_config(
    dict(model_type="bert", hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
         vocab_size=50, max_position_embeddings=16),
    tokens=4, name="tiny",
)  # fmt: skip
GROUPS = with_stacked(NETWORK).groups
STEPS = (0, RANK_STEPS - 1)


def space_of(joint, per="matrix") -> DesignSpace:
    """All but queries, keys and values stay dense: few enough designs to cost them all."""
    space = design_space(NETWORK, formats=("dense", "low-rank"), per=per, joint=joint)
    return DesignSpace(
        slots=tuple(
            slot if slot.stacked or all(name.endswith(("query", "key", "value")) for name in slot.matrices)
            else replace(slot, options=slot.options[:1])
            for slot in space.slots
        )
    )  # fmt: skip


def every_row(space: DesignSpace) -> np.ndarray:
    """Return the rows of all genomes, rank genes at the least and the largest value."""
    values = [range(v.size) if not v.ordered else STEPS for v in space.variables]
    return np.array(list(itertools.product(*values)), dtype=np.int64)


def every_design(space: DesignSpace) -> list[dict]:
    code = Encoding(space)
    return [space.per_matrix(code.genome(row)) for row in np.unique(code.canonical(every_row(space)), axis=0)]


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """Queries, keys and values have half of their input directions in common, of the first layer nearly all."""
    rng = np.random.default_rng(5)
    found = {}
    for layer in range(2):
        common = rng.standard_normal((2, 8))
        for matrix in (each for each in NETWORK.matrices if each.layer == layer):
            own = rng.standard_normal((matrix.out_features, matrix.in_features))
            if matrix.role in ("query", "key", "value"):
                own = (0.1, 1.5)[layer] * own + 2 * rng.standard_normal((8, 2)) @ common
            found[matrix.name] = own
    return found


@pytest.fixture(scope="module")
def evaluator(weights) -> Evaluator:
    inputs = {matrix.name: np.eye(matrix.in_features) for matrix in NETWORK.matrices}
    errors = MatrixErrors(
        weights=stacked(GROUPS, weights, together=rows), second_moments=stacked(GROUPS, inputs, together=one_input)
    )
    return Evaluator(
        network=NETWORK, ways=LayerWays(machine=Machine(architecture=ARCHITECTURE, fuse=False), tokens=4),
        estimate=search_estimate("activation", errors=errors, groups=GROUPS), groups=GROUPS,
    )  # fmt: skip


def test_every_design_has_one_spelling_and_none_is_lost() -> None:
    space = space_of("search")
    code = Encoding(space)
    raw = every_row(space)
    spelt = np.unique(code.canonical(raw), axis=0)
    # A layer: low-rank at two ranks or dense, three times; or joint at two ranks.
    assert len(raw) == (2**4 * 2**4) ** 2
    assert len(spelt) == (3**3 + 2) ** 2
    assert np.array_equal(code.canonical(spelt), spelt)
    designs = [space.per_matrix(code.genome(row)) for row in spelt]
    assert len({frozenset(design.items()) for design in designs}) == len(designs)
    for row in raw[np.random.default_rng(0).integers(len(raw), size=500)]:
        (other,) = code.canonical(row[None])
        assert space.per_matrix(code.genome(row)) == space.per_matrix(code.genome(other))
        assert np.array_equal(code.rows([code.genome(row)])[0], other)
    for design in designs:  # every matrix is there once
        inside = [member for name in design for member in GROUPS.get(name, (name,))]
        assert sorted(inside) == sorted(matrix.name for matrix in NETWORK.matrices)


def test_the_slot_of_more_than_queries_keys_and_values_stays_of_use() -> None:
    """Per shape the output of attention is in the slot of queries, keys and values."""
    space = space_of("search", per="shape")
    whole = design_space(NETWORK, formats=("dense", "low-rank"), per="shape", joint="search")
    assert whole.owners == (frozenset(),) * len(whole.slots)
    (wide,) = whole.optional
    joint = dense_genome(whole) | {f"option{wide}": 1, f"rank{wide}_0": 5, "option0": 1}
    one, other = (whole.per_matrix(joint | {"rank0_0": step}) for step in STEPS)
    assert one != other
    assert set(one) == {m.name for m in NETWORK.matrices if m.role not in ("query", "key", "value")} | set(GROUPS)
    assert Encoding(space_of("search", per="role")).space.owners[:3] == (frozenset({6}),) * 3
    assert len(space.slots) == 4


def test_every_design_costs_what_the_network_costs(evaluator) -> None:
    coster = NetworkCoster(machine=Machine(architecture=ARCHITECTURE, fuse=False))
    designs = every_design(space_of("search"))
    for design in designs:
        found = evaluator.cost(design)
        joint = {name: GROUPS[name] for name in design if name in GROUPS}
        whole = coster.cost(NETWORK, design, joint=joint)
        assert found.energy_pj == pytest.approx(whole.energy_pj, rel=1e-12)
        assert found.cycles == whole.cycles
        assert found.matrix_parameters == sum(found.ways[each].stored_words for each in design.values())
    (written,) = chosen_designs([evaluator.cost(designs[-1])], network=NETWORK, groups=GROUPS)
    assert written.joint == {name: GROUPS[name] for name in designs[-1] if name in GROUPS}
    assert {name: layer.factorization for name, layer in written.layers} == designs[-1]


def test_the_dense_network_is_the_same_however_joint(evaluator) -> None:
    dense = [space.per_matrix(dense_genome(space)) for space in map(space_of, ("apart", "search", "always"))]
    assert len({evaluator.cost(each).key for each in dense}) == 1
    assert not set(dense[2]) & set(GROUPS)


def test_the_front_of_the_choice_is_that_of_both_and_more(evaluator) -> None:
    def points(joint):
        costs = [evaluator.cost(design) for design in every_design(space_of(joint))]
        return {(cost.edp_pj_cycles, cost.estimated_loss): cost.design for cost in costs}

    search, apart, always = map(points, ("search", "apart", "always"))
    front = non_dominated(list(search), lambda point: point)
    for other in (*apart, *always):
        assert any(point[0] <= other[0] and point[1] <= other[1] for point in front)
    beaten = [
        point for point in front
        if not any(other[0] <= point[0] and other[1] <= point[1] for other in (*apart, *always))
    ]  # fmt: skip
    assert beaten
    # One layer is joint, queries, keys and values of the other are not, and not dense.
    assert any(
        len(set(GROUPS) & set(search[point])) == 1
        and any(each.format != "dense" and name not in GROUPS for name, each in search[point].items())
        for point in front
    )


@pytest.mark.parametrize("name", ["weight", "activation"])
def test_a_stacked_matrix_counts_as_its_members(evaluator, weights, name) -> None:
    estimate = search_estimate(name, errors=evaluator.estimate.errors, groups=GROUPS)
    space = space_of("always")
    index = next(i for i, slot in enumerate(space.slots) if slot.stacked)
    design = space.per_matrix(dense_genome(space) | {f"option{index}": 1, f"rank{index}_0": 3})
    ((first, what),) = [(each, f) for each, f in design.items() if each in GROUPS]
    whole = np.concatenate([weights[member] for member in GROUPS[first]])
    lost = whole - reconstruct(project(whole, what), what)
    expected = np.sqrt(3 * np.square(lost).sum() / np.square(whole).sum() / len(NETWORK.matrices))
    assert estimate(design) == pytest.approx(expected, rel=1e-6)
    assert estimate.squared(first, what) == pytest.approx(expected**2 * len(NETWORK.matrices), rel=1e-6)
    plain = WeightError(errors=evaluator.estimate.errors)
    assert plain(space_of("apart").per_matrix(dense_genome(space_of("apart")))) == 0.0


def test_a_small_search_finds_joint_and_apart_from_seeds_of_both(evaluator) -> None:
    space = design_space(NETWORK, formats=("dense", "low-rank"), per="matrix", joint="search")
    seeds = strong_start(space, evaluator, estimate=evaluator.estimate, count=12)
    assert len({len(set(GROUPS) & set(space.per_matrix(seed))) for seed in seeds}) > 1
    settings = SearchSettings(population=24, generations=4, seed=1)
    first, again = (search_designs(space, evaluator, settings=settings, seeds=seeds) for _ in range(2))
    assert [cost.key for cost in first.front] == [cost.key for cost in again.front]
    assert first.failed == 0
    assert any(set(GROUPS) & set(cost.design) for cost in first.front)
    assert any(not set(GROUPS) & set(cost.design) for cost in first.front)


def test_tables_hold_every_factorization_that_seeds_are_made_of() -> None:
    space = design_space(NETWORK, formats=("dense", "low-rank"), per="matrix", joint="search")
    held = {item for genome in table_genomes(space, steps=STEPS) for item in space.per_matrix(genome).items()}
    code = Encoding(space)
    for index, slot in enumerate(space.slots):
        for option, step in itertools.product(range(len(slot.options)), STEPS):
            genome = code.genome(np.zeros(len(code.names), dtype=np.int64)) | {f"option{index}": option}
            what = space.decode(genome | {f"rank{index}_0": step})[index]
            if not (slot.stacked and what.format == "dense"):
                assert {(name, what) for name in slot.matrices} <= held


SPACE = design_space(NETWORK, formats=("dense", "low-rank", "tt-matrix"), per="matrix", joint="search")
CODE = Encoding(SPACE)


def random_rows(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, CODE.sizes, size=(count, len(CODE.sizes)))
    for stacked_slot in SPACE.optional:  # as many apart as joint
        found[:, CODE.starts[stacked_slot]] *= rng.integers(2, size=count)
    return CODE.canonical(found)


def test_children_have_queries_keys_and_values_of_one_parent_where_one_is_joint() -> None:
    first, second = random_rows(300, 0), random_rows(300, 1)
    units = len(SPACE.slots)
    drawn = np.random.default_rng(2).random((300, units)) < 0.5
    swapped = linked(CODE, drawn, parents=(first, second))
    checked = 0
    for stacked_slot in SPACE.optional:
        members = [i for i, owners in enumerate(SPACE.owners) if stacked_slot in owners]
        assert len(members) == 3
        differ = CODE.is_joint(first, stacked_slot) != CODE.is_joint(second, stacked_slot)
        checked += int(differ.sum())
        for member in members:
            assert np.array_equal(swapped[differ, member], drawn[differ, stacked_slot])
            assert np.array_equal(swapped[~differ, member], drawn[~differ, member])
        assert np.array_equal(swapped[:, stacked_slot], drawn[:, stacked_slot])
    assert checked > 200


def test_what_parts_keeps_its_ranks_and_what_joins_gets_them() -> None:
    stacked_slot = SPACE.optional[0]
    members = [i for i, owners in enumerate(SPACE.owners) if stacked_slot in owners]
    low_rank = [name for name, _ in SPACE.slots[stacked_slot].options].index("low-rank")
    own = [name for name, _ in SPACE.slots[members[0]].options].index("low-rank")
    joint = dense_genome(SPACE) | {f"option{stacked_slot}": low_rank, f"rank{stacked_slot}_0": 17}
    before = CODE.rows([joint])
    assert CODE.genome(before[0])[f"option{members[1]}"] == 0
    parted = before.copy()
    parted[:, CODE.starts[stacked_slot]] = SPACE.slots[stacked_slot].dense
    after = CODE.genome(carried(CODE, before, mutants=parted)[0])
    rank = before[0, CODE.starts[stacked_slot] + 1]
    for member in members:
        assert after[f"option{member}"] == own
        assert after[f"rank{member}_0"] == rank > 0
    apart = CODE.rows([dense_genome(SPACE) | {f"option{members[0]}": own, f"rank{members[0]}_0": 20}])
    for start, expected in ((apart, apart[0, CODE.starts[members[0]] + 1]), (CODE.rows([dense_genome(SPACE)]), 23)):
        mutants = start.copy()
        mutants[:, CODE.starts[stacked_slot]] = low_rank
        joined = CODE.genome(carried(CODE, start, mutants=mutants)[0])
        assert joined[f"rank{stacked_slot}_0"] == expected > 0
    unmoved = random_rows(50, 3)
    assert np.array_equal(carried(CODE, unmoved, mutants=unmoved), unmoved)


@pytest.mark.parametrize("strategy", [heat_strategy, uniform_strategy, tensorly_strategy, random_strategy])
def test_only_the_random_baseline_makes_use_of_the_choice(strategy) -> None:
    space = design_space(NETWORK, formats=("dense", "low-rank"), per="matrix", joint="search")
    asked: list = []

    def judge(genomes):
        asked.extend(genomes)
        sizes = [sum(each.parameters for each in space.per_matrix(genome).values()) for genome in genomes]
        return [((float(size), 1 / size), ()) for size in sizes]

    strategy(
        Search(space=space, judge=judge, objectives=("edp", "loss"), constraints=0, population=8, generations=8, seed=0)
    )
    designs = [space.per_matrix(genome) for genome in asked]
    assert any(each.format == "low-rank" for design in designs for each in design.values())
    assert any(set(GROUPS) & set(design) for design in designs) == (strategy is random_strategy)
