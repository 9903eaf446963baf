"""Energy, area and leakage of one bank of SRAM, from the table of CACTI points.

At a point of the table its row; between points, linear on logarithms. The rules for narrow and shallow banks and for
nodes below 22 nm are those of `hwcomponents-cacti` 1.0.40; what is outside all of these is refused.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache

from heat_sim.errors import SpecError, describe
from heat_sim.hardware.tables import StorageCost, sram_table

NARROWEST_IN_TABLE_BITS = 32
SHALLOWEST_IN_TABLE_WORDS = 64
LEAST_WIDTH_BITS = 8
LEAST_SCALED_NODE_NM = 7
SCALED_FROM_NM = 22

_Points = Mapping[tuple[int, int], StorageCost]


@lru_cache(maxsize=65536)
def sram(*, depth: int, width_bits: int, node_nm: float) -> StorageCost:
    """Return the cost of one bank of SRAM; an access moves its whole width.

    * Table points are exact. Between them the logarithm of each value is linear in log2 capacity and in log2 width.
    * Narrower than 32 bits: the bank of that depth at 32 bits, energy x (0.7 width/32 + 0.3), area and leakage
      x width/32.
    * Shallower than 64 words: the bank of that width at 64 words, energy x (depth/64)^0.78, area and leakage
      x depth/64.
    * Below 22 nm, with s = node/22: the bank at 22 nm, energy x s^0.5, area x s, leakage x 0.79 s^0.5.

    Args:
        depth: Words.
        width_bits: Bits per word.
        node_nm: 45, or 7 to 22.

    Raises:
        SpecError: Outside the table.

    >>> bank = sram(depth=2048, width_bits=256, node_nm=22)
    >>> bank.read_energy_pj, bank.write_energy_pj
    (13.6217, 14.3464)
    """
    table = sram_table()
    if node_nm != max(table) and not LEAST_SCALED_NODE_NM <= node_nm <= SCALED_FROM_NM:
        raise SpecError(
            describe("SRAM", "no table for this node", got=f"{node_nm:g} nm",
                     expected=f"{max(table)} nm, or {LEAST_SCALED_NODE_NM} to {SCALED_FROM_NM} nm",
                     remedy="Take a node of the tables.")
        )  # fmt: skip
    cost = _at_node_of_table(table[min(table) if node_nm <= SCALED_FROM_NM else max(table)], depth, width_bits)
    if node_nm >= SCALED_FROM_NM:
        return cost
    shrink = node_nm / SCALED_FROM_NM
    return cost.scaled(energy=math.sqrt(shrink), area=shrink, leakage=0.79 * math.sqrt(shrink))


def _at_node_of_table(points: _Points, depth: int, width_bits: int) -> StorageCost:
    capacities, widths = (sorted({point[axis] for point in points}) for axis in (0, 1))
    width, narrow = max(width_bits, NARROWEST_IN_TABLE_BITS), min(1.0, width_bits / NARROWEST_IN_TABLE_BITS)
    if not (LEAST_WIDTH_BITS <= width_bits <= widths[-1]):
        raise SpecError(
            describe(f"SRAM bank of {depth:,} x {width_bits:,} bit", "too narrow or too wide for the table",
                     got=f"{width_bits:,} bit", expected=f"{LEAST_WIDTH_BITS} to {widths[-1]} bit per bank",
                     remedy="Change the width or the number of banks.")
        )  # fmt: skip
    if depth < 1 or depth * width > 8 * capacities[-1]:
        raise SpecError(
            describe(f"SRAM bank of {depth:,} x {width_bits:,} bit", "too small or too large for the table",
                     got=f"{depth:,} words", expected=f"1 to {8 * capacities[-1] // width:,} words per bank",
                     remedy="Change the depth or the number of banks.")
        )  # fmt: skip
    shallow = 1.0
    cost = points.get((depth * width // 8, width)) if depth * width % 8 == 0 else None
    if cost is None:
        shallow = min(1.0, depth / SHALLOWEST_IN_TABLE_WORDS)
        cost = _interpolated(points, capacities, widths, max(depth, SHALLOWEST_IN_TABLE_WORDS) * width / 8, width)
    if narrow * shallow == 1.0:
        return cost
    return cost.scaled(
        energy=(0.7 * narrow + 0.3) * shallow**0.78, area=narrow * shallow, leakage=narrow * shallow
    )  # fmt: skip


def _interpolated(
    points: _Points, capacities: list[int], widths: list[int], capacity_bytes: float, width_bits: int
) -> StorageCost:
    """Return the cost between four points: the logarithm of each value linear in log2 capacity, then in log2 width."""
    (small, large, along), (narrow, wide, across) = _place(capacities, capacity_bytes), _place(widths, width_bits)
    corners = [
        (points[small, narrow], (1 - along) * (1 - across)), (points[large, narrow], along * (1 - across)),
        (points[small, wide], (1 - along) * across), (points[large, wide], along * across),
    ]  # fmt: skip

    def mean(field: str) -> float:
        return math.exp(sum(weight * math.log(getattr(cost, field)) for cost, weight in corners))

    return StorageCost(
        read_energy_pj=mean("read_energy_pj"), write_energy_pj=mean("write_energy_pj"), area_mm2=mean("area_mm2"),
        leakage_power_mw=mean("leakage_power_mw"),
    )  # fmt: skip


def _place(axis: list[int], value: float) -> tuple[int, int, float]:
    """Return the neighbours of a value on an axis, and how far it is from the first to the second in logarithms."""
    place = min(bisect_right(axis, value), len(axis) - 1)
    low, high = axis[place - 1], axis[place]
    return low, high, math.log2(value / low) / math.log2(high / low)
