"""What a mapping is judged by: a name for each function of energy and cycles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

ObjectiveName = Literal["edp", "energy", "cycles"]

OBJECTIVES: dict[ObjectiveName, Callable[[float, float], float]] = {
    "edp": lambda energy_pj, cycles: energy_pj * cycles,
    "energy": lambda energy_pj, cycles: energy_pj,  # noqa: ARG005 - one signature for all
    "cycles": lambda energy_pj, cycles: cycles,  # noqa: ARG005
}
"""Objective of (energy in pJ, cycles), monotone in both; smaller is better."""
