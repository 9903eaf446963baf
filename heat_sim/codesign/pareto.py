"""Pareto dominance among design points; every objective is minimised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def non_dominated(items: Sequence[T], objectives: Callable[[T], tuple[float, float]]) -> list[T]:
    """Return the items that no other one beats in both objectives, first objective ascending.

    Of several items with the same objectives the first is kept.

    Args:
        items: Candidates.
        objectives: Two numbers per item, both minimised.

    >>> non_dominated([(1, 5), (2, 6), (3, 2), (3, 3), (1, 5)], lambda p: p)
    [(1, 5), (3, 2)]
    """
    front: list[T] = []
    best = float("inf")
    for item in sorted(items, key=objectives):
        second = objectives(item)[1]
        if second < best:
            front.append(item)
            best = second
    return front
