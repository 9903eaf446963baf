"""What the levels and the compute units of a machine are made of."""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.errors import SpecError, describe
from heat_sim.hardware.logic import mac, register
from heat_sim.hardware.sram import sram
from heat_sim.hardware.tables import LogicCost, StorageCost, dram_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Sram:
    """Banks side by side: each holds a share of every row, and one access reads or writes them all.

    Attributes:
        banks: How many; the row must divide by it.
    """

    banks: int = 1

    def cost(self, *, depth: int | None, width_bits: int, node_nm: float) -> StorageCost:
        """Return banks x `sram` of depth x (width / banks).

        Args:
            depth: Rows; an SRAM has a size.
            width_bits: Of a row.
            node_nm: As in `sram`.

        Raises:
            SpecError: Outside the table, or the row does not divide.

        >>> round(Sram(banks=8).cost(depth=512, width_bits=512, node_nm=16).read_energy_pj, 4)
        7.9885
        """
        share = _per_bank(width_bits, self.banks)
        if depth is None:
            raise SpecError(
                describe("SRAM", "no size in whole rows", got="a level without one", expected="whole rows",
                         remedy="Give the level a depth, or make it a dram.")
            )  # fmt: skip
        one = sram(depth=depth, width_bits=share, node_nm=node_nm)
        return one.scaled(energy=self.banks, area=self.banks, leakage=self.banks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One row of flip-flops.

    Attributes:
        banks: Registers side by side that make the row.
    """

    banks: int = 1

    def cost(self, *, depth: int | None, width_bits: int, node_nm: float) -> StorageCost:
        """Return banks x `register` of width / banks.

        Args:
            depth: Must be 1: there is no decoder to choose a row.
            width_bits: Of the row.
            node_nm: As in `register`.

        Raises:
            SpecError: Outside the table, or more than one row.

        >>> Register().cost(depth=1, width_bits=8, node_nm=16).read_energy_pj
        0.0143795
        """
        if depth != 1:
            raise SpecError(
                describe("register", "more than one row", got=f"depth {depth}", expected="depth 1",
                         remedy="Make it an sram.")
            )  # fmt: skip
        one = register(width_bits=_per_bank(width_bits, self.banks), node_nm=node_nm) * self.banks
        return StorageCost(
            read_energy_pj=one.energy_pj, write_energy_pj=one.energy_pj, area_mm2=one.area_mm2,
            leakage_power_mw=one.leakage_power_mw,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """Main memory, off the chip: energy per bit, no area, no leakage, the same at every node.

    Attributes:
        type: A row of the table, such as "LPDDR4".
    """

    type: str

    def cost(self, *, depth: int | None, width_bits: int, node_nm: float) -> StorageCost:
        """Return width x energy per bit.

        Args:
            depth: Has no influence.
            width_bits: Of one access, within what the table allows.
            node_nm: Has no influence.

        Raises:
            SpecError: Unknown type, or a width that it does not have.

        >>> Dram(type="LPDDR4").cost(depth=None, width_bits=64, node_nm=16).read_energy_pj
        512.0
        """
        del depth, node_nm
        known = dram_table()
        if self.type not in known:
            raise SpecError(
                describe("DRAM", "unknown type", got=self.type, expected=f"one of {', '.join(known)}",
                         remedy="Take one of the tables.")
            )  # fmt: skip
        kind = known[self.type]
        most = kind.most_width_bits
        if width_bits < kind.least_width_bits or (most is not None and width_bits > most):
            raise SpecError(
                describe(self.type, "no such width", got=f"{width_bits:,} bit",
                         expected=f">= {kind.least_width_bits} bit" + ("" if most is None else f" and <= {most} bit"),
                         remedy="Change the width or the type.")
            )  # fmt: skip
        energy_pj = width_bits * kind.energy_pj_per_bit
        return StorageCost(read_energy_pj=energy_pj, write_energy_pj=energy_pj, area_mm2=0.0, leakage_power_mw=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mac:
    """An integer multiply-accumulate unit.

    Attributes:
        multiplier_bits: Of both operands.
        accumulator_bits: Of the adder.
    """

    multiplier_bits: int
    accumulator_bits: int

    def cost(self, *, node_nm: float) -> LogicCost:
        """Return the cost of one unit; see `mac`.

        >>> Mac(multiplier_bits=8, accumulator_bits=32).cost(node_nm=22).energy_pj
        0.339299
        """
        return mac(multiplier_bits=self.multiplier_bits, accumulator_bits=self.accumulator_bits, node_nm=node_nm)


Storage = Sram | Register | Dram
"""What a storage level can be made of."""


def _per_bank(width_bits: int, banks: int) -> int:
    if width_bits % banks:
        raise SpecError(
            describe("banks", "the row does not divide among them", got=f"{width_bits:,} bit in {banks:,} banks",
                     expected="a whole number of bits each", remedy="Change width or banks.")
        )  # fmt: skip
    return width_bits // banks
