"""One training loop for the teacher and for both stages of distillation, which goes on where it was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from heat_sim.distill.batches import Batch, Rows, shuffled_places
from heat_sim.distill.checkpoint import TrainingState
from heat_sim.distill.optimiser import make_optimiser
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent
from heat_sim.distill.schedule import Schedule, schedule
from heat_sim.distill.settings import FactorRates, Precision
from heat_sim.errors import HeatError, describe

_LARGEST_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Validation:
    """How a stage is watched, and what of it is kept.

    Attributes:
        check: Loss and accuracy of the model on held-out rows; the least loss is best. The model must be in
            the mode of the training again when it returns.
        every: Steps between two checks; 0 for a check after each epoch. The first is made before the first step.
        patience: Checks without a new best after which the stage ends; None to train to the end.
    """

    check: Callable[[], tuple[float, float]]
    every: int = 0
    patience: int | None = None


def train_epochs(
    model: nn.Module,
    rows: Rows,
    *,
    loss: Callable[[Batch], Tensor],
    stage: str,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    precision: Precision,
    rng: np.random.Generator,
    progress: Progress,
    shape: Schedule = "linear",
    warm_up: float = 0.1,
    rates: FactorRates = "equal",
    frozen: Sequence[nn.Parameter] = (),
    validation: Validation | None = None,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], None] | None = None,
    save_every: int = 200,
) -> tuple[float, ...]:
    """Train the model in place and return the loss of every step.

    AdamW (weight decay 0.01 on matrices, none on vectors), gradients clipped to norm 1, learning rate linear from 0
    to its peak over the first tenth of the steps and falling over the rest. With validation the model ends with the
    weights of its best check, which may be those it came with.

    Args:
        model: Whose parameters are trained.
        rows: The training rows.
        loss: The scalar loss of one batch.
        stage: Name for progress events and errors.
        epochs: Passes over the rows; 0 trains nothing.
        learning_rate: Peak.
        batch_size: Rows per step.
        precision: Number format of the matrix products.
        rng: Draws the order of the rows of all epochs, before the first step.
        progress: Called after each step.
        shape: How the learning rate falls.
        warm_up: Share of the steps in which it rises.
        rates: Learning rates of cores.
        frozen: Parameters that are not trained.
        validation: How held-out rows are watched; None: they are not, and the last weights stay.
        state: Where this stage stood when it was stopped, and is brought up to date; None to begin.
        save: Called with the state every `save_every` steps and at the end of the stage.
        save_every: Steps between two calls of `save`.

    Raises:
        HeatError: Loss or gradient is not finite; the model then holds the best weights that validation has seen, or
            those of the last good step.
    """
    orders = [shuffled_places(rows, batch_size=batch_size, rng=rng) for _ in range(epochs)]
    steps = sum(map(len, orders))
    optimiser = make_optimiser(model, learning_rate=learning_rate, rates=rates, frozen=tuple(frozen))
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    by_name = {names[id(parameter)]: parameter for parameter in trained}
    state = state or TrainingState(stage=stage)
    was_done = state.done
    if state.step:
        _put(by_name, state.model)
        torch.set_rng_state(state.random)
        if not was_done:
            optimiser.load_state_dict(state.optimiser)
    started, before = time.perf_counter(), state.seconds
    ends = set(np.cumsum([len(order) for order in orders]).tolist())
    places = [each for order in orders for each in order]

    def store() -> None:
        if save is not None:
            state.model = {name: parameter.detach() for name, parameter in by_name.items()}
            state.optimiser = optimiser.state_dict()
            state.random = torch.get_rng_state()
            state.seconds = before + time.perf_counter() - started
            save(state)

    if validation is not None and not state.checks and not state.done and steps:
        _validate(state, validation, by_name)  # training may do harm
    while not state.done and state.step < steps:
        share = schedule(state.step, steps, shape=shape, warm_up=warm_up)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * share * group["scale"]
        optimiser.zero_grad(set_to_none=True)
        with mixed_precision(precision):
            value = loss(rows.batch(places[state.step]))
        value.backward()
        norm = nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT_NORM)
        if not (math.isfinite(value.item()) and math.isfinite(norm.item())):
            _diverged(state, steps, value=value.item(), norm=norm.item(), learning_rate=learning_rate, by_name=by_name)
        optimiser.step()
        state.step += 1
        state.losses.append(value.item())
        state.rates.append(share)
        at_check = state.step == steps or (
            state.step % validation.every == 0 if validation and validation.every else state.step in ends
        )
        if validation is not None and at_check:
            state.done = _validate(state, validation, by_name)
        accuracy = state.checks[-1][2] if state.checks else None
        progress(ProgressEvent(stage=stage, step=state.step, steps=steps, loss=state.losses[-1], accuracy=accuracy))
        if state.step % save_every == 0 and state.step < steps and not state.done:
            store()
    if not was_done:
        if state.best is not None:
            _put(by_name, state.best)
        state.close(by_name)
        state.seconds = before + time.perf_counter() - started
        if save is not None:
            save(state)
    return tuple(state.losses)


def _validate(state: TrainingState, validation: Validation, by_name: dict[str, nn.Parameter]) -> bool:
    """Check the model, keep its weights if they are the best yet, and return whether to stop early."""
    best = min((loss for _, loss, _ in state.checks), default=math.inf)
    found, accuracy = validation.check()
    state.checks.append((state.step, found, accuracy))
    if found < best:
        state.best = {name: parameter.detach().clone() for name, parameter in by_name.items()}
        state.best_step = state.step
    since = sum(step > state.best_step for step, _, _ in state.checks)
    return validation.patience is not None and since >= validation.patience


def _diverged(
    state: TrainingState, steps: int, *, value: float, norm: float, learning_rate: float,
    by_name: dict[str, nn.Parameter],
) -> None:  # fmt: skip
    if state.best is not None:
        _put(by_name, state.best)
    raise HeatError(
        describe(
            f"{state.stage}, step {state.step + 1} of {steps}",
            "training has diverged",
            got=f"loss {value:g}, gradient norm {norm:g}",
            expected=f"finite numbers; the last good loss was {state.losses[-1] if state.losses else math.nan:g}",
            remedy=f"Lower the learning rate (now {learning_rate:g}).",
        )
    )


def _put(by_name: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in values.items():
            by_name[name].copy_(value)


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
