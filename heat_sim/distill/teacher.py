"""The teacher: a pretrained encoder fine-tuned on the task, cached by the hash of all that makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from heat_sim.cache_folder import cache_folder, content_key, published
from heat_sim.distill.batches import Batch, encode
from heat_sim.distill.checkpoint import Checkpoints
from heat_sim.distill.forward import cross_entropy, logits_of
from heat_sim.distill.loop import seeded_torch, train_epochs
from heat_sim.distill.measure import measure_scores
from heat_sim.distill.precision import resolve_precision
from heat_sim.distill.pretrained import content_of, load_model, load_reader, quiet_transformers
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.settings import FineTuneSettings
from heat_sim.distill.tasks.task import Task

_RESULT = "teacher.json"

_RECIPE = 1
"""Raised when this code trains another teacher from the same settings, so that no old one is taken from the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """A fine-tuned model.

    Attributes:
        model: A model of `transformers` with the head of the task and eager attention, in evaluation mode.
        tokenizer: Its tokenizer, or its image reader.
        folder: Where it is cached.
        dev_accuracy: The main metric of the task on the dev rows, 0 to 1.
        test_accuracy: The same of the test rows.
        metric: Name of the main metric, for example `accuracy`.
        further: Other metrics of the test rows by name, 0 to 1; none for a teacher that an older version made.
    """

    model: Any
    tokenizer: Any
    folder: Path
    dev_accuracy: float
    test_accuracy: float
    metric: str = "accuracy"
    further: Mapping[str, float] = field(default_factory=dict)


def prepare_teacher(
    pretrained: Path,
    task: Task,
    *,
    settings: FineTuneSettings | None = None,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> Teacher:
    """Return the teacher for a task, from the cache or by fine-tuning the pretrained encoder (minutes).

    The cache key covers the files of the pretrained model, the rows and their split, the settings, the precision in
    force and the versions of torch and transformers. The folder appears only when it is complete; what was stopped or
    killed goes on from its last checkpoint, bit for bit.

    Args:
        pretrained: Folder with `config.json`, safetensors weights and the tokenizer, as transformers saves it.
        task: Rows, labels, splits, of any kind.
        settings: How to fine-tune; the defaults if left out.
        cache: The cache folder; `cache_folder()` if left out.
        progress: Told about the stages `fine-tune`, `measure dev`, `measure test`.

    Raises:
        HeatError: The folder holds no model, or training diverged.

    >>> prepare_teacher(fetch(MINILM), load_embedded_task()).test_accuracy  # doctest: +SKIP
    0.854
    """
    settings = settings or FineTuneSettings()
    if settings.max_length is None:
        settings = replace(settings, max_length=task.default_max_length)
    key = content_key(
        {
            "recipe": _RECIPE,
            "model": content_of(pretrained),
            "task": task.sha256,
            "settings": asdict(settings) | {"precision": resolve_precision(settings.precision)},
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
    )
    folder = (cache or cache_folder()) / "teachers" / f"{task.name}-{key}"
    if not folder.is_dir():
        kept = Checkpoints(folder.parent / f".{folder.name}-checkpoint", key=key)
        with published(folder) as draft:
            _fine_tune(pretrained, task, draft, settings=settings, kept=kept, progress=progress)
        kept.clear()
    result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    return Teacher(
        model=load_model(folder, kind=task.kind, classes=task.class_names).eval(),
        tokenizer=load_reader(folder, kind=task.kind),
        folder=folder,
        dev_accuracy=result["dev_accuracy"],
        test_accuracy=result["test_accuracy"],
        metric=result.get("metric", "accuracy"),
        further=result.get("test_further", {}),
    )


def _fine_tune(
    pretrained: Path, task: Task, into: Path, *, settings: FineTuneSettings, kept: Checkpoints, progress: Progress
) -> None:
    tokenizer = load_reader(pretrained, kind=task.kind)
    rows = encode(tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    with seeded_torch(settings.seed):
        model = load_model(pretrained, kind=task.kind, classes=task.class_names, new_head=True).train()

        def loss(batch: Batch) -> Tensor:
            return cross_entropy(logits_of(model(**batch.inputs)), batch.labels)

        history = train_epochs(
            model,
            rows,
            loss=loss,
            stage="fine-tune",
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            precision=settings.precision,
            rng=np.random.default_rng(settings.seed),
            progress=progress,
            state=kept.stage("fine-tune"),
            save=kept.save_stage,
            save_every=kept.every,
        )
    result: dict[str, object] = {"settings": asdict(settings), "task_sha256": task.sha256, "losses": history}
    for split in ("dev", "test"):
        scores = measure_scores(
            model, task, tokenizer, split=split, max_length=settings.max_length, batch_size=settings.batch_size,
            progress=progress, stage=f"measure {split}",
        )  # fmt: skip
        result |= {"metric": scores.metric, f"{split}_accuracy": scores.value, f"{split}_further": scores.further}
    with quiet_transformers():
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
    (into / _RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")
