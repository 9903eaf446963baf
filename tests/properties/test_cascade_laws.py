"""Fused cascades against an enumeration of every plan and every mapping, and the laws of docs/model.md, section 10."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Cascade, Einsum, parse_cascade
from heat_sim.errors import HeatError, InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.cascade import VectorUnit, map_cascade
from heat_sim.mapper.cascade.parts import PartSearch
from heat_sim.mapper.cascade.plan import GroupPlan, Transfer
from heat_sim.mapper.cascade.plans import group_of, group_plans
from heat_sim.mapper.cascade.table import plan_batches
from heat_sim.mapper.cascade.vector_unit import map_vector_op
from heat_sim.mapper.judge import NO_LIMIT, judge_of, limit_of
from heat_sim.mapper.matmul_search import hull_within, search_matmul
from heat_sim.mapper.objective import OBJECTIVES, parse_objective
from heat_sim.mapper.space import MapSpace, Residence
from heat_sim.model import evaluate
from heat_sim.vector_op import VectorOp, parse_statement
from tests.oracles.exhaustive_space import mappings

CHAIN = ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"]


@st.composite
def machines(draw: st.DrawFn) -> Architecture:
    """Return a machine of two levels, the inner one the home of what is fused."""
    energy = st.integers(1, 160).map(lambda quarter: quarter / 4)
    rate = st.sampled_from((None, None, 0.5, 2.0))
    return Architecture(
        name="tiny",
        compute_name="MAC",
        compute_energy_pj=draw(energy),
        levels=(
            StorageLevel(
                name="DRAM", read_energy_pj=draw(energy), update_energy_pj=draw(energy),
                words_per_access=draw(st.sampled_from((1, 2))), shared_bandwidth_words_per_cycle=draw(rate),
            ),
            StorageLevel(
                name="GLB", capacity_words=draw(st.integers(4, 30)), read_energy_pj=draw(energy),
                write_energy_pj=draw(energy), update_energy_pj=draw(energy), fanout_x=draw(st.sampled_from((1, 2))),
            ),
        ),
    )  # fmt: skip


SHAPES = {
    "chain": CHAIN,
    "attention": ["S[h,m,n] = Q[h,m,d] * K[h,n,d]", "A[h,m,d] = S[h,m,n] * V[h,n,d]"],
    "shared": ["Q[m,a] = X[m,k] * U[k,a]", "K[m,b] = X[m,k] * V[k,b]"],
    "function": ["H[m,f] = X[m,k] * U[k,f]", "G[m,f] = relu(H[m,f])", "Y[m,n] = G[m,f] * V[f,n]"],
    "softmax": ["S[m,n] = Q[m,d] * K[n,d]", "P[m,n] = softmax(S[m,n]) over n", "A[m,d] = P[m,n] * V[n,d]"],
    "online": ["S[m,n] = Q[m,d] * K[n,d]", "P[m,n] = online_softmax(S[m,n]) over n", "A[m,d] = P[m,n] * V[n,d]"],
    "fork": [*CHAIN, "Z[m,q] = H[m,f] * W[f,q]"],
    "weights": ["T[f,n] = U[f,r] * V[r,n]", "Y[m,n] = X[m,f] * T[f,n]"],
}
SLOPES = (0.0, 0.1, 1.0, 7.0, 50.0, 1e6)
UNIT = VectorUnit(energy_pj=0.75, operations_per_cycle=3)


@st.composite
def cascades(draw: st.DrawFn, names: tuple[str, ...] = tuple(SHAPES)) -> Cascade:
    """Return a cascade of one of the shapes, few points."""
    texts = SHAPES[draw(st.sampled_from(names))]
    extents = {var: draw(st.sampled_from((1, 2, 2, 3))) for var in "mkfnhdabqr"}
    return Cascade(name="drawn", einsums=tuple(parse_statement(text, extents=extents) for text in texts))


@st.composite
def chains(draw: st.DrawFn) -> Cascade:
    """Return two chained matmuls."""
    return draw(cascades(("chain",)))


def points(space: MapSpace) -> list[tuple[float, int]]:
    """Return energy and cycles of every mapping that fits what room there is."""
    found: list[tuple[float, int]] = []
    accumulates = space.residence is not None and space.residence.accumulates
    for mapping in mappings(space):
        try:
            report = evaluate(space.einsum, space.architecture, mapping, link_transfers=False, accumulates=accumulates)
        except InfeasibleError:
            continue
        if space.residence is not None:
            home = space.residence.level
            extents = dict.fromkeys(space.einsum.rank_vars, 1) | mapping.tile_extents(home)
            kept = mapping.levels[home].keep - space.residence.tensors
            room = space.room_words(home)
            if room is not None and sum(math.prod(space.einsum.tensor(t).shape(extents)) for t in kept) > room:
                continue
        found.append((report.energy_pj, report.cycles))
    return found


class Oracle:
    """Costs of all mappings of every part on one machine, each enumerated once."""

    def __init__(self, machine: Architecture) -> None:
        self.machine = machine
        self.of = cache(self._of)

    def _of(self, einsum: Einsum, residence: Residence | None) -> tuple[tuple[float, int], ...]:
        if isinstance(einsum, VectorOp):
            ways = map_vector_op(einsum, self.machine, UNIT, home=1, residence=residence)
            return tuple({(way.energy_pj, way.cycles) for way in ways})
        space = MapSpace(einsum=einsum, architecture=self.machine, residence=residence)
        return tuple(_unbeaten(points(space)))

    def plan(self, plan: GroupPlan) -> list[tuple[float, int]]:
        """Return what every choice of mappings of a plan costs, less those that another one beats."""
        moved = loaded(plan.transfers(), self.machine)
        costs = [moved]
        for part in plan.parts():
            costs = _unbeaten(
                [
                    (energy_pj + part.count * e, cycles + part.count * t)
                    for (energy_pj, cycles), (e, t) in itertools.product(costs, self.of(part.einsum, part.residence))
                ]
            )
        return costs

    def cascade(self, cascade: Cascade, *, fuse: bool) -> list[tuple[float, int]]:
        """Return the same for every way to part the cascade into groups and run those."""
        count = len(cascade.einsums)
        best: list[list[tuple[float, int]]] = [[(0.0, 0)]] + [[] for _ in range(count)]
        for end in range(1, count + 1):
            for first in range(end):
                if not fuse and first < end - 1:
                    continue
                group = [cost for plan in self.plans(cascade, first, end - 1) for cost in self.plan(plan)]
                best[end] += [
                    (e0 + e1, t0 + t1) for (e0, t0), (e1, t1) in itertools.product(best[first], _unbeaten(group))
                ]
            best[end] = _unbeaten(best[end])
        return best[count]

    def plans(self, cascade: Cascade, first: int, last: int) -> list[GroupPlan]:
        return list(group_plans(cascade, first, last, self.machine))


def _unbeaten(costs: list[tuple[float, int]]) -> list[tuple[float, int]]:
    kept: list[tuple[float, int]] = []
    for energy_pj, cycles in sorted(costs, key=lambda cost: (cost[1], cost[0])):
        if not kept or energy_pj < kept[-1][0]:
            kept.append((energy_pj, cycles))
    return kept


def loaded(transfers: tuple[Transfer, ...], machine: Architecture) -> tuple[float, int]:
    """Return energy and cycles of moves between DRAM and home, written out."""
    dram, glb = machine.levels
    energy_pj, cycles = 0.0, 0
    for _, words, loads, stores in transfers:
        accesses = math.ceil(words / dram.words_per_access)
        rate = dram.shared_bandwidth_words_per_cycle
        energy_pj += loads * (accesses * dram.read_energy_pj + words * glb.write_energy_pj)
        energy_pj += stores * accesses * dram.update_energy_pj
        cycles += (loads + stores) * (0 if rate is None else math.ceil(words / rate))
    return energy_pj, cycles


@given(cascades(), machines(), st.sampled_from(("edp", "energy", "cycles", "ed2p", "weighted:3")))
@settings(max_examples=80)
def test_a_cascade_is_run_in_the_best_of_all_ways(cascade, machine, name):
    """Every grouping, plan and mapping of every part: nothing under the rules is better than what is returned."""
    objective, oracle = parse_objective(name), Oracle(machine)
    unfused = oracle.cascade(cascade, fuse=False)
    assume(unfused)
    result = map_cascade(cascade, machine, objective=objective, vector_unit=UNIT)
    assert result.optimal
    best = min(objective.value(*cost) for cost in oracle.cascade(cascade, fuse=True))
    assert result.value == pytest.approx(best, rel=1e-12)
    assert result.unfused_value == pytest.approx(min(objective.value(*cost) for cost in unfused), rel=1e-12)


@given(cascades(), machines())
@settings(max_examples=40)
def test_the_hull_of_a_cascade_has_the_best_of_every_weighted_sum(cascade, machine):
    """A hull is known by its supporting lines: for each slope the least over all groupings, plans and mappings."""
    costs = Oracle(machine).cascade(cascade, fuse=True)
    assume(costs)
    try:
        front = map_cascade(cascade, machine, objective=OBJECTIVES["hull"], vector_unit=UNIT).front
    except InfeasibleError:
        assume(False)
    for slope in SLOPES:
        best = min(energy_pj + slope * cycles for energy_pj, cycles in costs)
        assert min(each.energy_pj + slope * each.cycles for each in front) == pytest.approx(best, rel=1e-12)


@given(cascades(), machines())
@settings(max_examples=40)
def test_plans_as_arrays_are_the_plans_and_their_bounds_hold(cascade, machine):
    """The table of a group holds each plan once; no mapping costs less than the bound there."""
    oracle = Oracle(machine)
    parts = PartSearch(architecture=machine, vector_unit=UNIT)
    for first, last in itertools.combinations(range(len(cascade.einsums)), 2):
        table = {}
        for batch in plan_batches(group_of(cascade, first, last), parts, weights=None, most_loops=2):
            for row, column in itertools.product(range(len(batch.tiles)), range(len(batch.residents))):
                if math.isfinite(batch.energy_pj[row, column]):
                    table[batch.plan(row, column)] = batch.energy_pj[row, column], batch.cycles[row, column]
        plans = oracle.plans(cascade, first, last)
        assert set(table) == set(plans)
        assert len(table) == len(plans)
        for plan in plans[:40]:
            for energy_pj, cycles in oracle.plan(plan):
                assert energy_pj >= table[plan][0] * (1 - 1e-12)
                assert cycles >= table[plan][1] * (1 - 1e-12)


@given(cascades(), machines())
@settings(max_examples=40)
def test_splitting_a_nest_never_helps_where_there_is_room(cascade, machine):
    """`PlanKey.coarser`: with plenty of room at home, the hull of a plan is nowhere below that of one it splits."""
    roomy = replace(machine, levels=(machine.levels[0], replace(machine.levels[1], capacity_words=None)))
    oracle, last = Oracle(roomy), len(cascade.einsums) - 1
    group = group_of(cascade, 0, last)
    table = {
        batch.key(row, column): batch.plan(row, column)
        for batch in plan_batches(group, PartSearch(architecture=roomy, vector_unit=UNIT), weights=None, most_loops=2)
        for row, column in itertools.product(range(len(batch.tiles)), range(len(batch.residents)))
    }
    for key, plan in list(table.items())[-25:]:
        for coarser in key.coarser(group):
            if coarser in table:
                # An accumulating einsum may have two mappings in one plan, so it is the hulls that compare.
                for slope in SLOPES:
                    best, split = (min(e + slope * t for e, t in oracle.plan(each)) for each in (table[coarser], plan))
                    assert best <= split * (1 + 1e-12)


@given(
    machines(), st.tuples(*[st.integers(1, 3)] * 3), st.integers(1, 4), st.floats(0, 400), st.integers(0, 60),
    st.floats(1, 6), st.sampled_from(("edp", "energy", "hull")), st.booleans(),
)  # fmt: skip
@settings(max_examples=80)
def test_limits_keep_what_matters(machine, sizes, times, with_pj, with_cycles, share, name, accumulates):
    """Of all mappings that the limit does not rule out, none beats the hull that was found within it."""
    m, n, k = sizes
    einsum = parse_cascade(["Z[m,n] = A[m,k] * B[k,n]"], extents={"m": m, "n": n, "k": k}, name="one").einsums[0]
    residence = Residence(level=1, tensors=frozenset("Z"), reserved_words=1, accumulates=accumulates)
    space = MapSpace(einsum=einsum, architecture=machine, residence=residence)
    costs = _unbeaten(points(space))
    assume(costs)
    objective = parse_objective(name)
    totals = [(with_pj + times * e, with_cycles + times * t) for e, t in costs]
    known = [(e * share, float(t)) for e, t in totals[:2]]
    best = min(objective.value(*total) for total in totals) * share
    limit = limit_of(
        judge_of(objective, best=best, points=known), times=times, with_pj=with_pj, with_cycles=with_cycles
    )
    front, proven = hull_within(space, (limit, NO_LIMIT))
    assert proven
    for slope in SLOPES:
        weighed = [e + slope * t for (e, t), total in zip(costs, totals, strict=True) if _matters(limit, total)]
        if weighed:
            assert min(each.energy_pj + slope * each.cycles for each in front) <= min(weighed) * (1 + 1e-12)


@given(
    st.tuples(*[st.integers(1, 3)] * 3), st.integers(2, 20), st.integers(1, 6), st.sampled_from((1, 2)),
    st.sampled_from(("edp", "energy")), st.booleans(),
)  # fmt: skip
@settings(max_examples=40)
def test_an_einsum_that_finds_partial_sums_is_mapped_best(sizes, glb_words, rf_words, block, name, resides):
    """Three levels: what the search says of an einsum that goes on with partial sums at home is the best there is."""
    m, n, k = sizes
    machine = Architecture(
        name="three", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(name="DRAM", read_energy_pj=40.0, update_energy_pj=50.0),
            StorageLevel(
                name="GLB", capacity_words=glb_words + m * n, read_energy_pj=6.0, write_energy_pj=7.0,
                update_energy_pj=5.0, fanout_x=2, words_per_access=block, shared_bandwidth_words_per_cycle=1.5,
            ),
            StorageLevel(
                name="RF", capacity_words=rf_words, read_energy_pj=1.0, write_energy_pj=1.5, update_energy_pj=1.25
            ),
        ),
    )  # fmt: skip
    einsum = parse_cascade(["Z[m,n] = A[m,k] * B[k,n]"], extents={"m": m, "n": n, "k": k}, name="one").einsums[0]
    residence = Residence(level=1, tensors=frozenset("ZA" if resides else "Z"), accumulates=True)
    space = MapSpace(einsum=einsum, architecture=machine, residence=residence)
    objective = parse_objective(name)
    costs = points(space)
    assume(costs)
    result = search_matmul(space, objective=objective)
    assert result.optimal
    assert result.value == pytest.approx(min(objective.value(*cost) for cost in costs), rel=1e-12)
    assert result.best.report.energy_pj == result.best.energy_pj


def _matters(limit, total) -> bool:
    energy_pj, cycles = total
    if limit.front == 0:
        value = energy_pj if limit.cycles_exponent == 0 else energy_pj * cycles
        return value < limit.best * (1 - 1e-9)
    return all(energy_pj < e * (1 - 1e-9) or cycles < t for e, t in zip(limit.energy_pj, limit.cycles, strict=True))


@given(chains(), machines())
@settings(max_examples=30)
def test_a_group_of_one_iteration_costs_its_einsums_with_the_intermediate_bypassing(cascade, machine):
    """Golden case 25: the model counts a tensor that no outer level keeps as one that never leaves the chip."""
    plan = next((each for each in group_plans(cascade, 0, 1, machine) if each.iterations == 1), None)
    assume(plan is not None)
    for place, einsum in enumerate(plan.einsums):
        space = MapSpace(einsum=einsum, architecture=machine, residence=plan.residence(place))
        try:
            best = search_matmul(space, objective=OBJECTIVES["edp"]).best
        except InfeasibleError:
            continue
        assert "H" not in best.mapping.levels[0].keep
        assert "H" in best.mapping.levels[1].keep
        report = evaluate(einsum, machine, best.mapping, link_transfers=False)
        assert report.level("DRAM").tensors["H"].reads == report.level("DRAM").tensors["H"].updates == 0
        assert (report.energy_pj, report.cycles) == (best.energy_pj, best.cycles)


@given(machines(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=20)
def test_a_cascade_of_one_einsum_costs_that_einsum(machine, m, n, k):
    cascade = parse_cascade(["Z[m,n] = A[m,k] * B[k,n]"], extents={"m": m, "n": n, "k": k}, name="one")
    try:
        alone = map_einsum(cascade.einsums[0], machine)
    except InfeasibleError:
        with pytest.raises(InfeasibleError):
            map_cascade(cascade, machine)
    else:
        assert map_cascade(cascade, machine).value == alone.value


@given(chains(), machines())
@settings(max_examples=30)
def test_fusion_and_a_larger_home_never_hurt(cascade, machine):
    larger = replace(machine, levels=(machine.levels[0], replace(machine.levels[1], capacity_words=1000)))
    try:
        small = map_cascade(cascade, machine)
    except InfeasibleError:
        assume(False)
    assert small.value <= small.unfused.energy_pj * small.unfused.cycles * (1 + 1e-12)
    assert map_cascade(cascade, larger).value <= small.value * (1 + 1e-12)
    assert map_cascade(cascade, machine, fuse=False).value == small.unfused.energy_pj * small.unfused.cycles


def test_with_room_for_everything_the_intermediate_never_moves_through_dram():
    machine = Architecture(
        name="roomy", compute_name="MAC", compute_energy_pj=1.0,
        levels=(
            StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
            StorageLevel(
                name="GLB", capacity_words=10_000, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0
            ),
        ),
    )  # fmt: skip
    cascade = parse_cascade(CHAIN, extents={"m": 6, "k": 8, "f": 4, "n": 10}, name="chain")
    (group,) = map_cascade(cascade, machine).best.groups
    first, second = (each.report for each in group.mapped)
    # X, U and V are read once, Y is written once; H stays.
    assert group.plan.iterations == 1
    assert first.level("DRAM").tensors["Inputs"].reads == 6 * 8
    assert first.level("DRAM").tensors["Weights"].reads == 8 * 4
    assert first.level("DRAM").tensors["Outputs"].updates == 0
    assert second.level("DRAM").tensors["Inputs"].reads == 0
    assert second.level("DRAM").tensors["Weights"].reads == 4 * 10
    assert second.level("DRAM").tensors["Outputs"].updates == 6 * 10


def test_what_is_live_takes_its_room_and_no_more():
    """Of a chain of three, the first intermediate is gone when the third einsum runs; a resident never is."""
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=1000)),
    )  # fmt: skip
    cascade = parse_cascade(
        ["H[m,f] = X[m,k] * U[k,f]", "G[m,g] = H[m,f] * V[f,g]", "Y[m,n] = G[m,g] * W[g,n]"],
        extents={"m": 4, "k": 5, "f": 2, "g": 3, "n": 7}, name="chain",
    )  # fmt: skip
    plan = next(
        plan for plan in group_plans(cascade, 0, 2, machine)
        if dict(plan.loops) == {"m": 2} and plan.residents == {"V"}
    )  # fmt: skip
    found = [plan.residence(place) for place in range(3)]
    assert [sorted(residence.tensors) for residence in found] == [["H"], ["G", "H", "V"], ["G"]]
    # Beside its own: V (f g) while the first runs; all is its own for the second; V again for the third, without H.
    assert [residence.reserved_words for residence in found] == [2 * 3, 0, 2 * 3]


def stages_of(plan: GroupPlan, machine: Architecture, columns: tuple[int, ...]) -> list[list[tuple[float, int]]]:
    """Return what every einsum of a pipeline can cost on its share of the machine; rule 10.11 written out."""
    dram, glb = machine.levels
    words = {tensor.name: plan.words(tensor.name) for einsum in plan.einsums for tensor in einsum.tensors}
    left = glb.capacity_words - 2 * sum(words[t] for t in plan.intermediates) - sum(words[t] for t in plan.residents)
    room = left // sum(1 for each in columns if each)
    rate = dram.shared_bandwidth_words_per_cycle
    slow = replace(dram, shared_bandwidth_words_per_cycle=None if rate is None else rate / len(columns))
    found = []
    for einsum, own in zip(plan.einsums, columns, strict=True):
        here = {tensor.name for tensor in einsum.tensors} & (plan.intermediates | plan.residents)
        part = replace(machine, levels=(slow, replace(glb, fanout_x=own) if own else glb))
        taken = glb.capacity_words - room - sum(words[t] for t in here)
        residence = Residence(level=1, tensors=frozenset(here), reserved_words=taken)
        if room < 0:
            found.append([])
        elif own:
            found.append(points(MapSpace(einsum=einsum, architecture=part, residence=residence)))
        else:
            ways = map_vector_op(einsum, part, UNIT, home=1, residence=residence)
            found.append([(way.energy_pj, way.cycles) for way in ways])
    return found


@st.composite
def pipelined(draw: st.DrawFn) -> tuple[Cascade, Architecture]:
    """Return cascades with some iterations, and machines on which einsums by themselves leave columns idle."""
    texts = SHAPES[draw(st.sampled_from(("chain", "function", "softmax", "shared")))]
    extents = {var: draw(st.sampled_from((1, 2))) for var in "kndabr"} | {"m": draw(st.sampled_from((2, 3, 4)))}
    extents["f"] = draw(st.sampled_from((1, 2)))
    machine = draw(machines())
    glb = replace(machine.levels[1], fanout_x=draw(st.sampled_from((2, 3))), capacity_words=draw(st.integers(8, 60)))
    cascade = Cascade(name="drawn", einsums=tuple(parse_statement(text, extents=extents) for text in texts))
    return cascade, replace(machine, levels=(machine.levels[0], glb))


@given(pipelined(), st.sampled_from(("edp", "energy", "cycles")))
@settings(max_examples=25)
def test_a_pipeline_is_the_best_under_its_rules(drawn, name):
    """Every plan, parting of the array and choice of mappings, beside all that runs one after another."""
    cascade, machine = drawn
    fanout = machine.levels[1].fanout_x
    objective, oracle, last = parse_objective(name), Oracle(machine), len(cascade.einsums) - 1
    costs = oracle.cascade(cascade, fuse=True)
    assume(costs)
    at_once = []
    for plan in oracle.plans(cascade, 0, last):
        if plan.iterations == 1 or plan.accumulators:
            continue
        moved_pj, moved_cycles = loaded(plan.transfers(), machine)
        shares = [(0,) if isinstance(each, VectorOp) else range(1, fanout + 1) for each in plan.einsums]
        for columns in itertools.product(*shares):
            if sum(columns) <= fanout:
                for chosen in itertools.product(*map(_unbeaten, stages_of(plan, machine, columns))):
                    steps = plan.iterations + len(columns) - 1
                    energy_pj = moved_pj + plan.iterations * sum(e for e, _ in chosen)
                    at_once.append((energy_pj, moved_cycles + steps * max(t for _, t in chosen)))
    result = map_cascade(cascade, machine, objective=objective, vector_unit=UNIT, pipelined=True)
    assert result.optimal
    whole = min(objective.value(*cost) for cost in [*costs, *at_once])
    if len(cascade.einsums) == 2:
        assert result.value == pytest.approx(whole, rel=1e-12)
    else:  # two of three einsums may be a pipeline as well
        assert result.value <= whole * (1 + 1e-12)
    rows = list(result.best.rows())
    total_pj, cycles = sum(sum(row.energy_pj.values()) for row in rows), sum(row.cycles for row in rows)
    assert result.value == pytest.approx(objective.value(total_pj, cycles), rel=1e-9)


def test_a_function_hides_behind_the_contractions():
    """Rule 10.11 by hand: 4 rows; per row 8 operations of gelu at 3 a cycle take 3 cycles, contractions fewer."""
    machine = Architecture(
        name="pair", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=100, fanout_x=2)),
    )  # fmt: skip
    extents = {"m": 4, "k": 2, "f": 1, "n": 2}
    texts = ["H[m,f] = X[m,k] * U[k,f]", "G[m,f] = gelu(H[m,f])", "Y[m,n] = G[m,f] * V[f,n]"]
    cascade = Cascade(name="hand", einsums=tuple(parse_statement(text, extents=extents) for text in texts))
    cycles = parse_objective("cycles")
    apart = map_cascade(cascade, machine, objective=cycles, vector_unit=UNIT)
    # One after another, both columns each time: 8 / 2, then 32 / 3 rounded up in all, then 8 / 2.
    assert apart.best.cycles == 4 + 11 + 4
    at_once = map_cascade(cascade, machine, objective=cycles, vector_unit=UNIT, pipelined=True)
    (group,) = at_once.best.groups
    # One column each: 2 cycles beside the 3 of gelu, 4 rows and 2 more steps.
    assert group.pipeline.columns == (1, 0, 1)
    assert at_once.best.cycles == (4 + 3 - 1) * 3
    assert at_once.optimal


def statements(name: str, **extents: int) -> Cascade:
    return Cascade(name=name, einsums=tuple(parse_statement(text, extents=extents) for text in SHAPES[name]))


ROOMY = Architecture(
    name="roomy", compute_name="MAC", compute_energy_pj=1.0,
    levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=1000)),
)  # fmt: skip


def test_a_vector_operation_works_in_place():
    """Rule 10.7: scores and shares of m x n have one room, not two, while the softmax runs."""
    plan = next(iter(group_plans(statements("softmax", m=4, n=5, d=3), 0, 2, ROOMY)))
    assert [plan.residence(place).tensors for place in range(3)] == [{"S"}, {"S", "P"}, {"P"}]
    assert [plan.residence(place).reserved_words for place in range(3)] == [0, -20, 0]
    assert plan.peak_words() == 20


def test_online_softmax_rescales_what_has_added_up():
    """Rule 10.9: a loop over the keys, and in every iteration one operation per word of the result."""
    cascade = statements("online", m=4, n=6, d=3)
    plans = {plan.loops: plan for plan in group_plans(cascade, 0, 2, ROOMY) if not plan.residents}
    looped = plans[("n", 3),]
    einsums = [(part.einsum.name, part.count, part.residence.accumulates) for part in looped.parts()]
    assert einsums == [("S", 3, False), ("P", 3, False), ("A", 1, False), ("A", 2, True), ("rescale A", 3, False)]
    rescale = list(looped.parts())[-1].einsum
    assert rescale.operations == 4 * 3
    (way,) = map_vector_op(rescale, ROOMY, UNIT, home=1, residence=list(looped.parts())[-1].residence)
    assert set(way.words.values()) == {(12, 0, 0), (0, 0, 12)}
    assert not any(var == "n" for plan in group_plans(statements("softmax", m=4, n=6, d=3), 0, 2, ROOMY)
                   for var, _ in plan.loops)  # fmt: skip


def test_partial_sums_come_back_if_their_part_changes_before_they_are_done():
    """f outside m: each of the 2 parts of Y is met in each of 3 turns of f; stored 6 times, loaded 4 times."""
    cascade = statements("chain", m=4, f=3, k=2, n=5)
    plans = {plan.loops: plan for plan in group_plans(cascade, 0, 1, ROOMY) if not plan.residents}
    spilled, kept = plans[("f", 3), ("m", 2)], plans[("m", 2), ("f", 3)]
    assert Transfer("Y", 10, 4, 6) in spilled.transfers()
    assert Transfer("Y", 10, 0, 2) in kept.transfers()
    for plan in (spilled, kept):
        runs = [(part.count, part.residence.accumulates) for part in plan.parts()]
        assert runs == [(6, False), (2, False), (4, True)]


def test_a_tensor_that_later_groups_read_leaves_home_as_well():
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=64)),
    )  # fmt: skip
    cascade = parse_cascade(
        [*CHAIN, "W[m,q] = H[m,f] * T[f,q]"], extents={"m": 2, "k": 2, "f": 2, "n": 2, "q": 2}, name="fork"
    )
    (stored,) = {plan.stored for plan in group_plans(cascade, 0, 1, machine)}
    assert stored == {"H"}
    # H goes out once per iteration, although it stays at home for Y.
    plan = next(plan for plan in group_plans(cascade, 0, 1, machine) if plan.loops == (("m", 2),))
    assert Transfer("H", 2, 0, 2) in plan.transfers()
    (fused,) = {plan.stored for plan in group_plans(cascade, 0, 2, machine)}
    assert fused == frozenset()


def test_a_front_is_refused():
    machine = Architecture(name="one", levels=(StorageLevel(name="DRAM"),), compute_name="MAC", compute_energy_pj=1.0)
    cascade = parse_cascade(CHAIN, extents={"m": 2, "k": 2, "f": 2, "n": 2}, name="chain")
    with pytest.raises(HeatError, match="objective: a cascade has no such objective"):
        map_cascade(cascade, machine, objective=OBJECTIVES["pareto"])
