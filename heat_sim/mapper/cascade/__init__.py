"""Cascades: contraction trees, fused groups and the mapping of every einsum, chosen together."""

from heat_sim.mapper.cascade.result import CascadeResult, MappedCascade, MappedGroup
from heat_sim.mapper.cascade.search import map_cascade
from heat_sim.vector_op import VectorUnit

__all__ = ["CascadeResult", "MappedCascade", "MappedGroup", "VectorUnit", "map_cascade"]
