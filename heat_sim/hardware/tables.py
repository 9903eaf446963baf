"""The component tables, read once; tables/README.md says which packages computed them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCost:
    """What one storage costs.

    Attributes:
        read_energy_pj: Of one access of the whole width.
        write_energy_pj: Of one access of the whole width.
        area_mm2: Of the whole storage.
        leakage_power_mw: Of the whole storage.
    """

    read_energy_pj: float
    write_energy_pj: float
    area_mm2: float
    leakage_power_mw: float

    def scaled(self, *, energy: float = 1.0, area: float = 1.0, leakage: float = 1.0) -> StorageCost:
        """Return the cost with each part multiplied.

        >>> cost = StorageCost(read_energy_pj=1.0, write_energy_pj=2.0, area_mm2=3.0, leakage_power_mw=4.0)
        >>> cost.scaled(energy=2.0)
        StorageCost(read_energy_pj=2.0, write_energy_pj=4.0, area_mm2=3.0, leakage_power_mw=4.0)
        """
        return StorageCost(
            read_energy_pj=energy * self.read_energy_pj,
            write_energy_pj=energy * self.write_energy_pj,
            area_mm2=area * self.area_mm2,
            leakage_power_mw=leakage * self.leakage_power_mw,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicCost:
    """What one piece of logic costs.

    Attributes:
        energy_pj: Of one action on the whole width.
        area_mm2: Of the whole piece.
        leakage_power_mw: Of the whole piece.
    """

    energy_pj: float
    area_mm2: float
    leakage_power_mw: float

    def __add__(self, other: LogicCost) -> LogicCost:
        return LogicCost(
            energy_pj=self.energy_pj + other.energy_pj,
            area_mm2=self.area_mm2 + other.area_mm2,
            leakage_power_mw=self.leakage_power_mw + other.leakage_power_mw,
        )

    def __mul__(self, times: float) -> LogicCost:
        return LogicCost(
            energy_pj=times * self.energy_pj,
            area_mm2=times * self.area_mm2,
            leakage_power_mw=times * self.leakage_power_mw,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DramType:
    """One type of main memory.

    Attributes:
        energy_pj_per_bit: Read or written.
        least_width_bits: Narrowest access.
        most_width_bits: Widest access; None is any.
    """

    energy_pj_per_bit: float
    least_width_bits: int
    most_width_bits: int | None


@lru_cache(maxsize=1)
def sram_table() -> Mapping[int, Mapping[tuple[int, int], StorageCost]]:
    """Return node in nm -> (capacity in bytes, width in bits) -> cost; every node has every pair of the two.

    >>> sram_table()[22][65536, 256].read_energy_pj
    13.6217
    """
    found: dict[int, dict[tuple[int, int], StorageCost]] = {}
    for row in _rows("sram.csv"):
        found.setdefault(int(row["node_nm"]), {})[int(row["capacity_bytes"]), int(row["width_bits"])] = StorageCost(
            read_energy_pj=float(row["read_energy_pj"]),
            write_energy_pj=float(row["write_energy_pj"]),
            area_mm2=float(row["area_mm2"]),
            leakage_power_mw=float(row["leakage_power_mw"]),
        )
    return found


@lru_cache(maxsize=1)
def logic_table() -> Mapping[tuple[str, int], Mapping[tuple[int, ...], LogicCost]]:
    """Return (component, node in nm) -> widths in bits -> cost.

    The widths are those of the operands, and for the integer MAC also that of the accumulator.

    >>> logic_table()["int_mac", 16][8, 8, 24].energy_pj
    0.189729
    """
    found: dict[tuple[str, int], dict[tuple[int, ...], LogicCost]] = {}
    for row in _rows("logic.csv"):
        widths = (row["width_a_bits"], row["width_b_bits"], row["accumulator_bits"])
        found.setdefault((row["component"], int(row["node_nm"])), {})[tuple(int(bits) for bits in widths if bits)] = (
            LogicCost(
                energy_pj=float(row["energy_pj"]),
                area_mm2=float(row["area_um2"]) * 1e-6,
                leakage_power_mw=float(row["leakage_power_mw"]),
            )
        )
    return found


@lru_cache(maxsize=1)
def dram_table() -> Mapping[str, DramType]:
    """Return the types of main memory by name.

    >>> dram_table()["LPDDR4"].energy_pj_per_bit
    8.0
    """
    return {
        row["dram_type"]: DramType(
            energy_pj_per_bit=float(row["energy_pj_per_bit"]),
            least_width_bits=int(row["least_width_bits"]),
            most_width_bits=int(row["most_width_bits"]) if row["most_width_bits"] else None,
        )
        for row in _rows("dram.csv")
    }


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("heat_sim.hardware").joinpath("tables", name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
