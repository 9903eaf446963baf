"""Objectives as the kernels see them: five numbers, and the front found so far."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from heat_sim.mapper.objective import Objective

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ROUNDING = 1e-12
"""Sums of energies in another order differ by less than this share of them; a bound that near is no better."""


class Limit(NamedTuple):
    """A mapping matters only as a part of something: it runs so many times, with the rest it must beat what is known.

    Attributes:
        times: How often the mapping runs; 0 if there is no such limit.
        with_pj: Energy of the rest at the least.
        with_cycles: Cycles of the rest at the least.
        front: Of the whole; see `Judge`, likewise the rest.
        energy_exponent: See `Judge`.
        cycles_exponent: See `Judge`.
        pj_per_cycle: See `Judge`.
        best: See `Judge`.
        energy_pj: See `Judge`.
        cycles: See `Judge`.
    """

    times: int
    with_pj: float
    with_cycles: float
    front: int
    energy_exponent: int
    cycles_exponent: int
    pj_per_cycle: float
    best: float
    energy_pj: Floats
    cycles: Floats


NO_LIMIT = Limit(0, 0.0, 0.0, 0, 1, 1, 0.0, math.inf, np.zeros(0), np.zeros(0))


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
        limit: Of what the mapping is a part of.
        second: Another one.
    """

    front: int
    energy_exponent: int
    cycles_exponent: int
    pj_per_cycle: float
    best: float
    energy_pj: Floats
    cycles: Floats
    limit: Limit
    second: Limit


def limit_of(judge: Judge, *, times: int, with_pj: float, with_cycles: float) -> Limit:
    """Return the limit of a part of what the judge judges."""
    return Limit(
        int(times), float(with_pj), float(with_cycles), judge.front, judge.energy_exponent, judge.cycles_exponent,
        judge.pj_per_cycle, judge.best, judge.energy_pj, judge.cycles,
    )  # fmt: skip


def judge_of(
    objective: Objective,
    *,
    best: float,
    points: list[tuple[float, float]],
    limits: tuple[Limit, Limit] = (NO_LIMIT, NO_LIMIT),
) -> Judge:
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
        limit=limits[0],
        second=limits[1],
    )


@njit(cache=True, error_model="numpy")
def _value(energy_exponent: int, cycles_exponent: int, pj_per_cycle: float, energy_pj: float, cycles: float) -> float:
    if energy_exponent == 0 and cycles_exponent == 0:
        return energy_pj + pj_per_cycle * cycles
    value = 1.0
    for _ in range(energy_exponent):
        value *= energy_pj
    for _ in range(cycles_exponent):
        value *= cycles
    return value


@njit(cache=True, error_model="numpy")
def value_of(judge: Judge, energy_pj: float, cycles: float) -> float:
    """Return the objective, that of a front being EDP."""
    return _value(judge.energy_exponent, judge.cycles_exponent, judge.pj_per_cycle, energy_pj, cycles)


@njit(cache=True, error_model="numpy")
def is_beaten(judge: Judge, energy_pj: float, cycles: float) -> bool:
    """Return whether nothing with at least so much energy and so many cycles is worth looking at."""
    if judge.front == 0:
        if value_of(judge, energy_pj, cycles) >= judge.best * (1.0 - ROUNDING):
            return True
    elif _front_pj(judge.front, judge.energy_pj, judge.cycles, cycles) * (1.0 - ROUNDING) <= energy_pj:
        return True
    return _is_beyond(judge.limit, energy_pj, cycles) or _is_beyond(judge.second, energy_pj, cycles)


@njit(cache=True, error_model="numpy")
def _is_beyond(limit: Limit, energy_pj: float, cycles: float) -> bool:
    """Return whether the whole, with such a part, is beaten."""
    if limit.times == 0:
        return False
    energy_pj = limit.with_pj + limit.times * energy_pj
    cycles = limit.with_cycles + limit.times * cycles
    if limit.front == 0:
        value = _value(limit.energy_exponent, limit.cycles_exponent, limit.pj_per_cycle, energy_pj, cycles)
        return bool(value >= limit.best * (1.0 - ROUNDING))
    return bool(_front_pj(limit.front, limit.energy_pj, limit.cycles, cycles) * (1.0 - ROUNDING) <= energy_pj)


@njit(cache=True, error_model="numpy")
def _front_pj(front: int, front_pj: Floats, front_cycles: Floats, cycles: float) -> float:
    """Return the least energy that a front, or the hull of it, has at so many cycles; infinity if it has none."""
    after = np.searchsorted(front_cycles, cycles, side="right")
    if after == 0:
        return np.inf
    energy_pj = front_pj[after - 1]
    if front == 2 and after < len(front_cycles):
        # On the line to the next vertex.
        share = (cycles - front_cycles[after - 1]) / (front_cycles[after] - front_cycles[after - 1])
        energy_pj += share * (front_pj[after] - energy_pj)
    return float(energy_pj)


@njit(cache=True, error_model="numpy")
def energy_limit_pj(judge: Judge, cycles: float) -> float:
    """Return an energy above which everything with at least so many cycles is beaten."""
    most_pj = _limit_pj(judge.front, judge.energy_exponent, judge.cycles_exponent, judge.pj_per_cycle, judge.best,
                        judge.energy_pj, judge.cycles, cycles)  # fmt: skip
    for part in (judge.limit, judge.second):
        if part.times > 0:
            whole = _limit_pj(part.front, part.energy_exponent, part.cycles_exponent, part.pj_per_cycle, part.best,
                              part.energy_pj, part.cycles, part.with_cycles + part.times * cycles)  # fmt: skip
            most_pj = min(most_pj, (whole - part.with_pj) / part.times)
    return most_pj


@njit(cache=True, error_model="numpy")
def _limit_pj(
    front: int, energy_exponent: int, cycles_exponent: int, pj_per_cycle: float, best: float, front_pj: Floats,
    front_cycles: Floats, cycles: float,
) -> float:  # fmt: skip
    if front > 0:
        return _front_pj(front, front_pj, front_cycles, cycles)
    if energy_exponent == 0 and cycles_exponent == 0:
        return best - pj_per_cycle * cycles
    if energy_exponent == 1:
        share = 1.0
        for _ in range(cycles_exponent):
            share *= cycles
        return best / share
    return np.inf


@njit(cache=True, error_model="numpy")
def beaten(judge: Judge, energy_pj: Floats, cycles: Floats) -> Flags:
    """Return `is_beaten` of every entry of two arrays (P, R)."""
    found = np.zeros(energy_pj.shape, np.bool_)
    for row in range(energy_pj.shape[0]):
        for column in range(energy_pj.shape[1]):
            found[row, column] = is_beaten(judge, energy_pj[row, column], cycles[row, column])
    return found
