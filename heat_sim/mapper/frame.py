"""One structure, made ready for the search of its loops in time: what every boundary costs per unit of R.

A structure is what each level keeps and how the meshes are used (`heat_sim.mapper.structure`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import (
    OUTPUT,
    irrelevant,
    least_crossing_pj,
    partition,
    per_r,
    served_words,
    serving_pj,
    whole,
)
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Frame(NamedTuple):
    """A structure; L levels, J bandwidths that are limited.

    Attributes:
        keep: (L,) masks, bit t for tensor t.
        spatial: (L, 4) bounds over the children.
        above: (L + 1, 4) products of the spatial bounds above each level.
        inside: (L + 1, 4) products of those at and inside each level.
        parent: (L + 1, 3) last keeper of each tensor outside each level, -1 if none.
        crosses: (L, 3) whether the tensor passes into the level from a parent.
        out: (L, 3) words that one instance of the parent hands out per unit of R.
        back: (L, 3) words that one instance of the level is handed per unit of R.
        instances: (L + 1,) in use.
        slope_pj: (L, 3) energy per unit of R of what passes into the level, accesses in fractions.
        first_pj: (L,) energy that first reads take off that.
        rest_pj: (L + 1,) no less is spent inside the boundary at the level.
        leak: pJ per cycle of everything in use.
        least_cycles: No fewer, whatever the loops.
        stall: (L + 1, J, 3) cycles that a bandwidth asks for per unit of R of each tensor.
        first_stall: (L + 1, J) cycles that first reads take off that.
        rest_stall: (L + 1, J) no fewer are asked for inside the boundary at the level.
    """

    keep: Ints
    spatial: Ints
    above: Ints
    inside: Ints
    parent: Ints
    crosses: Flags
    out: Ints
    back: Ints
    instances: Ints
    slope_pj: Floats
    first_pj: Floats
    rest_pj: Floats
    leak: float
    least_cycles: float
    stall: Floats
    first_stall: Floats
    rest_stall: Floats


@njit(cache=True, error_model="numpy")
def frame_of(p: Problem, keep: Ints, spatial: Ints) -> Frame:
    """Return the frame of a structure.

    Args:
        p: The problem.
        keep: (L,) masks; every tensor is kept somewhere.
        spatial: (L, 4) bounds over the children; their products divide the extents.
    """
    levels = len(keep)
    ops = p.extent[0] * p.extent[1] * p.extent[2] * p.extent[3]
    above, inside = np.ones((levels + 1, 4), np.int64), np.ones((levels + 1, 4), np.int64)
    instances = np.ones(levels + 1, np.int64)
    parent = np.full((levels + 1, 3), -1, np.int64)
    for level in range(levels):
        for c in range(4):
            above[level + 1, c] = above[level, c] * spatial[level, c]
        instances[level + 1] = instances[level] * spatial[level].prod()
        for t in range(3):
            parent[level + 1, t] = level if (keep[level] >> t) & 1 else parent[level, t]
    for level in range(levels - 1, -1, -1):
        for c in range(4):
            inside[level, c] = inside[level + 1, c] * spatial[level, c]
    leak = 0.0
    for level in range(levels):
        leak += p.leak[level] * instances[level]
    crosses = np.zeros((levels, 3), np.bool_)
    out, back = np.zeros((levels, 3), np.int64), np.zeros((levels, 3), np.int64)
    slope_pj, first_pj = np.zeros((levels, 3)), np.zeros(levels)
    rest_pj = np.zeros(levels + 1)
    for t in range(3):
        rest_pj[levels] += serving_pj(p, t, parent[levels, t], above, ops)
    most_tile = np.ones(4, np.int64)
    one_turn, no_run = np.ones(3), np.ones(3, np.int64)
    for level in range(levels - 1, -1, -1):
        for t in range(3):
            if (keep[level] >> t) & 1 and parent[level, t] >= 0:
                crosses[level, t] = True
                out[level, t] = partition(p, t, above[parent[level, t]])
                back[level, t] = partition(p, t, above[level])
                slope_pj[level, t], first = per_r(p, t, parent[level, t], level, above)
                first_pj[level] += first
        for c in range(4):
            most_tile[c] = p.extent[c] // above[level, c]
        rest_pj[level] = rest_pj[level + 1] - first_pj[level] + least_crossing_pj(
            p, level, keep[level], slope_pj[level], one_turn, no_run, inside[level], most_tile
        )  # fmt: skip
    where, kind = np.zeros(3 * levels, np.int64), np.zeros(3 * levels, np.int64)
    limits = 0
    for level in range(levels):
        for k in range(3):
            if p.rate[level, k] < np.inf:
                where[limits], kind[limits] = level, k
                limits += 1
    stall, first_stall = np.zeros((levels + 1, limits, 3)), np.zeros((levels + 1, limits))
    rest_stall = np.zeros((levels + 1, limits))
    least_cycles = float(ops // instances[levels])
    if limits:
        reads, writes = served_words(p, keep, above, ops)
        for j in range(limits):
            level, rate = where[j], p.rate[where[j], kind[j]]
            rest_stall[levels, j] = _counted(reads[level], writes[level], kind[j]) / rate
            for child in range(levels - 1, -1, -1):
                for t in range(3):
                    if not crosses[child, t]:
                        continue
                    sent = out[child, t] if level == parent[child, t] else 0
                    got = back[child, t] if level == child else 0
                    if t == OUTPUT:
                        # Sums come up as updates, and go down again but for the first visit of each.
                        each, once = _counted(sent, sent + got, kind[j]), p.first_reads * _counted(sent, got, kind[j])
                    else:
                        each, once = _counted(sent, got, kind[j]), 0.0
                    stall[child, j, t] = each / rate
                    first_stall[child, j] += once / rate
                for c in range(4):
                    most_tile[c] = p.extent[c] // above[child, c]
                rest_stall[child, j] = rest_stall[child + 1, j] - first_stall[child, j] + least_crossing_pj(
                    p, child, keep[child], stall[child, j], one_turn, no_run, inside[child], most_tile
                )  # fmt: skip
            least_cycles = max(least_cycles, rest_stall[0, j] * (1 - 1e-12))
    return Frame(
        keep, spatial, above, inside, parent, crosses, out, back, instances, slope_pj, first_pj, rest_pj, leak,
        least_cycles, stall, first_stall, rest_stall,
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _counted(reads: float, writes: float, kind: int) -> float:
    """Return the words that count against a bandwidth: of reads, of writes, or of both together."""
    return reads if kind == 0 else (writes if kind == 1 else reads + writes)


@njit(cache=True, error_model="numpy")
def passing_pj(p: Problem, f: Frame, child: int, t: int, r: int) -> float:
    """Return the energy at parent and child of what passes between them, in whole accesses.

    Args:
        p: The problem.
        f: The structure.
        child: The inner level.
        t: A tensor that crosses into it.
        r: Times that its tiles are handed over (R).
    """
    parent = f.parent[child, t]
    outer, inner = p.block[parent], p.block[child]
    out, back = f.out[child, t], f.back[child, t]
    if t == OUTPUT:
        again = r - p.first_reads
        return f.instances[parent] * (
            whole(out * r, outer) * p.energy[parent, 2] + whole(out * again, outer) * p.energy[parent, 0]
        ) + f.instances[child] * (whole(back * again, inner) * p.energy[child, 1])
    return f.instances[parent] * (whole(out * r, outer) * p.energy[parent, 0]) + f.instances[child] * (
        whole(back * r, inner) * p.energy[child, 1]
    )


@njit(cache=True, error_model="numpy")
def turns_of(p: Problem, f: Frame, child: int, t: int, tile: Ints) -> int:
    """Return R of a tensor at a child whose tile (4,) this is, if no run spares it any."""
    c = irrelevant(t)
    return p.extent[c] // (f.above[child, c] * tile[c])


@njit(cache=True, error_model="numpy")
def rest_of_label(
    p: Problem, f: Frame, level: int, extent: Ints, run_class: int, run: int,
    most_tile: Ints, turns: Floats, runs: Ints, stalls: Floats,
) -> float:  # fmt: skip
    """Return a bound of what is spent inside the boundary at the level when the classes run so far inside it.

    Args:
        p: The problem.
        f: The structure.
        level: See above.
        extent: (4,) how far the classes run at and inside the level.
        run_class: Class of the run that ends at the boundary.
        run: Its length.
        most_tile: (4,) is overwritten; likewise the next two.
        turns: (3,).
        runs: (3,).
        stalls: (J,) is filled with bounds of the cycles that each bandwidth asks for inside the boundary.
    """
    levels = len(f.keep)
    for t in range(3):
        # Loops outside the boundary come in full, unless a run from there reaches further in.
        c = irrelevant(t)
        turns[t] = p.extent[c] // (f.above[level, c] * extent[c])
        runs[t] = run if c == run_class else 1
    rest = f.rest_pj[levels]
    stalls[:] = f.rest_stall[levels]
    for child in range(level + 1, levels):
        for c in range(4):
            most_tile[c] = extent[c] // (f.above[child, c] // f.above[level, c])
        rest += least_crossing_pj(
            p, child, f.keep[child], f.slope_pj[child], turns, runs, f.inside[child], most_tile
        ) - f.first_pj[child]  # fmt: skip
        for j in range(len(stalls)):
            stalls[j] += least_crossing_pj(
                p, child, f.keep[child], f.stall[child, j], turns, runs, f.inside[child], most_tile
            ) - f.first_stall[child, j]  # fmt: skip
    return rest
