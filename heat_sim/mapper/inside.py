"""The least that can be spent inside a level, whatever is kept there and however the meshes are used.

Capacities are left out. What is not: the tensors share the meshes. A mesh that spreads n, m or k spares A, B or Z
accesses, and the children are there for one of them only.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.boundary import OUTPUT, irrelevant
from heat_sim.mapper.matmul_problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST_COMBINATIONS = 20_000
"""Uses of all meshes that are looked at one by one; beyond it each tensor has the meshes to itself."""


@njit(cache=True, error_model="numpy")
def most_units_of(meshes: Ints, first_mesh: Ints) -> Ints:
    """Return (L + 1,): compute units below one instance of each level that any choice of meshes can have at work.

    Args:
        meshes: (C, 4) bounds over the children, the choices of level l in rows first_mesh[l]..first_mesh[l + 1],
            most units first.
        first_mesh: (L + 1,).
    """
    levels = len(first_mesh) - 1
    most_units = np.ones(levels + 1, np.int64)
    for level in range(levels - 1, -1, -1):
        most_units[level] = most_units[level + 1] * meshes[first_mesh[level]].prod()
    return most_units


@njit(cache=True, error_model="numpy")
def _maximal(choices: Ints) -> Ints:
    """Return the choices (C, 4) that no other one matches in m, n and k at once."""
    kept = np.zeros(len(choices), np.int64)
    count = 0
    for row in range(len(choices)):
        beaten = False
        for other in kept[:count]:
            beaten = beaten or bool((choices[other, 1:] >= choices[row, 1:]).all())
        if not beaten:
            kept[count] = row
            count += 1
    return choices[kept[:count]]


@njit(cache=True, error_model="numpy")
def _asked_pj(p: Problem, t: int, keeper: int, shared: int, units_outside: int) -> float:
    """Return what the compute units ask of a keeper of tensor t if so many of them share each word.

    Args:
        p: The problem.
        t: Tensor.
        keeper: Level.
        shared: Compute units inside one instance that need the same word.
        units_outside: Instances of the keeper at the most.
    """
    n = p.extent[irrelevant(t)]
    shared = min(shared, n)
    asked = p.words[t] * n / shared
    if t == OUTPUT:
        # The first time that a copy is written nothing is read.
        again = max(0.0, asked - p.words[t] * min(n / shared, float(units_outside)))
        return (asked * p.energy[keeper, 2] + again * p.energy[keeper, 0]) / p.block[keeper]
    return asked * p.energy[keeper, 0] / p.block[keeper]


@njit(cache=True, error_model="numpy")
def least_serving_pj(p: Problem, meshes: Ints, first_mesh: Ints) -> Floats:
    """Return (L, L, L): no less is spent on what the compute units ask, by the innermost keepers of A, B and Z."""
    levels = len(p.usable)
    most_units = most_units_of(meshes, first_mesh)
    first = np.zeros(levels + 1, np.int64)
    useful = np.zeros((len(meshes), 4), np.int64)
    combinations = 1.0
    for level in range(levels):
        found = _maximal(meshes[first_mesh[level] : first_mesh[level + 1]])
        first[level + 1] = first[level] + len(found)
        useful[first[level] : first[level + 1]] = found
        combinations *= len(found)
    serving = np.full((levels, levels, levels), np.inf)
    each = np.zeros((3, levels))
    if combinations > _MOST_COMBINATIONS:
        for t in range(3):
            for keeper in range(levels):
                each[t, keeper] = _asked_pj(p, t, keeper, most_units[keeper], most_units[0] // most_units[keeper])
        _lower(serving, each)
        return serving
    position = first[:levels].copy()
    while True:
        for t in range(3):
            shared = 1
            for keeper in range(levels - 1, -1, -1):
                shared *= useful[position[keeper], irrelevant(t)]
                each[t, keeper] = _asked_pj(p, t, keeper, shared, most_units[0] // most_units[keeper])
        _lower(serving, each)
        level = levels - 1
        while level >= 0 and position[level] == first[level + 1] - 1:
            position[level] = first[level]
            level -= 1
        if level < 0:
            return serving
        position[level] += 1


@njit(cache=True, error_model="numpy")
def _lower(serving: Floats, each: Floats) -> None:
    """Lower every entry of (L, L, L) to the sum of one entry per row of (3, L)."""
    levels = each.shape[1]
    for a in range(levels):
        for b in range(levels):
            for z in range(levels):
                serving[a, b, z] = min(serving[a, b, z], each[0, a] + each[1, b] + each[2, z])


@njit(cache=True, error_model="numpy")
def least_inside_pj(p: Problem, meshes: Ints, first_mesh: Ints) -> Floats:
    """Return (L + 1, L + 1, L + 1, L + 1): no less is spent at a level and inside it, by the keepers outside.

    Args:
        p: The problem.
        meshes: See `most_units_of`.
        first_mesh: See `most_units_of`.

    Returns:
        [l, a + 1, b + 1, z + 1] bounds what passes into level l and further in, and what the units ask, where A, B
        and Z are kept last at a, b and z outside l, -1 if nowhere.
    """
    levels = len(p.usable)
    serving = least_serving_pj(p, meshes, first_mesh)
    # way[t, l, P + 1, k]: least energy to bring tensor t from keeper P through levels l.. to its innermost keeper k.
    way = np.full((3, levels + 1, levels + 1, levels), np.inf)
    for t in range(3):
        for keeper in range(levels):
            way[t, levels, keeper + 1, keeper] = 0.0
        for level in range(levels - 1, -1, -1):
            way[t, level] = way[t, level + 1]
            can_keep = False
            for option in p.keeps[level]:
                can_keep = can_keep or (option >= 0 and (option >> t) & 1 == 1)
            for outside in range(-1, level) if can_keep else range(0):
                move = 0.0
                if outside >= 0 and t == OUTPUT:
                    move = p.words[t] * p.energy[outside, 2] / p.block[outside]
                elif outside >= 0:
                    move = p.words[t] * (
                        p.energy[outside, 0] / p.block[outside] + p.energy[level, 1] / p.block[level]
                    )  # fmt: skip
                for keeper in range(levels):
                    further = move + way[t, level + 1, level + 1, keeper]
                    way[t, level, outside + 1, keeper] = min(way[t, level, outside + 1, keeper], further)
    least = np.full((levels + 1, levels + 1, levels + 1, levels + 1), np.inf)
    for level in range(levels + 1):
        for a in range(level + 1):
            for b in range(level + 1):
                for z in range(level + 1):
                    best = np.inf
                    for to_a in range(levels):
                        if way[0, level, a, to_a] < best:
                            for to_b in range(levels):
                                for_ab = way[0, level, a, to_a] + way[1, level, b, to_b]
                                for to_z in range(levels if for_ab < best else 0):
                                    whole = for_ab + way[2, level, z, to_z] + serving[to_a, to_b, to_z]
                                    best = min(best, whole)
                    least[level, a, b, z] = best
    return least


@njit(cache=True, error_model="numpy")
def root_bound(p: Problem, meshes: Ints, first_mesh: Ints) -> tuple[float, float]:
    """Return energy in pJ and cycles that no mapping is below; arguments as in `most_units_of`."""
    most_units = most_units_of(meshes, first_mesh)
    energy_pj = p.compute_pj + least_inside_pj(p, meshes, first_mesh)[0, 0, 0, 0]
    return energy_pj, float(-(-p.extent.prod() // most_units[0]) + p.latency)
