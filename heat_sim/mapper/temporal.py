"""The best temporal loops for one spatial choice: a shortest path from the compute units outwards.

A state at the boundary outside a level is how far each class has run in time inside it, and for
each tensor how many of its keeping levels inside still see only irrelevant loops above them (their
run is open). When a relevant loop closes a run, the R of those levels is known and paid for; so the
cost of a path is the sum of what it closed, and the cheapest path per state is all that matters.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.matmul import IRRELEVANT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_IRRELEVANT = np.array(IRRELEVANT)


@njit(cache=True)
def _fits(run: Ints, tile_spatial: Ints, keep: NDArray[np.bool_], usable: Ints, level: int) -> bool:
    """Return whether the tiles under levels 0..level still fit when the classes have run this far."""
    for outer in range(level + 1):
        if usable[outer] < 0:
            continue
        need = 0
        for t in range(3):
            if keep[t, outer]:
                words = 1
                for c in range(4):
                    if c != _IRRELEVANT[t]:
                        words *= run[c] * tile_spatial[outer, c]
                need += words
        if need > usable[outer]:
            return False
    return True


@njit(cache=True)
def _unpack(number: int, radix: Ints, digits: Ints) -> None:
    """Fill the digits of a number in mixed radix, the last one fastest."""
    for place in range(len(radix) - 1, -1, -1):
        digits[place] = number % radix[place]
        number //= radix[place]


@njit(cache=True)
def _helps(inner: int, opened: Ints) -> bool:
    """Return whether an open run can use this class as the innermost loop."""
    useful = False
    for t in range(3):
        useful = useful or (_IRRELEVANT[t] == inner and opened[t] > 0)
    return useful


@njit(cache=True)
def best_temporal(
    divisor: Ints,
    divisor_count: Ints,
    tile_spatial: Ints,
    keep: NDArray[np.bool_],
    usable: Ints,
    coefficient: Floats,
    bound_cost: float,
) -> tuple[float, Ints, Ints]:
    """Return the least cost, the bounds and the innermost class of every level; infinity if nothing fits.

    Args:
        divisor: (4, D) divisors of the temporal extent of each class, ascending.
        divisor_count: (4,) how many there are.
        tile_spatial: (L, 4) product of the spatial bounds at and inside each level.
        keep: (3, L) which levels hold A, B and Z.
        usable: (L,) words per instance, -1 unbounded.
        coefficient: (3, L) cost per unit of R at each keeping level.
        bound_cost: Paths that cost more are dropped.
    """
    levels = keep.shape[1]
    n1, n2, n3 = divisor_count[1], divisor_count[2], divisor_count[3]
    states = divisor_count[0] * n1 * n2 * n3
    # Keeping levels of each tensor, innermost first, and running sums of their coefficients.
    kept = np.zeros((3, levels), dtype=np.int64)
    count = np.zeros(3, dtype=np.int64)
    for t in range(3):
        for level in range(levels - 1, -1, -1):
            if keep[t, level]:
                kept[t, count[t]] = level
                count[t] += 1
    radix = count + 1
    codes = radix[0] * radix[1] * radix[2]
    extent = np.ones(4, dtype=np.int64)
    for c in range(4):
        extent[c] = divisor[c, divisor_count[c] - 1]
    cost = np.full((states, codes), np.inf)
    cost[0, 0] = 0.0
    came_state = np.full((levels, states, codes), -1, dtype=np.int32)
    came_code = np.zeros((levels, states, codes), dtype=np.int32)
    came_inner = np.full((levels, states, codes), -1, dtype=np.int8)
    index = np.zeros(4, dtype=np.int64)
    after = np.zeros(4, dtype=np.int64)
    run = np.ones(4, dtype=np.int64)
    run_after = np.ones(4, dtype=np.int64)
    opened = np.zeros(3, dtype=np.int64)
    for level in range(levels - 1, -1, -1):
        seen = np.zeros(3, dtype=np.int64)  # keeping levels inside this one
        for t in range(3):
            for inner in range(level + 1, levels):
                if keep[t, inner]:
                    seen[t] += 1
        fits = np.zeros(states, dtype=np.bool_)
        for state in range(states):
            _unpack(state, divisor_count, index)
            for c in range(4):
                run[c] = divisor[c, index[c]]
            fits[state] = _fits(run, tile_spatial, keep, usable, level)
        new_cost = np.full((states, codes), np.inf)
        for state in range(states):
            _unpack(state, divisor_count, index)
            alive = False
            for code in range(codes):
                if cost[state, code] <= bound_cost:
                    alive = True
                    break
            if not alive:
                continue
            for c in range(4):
                run[c] = divisor[c, index[c]]
            for i0 in range(index[0], divisor_count[0]):
                if divisor[0, i0] % run[0] or (level == 0 and i0 < divisor_count[0] - 1):
                    continue
                for i1 in range(index[1], n1):
                    if divisor[1, i1] % run[1] or (level == 0 and i1 < n1 - 1):
                        continue
                    for i2 in range(index[2], n2):
                        if divisor[2, i2] % run[2] or (level == 0 and i2 < n2 - 1):
                            continue
                        for i3 in range(index[3], n3):
                            if divisor[3, i3] % run[3] or (level == 0 and i3 < n3 - 1):
                                continue
                            target = ((i0 * n1 + i1) * n2 + i2) * n3 + i3
                            if not fits[target]:
                                continue
                            after[0], after[1], after[2], after[3] = i0, i1, i2, i3
                            moved = 0
                            only = -1
                            for c in range(4):
                                run_after[c] = divisor[c, after[c]]
                                if run_after[c] != run[c]:
                                    moved += 1
                                    only = c
                            for code in range(codes):
                                base = cost[state, code]
                                if base > bound_cost:
                                    continue
                                _unpack(code, radix, opened)
                                # Innermost class: one that an open run can use, else any that moves.
                                for inner in range(4):
                                    if moved == 0:
                                        if inner != 0:
                                            continue
                                    elif run_after[inner] == run[inner] or (
                                        inner != only and not _helps(inner, opened)
                                    ):
                                        continue
                                    total = base
                                    new_code = 0
                                    for t in range(3):
                                        c = _IRRELEVANT[t]
                                        is_open = opened[t]
                                        if moved > 0 and is_open > 0 and not (moved == 1 and only == c):
                                            reached = run_after[c] if inner == c else run[c]
                                            outside = extent[c] // reached
                                            for place in range(seen[t] - is_open, seen[t]):
                                                total += coefficient[t, kept[t, place]] * outside
                                            is_open = 0
                                        # Crossing the boundary of a level that keeps T opens its run.
                                        if keep[t, level]:
                                            is_open += 1
                                        new_code = new_code * (count[t] + 1) + is_open
                                    if total < new_cost[target, new_code] and total <= bound_cost:
                                        new_cost[target, new_code] = total
                                        came_state[level, target, new_code] = state
                                        came_code[level, target, new_code] = code
                                        came_inner[level, target, new_code] = inner if moved > 0 else -1
        cost = new_cost
    # Outside the outermost level every run that is still open closes with R = 1.
    best = np.inf
    best_code = -1
    for code in range(codes):
        total = cost[states - 1, code]
        if total == np.inf:
            continue
        _unpack(code, radix, opened)
        for t in range(3):
            for place in range(count[t] - opened[t], count[t]):
                total += coefficient[t, kept[t, place]]
        if total < best:
            best = total
            best_code = code
    bounds = np.ones((levels, 4), dtype=np.int64)
    innermost = np.full(levels, -1, dtype=np.int64)
    if best_code < 0 or best > bound_cost:
        return np.inf, bounds, innermost
    state, code = states - 1, best_code
    for level in range(levels):
        before = came_state[level, state, code]
        innermost[level] = came_inner[level, state, code]
        _unpack(state, divisor_count, after)
        _unpack(before, divisor_count, index)
        for c in range(4):
            bounds[level, c] = divisor[c, after[c]] // divisor[c, index[c]]
        code = came_code[level, state, code]
        state = before
    return best, bounds, innermost
