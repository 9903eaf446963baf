"""One row of the table that a run ends with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    """A chosen design: predicted cost, and measured accuracy where it was measured.

    Attributes:
        design: Its id.
        edp_gain: EDP of the dense encoder over that of the design.
        energy_pj: Of one forward pass through the encoder.
        cycles: Likewise.
        edp_pj_cycles: Energy times cycles.
        parameters: Of the whole model.
        encoder_parameters: Weights of the encoder as they are stored.
        estimated_loss: By the estimate of the search.
        projected_accuracy: Measured on held-out data, before any training; None if not measured.
        distilled_accuracy: Measured on the same data after distillation; None if not distilled.
        area_mm2: Of the machine; None if only one machine was searched.
    """

    design: str
    edp_gain: float
    energy_pj: float
    cycles: int
    edp_pj_cycles: float
    parameters: int
    encoder_parameters: int
    estimated_loss: float
    projected_accuracy: float | None = None
    distilled_accuracy: float | None = None
    area_mm2: float | None = None
