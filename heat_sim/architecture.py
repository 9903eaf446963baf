"""The hardware: storage levels from the outermost memory to the compute units.

Counts are in words of the level; energies are per access of `StorageLevel.words_per_access` words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLevel:
    """One storage level, and the array of children that each of its instances feeds.

    A level with ``is_virtual=True`` holds nothing and costs nothing: it stands for a second mesh
    between two storages (nested containers in a Timeloop v0.4 file), and reports leave it out.

    Attributes:
        name: Unique in its architecture.
        capacity_words: Words one instance holds; None is unbounded.
        word_bits: Bits per word; converts no traffic, used for display and area.
        words_per_access: Words one access moves (Timeloop's block size).
        read_energy_pj: Energy of one read access of one instance.
        write_energy_pj: Energy of one access that fills the level from its parent.
        update_energy_pj: Energy of one access that writes a partial or final result from below.
        leakage_energy_pj_per_cycle: Per instance in use.
        fanout_x: Children of one instance along x.
        fanout_y: Children of one instance along y.
        read_bandwidth_words_per_cycle: Per instance; None is unlimited.
        write_bandwidth_words_per_cycle: Per instance, fills and updates together; None is unlimited.
        shared_bandwidth_words_per_cycle: Per instance, reads and writes together; None is unlimited.
        min_utilization: Share of the usable words that tiles must fill at least; a bounded level refuses less.
        area_mm2: Area of one instance; None is unknown.
        multiple_buffering: Usable words are capacity_words divided by this, rounded down.
        network_fill_latency_cycles: Added to the cycles once.
        network_drain_latency_cycles: Added to the cycles once.
        hop_energy_pj: Energy of one word over one hop of the network to the children.
        router_energy_pj: Energy of one word through one router of that network.
        drains_in_place: False for a main memory, whose network carries re-read partial sums as well.
        is_virtual: See above.
    """

    name: str
    capacity_words: int | None = None
    word_bits: int = 16
    words_per_access: int = 1
    read_energy_pj: float = 0.0
    write_energy_pj: float = 0.0
    update_energy_pj: float = 0.0
    leakage_energy_pj_per_cycle: float = 0.0
    fanout_x: int = 1
    fanout_y: int = 1
    read_bandwidth_words_per_cycle: float | None = None
    write_bandwidth_words_per_cycle: float | None = None
    shared_bandwidth_words_per_cycle: float | None = None
    multiple_buffering: float = 1.0
    min_utilization: float = 0.0
    area_mm2: float | None = None
    network_fill_latency_cycles: int = 0
    network_drain_latency_cycles: int = 0
    hop_energy_pj: float = 0.0
    router_energy_pj: float = 0.0
    drains_in_place: bool = True
    is_virtual: bool = False

    def __post_init__(self) -> None:
        problems: list[str] = []

        def check(field: str, value: object, good: bool, expected: str) -> None:
            if not good:
                problems.append(
                    describe(
                        f"level {self.name}.{field}", "bad value", got=value, expected=expected, remedy="Correct it."
                    )
                )

        for field in ("word_bits", "words_per_access", "fanout_x", "fanout_y"):
            check(field, value := getattr(self, field), isinstance(value, int) and value >= 1, "an integer >= 1")
        capacity = self.capacity_words
        check(
            "capacity_words", capacity, capacity is None or (isinstance(capacity, int) and capacity >= 1),
            "an integer >= 1, or None for unbounded",
        )  # fmt: skip
        for field in (
            "read_energy_pj", "write_energy_pj", "update_energy_pj", "leakage_energy_pj_per_cycle",
            "hop_energy_pj", "router_energy_pj", "network_fill_latency_cycles", "network_drain_latency_cycles",
        ):  # fmt: skip
            value = getattr(self, field)
            check(field, value, math.isfinite(value) and value >= 0, "a finite number >= 0")
        for kind in ("read", "write", "shared"):
            field = f"{kind}_bandwidth_words_per_cycle"
            value = getattr(self, field)
            check(field, value, value is None or value > 0, "a number > 0, or None for unlimited")
        check("min_utilization", self.min_utilization, 0 <= self.min_utilization <= 1, "a number from 0 to 1")
        area = self.area_mm2
        check("area_mm2", area, area is None or (math.isfinite(area) and area >= 0), "a finite number >= 0, or None")
        check("multiple_buffering", self.multiple_buffering, self.multiple_buffering >= 1, "a number >= 1")
        if problems:
            raise SpecError(problems)

    @property
    def fanout(self) -> int:
        """Children of one instance."""
        return self.fanout_x * self.fanout_y

    @property
    def usable_words(self) -> int | None:
        """Words that tiles may fill in one instance; None is unbounded."""
        return None if self.capacity_words is None else math.floor(self.capacity_words / self.multiple_buffering)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Storage levels, outermost first, above an array of multiply-accumulate units.

    Attributes:
        name: What messages and tables call it.
        levels: Outermost (main memory) first.
        compute_name: Name of the compute units.
        compute_energy_pj: Energy of one op.
        compute_area_mm2: Area of one compute unit; None is unknown.
        clock_hz: Cycles per second, where the spec gives it; only display and seconds need it.
    """

    name: str
    levels: tuple[StorageLevel, ...]
    compute_name: str
    compute_energy_pj: float
    clock_hz: float | None = None
    compute_area_mm2: float | None = None

    def __post_init__(self) -> None:
        problems: list[str] = []
        names = [*(level.name for level in self.levels), self.compute_name]
        if not self.levels:
            problems.append(f"architecture {self.name}: no storage level. Give at least the main memory.")
        elif self.levels[0].is_virtual:
            problems.append(f"architecture {self.name}: the outermost level must be a storage level.")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            problems.append(
                describe(
                    f"architecture {self.name}",
                    "a name is used twice",
                    got=", ".join(repeated),
                    expected="unique names",
                    remedy="Rename one of them.",
                )
            )
        if not (math.isfinite(self.compute_energy_pj) and self.compute_energy_pj >= 0):
            problems.append(
                describe(
                    f"{self.compute_name}.compute_energy_pj",
                    "bad value",
                    got=self.compute_energy_pj,
                    expected="a finite number >= 0",
                    remedy="Correct it.",
                )
            )
        area = self.compute_area_mm2
        if area is not None and not (math.isfinite(area) and area >= 0):
            problems.append(
                describe(f"{self.compute_name}.compute_area_mm2", "bad value", got=area,
                         expected="a finite number >= 0, or None", remedy="Correct it.")
            )  # fmt: skip
        if problems:
            raise SpecError(problems)

    def index(self, name: str) -> int:
        """Return the place of the named level, 0 the outermost; KeyError if there is none."""
        for place, level in enumerate(self.levels):
            if level.name == name:
                return place
        raise KeyError(name)

    def instances(self, index: int) -> int:
        """Return how many instances the level at `index` has; ``len(levels)`` is the compute level."""
        return math.prod(level.fanout for level in self.levels[:index])

    @property
    def peak_ops_per_cycle(self) -> int:
        """Ops per cycle with every compute unit at work."""
        return self.instances(len(self.levels))

    @property
    def area_mm2(self) -> float | None:
        """Area of all instances and compute units; None if one of them is unknown.

        >>> chip = Architecture(name="chip", levels=(StorageLevel(name="RF", area_mm2=0.5, fanout_x=4),),
        ...                     compute_name="MAC", compute_energy_pj=1.0, compute_area_mm2=0.25)
        >>> chip.area_mm2
        1.5
        """
        parts = [(level.area_mm2, self.instances(place)) for place, level in enumerate(self.levels)
                 if not level.is_virtual]  # fmt: skip
        parts.append((self.compute_area_mm2, self.peak_ops_per_cycle))
        known = [area * count for area, count in parts if area is not None]
        return sum(known) if len(known) == len(parts) else None

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.peak_ops_per_cycle:,} x {self.compute_name} ({self.compute_energy_pj:g} pJ/op)"]
        for place, level in enumerate(self.levels):
            if level.is_virtual:
                size = "no storage"
            elif level.capacity_words is None:
                size = "unbounded"
            else:
                size = f"{level.capacity_words:,} words of {level.word_bits} bits"
            mesh = f" -> {level.fanout_x} x {level.fanout_y} children" if level.fanout > 1 else ""
            lines.append(f"{'  ' * (place + 1)}{level.name} x {self.instances(place):,}: {size}{mesh}")
        return "\n".join(lines)
