"""Training of a rank SuperNet: ordered dropout, every step at ranks that are drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.batches import Batch, encode
from heat_sim.distill.checkpoint import Checkpoints, TrainingState
from heat_sim.distill.forward import logits_of, run
from heat_sim.distill.layers import use_fastest_execution
from heat_sim.distill.loop import seeded_torch, train_epochs
from heat_sim.distill.losses import layerwise_loss, logit_loss
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.supernet import choose, elastic_layers, options_of
from heat_sim.distill.supernet_options import draw_end, draw_ranks
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.tasks import Task
from heat_sim.distill.teacher import Teacher
from heat_sim.tensorize.factorization import Factorization

_STAGE = "train SuperNet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuperNetResult:
    """A trained SuperNet.

    Attributes:
        student: The model, in evaluation mode, every matrix in its first option at the largest ranks.
        losses: Of every step.
    """

    student: Any
    losses: tuple[float, ...]


def train_supernet(
    teacher: Teacher,
    student: Any,
    task: Task,
    *,
    settings: SuperNetSettings | None = None,
    kept: Checkpoints | None = None,
    progress: Progress = ignore_progress,
) -> SuperNetResult:
    """Return a trained copy of a SuperNet; the given one stays as it is.

    At every step the model runs at ranks that `draw_ranks` draws, so that a leading part of the cores is trained at
    every step and the last part seldom: what matters most moves to the front (ordered dropout; for a linear map the
    prefixes become the best approximations of their rank, Horvath et al. 2024). The loss is the sum of both stages of
    distillation: layer-wise relative errors, and that of the logits.

    Args:
        teacher: The fine-tuned dense model, held fixed.
        student: As `build_supernet` returns it.
        task: Its train rows are used, no others.
        settings: Epochs, rank steps, loss weights; the defaults if left out.
        kept: Where the state is kept; training goes on from what is there, bit for bit. Left out: nowhere.
        progress: Told about the stage `train SuperNet`.

    Raises:
        HeatError: Training diverged, or a checkpoint cannot be read or written.

    >>> train_supernet(teacher, build_supernet(teacher.model, options), task).student  # doctest: +SKIP
    """
    settings = settings or SuperNetSettings()
    rows = encode(teacher.tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    trained = copy.deepcopy(student).train()  # dropout regularises as in distillation; the teacher runs without it
    options = options_of(trained)
    order = np.random.default_rng([settings.seed, 0])
    state = TrainingState(stage=_STAGE) if kept is None else kept.stage(_STAGE)

    def designs() -> list[dict[str, Factorization]]:
        ranks = np.random.default_rng([settings.seed, 1, state.step])  # of the step alone, so that it can be resumed
        drawn = [draw_ranks(options, steps=settings.rank_steps, spread=settings.spread, rng=ranks)]
        if settings.sandwich_every and (state.step + 1) % settings.sandwich_every == 0:
            drawn += [draw_end(options, share=share, rng=ranks) for share in (1.0, 1 / settings.rank_steps)]
        return drawn

    def loss(batch: Batch) -> Tensor:
        with torch.no_grad():
            target = run(teacher.model, batch, internal=True)
        losses = []
        for design in designs():
            choose(trained, design)
            output = run(trained, batch, internal=True)
            # hidden_states[0] is the embeddings, which no matrix changes.
            layers = layerwise_loss(
                (output.hidden_states[1:], output.attentions),
                (target.hidden_states[1:], target.attentions),
                attention_mask=batch.attention_mask,
            )
            logits = logit_loss(
                logits_of(output),
                logits_of(target),
                labels=batch.labels,
                temperature=settings.temperature,
                soft_weight=settings.soft_weight,
            )
            losses.append(settings.layer_weight * layers + logits)
        return torch.stack(losses).mean()

    use_fastest_execution(trained, tokens=settings.batch_size * _mean_length(rows.lengths))
    with seeded_torch(settings.seed):
        history = train_epochs(
            trained,
            rows,
            loss=loss,
            stage=_STAGE,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            precision=settings.precision,
            rng=order,
            progress=progress,
            state=state,
            save=None if kept is None else kept.save_stage,
            save_every=200 if kept is None else kept.every,
        )
    choose(trained, {name: layer.largest[0] for name, layer in elastic_layers(trained).items()})
    return SuperNetResult(student=trained.eval(), losses=history)


def _mean_length(lengths: Sequence[int]) -> int:
    return max(1, round(sum(lengths) / len(lengths)))
