"""Pareto dominance among design points; every objective is minimised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def non_dominated(items: Sequence[T], objectives: Callable[[T], tuple[float, ...]]) -> list[T]:
    """Return the items that no other one equals or beats in every objective, in the order of their objectives.

    Of several items with the same objectives the first is kept.

    Args:
        items: Candidates.
        objectives: The same count of numbers for every item, all minimised.

    >>> non_dominated([(1, 5), (2, 6), (3, 2), (3, 3), (1, 5)], lambda p: p)
    [(1, 5), (3, 2)]
    """
    if not items:
        return []
    values = np.array([objectives(item) for item in items], dtype=np.float64)
    front: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: tuple(values[i])):
        # What comes earlier in this order is not dominated by what comes later, so one look back is enough.
        if not front or not (values[front] <= values[i]).all(axis=1).any():
            front.append(i)
    return [items[i] for i in front]


def hypervolume(points: Sequence[tuple[float, float]], *, worst: tuple[float, float]) -> float:
    """Return the area that is dominated by some point and dominates the worst one (Zitzler and Thiele 1999).

    >>> hypervolume([(0.5, 0.0), (0.25, 0.5), (2.0, 0.0)], worst=(1.0, 1.0))
    0.625
    """
    front = non_dominated([p for p in points if p[0] < worst[0] and p[1] < worst[1]], lambda p: p)
    steps = [worst[1], *(second for _, second in front)]
    return sum((worst[0] - first) * (steps[k] - second) for k, (first, second) in enumerate(front))
