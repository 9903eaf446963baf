"""What the training of a rank SuperNet is told: frozen, hashable, plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields

from heat_sim.distill.settings import Precision
from heat_sim.errors import SpecError, describe

_ZERO_ALLOWED = ("seed", "epochs", "spread", "sandwich_every", "layer_weight", "soft_weight")
_SHARES = ("spread", "soft_weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNetSettings:
    """How a SuperNet is trained: at every step at ranks that are drawn anew.

    Attributes:
        epochs: Passes over the training rows; 0 trains nothing.
        learning_rate: Peak of the schedule.
        rank_steps: Values that a rank is drawn from: evenly spaced up to the largest.
        spread: How far the ranks of one step may be from their common centre, as a share of the whole range. With 1
            all of them are independent: then the sizes of the drawn networks hardly vary, and strongly compressed ones
            never occur, since dozens of matrices average out. With 0 all matrices have the same share of their ranks.
            The default is the widest that designs of an estimate check have.
        sandwich_every: At every so many steps the loss is the mean of that at the drawn, the largest and the smallest
            ranks (the sandwich rule of Yu and Huang 2019); 0 is never. Such a step takes three times as long, and a
            common centre reaches both ends by itself, so the default is every fourth.
        layer_weight: Weight of the layer-wise loss beside that of the logits.
        temperature: Softens both distributions of the logit loss.
        soft_weight: Share of the teacher in the logit loss; the labels have the rest. By default they have none: the
            estimate is the divergence from the teacher, and labels would pull every network away from it.
        batch_size: Rows per step.
        max_length: Tokens a row is cut to; None for what is usual for the kind of task.
        max_rows: Training rows used, the first so many; None for all.
        precision: Number format of the matrix products.
        seed: Seeds the ranks, the order of the rows and dropout.

    >>> SuperNetSettings(spread=2.0)
    Traceback (most recent call last):
    heat_sim.errors.SpecError: SuperNetSettings.spread: not a share (got 2.0, expected 0 to 1). The default is 0.25.
    """

    epochs: int = 2
    learning_rate: float = 2.5e-4
    rank_steps: int = 24
    spread: float = 0.25
    sandwich_every: int = 4
    layer_weight: float = 1.0
    temperature: float = 2.0
    soft_weight: float = 1.0
    batch_size: int = 32
    max_length: int | None = None
    max_rows: int | None = None
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        for field in fields(self):
            value, remedy = getattr(self, field.name), f"The default is {field.default}."
            where = f"SuperNetSettings.{field.name}"
            if not isinstance(value, int | float):
                continue
            if not (value > 0 or (value == 0 and field.name in _ZERO_ALLOWED)):
                expected = "0 or more" if field.name in _ZERO_ALLOWED else "more than 0"
                problems.append(describe(where, "out of range", got=value, expected=expected, remedy=remedy))
            elif field.name in _SHARES and value > 1:
                problems.append(describe(where, "not a share", got=value, expected="0 to 1", remedy=remedy))
        if problems:
            raise SpecError(problems)
