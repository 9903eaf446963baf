"""What fine-tuning, calibration and distillation are told: frozen, hashable, plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from heat_sim.distill.schedule import Schedule
from heat_sim.errors import SpecError, describe

FactorRates = Literal["equal", "fan-in"]
"""Learning rates of the cores: all alike, or each by the inverse of its fan-in."""

CoreScales = Literal["projected", "fan-in"]
"""How the size of a matrix is shared among its cores before training: as the projection left it, or by fan-in."""

Precision = Literal["auto", "float32", "bfloat16"]
"""Number format of the matrix products: `auto` takes bfloat16 where the processor has matrix units for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneSettings:
    """How the teacher is made from a pretrained encoder.

    Attributes:
        epochs: Passes over the training rows.
        learning_rate: Peak of the AdamW schedule (linear warm-up, linear decay to 0).
        batch_size: Rows per step.
        max_length: Tokens a row is cut to; None for what is usual for the kind of task (`Task.default_max_length`).
        max_rows: Training rows used, the first so many; None for all.
        precision: Number format of the matrix products.
        seed: Seeds the head's weights, the order of the rows and dropout.
    """

    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_length: int | None = None
    max_rows: int | None = None
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_bad_numbers(self, zero_allowed=("seed",))


LayerwiseMode = Literal["model", "blocks"]
"""Stage 1 on the whole student at once, or one encoder layer at a time on the teacher's activations."""

Execution = Literal["cascade", "fastest"]
"""How factorised layers run while they are trained: as the design says, or from rebuilt weights where that is less."""


_GENTLE_RATE, _RATE_ALONE = 2e-5, 2.5e-4
"""Peak learning rates of stage 2 after stage 1, and without it."""

Dropout = Literal["both", "layers", "logits", "none"]
"""Stages of distillation in which the student drops out what its configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillSettings:
    """How a student is trained after its teacher: layer by layer, then on the logits.

    Attributes:
        layerwise_epochs: Passes of stage 1 (hidden states and attention maps).
        layerwise_learning_rate: Peak of its schedule.
        layerwise_mode: Whole student at once, or layer by layer.
        logit_epochs: Passes of stage 2 (logits and labels).
        logit_learning_rate: Peak of its schedule; None for `logit_peak`'s choice.
        temperature: Softens both distributions of stage 2.
        soft_weight: Share of the distillation loss in stage 2; the task loss has the rest.
        schedule: How both learning rates fall after the warm-up.
        warm_up: Share of a stage's steps in which its learning rate rises.
        rates: Learning rates of the cores.
        scales: How the size of a matrix is shared among its cores at the start.
        dropout: Stages in which the student's dropout is on; the teacher's never is.
        train_embeddings: Whether the embeddings, which the student has from the teacher, are trained too.
        validation_rows: Rows of the dev split that watch the training, the first so many; 0: none, the last weights
            stay. Otherwise each stage ends with the weights of its least loss there.
        validate_every: Steps between two looks at them; 0 for one after each epoch.
        patience: Looks without a new best after which a stage ends; None to train to the end.
        execution: How factorised layers run.
        batch_size: Rows per step.
        max_length: Tokens a row is cut to; None for what is usual for the kind of task.
        max_rows: Training rows used, the first so many; None for all.
        precision: Number format of the matrix products.
        seed: Seeds the order of the rows and dropout.
    """

    layerwise_epochs: int = 1
    layerwise_learning_rate: float = 5e-4
    layerwise_mode: LayerwiseMode = "model"
    logit_epochs: int = 1
    logit_learning_rate: float | None = None
    temperature: float = 2.0
    soft_weight: float = 0.5
    schedule: Schedule = "linear"
    warm_up: float = 0.1
    rates: FactorRates = "equal"
    scales: CoreScales = "projected"
    dropout: Dropout = "both"
    train_embeddings: bool = False
    validation_rows: int = 0
    validate_every: int = 0
    patience: int | None = None
    execution: Execution = "cascade"
    batch_size: int = 32
    max_length: int | None = None
    max_rows: int | None = None
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_bad_numbers(
            self,
            zero_allowed=(
                "seed", "layerwise_epochs", "logit_epochs", "soft_weight", "warm_up", "train_embeddings",
                "validation_rows", "validate_every",
            ),
        )  # fmt: skip
        problems = [
            describe(f"DistillSettings.{name}", "not a share", got=value, expected="0 to 1", remedy=remedy)
            for name, value, remedy in (
                ("soft_weight", self.soft_weight, "0.5 weighs both losses alike."),
                ("warm_up", self.warm_up, "0.1 is a tenth of the steps."),
            )
            if value > 1
        ]
        if self.patience is not None and not self.validation_rows:
            problems.append(
                describe("DistillSettings.patience", "nothing to wait for", got=self.patience,
                         expected="validation_rows above 0", remedy="Give both or neither.")
            )  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def logit_peak(self) -> float:
        """Peak learning rate of stage 2.

        What stage 1 has fitted to the teacher is close to it, and higher rates take it away again (docs/results.md).

        >>> DistillSettings().logit_peak, DistillSettings(layerwise_epochs=0).logit_peak
        (2e-05, 0.00025)
        """
        if self.logit_learning_rate is not None:
            return self.logit_learning_rate
        return _GENTLE_RATE if self.layerwise_epochs else _RATE_ALONE


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
