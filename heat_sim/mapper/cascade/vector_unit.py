"""What a vector operation costs: a vector unit beside the array, at the outermost storage on the chip that exists once.

Rules (docs/model.md, 10.8): a tensor that resides at home is read and written there. Any other input is either brought
there first, row by row, if a row fits, or read from the outermost level in every pass; results go out again. The reads
that drain a result are not charged, as nowhere else. Operations and bandwidths overlap; the slowest one sets the pace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapper.space import Residence
from heat_sim.model.energy import access_energy_pj
from heat_sim.vector_op import VectorOp, VectorUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedVectorOp:
    """A vector operation and what it costs.

    Attributes:
        einsum: The operation.
        level_pj: Energy of storage by level name, leakage included.
        compute_energy_pj: Energy of the operations.
        cycles: Until the slowest of operations and bandwidths is done.
        words: (reads, fills, updates) by level name and tensor.
    """

    einsum: VectorOp
    level_pj: Mapping[str, float]
    compute_energy_pj: float
    cycles: int
    words: Mapping[tuple[str, str], tuple[int, int, int]]

    @property
    def energy_pj(self) -> float:
        """Of storage and operations."""
        return sum(self.level_pj.values()) + self.compute_energy_pj


def map_vector_op(
    op: VectorOp, architecture: Architecture, unit: VectorUnit, *, home: int | None, residence: Residence | None
) -> tuple[MappedVectorOp, ...]:
    """Return the ways to run a vector operation; none if what resides does not fit.

    Args:
        op: The operation.
        architecture: The hardware.
        unit: The vector unit.
        home: The level it stands at; None is the outermost one.
        residence: What resides at home.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.vector_op import parse_statement
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM", read_energy_pj=100.0, update_energy_pj=100.0),
    ...     StorageLevel(name="GLB", capacity_words=64, read_energy_pj=1.0, write_energy_pj=1.0, update_energy_pj=1.0)))
    >>> op = parse_statement("P[m,n] = softmax(S[m,n]) over n", extents={"m": 2, "n": 8})
    >>> unit = VectorUnit(energy_pj=0.5, operations_per_cycle=8)
    >>> ways = map_vector_op(op, machine, unit, home=1, residence=None)
    >>> [way.energy_pj for way in ways]  # 80 operations; 16 words through GLB, or twice from DRAM
    [3304.0, 4840.0]
    >>> at_home = Residence(level=1, tensors=frozenset("SP"))
    >>> [way.energy_pj for way in map_vector_op(op, machine, unit, home=1, residence=at_home)]
    [88.0]
    """
    resident = frozenset[str]() if residence is None else residence.tensors
    ways: list[MappedVectorOp] = []
    if home is not None:
        room = architecture.levels[home].usable_words
        taken = sum(map(op.words, resident)) + (0 if residence is None else residence.reserved_words)
        extents = dict(op.extents)
        rows = sum(
            math.prod(extents[var] for var in tensor.rank_vars if var in op.over)
            for tensor in op.tensors
            if tensor.name not in resident
        )  # fmt: skip
        if room is not None and taken > room:
            return ()
        if room is None or taken + rows <= room:
            ways.append(_cost(op, architecture, unit, home=home, resident=resident, through=True))
    if len(resident) < len(op.tensors):
        ways.append(_cost(op, architecture, unit, home=home, resident=resident, through=False))
    return tuple(ways)


def _cost(
    op: VectorOp, architecture: Architecture, unit: VectorUnit, *, home: int | None, resident: frozenset[str],
    through: bool,
) -> MappedVectorOp:  # fmt: skip
    main = architecture.levels[0]
    near = main if home is None else architecture.levels[home]
    words: dict[tuple[str, str], tuple[int, int, int]] = {}
    for tensor in op.inputs:
        size = op.words(tensor.name)
        if tensor.name in resident:
            words[near.name, tensor.name] = (op.passes * size, 0, 0)
        elif through and home is not None:
            words[main.name, tensor.name] = (size, 0, 0)
            words[near.name, tensor.name] = (op.passes * size, size, 0)
        else:
            words[main.name, tensor.name] = (op.passes * size, 0, 0)
    out, size = op.output.name, op.words(op.output.name)
    if out in resident or (through and home is not None):
        words[near.name, out] = (0, 0, size)
    if out not in resident:
        words[main.name, out] = (0, 0, size)
    cycles = float(-(-op.operations // unit.operations_per_cycle))
    level_pj: dict[str, float] = {}
    for level in dict.fromkeys((main, near)):
        here = [counts for (name, _), counts in words.items() if name == level.name]
        level_pj[level.name] = sum(
            access_energy_pj(level, reads=reads, fills=fills, updates=updates, instances=1)
            for reads, fills, updates in here
        )
        reads, fills, updates = (sum(counts[kind] for counts in here) for kind in range(3))
        cycles = max(cycles, math.ceil(waiting_cycles(level, reads=reads, writes=fills + updates)))
    for level in dict.fromkeys((main, near)):
        level_pj[level.name] += level.leakage_energy_pj_per_cycle * cycles
    return MappedVectorOp(
        einsum=op, level_pj=level_pj, compute_energy_pj=op.operations * unit.energy_pj, cycles=int(cycles), words=words
    )


def waiting_cycles(level: StorageLevel, *, reads: int = 0, writes: int = 0) -> float:
    """Return the cycles that the bandwidths of one instance ask for."""
    limits = (
        (reads, level.read_bandwidth_words_per_cycle),
        (writes, level.write_bandwidth_words_per_cycle),
        (reads + writes, level.shared_bandwidth_words_per_cycle),
    )
    return max((words / rate for words, rate in limits if rate is not None), default=0.0)
