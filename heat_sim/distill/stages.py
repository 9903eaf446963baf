"""The two stages of distillation, each as a function that trains the student in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from heat_sim.distill.batches import Batch, Rows, sorted_batches
from heat_sim.distill.blocks import Blocks, LayerBatch, LayerRows, LayerTargets
from heat_sim.distill.calibrate import evaluation_mode
from heat_sim.distill.checkpoint import TrainingState
from heat_sim.distill.forward import logits_of, run
from heat_sim.distill.loop import Validation, train_epochs
from heat_sim.distill.losses import layerwise_loss, logit_loss
from heat_sim.distill.optimiser import embedding_parameters
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.targets import TargetedRows, teacher_logits
from heat_sim.distill.teacher_states import StatesBatch, StatesRows, TeacherStates

Check: TypeAlias = Callable[[], tuple[float, float]]
"""Returns loss and accuracy on held-out rows."""

LAYERS, LOGITS = "distill layers", "distill logits"
"""Names of the stages."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A teacher and its student on the rows of a task.

    Attributes:
        teacher: The fine-tuned dense model, held fixed, in evaluation mode.
        student: The model that is trained; in training mode if it is to drop out.
        rows: Training rows.
        dev: Held-out rows that watch the training; none: it is not watched.
        settings: Epochs, learning rates, loss weights.
        progress: Told about every step.
    """

    teacher: Any
    student: Any
    rows: Rows
    dev: Rows | None
    settings: DistillSettings
    progress: Progress


def train_layers(
    pair: Pair, *, rng: np.random.Generator, states: Sequence[TrainingState] = (),
    save: Callable[[TrainingState], None] | None = None, save_every: int = 200,
    teacher_states: TeacherStates | None = None,
) -> tuple[TrainingState, ...]:  # fmt: skip
    """Fit hidden states and attention maps of every encoder layer to the teacher's, and return how that went.

    With `layerwise_mode="blocks"` one layer after the other is trained on the teacher's activations, and there is a
    state for each; otherwise the whole student is trained at once.

    Args:
        pair: Teacher, student, rows.
        rng: Draws the order of the rows.
        states: Where the stage stood when it was stopped.
        save: Called with a state to be kept.
        save_every: Steps between two calls.
        teacher_states: What the teacher does with the training rows, if it is stored; it is asked at every step if
            left out, and in blocks always.

    Raises:
        HeatError: Training diverged.
    """
    if pair.settings.layerwise_epochs == 0:
        return ()
    if pair.settings.layerwise_mode == "blocks":
        return _train_blocks(pair, rng=rng, states=states, save=save, save_every=save_every)

    def loss(batch: Batch) -> Tensor:
        output = run(pair.student, batch, internal=True)
        # hidden_states[0] is the embeddings, which the student shares.
        return layerwise_loss(
            (output.hidden_states[1:], output.attentions), _wanted(pair.teacher, batch),
            attention_mask=batch.attention_mask,
        )  # fmt: skip

    state = states[0] if states else TrainingState(stage=LAYERS)
    rows = pair.rows if teacher_states is None else StatesRows(rows=pair.rows, states=teacher_states)
    _train(pair, rows, stage=LAYERS, loss=loss, rng=rng, state=state, save=save, save_every=save_every,
           epochs=pair.settings.layerwise_epochs, learning_rate=pair.settings.layerwise_learning_rate,
           check=None if pair.dev is None else _check(pair, pair.dev, loss))  # fmt: skip
    return (state,)


def _wanted(teacher: Any, batch: Batch) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the teacher's hidden states and attention maps of every layer."""
    if isinstance(batch, StatesBatch):
        return batch.hidden_states, batch.attentions
    with torch.no_grad():
        output = run(teacher, batch, internal=True)
    return output.hidden_states[1:], output.attentions


def train_logits(
    pair: Pair, *, rng: np.random.Generator, states: Sequence[TrainingState] = (),
    save: Callable[[TrainingState], None] | None = None, save_every: int = 200,
    targets: Sequence[Tensor] | None = None,
) -> tuple[TrainingState, ...]:  # fmt: skip
    """Fit the logits to the teacher's (softened) and to the labels, and return how that went.

    Args:
        pair: Teacher, student, rows.
        rng: Draws the order of the rows.
        states: Where the stage stood when it was stopped.
        save: Called with a state to be kept.
        save_every: Steps between two calls.
        targets: The teacher's logits of the training rows, as `teacher_logits` returns them; computed if left out.

    Raises:
        HeatError: Training diverged.
    """
    settings = pair.settings
    if settings.logit_epochs == 0:
        return ()

    def asked(rows: Rows) -> TargetedRows:
        logits = teacher_logits(
            pair.teacher, rows, batch_size=settings.batch_size, precision=settings.precision, progress=pair.progress
        )
        return TargetedRows(rows=rows, logits=logits)

    def loss(batch: Batch) -> Tensor:
        assert batch.targets is not None
        return logit_loss(
            logits_of(run(pair.student, batch)), batch.targets,
            labels=batch.labels, temperature=settings.temperature, soft_weight=settings.soft_weight,
        )  # fmt: skip

    rows = asked(pair.rows) if targets is None else TargetedRows(rows=pair.rows, logits=targets)
    state = states[0] if states else TrainingState(stage=LOGITS)
    _train(pair, rows, stage=LOGITS, loss=loss, rng=rng, state=state, save=save, save_every=save_every,
           epochs=settings.logit_epochs, learning_rate=settings.logit_peak,
           check=None if pair.dev is None else _check(pair, asked(pair.dev), loss))  # fmt: skip
    return (state,)


