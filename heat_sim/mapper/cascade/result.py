"""What a search over a cascade returns: groups, their mappings, and where energy and cycles go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapper.cascade.parts import Mapped
from heat_sim.mapper.cascade.pipeline import Pipeline, steps
from heat_sim.mapper.cascade.plan import GroupPlan, Part, Transfer
from heat_sim.mapper.cascade.vector_unit import MappedVectorOp
from heat_sim.mapper.edp import Point
from heat_sim.mapper.objective import Objective
from heat_sim.model.energy import access_energy_pj


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a breakdown, all iterations together.

    Attributes:
        what: The einsum, vector operation or transfer.
        ops: Multiply-accumulates; 0 for all else.
        count: How often it runs.
        cycles: In all.
        energy_pj: By level name; compute under the name of the compute units, vector operations under "vector".
        main_words: Words read from and written to the outermost level.
    """

    what: str
    ops: int
    count: int
    cycles: int
    energy_pj: dict[str, float]
    main_words: int


class HasRows(Protocol):
    """Whatever can say where its energy and cycles go."""

    def rows(self) -> Iterable[Row]:
        """Return the lines of a breakdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedGroup:
    """A group of einsums, fused unless it is one, with the mapping of each part.

    Attributes:
        plan: How it runs.
        parts: What runs in an iteration, and in how many.
        mapped: How each part runs, and its cost in one iteration.
        architecture: The hardware.
        pipeline: How the einsums share the array if they are at work at the same time; None if one after another.
    """

    plan: GroupPlan
    parts: tuple[Part, ...]
    mapped: tuple[Mapped, ...]
    architecture: Architecture
    pipeline: Pipeline | None = None

    @property
    def energy_pj(self) -> float:
        """Of all iterations, transfers included."""
        moved, _ = transfers_cost(self.plan, self.architecture)
        return moved + sum(
            part.count * each.energy_pj for part, each in zip(self.parts, self.mapped, strict=True)
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        """Of all iterations, transfers included."""
        _, moved = transfers_cost(self.plan, self.architecture)
        if self.pipeline is not None:
            return moved + steps(self.plan, self.pipeline) * max(each.cycles for each in self.mapped)
        return moved + sum(part.count * each.cycles for part, each in zip(self.parts, self.mapped, strict=True))

    def rows(self) -> Iterator[Row]:
        """Yield where energy and cycles go."""
        for part, each in zip(self.parts, self.mapped, strict=True):
            row = _part_row(part, each, self.architecture)
            yield row if self.pipeline is None else replace(row, cycles=0)
        if self.pipeline is not None:
            count = steps(self.plan, self.pipeline)
            length = max(each.cycles for each in self.mapped)
            yield Row(f"steps of {self.pipeline.stages} at the same time", 0, count, count * length, {}, 0)
        for transfer in self.plan.transfers():
            if self.plan.home is not None and transfer.loads + transfer.stores:
                yield _transfer_row(transfer, self.architecture, self.plan.home)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedCascade:
    """Groups that together run a cascade, in order.

    Attributes:
        groups: At least one.
        energy_pj: Sum over the groups.
        cycles: Sum over the groups, which run one after another.
    """

    groups: tuple[MappedGroup, ...]
    energy_pj: float
    cycles: int

    @property
    def point(self) -> Point:
        """Energy and cycles."""
        return self.energy_pj, float(self.cycles)

    @property
    def is_fused(self) -> bool:
        """Whether a group has more than one einsum."""
        return any(len(group.plan.einsums) > 1 for group in self.groups)

    def rows(self) -> Iterator[Row]:
        """Yield where energy and cycles go, group by group."""
        for group in self.groups:
            yield from group.rows()


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeResult:
    """The outcome of a search over a cascade.

    Attributes:
        objective: What was minimised.
        best: The way to run it with the least objective; of a hull, the one with the least EDP.
        front: The hull if that was the objective, else the best alone; fewest cycles first.
        unfused: The best among the ways that fuse nothing.
        optimal: Whether nothing under the rules is better.
        gap: Nothing under the rules is better by more than this share; infinite if the search was cut short.
        plans: Ways of running a group that were looked at.
        seconds: Wall time.
    """

    objective: Objective
    best: MappedCascade
    front: tuple[MappedCascade, ...]
    unfused: MappedCascade
    optimal: bool
    gap: float
    plans: int
    seconds: float

    @property
    def value(self) -> float:
        """The objective of the best."""
        return self.objective.value(self.best.energy_pj, self.best.cycles)

    @property
    def unfused_value(self) -> float:
        """The objective of the best that fuses nothing."""
        return self.objective.value(self.unfused.energy_pj, self.unfused.cycles)


def transfers_cost(plan: GroupPlan, architecture: Architecture) -> tuple[float, int]:
    """Return energy in pJ and cycles of all moves between the outermost level and home."""
    energy_pj, cycles = 0.0, 0
    if plan.home is None:
        return energy_pj, cycles
    for transfer in plan.transfers():
        (load_pj, load_cycles), (store_pj, store_cycles) = _moves(transfer, architecture, plan.home)
        energy_pj += transfer.loads * sum(load_pj) + transfer.stores * sum(store_pj)
        cycles += transfer.loads * load_cycles + transfer.stores * store_cycles
    return energy_pj, cycles


Move = tuple[tuple[float, float], int]
"""Energy at the outermost level and at home in pJ, and cycles."""


def _moves(transfer: Transfer, architecture: Architecture, home: int) -> tuple[Move, Move]:
    """Return what one load and one store of a tensor cost; the read that drains home is not charged (rule 5.4)."""
    main, near, words = architecture.levels[0], architecture.levels[home], transfer.words
    load = _waiting(words, main.read_bandwidth_words_per_cycle, main, near.write_bandwidth_words_per_cycle, near)
    store = _waiting(words, main.write_bandwidth_words_per_cycle, main, None, None)
    leak_pj = main.leakage_energy_pj_per_cycle, near.leakage_energy_pj_per_cycle
    read_pj = access_energy_pj(main, reads=words, fills=0, updates=0, instances=1)
    write_pj = access_energy_pj(near, reads=0, fills=words, updates=0, instances=1)
    update_pj = access_energy_pj(main, reads=0, fills=0, updates=words, instances=1)
    return (
        ((read_pj + leak_pj[0] * load, write_pj + leak_pj[1] * load), load),
        ((update_pj + leak_pj[0] * store, leak_pj[1] * store), store),
    )


def _waiting(
    words: int, main_rate: float | None, main: StorageLevel, near_rate: float | None, near: StorageLevel | None
) -> int:
    rates = (
        main_rate, main.shared_bandwidth_words_per_cycle,
        near_rate, None if near is None else near.shared_bandwidth_words_per_cycle,
    )  # fmt: skip
    return math.ceil(max((words / rate for rate in rates if rate is not None), default=0.0))


def _part_row(part: Part, mapped: Mapped, architecture: Architecture) -> Row:
    name = str(part.einsum)
    if isinstance(mapped, MappedVectorOp):
        energy = {level: part.count * pj for level, pj in mapped.level_pj.items()}
        energy["vector"] = part.count * mapped.compute_energy_pj
        main = architecture.levels[0].name
        words = sum(sum(counts) for (level, _), counts in mapped.words.items() if level == main)
        return Row(name, 0, part.count, part.count * mapped.cycles, energy, part.count * words)
    report = mapped.report
    energy = {level.name: part.count * level.energy_pj for level in report.levels}
    energy[architecture.compute_name] = part.count * report.compute_energy_pj
    first = report.levels[0].tensors.values() if report.levels[0].name == architecture.levels[0].name else ()
    words = sum(counts.reads + counts.fills + counts.updates for counts in first)
    if part.residence is not None and part.residence.accumulates:
        name += " (on partial sums)"
    return Row(name, part.count * part.einsum.ops, part.count, part.count * mapped.cycles, energy, part.count * words)


def _transfer_row(transfer: Transfer, architecture: Architecture, home: int) -> Row:
    load, store = _moves(transfer, architecture, home)
    times = (transfer.loads, transfer.stores)
    energy = {
        architecture.levels[place].name: sum(n * move[0][i] for n, move in zip(times, (load, store), strict=True))
        for i, place in enumerate((0, home))
    }
    cycles = sum(n * move[1] for n, move in zip(times, (load, store), strict=True))
    kind = "load and store" if all(times) else "load" if transfer.loads else "store"
    return Row(f"{kind} {transfer.tensor}", 0, sum(times), cycles, energy, sum(times) * transfer.words)
