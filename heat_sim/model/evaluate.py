"""Counts, cycles and energy of one mapping."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import InfeasibleError, describe
from heat_sim.mapping import Mapping, check_mapping
from heat_sim.model.energy import access_energy_pj
from heat_sim.model.latency import stalled_cycles, throttle
from heat_sim.model.nest import Nest, lower
from heat_sim.model.network import LevelTraffic, NetworkCounts, network_counts, tensor_traffic
from heat_sim.model.report import LevelReport, Report, TensorCounts
from heat_sim.model.traffic import count_words


def evaluate(einsum: Einsum, architecture: Architecture, mapping: Mapping, *, link_transfers: bool = True) -> Report:
    """Return counts, cycles and energy of the einsum under the mapping, as Timeloop reports them.

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: Perfect bounds only.
        link_transfers: Whether neighbouring children hand each other words that the level would send again
            (model section 9), as Timeloop does unless told otherwise.

    Raises:
        SpecError: The einsum is outside what the model covers.
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
    nest = lower(einsum, mapping)
    tile, partition, delta, _, _ = count_words(
        nest.loop_var, nest.loop_bound, nest.mesh, nest.coefficient, nest.plain, nest.keep
    )
    _check_capacity(einsum, architecture, nest, tile)
    compute_cycles = math.prod(loop.bound for level in mapping.levels for loop in level.temporal)
    spatial = [math.prod(loop.bound for loop in level.spatial) for level in mapping.levels]
    traffic = [
        tensor_traffic(einsum, architecture, mapping, nest=nest, t=t, delta=delta[t], link_transfers=link_transfers)
        for t in range(len(einsum.tensors))
    ]
    levels: list[LevelReport] = []
    for row, storage in enumerate(architecture.levels):
        instances = math.prod(spatial[:row])
        tensors: dict[str, TensorCounts] = {}
        networks: dict[str, NetworkCounts] = {}
        reads_all: list[int] = []
        writes_all: list[int] = []
        for t, tensor in enumerate(einsum.tensors):
            below = traffic[t][row]
            if below is None:
                tensors[tensor.name], networks[tensor.name] = TensorCounts(), NetworkCounts()
                continue
            is_output = tensor is einsum.output
            distinct = int(partition[t, row])
            networks[tensor.name] = network_counts(
                below, storage, is_output=is_output, instances=instances, partition_words=distinct
            )  # fmt: skip
            if not nest.keep[t, row]:
                tensors[tensor.name] = TensorCounts()
                continue
            reads, fills, updates = _per_instance(
                below, traffic[t][row - 1] if row else None, is_output=is_output, instances=instances,
                partition=distinct,
            )  # fmt: skip
            reads_all.append(reads)
            writes_all.append(fills + updates)
            tensors[tensor.name] = TensorCounts(
                kept=True,
                tile_words=int(tile[t, row]),
                partition_words=distinct,
                reads=reads * instances,
                fills=fills * instances,
                updates=updates * instances,
                energy_pj=access_energy_pj(storage, reads=reads, fills=fills, updates=updates, instances=instances),
            )
        share = throttle(storage, reads=reads_all, writes=writes_all, compute_cycles=compute_cycles)
        levels.append(
            LevelReport(
                name=storage.name,
                instances_available=architecture.instances(row),
                instances_used=instances,
                cycles=stalled_cycles(compute_cycles, share),
                throttle=share,
                occupied_words=sum(counts.tile_words for counts in tensors.values()),
                leakage_energy_pj=0.0,
                tensors=tensors,
                networks=networks,
            )
        )
    slowest = max(compute_cycles, *(level.cycles for level in levels))
    return Report(
        einsum=einsum.name,
        architecture=architecture,
        ops=einsum.ops,
        units_used=math.prod(spatial),
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


def _per_instance(
    below: LevelTraffic, above: LevelTraffic | None, *, is_output: bool, instances: int, partition: int
) -> tuple[int, int, int]:
    """Return reads, fills and updates of one tensor in one instance of a level that keeps it.

    The first arrival of each element of an output finds nothing to add to, so it is neither read
    back here nor fetched from outside (first-read elision). Words that neighbours hand each other are
    read and written at this level; above is None at the outermost level that keeps the tensor.
    """
    served = below.words
    elided = partition if is_output else 0
    if above is None:
        return round(served - elided), 0, round(served) if is_output else 0
    from_neighbours = above.links // instances
    reads, fills = served + from_neighbours - elided, above.child_words + from_neighbours - elided
    return round(reads), round(fills), round(served) if is_output else 0


def _check_capacity(einsum: Einsum, architecture: Architecture, nest: Nest, tile: NDArray[np.int64]) -> None:
    for row, storage in enumerate(architecture.levels):
        held = {
            tensor.name: int(tile[t, row]) for t, tensor in enumerate(einsum.tensors) if nest.keep[t, row]
        }  # fmt: skip
        if storage.usable_words is not None and sum(held.values()) > storage.usable_words:
            need = sum(held.values())
            raise InfeasibleError(
                describe(
                    f"mapping of {einsum.name} at level {storage.name}",
                    "the tiles do not fit (model section 2)",
                    got=f"{need:,} words: " + ", ".join(f"{name} {words:,}" for name, words in held.items()),
                    expected=f"at most {storage.usable_words:,} words",
                    remedy="Move bounds to an outer level or bypass a tensor.",
                ),
                level=storage.name,
                need=need,
                capacity=storage.usable_words,
            )
