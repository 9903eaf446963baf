"""Objectives as the kernels see them: five numbers, and the front found so far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.objective import Objective

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ROUNDING = 1e-12
"""Sums of energies in another order differ by less than this share of them; a bound that near is no better."""


class Judge(NamedTuple):
    """What a kernel needs to tell whether something can still be better than what was found.

    Attributes:
        front: 0 for one best value, 1 for every mapping that no other beats in both, 2 for the vertices of
            the hull of those.
        energy_exponent: See `Objective`; both 0 for a weighted sum.
        cycles_exponent: See `Objective`.
        pj_per_cycle: See `Objective`.
        best: Least objective found; infinity if none.
        energy_pj: (F,) of the front found so far, in the order of its cycles, which grow.
        cycles: (F,) of the front found so far.
    """

    front: int
    energy_exponent: int
    cycles_exponent: int
    pj_per_cycle: float
    best: float
    energy_pj: Floats
    cycles: Floats


def judge_of(objective: Objective, *, best: float, points: list[tuple[float, float]]) -> Judge:
    """Return the judge that knows a best value and a front of (energy in pJ, cycles), fewest cycles first."""
    front = np.array(points, dtype=np.float64).reshape(len(points), 2)
    is_sum = objective.kind == "sum"
    return Judge(
        front={"pareto": 1, "hull": 2}.get(objective.kind, 0),
        energy_exponent=0 if is_sum else objective.energy_exponent,
        cycles_exponent=0 if is_sum else objective.cycles_exponent,
        pj_per_cycle=objective.pj_per_cycle,
        best=best,
        energy_pj=front[:, 0].copy(),
        cycles=front[:, 1].copy(),
    )


@njit(cache=True, error_model="numpy")
def value_of(judge: Judge, energy_pj: float, cycles: float) -> float:
    """Return the objective, that of a front being EDP."""
    if judge.energy_exponent == 0 and judge.cycles_exponent == 0:
        return energy_pj + judge.pj_per_cycle * cycles
    value = 1.0
    for _ in range(judge.energy_exponent):
        value *= energy_pj
    for _ in range(judge.cycles_exponent):
        value *= cycles
    return value


@njit(cache=True, error_model="numpy")
def is_beaten(judge: Judge, energy_pj: float, cycles: float) -> bool:
    """Return whether nothing with at least so much energy and so many cycles is worth looking at."""
    if judge.front == 0:
        return value_of(judge, energy_pj, cycles) >= judge.best * (1.0 - ROUNDING)
    return _front_pj(judge, cycles) * (1.0 - ROUNDING) <= energy_pj


@njit(cache=True, error_model="numpy")
def _front_pj(judge: Judge, cycles: float) -> float:
    """Return the least energy that the front, or the hull of it, has at so many cycles; infinity if it has none."""
    after = np.searchsorted(judge.cycles, cycles, side="right")
    if after == 0:
        return np.inf
    energy_pj = judge.energy_pj[after - 1]
    if judge.front == 2 and after < len(judge.cycles):
        # On the line to the next vertex.
        share = (cycles - judge.cycles[after - 1]) / (judge.cycles[after] - judge.cycles[after - 1])
        energy_pj += share * (judge.energy_pj[after] - energy_pj)
    return float(energy_pj)


@njit(cache=True, error_model="numpy")
def energy_limit_pj(judge: Judge, cycles: float) -> float:
    """Return an energy above which everything with at least so many cycles is beaten."""
    if judge.front == 0 and judge.energy_exponent == 0 and judge.cycles_exponent == 0:
        return judge.best - judge.pj_per_cycle * cycles
    if judge.front == 0 and judge.energy_exponent == 1:
        share = 1.0
        for _ in range(judge.cycles_exponent):
            share *= cycles
        return judge.best / share
    return _front_pj(judge, cycles) if judge.front > 0 else np.inf


@njit(cache=True, error_model="numpy")
def beaten(judge: Judge, energy_pj: Floats, cycles: Floats) -> Flags:
    """Return `is_beaten` of every entry of two arrays (P, R)."""
    found = np.zeros(energy_pj.shape, np.bool_)
    for row in range(energy_pj.shape[0]):
        for column in range(energy_pj.shape[1]):
            found[row, column] = is_beaten(judge, energy_pj[row, column], cycles[row, column])
    return found
