"""A machine with the energies and areas that follow from its sizes and what its levels are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.errors import SpecError, describe
from heat_sim.hardware.components import Mac, Storage
from heat_sim.hardware.genes import rows, width_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Technology:
    """What a machine is made of.

    Attributes:
        node_nm: Of everything on the chip.
        storages: Level name to what it is made of, for every level but virtual ones.
        compute: What the compute units are made of.
    """

    node_nm: float
    storages: Mapping[str, Storage]
    compute: Mac


def priced(architecture: Architecture, technology: Technology) -> Architecture:
    """Return the architecture with energies per access, leakage and areas from the component tables.

    Energies of read, write and op replace those of the architecture; an update costs a write. A level that leaked
    leaks as the tables say, the others stay without leakage. Energies of the networks (hop, router) stay.

    Args:
        architecture: The machine, with its sizes.
        technology: What it is made of.

    Raises:
        SpecError: A component is outside its table.

    >>> from heat_sim.hardware.components import Dram
    >>> toy = Architecture(name="toy", levels=(StorageLevel(name="DRAM", word_bits=8, words_per_access=8),),
    ...                    compute_name="MAC", compute_energy_pj=0.0)
    >>> made_of = Technology(node_nm=16, storages={"DRAM": Dram(type="LPDDR4")},
    ...                      compute=Mac(multiplier_bits=8, accumulator_bits=24))
    >>> machine = priced(toy, made_of)
    >>> machine.levels[0].read_energy_pj, machine.compute_energy_pj
    (512.0, 0.189729)
    """
    unit = technology.compute.cost(node_nm=technology.node_nm)
    return replace(
        architecture,
        levels=tuple(
            level if level.is_virtual else _priced_level(level, technology, architecture.clock_hz)
            for level in architecture.levels
        ),
        compute_energy_pj=unit.energy_pj,
        compute_area_mm2=_writable(unit.area_mm2),
    )


def _priced_level(level: StorageLevel, technology: Technology, clock_hz: float | None) -> StorageLevel:
    cost = technology.storages[level.name].cost(
        depth=rows(level), width_bits=width_bits(level), node_nm=technology.node_nm
    )
    leakage_pj_per_cycle = 0.0
    if level.leakage_energy_pj_per_cycle > 0:
        if clock_hz is None:
            raise SpecError(
                describe("leakage", "no clock to count it per cycle", got="no global_cycle_seconds",
                         expected="one, as the energy table has leak actions", remedy="Add it to the architecture.")
            )  # fmt: skip
        leakage_pj_per_cycle = cost.leakage_power_mw * 1e9 / clock_hz  # mW per Hz is 1e9 pJ
    return replace(
        level,
        read_energy_pj=cost.read_energy_pj,
        write_energy_pj=cost.write_energy_pj,
        update_energy_pj=cost.write_energy_pj,
        leakage_energy_pj_per_cycle=leakage_pj_per_cycle,
        area_mm2=None if cost.area_mm2 is None else _writable(cost.area_mm2),
    )


def _writable(area_mm2: float) -> float:
    """Return the area to a millionth of a um^2, so that an area table, which is in um^2, reads back as the same."""
    return float(Decimal(repr(round(area_mm2 * 1e6, 6))).scaleb(-6))


def area_by_component_mm2(architecture: Architecture) -> dict[str, float]:
    """Return the area of all instances of each storage level and of the compute units, in mm^2.

    Args:
        architecture: With all areas known, as `priced` makes it.

    >>> chip = Architecture(name="chip", levels=(StorageLevel(name="RF", area_mm2=0.5, fanout_x=4),),
    ...                     compute_name="MAC", compute_energy_pj=1.0, compute_area_mm2=0.25)
    >>> area_by_component_mm2(chip)
    {'RF': 0.5, 'MAC': 1.0}
    """
    areas = {
        level.name: (level.area_mm2 or 0.0) * architecture.instances(place)
        for place, level in enumerate(architecture.levels)
        if not level.is_virtual
    }
    areas[architecture.compute_name] = (architecture.compute_area_mm2 or 0.0) * architecture.peak_ops_per_cycle
    return areas
