"""Seeds of a search against every choice from the same tables."""

from __future__ import annotations

import itertools
import math

import pytest

from heat_sim.codesign.allocation import Allocation
from heat_sim.codesign.seeds import STEPS, seed_genomes, spread_in_log_cost
from heat_sim.codesign.space import RANK_STEPS, DesignSpace, Slot, design_space
from heat_sim.errors import SpecError
from heat_sim.networks import network_from_config
from heat_sim.tensorize import Factorization

NETWORK = network_from_config(
    dict(model_type="bert", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
         vocab_size=50, max_position_embeddings=16),
    tokens=16, name="small",
)  # fmt: skip
SPACE = design_space(NETWORK)
FEW = (5, 13, 23)


def parameters(factorization: Factorization) -> float:
    return float(factorization.parameters)


def squared_error(name: str, factorization: Factorization) -> float:
    """Of one matrix; nothing where dense, and falling in the parameters. Classes differ in weight."""
    if factorization.format == "dense":
        return 0.0
    index = next((i for i, slot in enumerate(SPACE.slots) if name in slot.matrices), 0)
    weight = (10.0, 3.0, 1.0)[index] / SPACE.slots[index].members
    bonus = {"low-rank": 1.0, "tt-matrix": 0.8}[factorization.format]
    return weight * bonus * math.exp(-(factorization.compression_ratio**-1) * 3)


def tables(space: DesignSpace, steps: tuple[int, ...]) -> list[set[Factorization]]:
    """What every class can be when all of its rank genes are equal."""
    found: list[set[Factorization]] = [set() for _ in space.slots]
    for option, step in itertools.product(range(max(len(each.options) for each in space.slots)), steps):
        genome = {v.name: min(option, v.size - 1) if v.name.startswith("option") else step for v in space.variables}
        for table, factorization in zip(found, space.decode(genome), strict=True):
            table.add(factorization)
    return found


def cost_and_error(factorizations: tuple[Factorization, ...]) -> tuple[float, float]:
    members = [each.members for each in SPACE.slots]
    return (
        sum(n * parameters(f) for n, f in zip(members, factorizations, strict=True)),
        sum(squared_error(n, f) for slot, f in zip(SPACE.slots, factorizations, strict=True) for n in slot.matrices),
    )


def test_every_seed_is_optimal_at_its_cost() -> None:
    genomes = seed_genomes(SPACE, squared_error=squared_error, cost=parameters, count=100, steps=FEW)
    every = [cost_and_error(choice) for choice in itertools.product(*tables(SPACE, FEW))]
    seen = [cost_and_error(SPACE.decode(genome)) for genome in genomes]
    assert len(seen) > 5
    for cost, error in seen:
        assert error == pytest.approx(min(e for c, e in every if c <= cost), rel=1e-12)
    assert [cost for cost, _ in seen] == sorted({cost for cost, _ in seen})
    assert seen[0][0] == min(cost for cost, _ in every)
    assert seen[-1][1] == min(error for _, error in every) == 0.0


def test_a_genome_has_every_gene_in_its_range() -> None:
    for genome in seed_genomes(SPACE, squared_error=squared_error, cost=parameters, count=8):
        assert set(genome) == {variable.name for variable in SPACE.variables}
        assert all(0 <= genome[variable.name] < variable.size for variable in SPACE.variables)


def test_few_seeds_are_spread_in_log_cost_with_both_ends() -> None:
    arguments = dict(squared_error=squared_error, cost=parameters)
    all_ = seed_genomes(SPACE, **arguments, count=1000)
    some = seed_genomes(SPACE, **arguments, count=4)
    assert len(some) == 4
    assert (some[0], some[-1]) == (all_[0], all_[-1])
    assert all(genome in all_ for genome in some)
    logs = [math.log(cost_and_error(SPACE.decode(genome))[0]) for genome in all_]
    widest = max(after - before for before, after in itertools.pairwise(logs))
    for k, genome in enumerate(some):  # the nearest vertex is at most half the widest gap away
        wanted = logs[0] + (logs[-1] - logs[0]) * k / 3
        assert abs(logs[all_.index(genome)] - wanted) <= widest / 2 + 1e-12


