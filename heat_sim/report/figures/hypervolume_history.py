"""The hypervolume of a front that grows point by point."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


def hypervolume_history(points: Iterable[tuple[float, float]], *, worst: tuple[float, float]) -> list[float]:
    """Return the hypervolume after each point: `heat_sim.codesign.pareto.hypervolume` of all points up to it.

    The front is kept in order, so that a point costs a bisection and the points that it drops.

    Args:
        points: Two objectives, both minimised, in the order in which they were found.
        worst: Corner of the hypervolume; points that are not below it in both objectives add nothing.

    >>> hypervolume_history([(0.5, 0.0), (0.25, 0.5), (2.0, 0.0)], worst=(1.0, 1.0))
    [0.5, 0.625, 0.625]
    """
    firsts: list[float] = []  # of the front, rising
    seconds: list[float] = []  # of the same points, falling
    total = 0.0
    history: list[float] = []
    for first, second in points:
        if first < worst[0] and second < worst[1]:
            no_worse = bisect_right(firsts, first)
            if no_worse == 0 or seconds[no_worse - 1] > second:
                begin = end = bisect_left(firsts, first)
                # The strip between the old staircase and the height of the new point, step by step to the right.
                left, height = first, seconds[begin - 1] if begin else worst[1]
                while end < len(firsts) and seconds[end] >= second:
                    total += (firsts[end] - left) * (height - second)
                    left, height = firsts[end], seconds[end]
                    end += 1
                right = firsts[end] if end < len(firsts) else worst[0]
                total += (right - left) * (height - second)
                firsts[begin:end] = [first]
                seconds[begin:end] = [second]
        history.append(total)
    return history
