"""Energy and cycles of many mappings of one einsum at once, by the same counts as one at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, MappingError, describe
from heat_sim.mapping import Mapping
from heat_sim.model.nest import coefficients_of, lower
from heat_sim.model.traffic import count_words_into

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappingBatch:
    """N mappings of one einsum as arrays: L levels, T tensors, V rank variables, P loops at the fullest level.

    Tensors are in the order of `Einsum.tensors`, rank variables in that of `Einsum.extents`.

    Attributes:
        loop_var: (N, L, P) rank variable of each loop in time, outermost first.
        loop_bound: (N, L, P) its bound; 1 where there is no loop.
        mesh_x: (N, L, V) spatial bounds along x below each level.
        mesh_y: (N, L, V) spatial bounds along y.
        keep: (N, T, L) whether the level holds the tensor.
    """

    loop_var: Ints
    loop_bound: Ints
    mesh_x: Ints
    mesh_y: Ints
    keep: Flags

    def __len__(self) -> int:
        """Return the number of mappings."""
        return len(self.loop_var)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchResult:
    """What the model says of each mapping.

    Attributes:
        energy_pj: (N,) NaN where the mapping is not valid.
        cycles: (N,) 0 where the mapping is not valid.
        valid: (N,) whether bounds multiply to the extents, meshes and capacities hold it, and every tensor is kept.
    """

    energy_pj: Floats
    cycles: Ints
    valid: Flags


def batch_of(einsum: Einsum, mappings: Sequence[Mapping]) -> MappingBatch:
    """Return mappings as arrays.

    Args:
        einsum: The workload.
        mappings: At least one, all over the same levels.
    """
    if not mappings:
        raise MappingError("batch_of: no mapping. Give at least one.")
    width = max(1, *(len(level.temporal) for mapping in mappings for level in mapping.levels))
    nests = [lower(einsum, mapping) for mapping in mappings]
    place = {var: index for index, var in enumerate(einsum.rank_vars)}
    count, levels = len(mappings), len(mappings[0].levels)
    loop_var = np.zeros((count, levels, width), dtype=np.int64)
    loop_bound = np.ones((count, levels, width), dtype=np.int64)
    along = {axis: np.ones((count, levels, len(place)), dtype=np.int64) for axis in ("x", "y")}
    for number, (mapping, nest) in enumerate(zip(mappings, nests, strict=True)):
        loop_var[number, :, : nest.loop_var.shape[1]] = nest.loop_var
        loop_bound[number, :, : nest.loop_bound.shape[1]] = nest.loop_bound
        for row, level in enumerate(mapping.levels):
            for loop in level.spatial:
                along[loop.dimension][number, row, place[loop.rank_var]] *= loop.bound
    return MappingBatch(
        loop_var=loop_var, loop_bound=loop_bound, mesh_x=along["x"], mesh_y=along["y"],
        keep=np.array([nest.keep for nest in nests]),
    )  # fmt: skip


def evaluate_batch(einsum: Einsum, architecture: Architecture, mappings: MappingBatch) -> BatchResult:
    """Return energy, cycles and validity of every mapping, as `evaluate` without link transfers gives them.

    Args:
        einsum: The workload.
        architecture: The hardware; networks must cost no energy.
        mappings: As arrays.

    Raises:
        HeatError: Networks cost energy, or counts could exceed 64 bits.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapping import LevelMapping, Loop
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", read_energy_pj=10.0, update_energy_pj=10.0),))
    >>> nest = Mapping(levels=(LevelMapping(level="DRAM", keep=frozenset("ABZ"), temporal=(
    ...     Loop(rank_var="m", bound=2), Loop(rank_var="n", bound=2), Loop(rank_var="k", bound=3))),))
    >>> einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 2, "n": 2, "k": 3})
    >>> evaluate_batch(einsum, machine, batch_of(einsum, [nest, nest])).energy_pj.tolist()
    [452.0, 452.0]
    """
    levels = architecture.levels
    if any(level.hop_energy_pj or level.router_energy_pj for level in levels):
        raise HeatError(
            describe(f"architecture {architecture.name}", "its networks cost energy, which a batch leaves out",
                     got="hop or router energies", expected="none", remedy="Evaluate the mappings one at a time.")
        )  # fmt: skip
    coefficient, plain = coefficients_of(einsum)
    hardware = np.array(
        [
            [
                level.words_per_access, level.read_energy_pj, level.write_energy_pj, level.update_energy_pj,
                level.leakage_energy_pj_per_cycle,
                *(
                    np.inf if bandwidth is None else bandwidth
                    for bandwidth in (
                        level.read_bandwidth_words_per_cycle, level.write_bandwidth_words_per_cycle,
                        level.shared_bandwidth_words_per_cycle,
                    )
                ),
            ]
            for level in levels
        ]
    )  # fmt: skip
    limits = np.array(
        [
            [
                -1 if level.usable_words is None else level.usable_words,
                level.fanout_x,
                level.fanout_y,
                level.is_virtual,
                math.ceil(level.min_utilization * (level.usable_words or 0)),
            ]
            for level in levels
        ],
        dtype=np.int64,
    )
    latency = sum(level.network_fill_latency_cycles + level.network_drain_latency_cycles for level in levels)
    energy_pj = np.full(len(mappings), np.nan)
    cycles = np.zeros(len(mappings), dtype=np.int64)
    _assess(
        mappings.loop_var, mappings.loop_bound, mappings.mesh_x, mappings.mesh_y, mappings.keep, coefficient, plain,
        np.array([extent for _, extent in einsum.extents]), hardware, limits, len(einsum.inputs), latency,
        einsum.ops * architecture.compute_energy_pj, energy_pj, cycles,
    )  # fmt: skip
    return BatchResult(energy_pj=energy_pj, cycles=cycles, valid=cycles > 0)


@njit(cache=True, error_model="numpy")
def _assess(
    loop_var: Ints, loop_bound: Ints, mesh_x: Ints, mesh_y: Ints, keep: Flags, coefficient: Ints, plain: Flags,
    extents: Ints, hardware: Floats, limits: Ints, output: int, latency: int, compute_energy_pj: float,
    energy_pj: Floats, cycles: Ints,
) -> None:  # fmt: skip
    """Fill energy and cycles of every mapping; hardware and limits have one row per level."""
    count, levels, _ = loop_var.shape
    tensors, _, rank_vars = coefficient.shape
    tile, partition = np.ones((tensors, levels), np.int64), np.ones((tensors, levels), np.int64)
    delta, groups = np.zeros((tensors, levels), np.int64), np.ones((tensors, levels), np.int64)
    served = np.zeros((tensors, levels), np.int64)
    inside, fan = np.ones((levels + 1, rank_vars), np.int64), np.ones((levels, rank_vars), np.int64)
    mesh = np.ones((levels, rank_vars), np.int64)
    for number in range(count):
        if not _fits_meshes(mesh_x[number], mesh_y[number], keep[number], limits, mesh):
            continue
        compute_cycles = count_words_into(
            loop_var[number], loop_bound[number], mesh, coefficient, plain, keep[number], inside, fan, tile, partition,
            delta, groups, served,
        )  # fmt: skip
        valid = True
        for var in range(rank_vars):
            valid = valid and inside[0, var] == extents[var]
        for level in range(levels):
            occupied = 0
            for t in range(tensors):
                if keep[number, t, level]:
                    occupied += tile[t, level]
            valid = valid and (limits[level, 0] < 0 or limits[level, 4] <= occupied <= limits[level, 0])
        if not valid:
            continue
        energy = compute_energy_pj
        slowest = compute_cycles
        leak_per_cycle = 0.0
        instances = 1
        for level in range(levels):
            block = int(hardware[level, 0])
            read_rate, write_rate = 0.0, 0.0
            for t in range(tensors):
                if not keep[number, t, level]:
                    continue
                has_parent = False
                for outer in range(level):
                    has_parent = has_parent or keep[number, t, outer]
                reads, updates = served[t, level], 0
                fills = delta[t, level - 1] if has_parent else 0
                if t == output:
                    updates = reads
                    reads -= partition[t, level]
                    fills -= partition[t, level] if has_parent else 0
                read_rate += reads / compute_cycles
                write_rate += (fills + updates) / compute_cycles
                if block > 1:
                    reads = (reads + block - 1) // block
                    fills = (fills + block - 1) // block
                    updates = (updates + block - 1) // block
                energy += instances * (
                    reads * hardware[level, 1] + fills * hardware[level, 2] + updates * hardware[level, 3]
                )
            share = 1.0
            if read_rate > 0:
                share = min(share, hardware[level, 5] / read_rate)
            if write_rate > 0:
                share = min(share, hardware[level, 6] / write_rate)
            if read_rate + write_rate > 0:
                share = min(share, hardware[level, 7] / (read_rate + write_rate))
            if share < 1.0:
                slowest = max(slowest, int(np.ceil(compute_cycles / share)))
            leak_per_cycle += hardware[level, 4] * instances
            for var in range(rank_vars):
                instances *= mesh[level, var]
        energy_pj[number] = energy + leak_per_cycle * slowest
        cycles[number] = slowest + latency


@njit(cache=True, error_model="numpy")
def _fits_meshes(mesh_x: Ints, mesh_y: Ints, keep: Flags, limits: Ints, mesh: Ints) -> bool:
    """Fill the bounds of both axes together and return whether they fit, and every tensor is kept somewhere."""
    levels, rank_vars = mesh.shape
    for level in range(levels):
        along_x, along_y = 1, 1
        for var in range(rank_vars):
            mesh[level, var] = mesh_x[level, var] * mesh_y[level, var]
            along_x *= mesh_x[level, var]
            along_y *= mesh_y[level, var]
        if along_x > limits[level, 1] or along_y > limits[level, 2]:
            return False
    for t in range(keep.shape[0]):
        kept = False
        for level in range(levels):
            if keep[t, level]:
                kept = True
                if limits[level, 3]:
                    return False
        if not kept:
            return False
    return True
