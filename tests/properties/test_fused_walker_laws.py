"""Plans of fused groups against the walker that executes them: docs/model.md, rules 10.4 ff., for contractions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Cascade, Einsum, parse_cascade
from heat_sim.mapper.cascade.plan import GroupPlan, Part
from heat_sim.mapper.cascade.plans import group_plans
from heat_sim.mapper.cascade.result import MappedGroup
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import LevelConstraints, LevelMapping, Mapping
from heat_sim.model import Report, evaluate
from heat_sim.testing import random_mapping
from tests.oracles.fused_nest import Execution, execute
from tests.oracles.loop_nest import Counts

SHAPES = {
    "chain": ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    "attention": ["S[h,m,n] = Q[h,m,d] * K[h,n,d]", "A[h,m,d] = S[h,m,n] * V[h,n,d]"],
    "attended": [
        "S[h,m,n] = Q[h,m,d] * K[h,n,d]", "A[h,m,d] = S[h,m,n] * V[h,n,d]", "O[m,e] = A[h,m,d] * W[h,d,e]"
    ],
    "three": ["H[m,f] = X[m,k] * U[k,f]", "G[m,g] = H[m,f] * V[f,g]", "Y[m,n] = G[m,g] * W[g,n]"],
    "fork": ["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]", "Z[m,q] = H[m,f] * W[f,q]"],
    "reused": ["H[m,f] = X[m,k] * U[k,f]", "G[m,f] = H[m,g] * V[g,f]", "Y[m,n] = H[m,f] * W[f,n]"],
    "weights": ["T[f,n] = U[f,r] * V[r,n]", "Y[m,n] = X[m,f] * T[f,n]"],
    "siblings": ["Y[h,m,n] = A[h,m,k] * W[k,n]", "Z[h,m,n] = B[h,m,k] * W[k,n]"],
    "projections": ["Q[m,a] = X[m,k] * WQ[k,a]", "K[m,b] = X[m,k] * WK[k,b]"],
    "merged": ["Q[m,a] = X[m,k] * WQ[k,a]", "K[m,b] = X[m,k] * WK[k,b]", "S[a,b] = Q[m,a] * K[m,b]"],
}  # fmt: skip
"""Cascades of two and three contractions; any neighbours among them may be the group."""

WITH_INTERMEDIATES = tuple(name for name in SHAPES if name not in ("siblings", "projections"))

EQUAL = {"reused": (("g", "f"),)}
"""Rank variables that name the same rank of an intermediate."""

MOST_LOOPS = 3
MOST_OPS = 400


class Fused(NamedTuple):
    """A plan of a group, and how each part of it runs.

    Attributes:
        group: The einsums with the extents of the whole.
        stored: Intermediates that einsums outside of the group read.
        architecture: The hardware.
        plan: How they run.
        parts: Of the plan.
        mappings: One per part.
    """

    group: Cascade
    stored: frozenset[str]
    architecture: Architecture
    plan: GroupPlan
    parts: tuple[Part, ...]
    mappings: tuple[Mapping, ...]

    @property
    def reports(self) -> list[Report]:
        return [
            evaluate(part.einsum, self.architecture, mapping, link_transfers=False, accumulates=accumulates(part))
            for part, mapping in zip(self.parts, self.mappings, strict=True)
        ]

    @property
    def mapped(self) -> MappedGroup:
        """The group as the search returns it."""
        return MappedGroup(
            plan=self.plan, parts=self.parts, architecture=self.architecture,
            mapped=tuple(
                MappedEinsum(
                    einsum=part.einsum, architecture=self.architecture, mapping=mapping, energy_pj=report.energy_pj,
                    cycles=report.cycles, accumulates=accumulates(part),
                )
                for part, mapping, report in zip(self.parts, self.mappings, self.reports, strict=True)
            ),
        )  # fmt: skip

    @property
    def executed(self) -> Execution:
        assert self.plan.home is not None
        return execute(
            self.group, self.architecture,
            {
                (part.einsum.name, accumulates(part)): mapping
                for part, mapping in zip(self.parts, self.mappings, strict=True)
            },
            loops=self.plan.loops, home=self.plan.home, residents=self.plan.residents, stored=self.stored,
        )  # fmt: skip


def is_read(name: str, einsums: Sequence[Einsum]) -> bool:
    return any(tensor.name == name for einsum in einsums for tensor in einsum.inputs)


def accumulates(part: Part) -> bool:
    return part.residence is not None and part.residence.accumulates


@st.composite
def machines(draw: st.DrawFn) -> Architecture:
    """Return a machine of two or three levels with room for everything; with three, either inner one may be home."""
    energy = st.integers(1, 160).map(lambda quarter: quarter / 4)
    names = draw(st.sampled_from((("DRAM", "GLB"), ("DRAM", "GLB", "RF"))))
    return Architecture(
        name="roomy",
        compute_name="MAC",
        compute_energy_pj=draw(energy),
        levels=tuple(
            StorageLevel(
                name=name, read_energy_pj=draw(energy), write_energy_pj=draw(energy), update_energy_pj=draw(energy),
                fanout_x=1 if name == "DRAM" else draw(st.sampled_from((1, 2))),
            )
            for name in names
        ),
    )  # fmt: skip


@st.composite
def cascades(draw: st.DrawFn, names: tuple[str, ...] = tuple(SHAPES)) -> Cascade:
    """Return a cascade of one of the shapes, few points."""
    name = draw(st.sampled_from(names))
    extents = {var: draw(st.sampled_from((2, 2, 1, 3, 4))) for var in "mkfnghdeqrab"}
    extents |= {var: extents[other] for var, other in EQUAL.get(name, ())}
    cascade = parse_cascade(SHAPES[name], extents=extents, name=name)
    assume(cascade.ops <= MOST_OPS)
    return cascade


def drawn_mapping(rng: np.random.Generator, space: MapSpace) -> Mapping:
    """Return any mapping of the space: any nest, and any choice of what is kept that the space offers."""
    nest = random_mapping(rng, einsum=space.einsum, architecture=space.architecture)
    options = [space.keep_options(level) for level in range(len(nest.levels))]
    names = {tensor.name for tensor in space.einsum.tensors}
    while True:
        keep = [each[int(rng.integers(len(each)))] for each in options]
        if names == frozenset().union(*keep):
            break
    mapping = Mapping(
        levels=tuple(
            LevelMapping(level=level.level, temporal=level.temporal, spatial=level.spatial, keep=kept)
            for level, kept in zip(nest.levels, keep, strict=True)
        )
    )
    assert space.holds(mapping)
    return mapping


@st.composite
def fused(draw: st.DrawFn) -> Fused:
    """Return any plan of any group of a cascade, with any mappings; mostly of all einsums, and with several loops."""
    machine, cascade = draw(machines()), draw(cascades())
    count = len(cascade.einsums)
    first, last = draw(st.sampled_from([*[(0, count - 1)] * 3, *itertools.combinations(range(count), 2)]))
    plans = list(group_plans(cascade, first, last, machine, most_loops=MOST_LOOPS))
    assume(plans)
    loops = draw(st.sampled_from([n for n in sorted({len(plan.loops) for plan in plans}) for _ in range(2 * n + 1)]))
    plan = draw(st.sampled_from([plan for plan in plans if len(plan.loops) == loops]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = tuple(plan.parts())
    group, later = cascade.einsums[first : last + 1], cascade.einsums[last + 1 :]
    outputs = [einsum.output.name for einsum in group]
    return Fused(
        group=Cascade(name="group", einsums=group),
        stored=frozenset(name for name in outputs if is_read(name, group) and is_read(name, later)),
        architecture=machine,
        plan=plan,
        parts=parts,
        mappings=tuple(
            drawn_mapping(rng, MapSpace(einsum=part.einsum, architecture=machine, residence=part.residence))
            for part in parts
        ),
    )


def counts_of(report: Report, *, times: int = 1) -> Counter[tuple[str, str, str]]:
    """Return the words by level, tensor and what happens to them."""
    return Counter(
        {
            (level.name, tensor, kind): times * getattr(words, kind)
            for level in report.levels
            for tensor, words in level.tensors.items()
            for kind in Counts._fields
        }
    )


def moved(counts: dict[tuple[str, str], Counts]) -> Counter[tuple[str, str, str]]:
    """Return the same of what was executed."""
    return Counter({(*key, kind): words for key, each in counts.items() for kind, words in each._asdict().items()})


def energy_pj(seen: Execution, architecture: Architecture) -> float:
    """Return what the words and ops cost, access by access."""
    total = seen.ops * architecture.compute_energy_pj
    for (name, _), words in seen.counts.items():
        storage = architecture.levels[architecture.index(name)]
        total += words.reads * storage.read_energy_pj
        total += words.fills * storage.write_energy_pj
        total += words.updates * storage.update_energy_pj
    return total


@given(fused())
@settings(max_examples=400)
def test_a_group_costs_what_its_execution_costs(case: Fused) -> None:
    seen = case.executed
    assert case.mapped.energy_pj == pytest.approx(energy_pj(seen, case.architecture), rel=1e-9)
    assert case.mapped.cycles == seen.steps


@given(fused())
@settings(max_examples=400)
def test_words_of_a_plan_are_those_of_the_executed_group(case: Fused) -> None:
    """Every level and tensor: the parts, each so often as the plan says, and the transfers."""
    assert case.plan.home is not None
    seen = case.executed
    expected = sum(
        (counts_of(report, times=part.count) for part, report in zip(case.parts, case.reports, strict=True)),
        start=Counter[tuple[str, str, str]](),
    )
    main, near = (case.architecture.levels[place].name for place in (0, case.plan.home))
    for transfer in case.plan.transfers():
        expected[main, transfer.tensor, "reads"] += transfer.loads * transfer.words
        expected[near, transfer.tensor, "fills"] += transfer.loads * transfer.words
        expected[main, transfer.tensor, "updates"] += transfer.stores * transfer.words
    assert moved(seen.counts) == expected
    assert seen.ops == sum(part.count * part.einsum.ops for part in case.parts) == case.group.ops
    assert seen.steps == sum(
        part.count * report.compute_cycles for part, report in zip(case.parts, case.reports, strict=True)
    )


@given(fused())
@settings(max_examples=400)
def test_words_at_home_are_those_of_the_executed_group(case: Fused) -> None:
    """What is there in full, and the tiles of the rest of the einsum that runs."""
    seen, peak = case.executed, 0
    for part, report in zip(case.parts, case.reports, strict=True):
        assert part.residence is not None
        near = report.level(case.architecture.levels[part.residence.level].name)
        tiles = sum(words.tile_words for name, words in near.tensors.items() if name not in part.residence.tensors)
        residing = sum(map(part.einsum.words, part.residence.tensors))
        peak = max(peak, part.residence.reserved_words + residing + tiles)
    assert seen.peak_words == peak
    assert seen.held_words == case.plan.peak_words()


@given(cascades(WITH_INTERMEDIATES), machines(), st.integers(0, 2**32 - 1))
def test_a_group_of_one_iteration_moves_what_its_einsums_move_with_the_intermediate_bypassing(
    cascade: Cascade, machine: Architecture, seed: int
) -> None:
    """Rule 6.3: of a single einsum, a tensor that no outer level keeps is one that never leaves the chip."""
    rng = np.random.default_rng(seed)
    plans = group_plans(cascade, 0, len(cascade.einsums) - 1, machine)
    for plan in (plan for plan in plans if plan.iterations == 1 and not plan.residents):
        assert plan.home is not None
        mappings = []
        for einsum in cascade.einsums:
            there = frozenset(tensor.name for tensor in einsum.tensors) & plan.intermediates
            demands = {level.name: LevelConstraints(bypass=there) for level in machine.levels[: plan.home]}
            demands[machine.levels[plan.home].name] = LevelConstraints(keep=there)
            mappings.append(drawn_mapping(rng, MapSpace(einsum=einsum, architecture=machine, demands=demands)))
        case = Fused(cascade, frozenset(), machine, plan, tuple(plan.parts()), tuple(mappings))
        alone = [
            evaluate(einsum, machine, mapping, link_transfers=False)
            for einsum, mapping in zip(cascade.einsums, mappings, strict=True)
        ]
        assert moved(case.executed.counts) == sum(map(counts_of, alone), start=Counter[tuple[str, str, str]]())
        assert case.mapped.energy_pj == pytest.approx(sum(report.energy_pj for report in alone), rel=1e-12)
        assert case.mapped.cycles == sum(report.cycles for report in alone)


def test_the_walker_counts_what_a_hand_counts() -> None:
    """Extents m = f = 2, all else 1, under common loops f (outer) and m: every tensor has one word per iteration."""
    machine = Architecture(
        name="two", compute_name="MAC", compute_energy_pj=1.0,
        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB")),
    )  # fmt: skip
    extents = dict(m=2, k=1, f=2, n=1, q=1)
    group = Cascade(name="group", einsums=parse_cascade(SHAPES["fork"], extents=extents, name="fork").einsums[:2])
    first, second = (
        Mapping(
            levels=(LevelMapping(level="DRAM", keep=frozenset(main)), LevelMapping(level="GLB", keep=frozenset(near)))
        )
        for main, near in (("XU", "H"), ("", "HVY"))
    )
    seen = execute(
        group, machine, {("H", False): first, ("Y", False): second, ("Y", True): second},
        loops=(("f", 2), ("m", 2)), home=1, residents={"V"}, stored={"H"},
    )  # fmt: skip
    assert seen == Execution(
        counts={
            # From DRAM to the units, in each of the four iterations.
            ("DRAM", "X"): Counts(4, 0, 0),
            ("DRAM", "U"): Counts(4, 0, 0),
            # A copy is stored for Z, which runs later.
            ("DRAM", "H"): Counts(0, 0, 4),
            ("GLB", "H"): Counts(4, 0, 4),
            # V[0] and V[1] come once each and stay for two iterations.
            ("DRAM", "V"): Counts(2, 0, 0),
            ("GLB", "V"): Counts(4, 2, 0),
            # Y[0], Y[1], Y[0], Y[1]: each leaves, and the last two find what the first two left.
            ("DRAM", "Y"): Counts(2, 0, 4),
            ("GLB", "Y"): Counts(2, 2, 4),
        },
        ops=8,
        steps=8,
        peak_words=3,  # H, V, Y
        held_words=3,
    )
