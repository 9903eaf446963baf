"""Two-stage distillation: first layer by layer, then on the logits."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.batches import Batch, encode
from heat_sim.distill.forward import logits_of, run
from heat_sim.distill.loop import seeded_torch, train_epochs
from heat_sim.distill.losses import layerwise_loss, logit_loss
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.tasks import TextTask
from heat_sim.distill.teacher import Teacher


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistillResult:
    """A trained student.

    Attributes:
        student: The model, in evaluation mode.
        layerwise_losses: Loss of every step of stage 1.
        logit_losses: Loss of every step of stage 2.
    """

    student: Any
    layerwise_losses: tuple[float, ...]
    logit_losses: tuple[float, ...]


def distill(
    teacher: Teacher,
    student: Any,
    task: TextTask,
    *,
    settings: DistillSettings | None = None,
    progress: Progress = ignore_progress,
) -> DistillResult:
    """Return a trained copy of the student; the given one stays as it is.

    Stage 1 fits hidden states and attention maps of every encoder layer to the teacher's, stage 2 the logits to the
    teacher's (softened) and to the labels. All weights of the student are trained, with dropout, in both stages.

    Args:
        teacher: The fine-tuned dense model, held fixed.
        student: The projected model, see `project_design`.
        task: Its train rows are used, no others.
        settings: Epochs, learning rates, loss weights; the defaults if left out.
        progress: Told about the stages `distill layers` and `distill logits`.

    Raises:
        HeatError: Training diverged.

    >>> distill(teacher, project_design(teacher.model, design), task).student  # doctest: +SKIP
    """
    settings = settings or DistillSettings()
    rows = encode(teacher.tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    trained = copy.deepcopy(student).train()  # dropout regularises both stages; the teacher runs without it
    rng = np.random.default_rng(settings.seed)

    def layers(batch: Batch) -> Tensor:
        with torch.no_grad():
            target = run(teacher.model, batch, internal=True)
        output = run(trained, batch, internal=True)
        # hidden_states[0] is the embeddings, which the student shares.
        return layerwise_loss(
            (output.hidden_states[1:], output.attentions),
            (target.hidden_states[1:], target.attentions),
            attention_mask=batch.attention_mask,
        )

    def logits(batch: Batch) -> Tensor:
        with torch.no_grad():
            target = logits_of(run(teacher.model, batch))
        return logit_loss(
            logits_of(run(trained, batch)),
            target,
            labels=batch.labels,
            temperature=settings.temperature,
            soft_weight=settings.soft_weight,
        )

    histories = []
    stages = (
        ("distill layers", layers, settings.layerwise_epochs, settings.layerwise_learning_rate),
        ("distill logits", logits, settings.logit_epochs, settings.logit_learning_rate),
    )
    with seeded_torch(settings.seed):
        for stage, loss, epochs, learning_rate in stages:
            histories.append(
                train_epochs(
                    trained,
                    rows,
                    loss=loss,
                    stage=stage,
                    epochs=epochs,
                    learning_rate=learning_rate,
                    batch_size=settings.batch_size,
                    precision=settings.precision,
                    rng=rng,
                    progress=progress,
                )
            )
    return DistillResult(student=trained.eval(), layerwise_losses=histories[0], logit_losses=histories[1])
