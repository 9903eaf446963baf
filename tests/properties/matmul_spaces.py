"""Random small mapspaces of pairwise contractions, and what the enumeration of a space finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import assume
from hypothesis import strategies as st

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import InfeasibleError
from heat_sim.mapper import map_einsum
from heat_sim.mapper.baselines import search_exhaustive
from heat_sim.mapper.objective import OBJECTIVES, Objective, parse_objective
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace, map_space
from heat_sim.mapper.space_size import space_size
from heat_sim.mapping import LevelConstraints
from heat_sim.model import batch_of, evaluate_batch
from tests.oracles.exhaustive_space import mappings
from tests.properties.test_general_search_laws import demands, machines

KINDS = (
    "Z[m,n] = A[m,k] * B[k,n]",
    "Z[b,m,n] = A[b,m,k] * B[b,k,n]",
    "T[s,o,r] = X[s,i,j] * G[r,o,j,i]",  # a tensor-train step: two members of n, two of k
    "Z[s,t,o] = A[s,t,i] * B[o,i]",
    "Z[m] = A[m,k] * B[k]",  # no n
    "Z[m,n] = A[m] * B[n]",  # no k
    "Z[] = A[k] * B[k]",
    "Z[b] = A[b] * B[b]",
)
SCALARS: tuple[Objective, ...] = (
    *(OBJECTIVES[name] for name in ("edp", "energy", "cycles", "ed2p")), parse_objective("weighted:3.25")
)  # fmt: skip

_DUMB = 800
"""Mappings without constraints that the dumb enumeration, a quarter of a millisecond each, is let loose on."""

Point = tuple[float, int]
"""Energy in pJ and cycles."""


@st.composite
def einsums(draw: st.DrawFn, *, kinds: tuple[str, ...] = KINDS, ops: int = 48) -> Einsum:
    """Return an einsum of so many ops at the most, a contraction if nothing else is asked for."""
    text = draw(st.sampled_from(kinds))
    extents: dict[str, int] = {}
    for var in draw(st.permutations([char for char in dict.fromkeys(text) if char.islower()])):
        extents[var] = draw(st.sampled_from([size for size in (1, 2, 3, 4, 5, 6, 8, 12) if size <= ops]))
        ops //= extents[var]
    return parse_einsum(text, extents=extents)


@st.composite
def exact_machines(draw: st.DrawFn) -> Architecture:
    """Return a machine whose energies are quarters, so that sums in any order are equal."""
    machine = draw(machines())
    drain = draw(st.sampled_from((0, 0, 2)))
    outermost = replace(machine.levels[0], network_drain_latency_cycles=drain)
    return replace(machine, levels=(outermost, *machine.levels[1:]))


@st.composite
def spaces(draw: st.DrawFn, *, constrained: bool = False, ops: int = 48, most: int = 30_000) -> MapSpace:
    """Return a space of so many mappings of so many ops at the most, by default without constraints."""
    einsum, machine = draw(einsums(ops=ops)), draw(exact_machines())
    names = st.sampled_from([level.name for level in machine.levels])
    space = map_space(
        einsum,
        machine,
        constraints={
            name: draw(demands(einsum=einsum)) for name in sorted(draw(st.sets(names, min_size=1, max_size=2)))
        }
        if constrained
        else None,
        both_axes=draw(st.booleans()),
        min_parallelism=draw(st.sampled_from((0.0, 0.0, 0.5, 1.0))) if constrained else 0.0,
    )
    assume(space_size(space) <= most)
    return space


@st.composite
def deep_spaces(draw: st.DrawFn, *, most: int = 400_000) -> MapSpace:
    """Return a space with three storage levels, of which two are too small for everything.

    Here loops outside one level run on across the next one, and tiles compete for room at two levels at once.
    """
    einsum = parse_einsum(
        draw(st.sampled_from((*KINDS[:1], *KINDS[:1], *KINDS[1:4]))),
        extents={var: draw(st.sampled_from((1, 2, 2, 3, 4, 4, 6, 8))) for var in "bmnkijorst"},
    )
    quarters = st.sampled_from((0.25, 1.0, 1.0, 4.0, 16.0))
    bandwidths = st.sampled_from((None, None, None, 0.5, 1.0, 2.0))
    levels = tuple(
        StorageLevel(
            name=name,
            capacity_words=draw(st.integers(3, 12 * (3 - place))) if place else None,
            words_per_access=draw(st.sampled_from((1, 1, 1, 2))),
            read_energy_pj=draw(quarters),
            write_energy_pj=draw(quarters),
            update_energy_pj=draw(quarters),
            leakage_energy_pj_per_cycle=draw(st.sampled_from((0.0, 0.0, 0.25))),
            fanout_x=draw(st.sampled_from((1, 1, 1, 2, 4))),
            fanout_y=draw(st.sampled_from((1, 1, 1, 2))),
            read_bandwidth_words_per_cycle=draw(bandwidths),
            shared_bandwidth_words_per_cycle=draw(bandwidths),
        )
        for place, name in enumerate(("DRAM", "L1", "RF"))
    )
    machine = Architecture(name="deep", levels=levels, compute_name="MAC", compute_energy_pj=1.0)
    demand = draw(
        st.sampled_from(
            (
                LevelConstraints(),
                LevelConstraints(),
                LevelConstraints(temporal_order=einsum.rank_vars[:1]),
                LevelConstraints(temporal_order=einsum.rank_vars[::-1]),
                LevelConstraints(temporal_limits={einsum.rank_vars[-1]: (2, None)}),
                LevelConstraints(temporal_limits={einsum.rank_vars[0]: (1, 2)}),
                LevelConstraints(bypass=frozenset((einsum.inputs[0].name,))),
            )
        )
    )
    space = map_space(einsum, machine, constraints={draw(st.sampled_from(("DRAM", "L1", "RF"))): demand})
    assume(3000 <= space_size(space) <= most)
    return space


@st.composite
def four_levels(draw: st.DrawFn, *, most: int = 400_000) -> MapSpace:
    """Return a space with four storage levels that are told what to keep, so that only loops are left to choose."""
    einsum = parse_einsum(
        draw(st.sampled_from(KINDS[:2])), extents={var: draw(st.sampled_from((1, 2, 4, 4, 8))) for var in "bmnk"}
    )
    quarters = st.sampled_from((0.25, 1.0, 4.0, 16.0))
    names, tensors = ("DRAM", "L2", "L1", "RF"), frozenset("ABZ")
    levels = tuple(
        StorageLevel(
            name=name,
            capacity_words=draw(st.integers(1, 8 * (4 - place))) if place else None,
            read_energy_pj=draw(quarters),
            write_energy_pj=draw(quarters),
            update_energy_pj=draw(quarters),
            fanout_x=draw(st.sampled_from((1, 1, 1, 1, 2))),
            shared_bandwidth_words_per_cycle=draw(st.sampled_from((None, None, 0.5, 1.0))),
        )
        for place, name in enumerate(names)
    )
    kept = {name: frozenset(draw(st.sets(st.sampled_from("ABZ"), max_size=2))) for name in names[1:]}
    space = map_space(
        einsum,
        Architecture(name="deep", levels=levels, compute_name="MAC", compute_energy_pj=1.0),
        constraints={name: LevelConstraints(keep=keep, bypass=tensors - keep) for name, keep in kept.items()},
    )
    assume(500 <= space_size(space) <= most)
    return space


def search(
    space: MapSpace, *, objective: Objective | str = "edp", padded: bool = False, budget: int | None = None
) -> MappingResult:
    """Return what `map_einsum` makes of the space."""
    return map_einsum(
        space.einsum, space.architecture, objective=objective, constraints=space.demands, both_axes=space.both_axes,
        min_parallelism=space.min_parallelism, padded=padded, budget=budget,
    )  # fmt: skip


def points(space: MapSpace) -> set[Point]:
    """Return energy and cycles of the valid mappings: all of them, or of a large space those that no other beats.

    The large ones are enumerated by `search_exhaustive`, which `test_baseline_laws` holds to the dumb enumeration.
    """
    if space_size(replace(space, demands={}, min_parallelism=0.0)) > _DUMB:
        try:
            found = search_exhaustive(space, objective=OBJECTIVES["edp"])
        except InfeasibleError:
            return set()
        return {(each.energy_pj, each.cycles) for each in found.front}
    every = list(mappings(space))
    if not every:
        return set()
    costs = evaluate_batch(space.einsum, space.architecture, batch_of(space.einsum, every))
    return set(zip(costs.energy_pj[costs.valid].tolist(), costs.cycles[costs.valid].tolist(), strict=True))


def unbeaten(found: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats in both, fewest cycles first: the definition, quadratic."""
    everything = set(found)
    return sorted(
        (
            point
            for point in everything
            if not any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in everything)
        ),
        key=lambda point: point[1],
    )
