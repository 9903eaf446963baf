"""Counts, cycles and energy of one mapping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import InfeasibleError, describe
from heat_sim.mapping import Mapping, check_mapping
from heat_sim.model.energy import access_energy_pj
from heat_sim.model.latency import stalled_cycles, throttle
from heat_sim.model.network import NetworkCounts
from heat_sim.model.report import LevelReport, Report, TensorCounts
from heat_sim.model.residual import count_cycles
from heat_sim.model.words import Words, perfect_words, residual_words


def evaluate(
    einsum: Einsum,
    architecture: Architecture,
    mapping: Mapping,
    *,
    link_transfers: bool = True,
    accumulates: bool = False,
) -> Report:
    """Return counts, cycles and energy of the einsum under the mapping, as Timeloop reports them.

    Imperfect mappings are counted exactly, which Timeloop does not do (docs/model.md, section 12).

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: The loop nest.
        link_transfers: Whether neighbouring children hand each other words that the level would send again
            (model section 9), as Timeloop does unless told otherwise; imperfect mappings have none.
        accumulates: Whether partial sums of the output are there before the run, so that none is a first arrival
            (rule 5.5).

    Raises:
        HeatError: A sliding window under an imperfect mapping of too many steps to be run.
        MappingError: The mapping does not belong to this einsum and architecture.
        InfeasibleError: Tiles exceed a capacity, or spatial bounds a mesh.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelMapping, Loop
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", read_energy_pj=10.0, update_energy_pj=10.0),))
    >>> nest = Mapping(levels=(LevelMapping(level="DRAM", keep=frozenset("ABZ"), temporal=(
    ...     Loop(rank_var="m", bound=2), Loop(rank_var="n", bound=2), Loop(rank_var="k", bound=3))),))
    >>> report = evaluate(parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 2, "n": 2, "k": 3}), machine, nest)
    >>> report.cycles, report.energy_pj  # 12 ops; A and B are read 12 times, Z updated 12 and re-read 8 times
    (12, 452.0)
    """
    check_mapping(einsum, architecture, mapping)
    if mapping.is_perfect:
        words = perfect_words(
            einsum, architecture, mapping, link_transfers=link_transfers, accumulates=accumulates
        )  # fmt: skip
        compute_cycles = math.prod(loop.bound for level in mapping.levels for loop in level.temporal)
    else:
        words = residual_words(einsum, architecture, mapping, accumulates=accumulates)
        compute_cycles = count_cycles(einsum, mapping)
    _check_capacity(einsum, architecture, words)
    meshes = [math.prod(loop.bound for loop in level.spatial) for level in mapping.levels]
    levels = [
        _level_report(
            architecture, row, [tensor.name for tensor in einsum.tensors], words=[each[row] for each in words],
            instances=math.prod(meshes[:row]), compute_cycles=compute_cycles,
        )
        for row in range(len(architecture.levels))
    ]  # fmt: skip
    slowest = max(compute_cycles, *(level.cycles for level in levels))
    return Report(
        einsum=einsum.name,
        architecture=architecture,
        ops=einsum.ops,
        units_used=math.prod(meshes),
        compute_cycles=compute_cycles,
        cycles=slowest
        + sum(s.network_fill_latency_cycles + s.network_drain_latency_cycles for s in architecture.levels),
        compute_energy_pj=einsum.ops * architecture.compute_energy_pj,
        levels=tuple(
            replace(level, leakage_energy_pj=storage.leakage_energy_pj_per_cycle * level.instances_used * slowest)
            for level, storage in zip(levels, architecture.levels, strict=True)
            if not storage.is_virtual
        ),
    )


def _level_report(
    architecture: Architecture,
    row: int,
    names: Sequence[str],
    *,
    words: Sequence[Words | None],
    instances: int,
    compute_cycles: int,
) -> LevelReport:
    """Return the report of one level, still without leakage; words are per tensor, in the order of the names."""
    storage = architecture.levels[row]
    kept = {name: each for name, each in zip(names, words, strict=True) if each is not None and each.is_kept}
    share = throttle(
        storage,
        reads=[each.reads / instances for each in kept.values()],
        writes=[(each.fills + each.updates) / instances for each in kept.values()],
        compute_cycles=compute_cycles,
    )
    return LevelReport(
        name=storage.name,
        instances_available=architecture.instances(row),
        instances_used=instances,
        cycles=stalled_cycles(compute_cycles, share),
        throttle=share,
        occupied_words=sum(each.tile for each in kept.values()),
        leakage_energy_pj=0.0,
        tensors={
            name: TensorCounts(
                kept=True,
                tile_words=kept[name].tile,
                partition_words=kept[name].partition,
                reads=kept[name].reads,
                fills=kept[name].fills,
                updates=kept[name].updates,
                energy_pj=access_energy_pj(
                    storage,
                    reads=kept[name].reads,
                    fills=kept[name].fills,
                    updates=kept[name].updates,
                    instances=instances,
                ),
            )
            if name in kept
            else TensorCounts()
            for name in names
        },
        networks={
            name: NetworkCounts() if each is None else each.network for name, each in zip(names, words, strict=True)
        },
    )


def _check_capacity(einsum: Einsum, architecture: Architecture, words: Sequence[Sequence[Words | None]]) -> None:
    for row, storage in enumerate(architecture.levels):
        held = {
            tensor.name: each.tile
            for tensor, rows in zip(einsum.tensors, words, strict=True)
            if (each := rows[row]) is not None and each.is_kept
        }
        need = sum(held.values())
        if storage.usable_words is None:
            continue
        least = math.ceil(storage.min_utilization * storage.usable_words)
        if need < least:
            raise InfeasibleError(
                describe(
                    f"mapping of {einsum.name} at level {storage.name}",
                    f"the tiles fill less than its min_utilization of {storage.min_utilization:g} (model section 2)",
                    got=f"{need:,} words",
                    expected=f"at least {least:,} of {storage.usable_words:,} words",
                    remedy="Move bounds to this level or keep another tensor.",
                ),
                level=storage.name,
                need=least,
                capacity=storage.usable_words,
            )
        if need > storage.usable_words:
            raise InfeasibleError(
                describe(
                    f"mapping of {einsum.name} at level {storage.name}",
                    "the tiles do not fit (model section 2)",
                    got=f"{need:,} words: " + ", ".join(f"{name} {tile:,}" for name, tile in held.items()),
                    expected=f"at most {storage.usable_words:,} words",
                    remedy="Move bounds to an outer level or bypass a tensor.",
                ),
                level=storage.name,
                need=need,
                capacity=storage.usable_words,
            )
