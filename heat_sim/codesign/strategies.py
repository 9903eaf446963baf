"""The strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from heat_sim.codesign.baselines import random_strategy, tensorly_strategy, uniform_strategy
from heat_sim.codesign.heat_strategy import heat_strategy
from heat_sim.codesign.nsga2 import evolve
from heat_sim.codesign.strategy import Search, Strategy
from heat_sim.codesign.strategy_names import BASELINES, EVOLUTIONARY


def _evolutionary(search: Search, *, algorithm: str) -> None:
    evolve(search, algorithm=algorithm)


STRATEGIES: Mapping[str, Strategy] = {
    **{name: partial(_evolutionary, algorithm=name) for name in EVOLUTIONARY},
    "heat": heat_strategy,
    "uniform": uniform_strategy,
    "tensorly": tensorly_strategy,
    "random": random_strategy,
}
"""Evolutionary ones, HEAT's own procedure, and those that do not search."""
assert tuple(STRATEGIES) == EVOLUTIONARY + BASELINES
