"""The loop orders of one level that can differ in what they cost, for any einsum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Order = tuple[int, ...]
"""Rank variables by number, the innermost loop first."""


def distinct_orders(
    loops: Sequence[int],
    *,
    coefficient: NDArray[np.int64],
    plain: Sequence[bool],
    inner: Sequence[int],
    merge: bool,
    last: bool,
) -> list[Order]:
    """Return orders among which is, for every order of the loops, one that moves no more words of any tensor.

    What matters of the order for a plain tensor is which loops are the innermost run of irrelevant ones. For a sliding
    window a move that advances loop j goes by the vector D_j = shift_j - (sum of the shifts of the loops inside j). The
    first loop with D_j != 0, call it a, fetches the part that is new; any other fetches the whole box, unless D_j is 0
    or D_a (model section 3.2, where a move that is not D_a is always followed by one that is). Shifts are nonnegative,
    so D_j is 0 or D_a only if loop j moves the box along every rank that a loop inside it does. Once no loop that is
    left does so, the order of the rest means nothing to the window, nor does it for the levels further in, where more
    loops are inside.

    Args:
        loops: The rank variables with a bound above 1.
        coefficient: (T, D, V) of the projections.
        plain: Per tensor.
        inner: The rank variables that must be innermost, innermost first.
        merge: Whether fewer words are never dearer, so that an order that moves more of some tensor and no fewer of any
            can be left out.
        last: Whether no tile further in moves with these loops.

    >>> matmul = np.array([[[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 1, 0]], [[1, 0, 0], [0, 1, 0]]])  # A[m,k] B[k,n] Z
    >>> distinct_orders([0, 1, 2], coefficient=matmul, plain=[True] * 3, inner=(), merge=True, last=True)
    [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    """
    tensors = range(len(plain))
    ranks = [
        {var: frozenset(np.flatnonzero(here[:, var]).tolist()) for var in loops if here[:, var].any()}
        for here in coefficient
    ]

    def allowed(left: Order) -> Order:
        listed = [var for var in inner if var in left]
        return (listed[0],) if listed else left

    def blind(t: int, order: Order, left: Order) -> bool:
        """Whether the order of what is left means nothing to the tensor."""
        moved = frozenset[int]().union(*(ranks[t].get(var, frozenset()) for var in order))
        if not moved:
            return not any(var in ranks[t] for var in left)
        return plain[t] or not any(moved <= ranks[t].get(var, frozenset()) for var in left)

    def free(t: int, order: Order, left: Order, *, var: int) -> bool:
        """Whether the tensor gains, or does not care, if the loop comes next."""
        if blind(t, order, left):
            return True
        return (plain[t] or (last and not any(v in ranks[t] for v in order))) and var not in ranks[t]

    def walk(order: Order, left: Order) -> Iterator[tuple[Order, tuple[Order | frozenset[int], ...]]]:
        if all(blind(t, order, left) for t in tensors):
            rest = order
            while left:
                rest = (*rest, allowed(left)[0])
                left = tuple(var for var in left if var != rest[-1])
            yield rest, tuple(mark(t, rest) for t in tensors)
            return
        here = allowed(left)
        gains = [var for var in here if merge and all(free(t, order, left, var=var) for t in tensors)]
        for var in gains[:1] or here:
            yield from walk((*order, var), tuple(other for other in left if other != var))

    def mark(t: int, order: Order) -> Order | frozenset[int]:
        """What of the order matters to the tensor: its run, or for a window all until it is blind."""
        if plain[t]:
            return frozenset(itertools.takewhile(lambda var: var not in ranks[t], order))
        until = next(n for n in range(len(order) + 1) if blind(t, order[:n], order[n:]))
        return order[:until]

    marks: dict[tuple[Order | frozenset[int], ...], Order] = {}
    for order, marked in walk((), tuple(loops)):
        marks.setdefault(marked, order)
    return [order for marked, order in marks.items()
            if not (merge and any(other != marked and _as_good(other, marked) for other in marks))]  # fmt: skip


def _as_good(one: tuple[Order | frozenset[int], ...], other: tuple[Order | frozenset[int], ...]) -> bool:
    """Return whether every run of the other is part of that of the one, and windows are moved alike."""
    return all(
        mine >= theirs if isinstance(mine, frozenset) and isinstance(theirs, frozenset) else mine == theirs
        for mine, theirs in zip(one, other, strict=True)
    )
