"""A batched matmul on an architecture under constraints, as the plain arrays the kernels run on.

Classes are in the order of `CLASSES` (batch, m, n, k), tensors A, B, Z; index 0 is the outermost level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heat_sim.mapper.matmul import Matmul
from heat_sim.mapper.mesh import divisors
from heat_sim.mapper.space import MapSpace

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

UNBOUNDED = np.int64(2**62)


class Problem(NamedTuple):
    """What the kernels need to know; L levels.

    Attributes:
        extent: (4,) of the classes.
        words: (3,) of A, B and Z.
        usable: (L,) words that the tiles of one instance may fill.
        least: (L,) words that they must fill.
        counted: (L,) tensors whose tiles count there, bit t for tensor t; others have their room already.
        block: (L,) words per access.
        energy: (L, 3) pJ per read, write and update access.
        leak: (L,) pJ per cycle and used instance.
        rate: (L, 3) words per cycle of reads, of writes, and of both together; infinite if unlimited.
        compute_pj: Energy of all ops.
        latency: Cycles of all networks.
        keeps: (L, K) allowed keep masks, bit t for tensor t; -1 where there are no more.
        low: (L, 4) least bound in time.
        high: (L, 4) most.
        order: (L, 4) classes that must be the innermost loops in time, innermost first; -1 where free.
        first_reads: 1 if the first arrival of each partial sum finds nothing to read, 0 if all find something.
        least_units: Compute units that must be used.
        divisor: (4, D) divisors of the extents, ascending.
        divisors: (4,) how many.
        prime: (4, D) the smallest prime factor of each, 1 for 1.
    """

    extent: Ints
    words: Ints
    usable: Ints
    least: Ints
    counted: Ints
    block: Ints
    energy: Floats
    leak: Floats
    rate: Floats
    compute_pj: float
    latency: int
    keeps: Ints
    low: Ints
    high: Ints
    order: Ints
    first_reads: int
    least_units: int
    divisor: Ints
    divisors: Ints
    prime: Ints

    @property
    def ops(self) -> int:
        """Multiply-accumulates."""
        return math.prod(int(extent) for extent in self.extent)


def problem_of(space: MapSpace, matmul: Matmul) -> Problem:
    """Return the arrays of a space whose constraints speak of whole classes only (`speaks_of_classes`)."""
    levels = space.architecture.levels
    names = [tensor.name for tensor in space.einsum.tensors]
    rooms = [space.room_words(place) for place in range(len(levels))]
    resident = {} if space.residence is None else {space.residence.level: space.residence.tensors}
    keeps = [[_mask(names, option) for option in space.keep_options(place)] for place in range(len(levels))]
    width = max(map(len, keeps))
    low, high = np.ones((len(levels), 4), np.int64), np.ones((len(levels), 4), np.int64)
    order = np.full((len(levels), 4), -1, np.int64)
    for place, storage in enumerate(levels):
        for c, members in enumerate(matmul.members):
            limits = [space.temporal_limit(place, var) for var in members if space.einsum.extent(var) > 1]
            if any(space.temporal_limit(place, var)[0] > space.einsum.extent(var) for var in members):
                low[place, c] = UNBOUNDED
            # Of a class with several members none is constrained: each bound may be the whole class.
            elif len(limits) == 1:
                low[place, c], high[place, c] = limits[0]
            elif not storage.is_virtual:
                high[place, c] = matmul.extents[c]
        listed = [c for var in space.inner_order(place) for c in range(4) if var in matmul.members[c]]
        listed = [c for c in listed if matmul.extents[c] > 1]
        order[place, : len(listed)] = listed
    if _batch_may_go_outermost(space, low, high, order, matmul):
        # Batch loops are irrelevant to no tensor. As the outermost loops they end no stationary run and
        # make every tile smaller, so they are best there.
        high[1:, 0] = 1
    lists = [divisors(extent) for extent in matmul.extents]
    divisor, prime = np.ones((2, 4, max(map(len, lists))), dtype=np.int64)
    for c, values in enumerate(lists):
        divisor[c, : len(values)] = values
        prime[c, : len(values)] = [next((d for d in values[1:] if value % d == 0), 1) for value in values]
    return Problem(
        extent=np.array(matmul.extents, dtype=np.int64),
        words=np.array(matmul.words, dtype=np.int64),
        usable=np.array([UNBOUNDED if room is None else room for room in rooms]),
        least=np.array(
            [
                math.ceil(level.min_utilization * (level.usable_words or 0)) - (level.usable_words or 0) + (room or 0)
                for level, room in zip(levels, rooms, strict=True)
            ]
        ),
        counted=np.array([7 & ~_mask(names, resident.get(place, frozenset())) for place in range(len(levels))]),
        block=np.array([level.words_per_access for level in levels]),
        energy=np.array([[lv.read_energy_pj, lv.write_energy_pj, lv.update_energy_pj] for lv in levels], np.float64),
        leak=np.array([0.0 if lv.is_virtual else lv.leakage_energy_pj_per_cycle for lv in levels]),
        rate=np.array(
            [
                [
                    np.inf if rate is None else float(rate)
                    for rate in (
                        lv.read_bandwidth_words_per_cycle,
                        lv.write_bandwidth_words_per_cycle,
                        lv.shared_bandwidth_words_per_cycle,
                    )
                ]
                for lv in levels
            ]
        ),
        compute_pj=float(space.einsum.ops * space.architecture.compute_energy_pj),
        latency=sum(lv.network_fill_latency_cycles + lv.network_drain_latency_cycles for lv in levels),
        keeps=np.array([option + [-1] * (width - len(option)) for option in keeps], dtype=np.int64),
        low=low,
        high=high,
        order=order,
        first_reads=0 if space.accumulates else 1,
        least_units=math.ceil(space.min_parallelism * space.architecture.peak_ops_per_cycle),
        divisor=divisor,
        divisors=np.array([len(values) for values in lists]),
        prime=prime,
    )


def _mask(names: list[str], kept: frozenset[str]) -> int:
    """Return bit t for every tensor t that is kept."""
    return sum(1 << t for t, name in enumerate(names) if name in kept)


def _batch_may_go_outermost(space: MapSpace, low: Ints, high: Ints, order: Ints, matmul: Matmul) -> bool:
    extent = matmul.extents[0]
    free = bool((low[:, 0] <= 1).all()) and int(high[0, 0]) == extent
    unordered = not (order == 0).any()
    return free and unordered and all(level.min_utilization == 0 for level in space.architecture.levels)


def speaks_of_classes(space: MapSpace, matmul: Matmul) -> bool:
    """Return whether no constraint tells apart rank variables of one class.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> from heat_sim.mapper.matmul import as_matmul
    >>> from heat_sim.mapper.space import map_space
    >>> from heat_sim.mapping import LevelConstraints
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"),))
    >>> step = parse_einsum("T[s,o] = X[s,i,j] * G[o,i,j]", extents=dict(s=8, i=4, j=6, o=3))
    >>> demands = [{"DRAM": LevelConstraints(temporal_bounds={var: 2})} for var in "si"]
    >>> [speaks_of_classes(map_space(step, machine, constraints=demand), as_matmul(step)) for demand in demands]
    [True, False]
    """
    several = {
        var
        for members in matmul.members
        if sum(space.einsum.extent(var) > 1 for var in members) > 1
        for var in members
    }  # fmt: skip
    for place in range(len(space.architecture.levels)):
        demand = space.demand(place)
        named = {
            *demand.temporal_bounds, *demand.temporal_limits, *(demand.temporal_order or ()),
            *demand.spatial_bounds, *demand.spatial_limits, *(demand.spatial_order or ()),
        }  # fmt: skip
        if named & several or (demand.split is not None and several):
            return False
    return True
