"""Readers and writers of Timeloop architecture, problem and mapping files and Accelergy energy and area tables."""

from heat_sim.specs.architecture_spec import (
    ArchitectureSpec,
    load_architecture,
    parse_architecture,
    spec_from_architecture,
)
from heat_sim.specs.architecture_writer import dump_architecture, dump_ert
from heat_sim.specs.cascade_file import CascadeSpec, load_cascade, parse_cascade_text
from heat_sim.specs.constraint_file import ConstraintSet, load_constraints, parse_constraints
from heat_sim.specs.constraints import Branch
from heat_sim.specs.draft import ComponentSpec
from heat_sim.specs.mapping_file import load_mapping, parse_mapping
from heat_sim.specs.problem import load_problem, parse_problem
from heat_sim.specs.problem_writer import dump_problem
from heat_sim.specs.writer import dump_mapping, file_form

__all__ = [
    "ArchitectureSpec",
    "Branch",
    "CascadeSpec",
    "ComponentSpec",
    "ConstraintSet",
    "dump_architecture",
    "dump_ert",
    "dump_mapping",
    "dump_problem",
    "file_form",
    "load_architecture",
    "load_cascade",
    "load_constraints",
    "load_mapping",
    "load_problem",
    "parse_architecture",
    "parse_cascade_text",
    "parse_constraints",
    "parse_mapping",
    "parse_problem",
    "spec_from_architecture",
]
