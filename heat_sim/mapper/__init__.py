"""The best mapping of an einsum, the best contraction order of a factorised layer, the EDP of a network."""

from heat_sim.mapper.result import MappedEinsum, MappingResult
from heat_sim.mapper.search import map_einsum

__all__ = ["MappedEinsum", "MappingResult", "map_einsum"]
