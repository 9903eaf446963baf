"""Learning rate as a share of its peak, step by step."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "constant"]
"""How the learning rate falls after the warm-up."""


def schedule(step: int, steps: int, *, shape: Schedule = "linear", warm_up: float = 0.1) -> float:
    """Return the share of the peak learning rate at a step counted from 0: linear warm-up, then the shape to near 0.

    Args:
        step: Steps done.
        steps: Steps in all.
        shape: `linear` and `cosine` fall to near 0 at the last step, `constant` does not fall.
        warm_up: Share of the steps in which it rises.

    >>> [round(schedule(step, 20), 2) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.06]
    >>> [round(schedule(step, 20, shape="cosine"), 2) for step in (1, 2, 11, 19)]
    [1.0, 1.0, 0.5, 0.01]
    """
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    left = (steps - step) / max(1, steps - rise)  # 1 to near 0
    if shape == "constant":
        return 1.0
    return left if shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
