"""What fine-tuning, calibration and distillation are told: frozen, hashable, plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from heat_sim.errors import SpecError, describe

Precision = Literal["auto", "float32", "bfloat16"]
"""Number format of the matrix products: `auto` takes bfloat16 where the processor has instructions for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneSettings:
    """How the teacher is made from a pretrained encoder.

    Attributes:
        epochs: Passes over the training rows.
        learning_rate: Peak of the AdamW schedule (linear warm-up, linear decay to 0).
        batch_size: Rows per step.
        max_length: Tokens a text is cut to.
        max_rows: Training rows used, the first so many; None for all.
        precision: Number format of the matrix products.
        seed: Seeds the head's weights, the order of the rows and dropout.
    """

    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_length: int = 64
    max_rows: int | None = None
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_bad_numbers(self, zero_allowed=("seed",))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillSettings:
    """How a student is trained after its teacher: layer by layer, then on the logits.

    Attributes:
        layerwise_epochs: Passes of stage 1 (hidden states and attention maps).
        layerwise_learning_rate: Peak of its schedule.
        logit_epochs: Passes of stage 2 (logits and labels).
        logit_learning_rate: Peak of its schedule.
        temperature: Softens both distributions of stage 2.
        soft_weight: Share of the distillation loss in stage 2; the task loss has the rest.
        batch_size: Rows per step.
        max_length: Tokens a text is cut to.
        max_rows: Training rows used, the first so many; None for all.
        precision: Number format of the matrix products.
        seed: Seeds the order of the rows and dropout.
    """

    layerwise_epochs: int = 1
    layerwise_learning_rate: float = 5e-4
    logit_epochs: int = 1
    logit_learning_rate: float = 2.5e-4
    temperature: float = 2.0
    soft_weight: float = 0.5
    batch_size: int = 32
    max_length: int = 64
    max_rows: int | None = None
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_bad_numbers(self, zero_allowed=("seed", "layerwise_epochs", "logit_epochs", "soft_weight"))
        if self.soft_weight > 1:
            raise SpecError(
                describe(
                    "DistillSettings.soft_weight",
                    "not a share",
                    got=self.soft_weight,
                    expected="0 to 1",
                    remedy="0.5 weighs both losses alike.",
                )
            )


def _refuse_bad_numbers(settings: FineTuneSettings | DistillSettings, *, zero_allowed: tuple[str, ...]) -> None:
    """Refuse negative numbers, and zero where it has no meaning, all together."""
    problems = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, int | float) and not (value > 0 or (value == 0 and field.name in zero_allowed)):
            problems.append(
                describe(
                    f"{type(settings).__name__}.{field.name}",
                    "out of range",
                    got=value,
                    expected="0 or more" if field.name in zero_allowed else "more than 0",
                    remedy=f"The default is {field.default}.",
                )
            )
    if problems:
        raise SpecError(problems)
