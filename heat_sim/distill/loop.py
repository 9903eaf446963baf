"""One training loop for the teacher and for both stages of distillation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.batches import Batch, EncodedRows, shuffled_batches
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent
from heat_sim.distill.settings import Precision
from heat_sim.errors import HeatError, describe

_WARM_UP = 0.1
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT_NORM = 1.0


def train_epochs(
    model: torch.nn.Module,
    rows: EncodedRows,
    *,
    loss: Callable[[Batch], Tensor],
    stage: str,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    precision: Precision,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[float, ...]:
    """Train the model in place and return the loss of every step.

    AdamW (weight decay 0.01 on matrices, none on vectors), gradients clipped to norm 1, learning rate linear from 0
    to its peak over the first tenth of the steps and linear to 0 over the rest.

    Args:
        model: Whose parameters are trained.
        rows: The training rows.
        loss: The scalar loss of one batch.
        stage: Name for progress events and errors.
        epochs: Passes over the rows; 0 trains nothing.
        learning_rate: Peak.
        batch_size: Rows per step.
        precision: Number format of the matrix products.
        rng: Draws the order of the rows.
        progress: Called after each step.

    Raises:
        HeatError: Loss or gradient is not finite; the model then holds the weights of the last good step.
    """
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=learning_rate,
        fused=True,  # a third of the default's time on a CPU
    )
    steps = epochs * math.ceil(len(rows.tokens) / batch_size)
    history: list[float] = []
    for _ in range(epochs):
        for batch in shuffled_batches(rows, batch_size=batch_size, rng=rng):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * schedule(len(history), steps)
            optimiser.zero_grad(set_to_none=True)
            with mixed_precision(precision):
                value = loss(batch)
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_([*matrices, *vectors], _LARGEST_GRADIENT_NORM)
            if not (math.isfinite(value.item()) and math.isfinite(norm.item())):
                raise HeatError(
                    describe(
                        f"{stage}, step {len(history) + 1} of {steps}",
                        "training has diverged",
                        got=f"loss {value.item():g}, gradient norm {norm.item():g}",
                        expected=f"finite numbers; the last good loss was {history[-1] if history else math.nan:g}",
                        remedy=f"Lower the learning rate (now {learning_rate:g}).",
                    )
                )
            optimiser.step()
            history.append(value.item())
            progress(ProgressEvent(stage=stage, step=len(history), steps=steps, loss=history[-1]))
    return tuple(history)


def schedule(step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step counted from 0: linear warm-up, then linear decay.

    >>> [round(schedule(step, 20), 2) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.06]
    """
    warm_up = max(1, round(_WARM_UP * steps))
    return (step + 1) / warm_up if step < warm_up else (steps - step) / max(1, steps - warm_up)


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch inside the block only: dropout and new weights can take no generator of their own.

    >>> with seeded_torch(0):
    ...     first = torch.rand(1)
    >>> with seeded_torch(0):
    ...     print(bool(torch.rand(1) == first))
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
