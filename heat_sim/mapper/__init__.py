"""The best mapping of an einsum, the best contraction order of a factorised layer, the EDP of a network."""

from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.objective import OBJECTIVES, Objective, parse_objective
from heat_sim.mapper.padding import trimmed
from heat_sim.mapper.result import MappedEinsum, MappingResult
from heat_sim.mapper.search import map_einsum

__all__ = [
    "OBJECTIVES",
    "MappedEinsum",
    "MappingCache",
    "MappingResult",
    "Objective",
    "map_einsum",
    "parse_objective",
    "trimmed",
]
