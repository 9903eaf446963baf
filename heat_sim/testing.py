"""Seeded random einsums, architectures and mappings, and equality of reports: for tests, benchmarks and notebooks.

Everything drawn is small (a nest can be executed op by op), valid, and comes from the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import SpecError, describe
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping

EinsumKind = Literal[
    "matmul", "batched-matmul", "matvec", "outer", "dot", "tt-step", "mttkrp", "ttmc",
    "conv1d", "conv1d-strided", "conv1d-dilated", "conv2d", "conv2d-strided",
]  # fmt: skip

EINSUMS: dict[EinsumKind, str] = {
    "matmul": "Z[m,n] = A[m,k] * B[k,n]",
    "batched-matmul": "Z[b,m,n] = A[b,m,k] * B[b,k,n]",
    "matvec": "Z[m] = A[m,k] * B[k]",
    "outer": "Z[m,n] = A[m] * B[n]",
    "dot": "Z[] = A[k] * B[k]",
    "tt-step": "Z[a,c,s] = A[a,i,r,s] * B[i,c,r]",
    "mttkrp": "Z[i,r] = A[i,j,k] * B[j,r] * C[k,r]",
    "ttmc": "Z[i,r,s] = A[i,j,k] * B[j,r] * C[k,s]",
    "conv1d": "Z[p] = A[p+r] * B[r]",
    "conv1d-strided": "Z[p] = A[2*p+r] * B[r]",
    "conv1d-dilated": "Z[k,p] = A[p+2*r] * B[k,r]",
    "conv2d": "Z[n,k,p,q] = A[n,c,p+r,q+s] * B[k,c,r,s]",
    "conv2d-strided": "Z[k,p,q] = A[c,2*p+r,3*q+2*s] * B[k,c,r,s]",
}
"""The statement of each kind."""

PLAIN_KINDS: tuple[EinsumKind, ...] = tuple(kind for kind, statement in EINSUMS.items() if "+" not in statement)
"""The kinds without sliding windows: every rank of every tensor is indexed by one rank variable."""

_T = TypeVar("_T")
_EXTENTS = (1, 2, 3, 4, 5, 6, 8, 12)
_STORAGES = ("DRAM", "GLB", "L1", "RF")
_TRIES = 20
_SHOWN = 5
_PROVENANCE = frozenset({"case", "note", "tool", "tool_commit", "environment", "inserted_levels"})


def random_einsum(rng: np.random.Generator, *, kind: EinsumKind | None = None, max_ops: int = 2048) -> Einsum:
    """Return an einsum of the kind, or of any, with random extents and at most `max_ops` ops.

    Raises:
        SpecError: `max_ops` is below 1.

    >>> einsum = random_einsum(np.random.default_rng(2), kind="mttkrp", max_ops=100)
    >>> print(einsum, dict(einsum.extents))
    Z[i,r] = A[i,j,k] * B[j,r] * C[k,r] {'i': 8, 'j': 1, 'k': 3, 'r': 3}
    """
    if max_ops < 1:
        raise SpecError(
            describe("random_einsum", "bad max_ops", got=max_ops, expected="at least 1", remedy="Raise it.")
        )
    drawn: EinsumKind = kind if kind is not None else _choice(rng, tuple(EINSUMS))
    variables = [char for char in dict.fromkeys(EINSUMS[drawn]) if char.isalpha() and char.islower()]
    while True:
        extents = {var: _choice(rng, _EXTENTS) for var in variables}
        if math.prod(extents.values()) <= max_ops:
            return parse_einsum(EINSUMS[drawn], extents=extents, name=drawn)


def random_architecture(rng: np.random.Generator, *, storages: int | None = None) -> Architecture:
    """Return an architecture of 1 to 4 storage levels, some with a second mesh between two of them.

    Every inner level holds at least 8 words after multiple buffering, so the mapping with all
    loops in time at the outermost level fits each of them.

    Args:
        rng: Source of every choice.
        storages: Number of storage levels, 1 to 4; drawn if left out.

    Raises:
        SpecError: `storages` is not 1 to 4.

    >>> print(random_architecture(np.random.default_rng(3), storages=2))
    random-2: 12 x MAC (1.75 pJ/op)
      DRAM x 1: unbounded
        DRAM_mesh x 1: no storage -> 3 x 1 children
          RF x 3: 64 words of 16 bits -> 1 x 4 children
    """
    if storages is None:
        storages = int(rng.integers(1, len(_STORAGES) + 1))
    if not 1 <= storages <= len(_STORAGES):
        raise SpecError(
            describe(
                "random_architecture", "bad number of storages", got=storages, expected="1 to 4", remedy="Mend it."
            )
        )
    inner = sorted(rng.choice(np.arange(1, len(_STORAGES)), size=storages - 1, replace=False).tolist())
    levels: list[StorageLevel] = []
    for place in (0, *inner):
        levels.append(_random_storage(rng, _STORAGES[place], is_outermost=place == 0))
        if rng.random() < 0.2:
            x, y = _random_mesh(rng)
            levels.append(StorageLevel(name=f"{_STORAGES[place]}_mesh", fanout_x=x, fanout_y=y, is_virtual=True))
    return Architecture(
        name=f"random-{storages}",
        levels=tuple(levels),
        compute_name="MAC",
        compute_energy_pj=_quarters(rng, 1, 8),
    )


def random_mapping(
    rng: np.random.Generator,
    *,
    einsum: Einsum,
    architecture: Architecture,
    both_axes: bool = False,
    imperfect: bool = False,
) -> Mapping:
    """Return a mapping of the einsum that fits the meshes and the capacities of the architecture.

    Args:
        rng: Source of every choice.
        einsum: The workload.
        architecture: The hardware.
        both_axes: Whether one rank variable may run along x and y of the same mesh; Timeloop's mapper never does that.
        imperfect: Whether bounds need not divide the extents, so that loops have residuals.

    >>> rng = np.random.default_rng(1)
    >>> print(random_mapping(rng, einsum=random_einsum(rng, kind="matmul"), architecture=random_architecture(rng)))
    DRAM [A, B, Z]
    | for n in 0..4
      GLB [keeps nothing]
      | parallel-for-y m in 0..1
        L1 [A, B]
        | for k in 0..1
          L1_mesh [keeps nothing]
          | parallel-for-x k in 0..1
            RF [B, Z]
            | for m in 0..1
              | parallel-for-y k in 0..1
    """
    for _ in range(_TRIES):
        mapping = _draw_mapping(rng, einsum, architecture=architecture, both_axes=both_axes)
        if imperfect:
            mapping = _with_residuals(rng, mapping, einsum=einsum, architecture=architecture)
        if _fits(einsum, architecture, mapping=mapping):
            return mapping
    # All loops in time at the outermost level: one word of each tensor everywhere else.
    order = _shuffled(rng, [Loop(rank_var=var, bound=extent) for var, extent in einsum.extents])
    keep = frozenset(tensor.name for tensor in einsum.tensors)
    return Mapping(
        levels=tuple(
            LevelMapping(
                level=level.name,
                temporal=order if place == 0 else (),
                keep=frozenset() if level.is_virtual else keep,
            )
            for place, level in enumerate(architecture.levels)
        )
    )


def assert_same_counts(got: AbstractMapping[str, object], expected: AbstractMapping[str, object]) -> None:
    """Raise AssertionError that names what differs between two reports, in the schema of `Report.to_json`.

    Only what `expected` holds is compared, so it may leave fields out; where it comes from (its
    case, note, tool) is no part of it. Counts are integers and must be equal; energies, bandwidths
    and ratios may differ by 1e-9 of their value.

    >>> assert_same_counts({"cycles": 7, "energy_pJ": 2.0}, {"cycles": 8})
    Traceback (most recent call last):
    AssertionError: 1 difference: cycles: got 7, expected 8
    """
    differences = [
        line
        for key in expected
        if key not in _PROVENANCE
        for line in _differences(got.get(key), expected[key], where=key)
    ]
    if differences:
        count = f"{len(differences)} difference{'s' if len(differences) > 1 else ''}"
        shown = differences[:_SHOWN] + [f"and {len(differences) - _SHOWN} more"] * (len(differences) > _SHOWN)
        raise AssertionError(f"{count}: " + "; ".join(shown))


def _differences(got: object, expected: object, *, where: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            yield from _differences(got.get(key), expected[key], where=f"{where}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for place, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
            name = theirs.get("name", place) if isinstance(theirs, dict) else place
            yield from _differences(ours, theirs, where=f"{where}.{name}")
    elif not _same(got, expected):
        yield f"{where}: got {got}, expected {expected}"


def _same(got: object, expected: object) -> bool:
    if isinstance(got, float) and isinstance(expected, int | float):
        return math.isclose(got, expected, rel_tol=1e-9)
    return got == expected


def _draw_mapping(rng: np.random.Generator, einsum: Einsum, *, architecture: Architecture, both_axes: bool) -> Mapping:
    bounds: list[dict[tuple[str, Dimension], int]] = [{} for _ in architecture.levels]
    for var, extent in einsum.extents:
        for prime in _prime_factors(extent):
            place = int(rng.integers(len(bounds)))
            here, storage = bounds[place], architecture.levels[place]
            axis: Dimension = _choice(rng, ("temporal", "x", "y"))
            if axis != "temporal":
                mesh, other = (storage.fanout_x, "y") if axis == "x" else (storage.fanout_y, "x")
                used = math.prod(bound for (_, where), bound in here.items() if where == axis)
                if used * prime > mesh or (not both_axes and (var, other) in here):
                    axis = "temporal"
            if axis == "temporal" and storage.is_virtual:
                place -= 1  # a virtual level has no loops in time; the one above it is a storage
            key = (var, axis)
            bounds[place][key] = bounds[place].get(key, 1) * prime
    keepers = _draw_keepers(rng, einsum, architecture=architecture)
    levels: list[LevelMapping] = []
    for storage, here, keep in zip(architecture.levels, bounds, keepers, strict=True):
        loops = _shuffled(rng, [Loop(rank_var=var, bound=bound, dimension=axis) for (var, axis), bound in here.items()])
        levels.append(
            LevelMapping(
                level=storage.name,
                temporal=tuple(loop for loop in loops if loop.dimension == "temporal"),
                spatial=tuple(loop for loop in loops if loop.dimension != "temporal"),
                keep=keep,
            )
        )
    return Mapping(levels=tuple(levels))


def _with_residuals(
    rng: np.random.Generator, mapping: Mapping, *, einsum: Einsum, architecture: Architecture
) -> Mapping:
    """Return the nest with other bounds: from the inside out, what a loop leaves of its rank variable is for the next.

    The outermost loop of each rank variable, in time at the outermost level, takes the rest.
    """
    rest = dict(einsum.extents)
    levels: list[LevelMapping] = []
    for storage, level in reversed(list(zip(architecture.levels, mapping.levels, strict=True))):
        room = {"x": storage.fanout_x, "y": storage.fanout_y, "temporal": max(rest.values())}
        loops: list[Loop] = []
        for loop in reversed(level.loops):
            left = rest[loop.rank_var]
            bound = int(rng.integers(1, min(left, room[loop.dimension]) + 1))
            rest[loop.rank_var] = -(-left // bound)
            last = left - (rest[loop.rank_var] - 1) * bound
            if bound > 1:
                loops.insert(0, replace(loop, bound=bound, residual=last if last < bound else None))
                room[loop.dimension] //= bound if loop.dimension != "temporal" else 1
        temporal = tuple(loop for loop in loops if loop.dimension == "temporal")
        levels.insert(0, replace(level, temporal=temporal, spatial=tuple(loops[len(temporal) :])))
    remaining = _shuffled(rng, [Loop(rank_var=var, bound=bound) for var, bound in rest.items() if bound > 1])
    levels[0] = replace(levels[0], temporal=(*remaining, *levels[0].temporal))
    return Mapping(levels=tuple(levels))


def _draw_keepers(rng: np.random.Generator, einsum: Einsum, *, architecture: Architecture) -> list[frozenset[str]]:
    """Return per level the tensors it keeps: mostly all; the outermost level keeps what nobody else does."""
    storages = [place for place, level in enumerate(architecture.levels) if not level.is_virtual]
    keepers: list[set[str]] = [set() for _ in architecture.levels]
    for tensor in einsum.tensors:
        inner = [place for place in storages[1:] if rng.random() < 0.7]
        for place in inner if inner and rng.random() < 0.1 else [0, *inner]:
            keepers[place].add(tensor.name)
    return [frozenset(names) for names in keepers]


def _fits(einsum: Einsum, architecture: Architecture, *, mapping: Mapping) -> bool:
    for place, (storage, level) in enumerate(zip(architecture.levels, mapping.levels, strict=True)):
        extents = dict.fromkeys(einsum.rank_vars, 1) | mapping.tile_extents(place)
        words = sum(math.prod(einsum.tensor(name).shape(extents)) for name in level.keep)
        if storage.usable_words is not None and words > storage.usable_words:
            return False
    return True


def _random_storage(rng: np.random.Generator, name: str, *, is_outermost: bool) -> StorageLevel:
    x, y = _random_mesh(rng)
    return StorageLevel(
        name=name,
        capacity_words=None if is_outermost else _choice(rng, (None, 16, 64, 256, 1024)),
        word_bits=_choice(rng, (8, 16, 24)),
        words_per_access=_choice(rng, (1, 1, 2, 4, 8)),
        read_energy_pj=_quarters(rng, 1, 800),
        write_energy_pj=_quarters(rng, 1, 800),
        update_energy_pj=_quarters(rng, 1, 800),
        leakage_energy_pj_per_cycle=_choice(rng, (0.0, 0.0, 0.125)),
        fanout_x=x,
        fanout_y=y,
        read_bandwidth_words_per_cycle=_choice(rng, (None, None, 0.5, 2.0, 16.0)),
        write_bandwidth_words_per_cycle=_choice(rng, (None, None, 0.5, 2.0, 16.0)),
        shared_bandwidth_words_per_cycle=_choice(rng, (None, None, None, 1.0, 8.0)),
        multiple_buffering=_choice(rng, (1.0, 1.0, 1.5, 2.0)),
        network_fill_latency_cycles=_choice(rng, (0, 0, 7)),
        network_drain_latency_cycles=_choice(rng, (0, 0, 5)),
        hop_energy_pj=_choice(rng, (0.0, 0.0, 0.5)),
        router_energy_pj=_choice(rng, (0.0, 0.0, 0.25)),
        drains_in_place=not is_outermost,
    )


def _random_mesh(rng: np.random.Generator) -> tuple[int, int]:
    return _choice(rng, (1, 1, 2, 3, 4)), _choice(rng, (1, 1, 1, 2, 4))


def _quarters(rng: np.random.Generator, low: int, high: int) -> float:
    """Return a multiple of 1/4, so that sums of energies are exact in floating point."""
    return int(rng.integers(low, high)) / 4


def _prime_factors(number: int) -> list[int]:
    factors: list[int] = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def _choice(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Return one of the options as it is: `Generator.choice` would return numpy scalars."""
    return options[int(rng.integers(len(options)))]


def _shuffled(rng: np.random.Generator, loops: Sequence[Loop]) -> tuple[Loop, ...]:
    return tuple(loops[place] for place in rng.permutation(len(loops)).tolist())
