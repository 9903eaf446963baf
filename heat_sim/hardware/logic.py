"""Energy, area and leakage of registers and integer MAC units, from the table of Aladdin's points."""

from __future__ import annotations

import math
from functools import lru_cache

from heat_sim.errors import SpecError, describe
from heat_sim.hardware.tables import LogicCost, logic_table


def register(*, width_bits: int, node_nm: float) -> LogicCost:
    """Return the cost of a register of flip-flops; the action is one read, or one write, which costs the same.

    Linear in width, as the source is; it gives no leakage.

    Args:
        width_bits: 1 to 128.
        node_nm: 45, 40, 32, 22, 16 or 7.

    Raises:
        SpecError: Outside the table.

    >>> register(width_bits=8, node_nm=16).energy_pj
    0.0143795
    """
    return _scaled("register", (width_bits,), node_nm)


@lru_cache(maxsize=1024)
def mac(*, multiplier_bits: int, accumulator_bits: int, node_nm: float) -> LogicCost:
    """Return the cost of an integer multiply-accumulate unit; the action is one multiply-accumulate.

    A multiplier, proportional to the square of its width, plus an adder, linear in its width; no register.

    Args:
        multiplier_bits: Of both operands, 1 to 32.
        accumulator_bits: 1 to 64.
        node_nm: 45, 40, 32, 22, 16 or 7.

    Raises:
        SpecError: Outside the table.

    >>> mac(multiplier_bits=8, accumulator_bits=24, node_nm=16).energy_pj
    0.189729
    """
    rows = logic_table().get(("int_mac", int(node_nm)), {})
    if node_nm == int(node_nm) and (row := rows.get((multiplier_bits, multiplier_bits, accumulator_bits))) is not None:
        return row
    multiplier = _scaled("multiplier", (multiplier_bits, multiplier_bits), node_nm)
    return multiplier + _scaled("adder", (accumulator_bits,), node_nm)


def logic_nodes_nm() -> tuple[int, ...]:
    """Return the nodes that the table of logic has, ascending.

    >>> logic_nodes_nm()
    (7, 16, 22, 32, 40, 45)
    """
    return tuple(sorted({node for _, node in logic_table()}))


def _scaled(component: str, widths: tuple[int, ...], node_nm: float) -> LogicCost:
    """Return the row of these widths, or the widest row in proportion to the product of the widths."""
    if node_nm not in logic_nodes_nm():
        raise SpecError(
            describe(component, "no table for this node", got=f"{node_nm:g} nm",
                     expected=f"one of {', '.join(map(str, logic_nodes_nm()))} nm",
                     remedy="Take a node of the tables.")
        )  # fmt: skip
    rows = logic_table()[component, int(node_nm)]
    widest = max(rows, key=math.prod)
    if not all(1 <= width <= most for width, most in zip(widths, widest, strict=True)):
        raise SpecError(
            describe(component, "too narrow or too wide for the table", got=f"{widths[0]:,} bit",
                     expected=f"1 to {widest[0]} bit", remedy="Change the width, or the number of banks of a register.")
        )  # fmt: skip
    return rows[widths] if widths in rows else rows[widest] * (math.prod(widths) / math.prod(widest))