def test_spread_takes_no_vertex_twice() -> None:
    path = [Allocation(chosen=(k,), cost=cost, squared_error=0.0) for k, cost in enumerate((1.0, 1e6, 2e6, 3e6))]
    assert [vertex.chosen for vertex in spread_in_log_cost(path, 3)] == [(0,), (1,), (3,)]
    assert [vertex.chosen for vertex in spread_in_log_cost(path, 2)] == [(0,), (3,)]
    assert [vertex.chosen for vertex in spread_in_log_cost(path, 1)] == [(0,)]
    assert spread_in_log_cost(path, 9) == tuple(path)


def test_each_factorization_is_costed_once_and_only_at_the_steps() -> None:
    costed: list[Factorization] = []
    judged: list[tuple[str, Factorization]] = []

    def cost(factorization: Factorization) -> float:
        costed.append(factorization)
        return parameters(factorization)

    def judge(name: str, factorization: Factorization) -> float:
        judged.append((name, factorization))
        return squared_error(name, factorization)

    seed_genomes(SPACE, squared_error=judge, cost=cost, count=3, steps=FEW)
    expected = {
        (name, factorization)
        for slot, table in zip(SPACE.slots, tables(SPACE, FEW), strict=True)
        for factorization in table
        for name in slot.matrices
    }
    assert set(judged) == expected
    assert len(judged) == len(expected)
    assert len(costed) == sum(map(len, tables(SPACE, FEW)))


def test_steps_are_every_third_with_the_largest() -> None:
    assert STEPS == (2, 5, 8, 11, 14, 17, 20, 23)
    assert STEPS[-1] == RANK_STEPS - 1


def test_members_count_as_often_as_they_are() -> None:
    """A dense class of twice the members costs twice as much to keep, and is given up first."""
    one, *_ = SPACE.slots
    both = DesignSpace(
        slots=tuple(Slot(shape=one.shape, matrices=names, options=one.options) for names in (("a",), ("b", "c")))
    )
    genomes = seed_genomes(both, squared_error=squared_error, cost=parameters, count=99)
    mixed = [both.decode(genome) for genome in genomes if len({f.format == "dense" for f in both.decode(genome)}) == 2]
    assert mixed
    assert all(first.format == "dense" for first, _ in mixed)


@pytest.mark.parametrize("per", ["role", "shape"])
def test_joint_or_apart_every_seed_is_optimal_at_its_cost(per) -> None:
    """Every choice from the tables of all slots, the stacked ones too; what is joint has no genes of its members."""
    space = design_space(NETWORK, formats=("dense", "low-rank"), per=per, joint="search")
    # What is stacked loses less at the lower and more at the higher ranks than its members.
    wide = next(slot.shape[0] for slot in space.slots if slot.stacked)

    def error(name: str, factorization: Factorization) -> float:
        if factorization.format == "dense":
            return 0.0
        share = factorization.compression_ratio**-1
        return 1.6 * math.exp(-2 * share) if factorization.out_features == wide else math.exp(-3 * share)

    few = (7, 23)
    genomes = seed_genomes(space, squared_error=error, cost=parameters, count=1000, steps=few)
    alone = tables(space, few)

    def judged(design: dict[str, Factorization]) -> tuple[float, float]:
        return (
            sum(parameters(each) for each in design.values()), sum(error(name, each) for name, each in design.items())
        )  # fmt: skip

    every = [judged(space.by_name(choice)) for choice in itertools.product(*alone)]
    seen = [space.per_matrix(genome) for genome in genomes]
    kinds = [any("+" in name for name in design) for design in seen]
    assert any(kinds)
    assert not all(kinds)
    for cost, lost in map(judged, seen):
        assert lost == pytest.approx(min(e for c, e in every if c <= cost * (1 + 1e-12)), rel=1e-9)
    for genome in genomes:
        assert set(genome) == {variable.name for variable in space.variables}
        assert all(0 <= genome[variable.name] < variable.size for variable in space.variables)


def test_refusals_say_what_to_do() -> None:
    def seeds(count: int = 3, steps: tuple[int, ...] = FEW, cost: float = 1.0) -> None:
        seed_genomes(SPACE, squared_error=squared_error, cost=lambda _: cost, count=count, steps=steps)

    with pytest.raises(SpecError, match=r"count: no genomes wanted \(got 0"):
        seeds(count=0)
    with pytest.raises(SpecError, match=r"not values of a rank gene \(got \(24,\), expected .* 0 to 23"):
        seeds(steps=(24,))
    with pytest.raises(SpecError, match="not values of a rank gene"):
        seeds(steps=())
    with pytest.raises(SpecError, match=r"a design without a cost \(got 0.0, expected above 0"):
        seeds(cost=0.0)
