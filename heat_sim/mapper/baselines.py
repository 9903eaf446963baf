"""The searches to compare the optimal one with, by name; all have one signature."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from heat_sim.mapper.exhaustive import search_exhaustive
from heat_sim.mapper.hill_climbing import search_hill_climbing
from heat_sim.mapper.objective import Objective
from heat_sim.mapper.random_search import search_random
from heat_sim.mapper.result import MappingResult
from heat_sim.mapper.space import MapSpace

__all__ = ["SEARCHES", "Search", "search_exhaustive", "search_hill_climbing", "search_random"]


class Search(Protocol):
    """A search: the best mapping it finds in the space, and the front of what it costed."""

    def __call__(
        self, space: MapSpace, *, objective: Objective, budget: int = ..., rng: np.random.Generator
    ) -> MappingResult:
        """Return the result; the same for the same arguments and state of the generator, but for the seconds."""
        ...


SEARCHES: dict[str, Search] = {
    "exhaustive": search_exhaustive,
    "random": search_random,
    "hill-climbing": search_hill_climbing,
}
"""What ``name`` stands for wherever a search can be chosen."""
