"""Two-stage distillation: first layer by layer, then on the logits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from heat_sim.cache_folder import content_key
from heat_sim.distill.batches import encode
from heat_sim.distill.checkpoint import Checkpoints, TrainingState
from heat_sim.distill.core_scales import scale_by_fan_in
from heat_sim.distill.layers import use_fastest_execution
from heat_sim.distill.loop import seeded_torch
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.stages import LAYERS, LOGITS, Pair, train_layers, train_logits
from heat_sim.distill.tasks import Task
from heat_sim.distill.teacher import Teacher
from heat_sim.distill.teacher_states import TeacherStates

AfterLayers = Callable[[Any, tuple[TrainingState, ...]], None]
"""Called after stage 1 with the student, in evaluation mode, and with how the stage went."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistillResult:
    """A trained student.

    Attributes:
        student: The model, in evaluation mode.
        layers: How stage 1 went: one state, or one per encoder layer, or none.
        logits: How stage 2 went: one state or none.
    """

    student: Any
    layers: tuple[TrainingState, ...]
    logits: tuple[TrainingState, ...]

    @property
    def layerwise_losses(self) -> tuple[float, ...]:
        """Loss of every step of stage 1."""
        return tuple(loss for state in self.layers for loss in state.losses)

    @property
    def seconds(self) -> float:
        """Wall time of both stages, without projection and without what is asked of the teacher beforehand."""
        return sum(state.seconds for state in (*self.layers, *self.logits))

    @property
    def logit_losses(self) -> tuple[float, ...]:
        """Loss of every step of stage 2."""
        return tuple(loss for state in self.logits for loss in state.losses)


def training_key(settings: DistillSettings, **parts: str) -> str:
    """Return what tells one training run from another: its settings and whatever else is named.

    >>> training_key(DistillSettings(), design="d03") == training_key(DistillSettings(seed=1), design="d03")
    False
    """
    resolved = replace(settings, logit_learning_rate=settings.logit_peak)  # another default is another training
    return content_key({"settings": asdict(resolved), **parts})


def layers_only(settings: DistillSettings) -> DistillSettings:
    """Return settings that are equal for all trainings with the same stage 1.

    >>> layers_only(DistillSettings(logit_learning_rate=1e-5)) == layers_only(DistillSettings())
    True
    >>> layers_only(DistillSettings(seed=1)) == layers_only(DistillSettings())
    False
    """
    return replace(
        settings, logit_epochs=0, logit_learning_rate=None, temperature=1.0, soft_weight=0.0,
        dropout="layers" if settings.dropout in {"both", "layers"} else "none",
    )  # fmt: skip


def distill(
    teacher: Teacher,
    student: Any,
    task: Task,
    *,
    settings: DistillSettings | None = None,
    checkpoints: Checkpoints | None = None,
    after_layers: AfterLayers | None = None,
    layers: Sequence[TrainingState] = (),
    targets: Sequence[Tensor] | None = None,
    teacher_states: TeacherStates | None = None,
    progress: Progress = ignore_progress,
) -> DistillResult:
    """Return a trained copy of the student; the given one stays as it is.

    Stage 1 fits hidden states and attention maps of every encoder layer to the teacher's, stage 2 the logits to the
    teacher's (softened) and to the labels. With dropout where the settings say so.

    Args:
        teacher: The fine-tuned dense model, held fixed.
        student: The projected model, see `project_design`.
        task: Its train rows are used, and its dev rows if the settings say so.
        settings: Epochs, learning rates, loss weights; the defaults if left out.
        checkpoints: Where the state is kept; training goes on from what is there, bit for bit. Left out: nowhere.
        after_layers: Called between the stages; again if training is resumed before the first checkpoint of
            stage 2, whose checkpoints no longer hold the student of stage 1.
        layers: How stage 1 of the same training went, as `after_layers` was told; it is not run again.
        targets: The teacher's logits of the train rows, as `teacher_logits` returns them, if they are known.
        teacher_states: What the teacher does with the train rows, as `store_teacher_states` wrote it, if it did.
        progress: Told about the stages `distill layers` and `distill logits`.

    Raises:
        HeatError: Training diverged, or a checkpoint cannot be read or written.

    >>> distill(teacher, project_design(teacher.model, design), task).student  # doctest: +SKIP
    """
    settings = settings or DistillSettings()
    rows = encode(teacher.tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    dev = None
    if settings.validation_rows:
        dev = encode(
            teacher.tokenizer, task, split="dev", max_length=settings.max_length, max_rows=settings.validation_rows
        )
    trained = copy.deepcopy(student).train(settings.dropout in {"both", "layers"})  # the mode says whether it drops out
    if settings.scales == "fan-in":
        scale_by_fan_in(trained)
    if settings.execution == "fastest":
        use_fastest_execution(trained, tokens=settings.batch_size * int(np.mean(rows.lengths)))
    pair = Pair(teacher=teacher.model, student=trained, rows=rows, dev=dev, settings=settings, progress=progress)
    rng = np.random.default_rng(settings.seed)
    before = (checkpoints.load() if checkpoints else []) or list(layers)
    states = list(before)

    def save(state: TrainingState) -> None:
        if state not in states:
            states.append(state)
        if state.stage == LOGITS:
            for other in states:
                if other is not state:
                    other.model = {}  # stage 2 trains all that stage 1 has trained
        assert checkpoints is not None
        checkpoints.save(states)

    keep = None if checkpoints is None else save
    every = 1 if checkpoints is None else checkpoints.every
    with seeded_torch(settings.seed):
        of_layers = [state for state in before if state.stage.startswith(LAYERS)]
        trained_layers = train_layers(
            pair, rng=rng, states=of_layers, save=keep, save_every=every, teacher_states=teacher_states
        )
        of_logits = [state for state in before if state.stage == LOGITS]
        if after_layers is not None and trained_layers and not of_logits:  # it was called before stage 2 began
            after_layers(trained.eval(), trained_layers)
        trained.train(settings.dropout in {"both", "logits"})
        logits = train_logits(pair, rng=rng, states=of_logits, save=keep, save_every=every, targets=targets)
    return DistillResult(student=trained.eval(), layers=trained_layers, logits=logits)
