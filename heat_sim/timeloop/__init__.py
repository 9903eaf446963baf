"""The bridge to Timeloop: write folders it runs, run it where it is installed, read what it says."""

from heat_sim.timeloop.comparison import ComparisonRow, compare
from heat_sim.timeloop.mapper_result import import_mapping
from heat_sim.timeloop.run import run_timeloop
from heat_sim.timeloop.stats import parse_stats

__all__ = ["ComparisonRow", "compare", "import_mapping", "parse_stats", "run_timeloop"]
