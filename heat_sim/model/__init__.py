"""The analytical model: counts, cycles and energy of one mapping, as Timeloop reports them."""

from heat_sim.model.evaluate import evaluate
from heat_sim.model.report import LevelReport, Report, TensorCounts

__all__ = ["LevelReport", "Report", "TensorCounts", "evaluate"]
