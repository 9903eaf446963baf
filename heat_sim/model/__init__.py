"""The analytical model: counts, cycles and energy of one mapping, as Timeloop reports them."""

from heat_sim.model.batch import BatchResult, MappingBatch, batch_of, evaluate_batch
from heat_sim.model.evaluate import evaluate
from heat_sim.model.report import LevelReport, Report, TensorCounts

__all__ = [
    "BatchResult",
    "LevelReport",
    "MappingBatch",
    "Report",
    "TensorCounts",
    "batch_of",
    "evaluate",
    "evaluate_batch",
]