def _train_blocks(
    pair: Pair, *, rng: np.random.Generator, states: Sequence[TrainingState],
    save: Callable[[TrainingState], None] | None, save_every: int,
) -> tuple[TrainingState, ...]:  # fmt: skip
    settings = pair.settings
    blocks = Blocks(pair.teacher, pair.student)
    done: list[TrainingState] = []
    of_rows = of_dev = None
    for number, layer in enumerate(blocks.names):
        rows = LayerRows(rows=pair.rows, targets=_targets(pair, blocks, layer, pair.rows, of_rows))
        dev = None
        if pair.dev is not None:
            dev = LayerRows(rows=pair.dev, targets=_targets(pair, blocks, layer, pair.dev, of_dev))

        def loss(batch: Batch, *, layer: str = layer) -> Tensor:
            assert isinstance(batch, LayerBatch)
            return blocks.loss(layer, batch)

        def check(*, loss: Callable[[Batch], Tensor] = loss, dev: LayerRows | None = dev) -> tuple[float, float]:
            assert dev is not None
            return _mean_loss(pair, dev, loss), float("nan")  # one layer alone classifies nothing

        state = states[number] if number < len(states) else TrainingState(stage=f"{LAYERS} {number + 1}")
        _train(pair, rows, stage=state.stage, loss=loss, rng=rng, state=state, save=save, save_every=save_every,
               epochs=settings.layerwise_epochs, learning_rate=settings.layerwise_learning_rate,
               check=None if dev is None else check, module=blocks.module(layer))  # fmt: skip
        done.append(state)
        of_rows, of_dev = rows.targets.outputs, None if dev is None else dev.targets.outputs
    return tuple(done)


def _targets(
    pair: Pair, blocks: Blocks, layer: str, rows: Rows, inputs: Sequence[Tensor] | None
) -> LayerTargets:  # fmt: skip
    return blocks.targets(
        layer, rows, inputs, batch_size=pair.settings.batch_size, precision=pair.settings.precision,
        progress=pair.progress,
    )  # fmt: skip


def _train(
    pair: Pair, rows: Rows, *, stage: str, loss: Callable[[Batch], Tensor], rng: np.random.Generator,
    state: TrainingState, save: Callable[[TrainingState], None] | None, save_every: int, epochs: int,
    learning_rate: float, check: Check | None, module: nn.Module | None = None,
) -> None:  # fmt: skip
    settings = pair.settings
    train_epochs(
        pair.student if module is None else module, rows, loss=loss, stage=stage, epochs=epochs,
        learning_rate=learning_rate, batch_size=settings.batch_size, precision=settings.precision, rng=rng,
        progress=pair.progress, shape=settings.schedule, warm_up=settings.warm_up, rates=settings.rates,
        frozen=() if settings.train_embeddings else embedding_parameters(pair.student),
        validation=None if check is None else Validation(check=check, every=settings.validate_every,
                                                         patience=settings.patience),
        state=state, save=save, save_every=save_every,
    )  # fmt: skip


def _check(pair: Pair, dev: Rows, loss: Callable[[Batch], Tensor]) -> Check:
    """Return what measures loss and accuracy on held-out rows."""
    return lambda: (_mean_loss(pair, dev, loss), _share_right(pair, dev))


def _mean_loss(pair: Pair, rows: Rows, loss: Callable[[Batch], Tensor]) -> float:
    """Return the mean loss of a batch, weighted by rows, with dropout off."""
    total = count = 0.0
    lengths = rows.lengths
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    size = pair.settings.batch_size
    with evaluation_mode(pair.student), torch.no_grad(), mixed_precision(pair.settings.precision):
        for start in range(0, len(order), size):
            places = order[start : start + size]
            total += loss(rows.batch(places)).item() * len(places)
            count += len(places)
    return total / count


def _share_right(pair: Pair, rows: Rows) -> float:
    """Return the share of places with a label that the student gives it, 0 to 1, with dropout off."""
    right = count = 0
    with evaluation_mode(pair.student), torch.no_grad(), mixed_precision(pair.settings.precision):
        for batch in sorted_batches(rows, batch_size=pair.settings.batch_size):
            counts = batch.labels >= 0
            right += int((logits_of(run(pair.student, batch)).argmax(dim=-1) == batch.labels)[counts].sum())
            count += int(counts.sum())
    return right / max(1, count)
