"""Tensor decompositions of weight matrices: shapes, projection, reconstruction, contraction trees."""

from heat_sim.tensorize.contraction import (
    Contraction,
    ContractionTree,
    contract,
    contraction_trees,
    mac_optimal_tree,
    parse_tree,
    tree_to_text,
)
from heat_sim.tensorize.design import Design, LayerDesign, dump_design, load_design, parse_design
from heat_sim.tensorize.error import relative_error
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.low_rank import rank_errors
from heat_sim.tensorize.projection import project, reconstruct
from heat_sim.tensorize.tensorization import Tensorization, enumerate_tensorizations

__all__ = [
    "FORMATS",
    "Contraction",
    "ContractionTree",
    "Design",
    "Factorization",
    "LayerDesign",
    "Tensorization",
    "contract",
    "contraction_trees",
    "dump_design",
    "enumerate_tensorizations",
    "load_design",
    "mac_optimal_tree",
    "parse_design",
    "parse_tree",
    "project",
    "rank_errors",
    "reconstruct",
    "relative_error",
    "tree_to_text",
]
