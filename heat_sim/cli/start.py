"""From a design to the student that training starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits

from heat_sim.cli.bench import Bench
from heat_sim.cli.options import ProjectionName
from heat_sim.distill.calibrate import calibration_batches
from heat_sim.distill.convert import project_design
from heat_sim.distill.sequential import project_sequentially
from heat_sim.tensorize.design import Design
from heat_sim.tensorize.projection_cache import ProjectionCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Projects designs of one teacher, in one of four ways; remembers on disk.

    Attributes:
        bench: The teacher and its calibration.
        projection: "frobenius" approximates the weights, "activation" their outputs on the calibration text, "fisher"
            the loss there, "sequential" the loss too, each matrix on the outputs of the compressed ones before it.
    """

    bench: Bench
    projection: ProjectionName
    _project: ProjectionCache = field(default_factory=ProjectionCache)

    def __call__(self, design: Design) -> Any:
        """Return the model with factorised layers, without any training."""
        teacher, calibration = self.bench.teacher, self.bench.calibration
        if self.projection == "sequential":
            return project_sequentially(
                teacher.model, design, calibration_batches(teacher, self.bench.task),
                gradient_moments=calibration.gradient_moments, project=self._project,
            )  # fmt: skip
        with threadpool_limits(limits=1, user_api="blas"):  # as in the search: many small decompositions
            return project_design(
                teacher.model, design, project=self._project,
                second_moments=None if self.projection == "frobenius" else calibration.second_moments,
                gradient_moments=calibration.gradient_moments if self.projection == "fisher" else None,
            )  # fmt: skip
