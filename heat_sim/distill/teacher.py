"""The teacher: a pretrained encoder fine-tuned on the task, cached by the hash of all that makes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from heat_sim.cache_folder import cache_folder, content_key, published
from heat_sim.distill.batches import Batch, encode, sorted_batches
from heat_sim.distill.forward import cross_entropy, logits_of
from heat_sim.distill.loop import seeded_torch, train_epochs
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.precision import resolve_precision
from heat_sim.distill.pretrained import content_of, load_classifier, load_tokenizer, quiet_transformers
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.settings import FineTuneSettings
from heat_sim.distill.tasks import TextTask

_RESULT = "teacher.json"

_RECIPE = 1
"""Raised when this code trains another teacher from the same settings, so that no old one is taken from the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """A fine-tuned classifier.

    Attributes:
        model: A `transformers` classifier with eager attention, in evaluation mode.
        tokenizer: Its tokenizer.
        folder: Where it is cached.
        dev_accuracy: Share of the dev rows classified as labelled, 0 to 1.
        test_accuracy: The same of the test rows.
    """

    model: Any
    tokenizer: Any
    folder: Path
    dev_accuracy: float
    test_accuracy: float


def prepare_teacher(
    pretrained: Path,
    task: TextTask,
    *,
    settings: FineTuneSettings | None = None,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> Teacher:
    """Return the teacher for a task, from the cache or by fine-tuning the pretrained encoder (minutes).

    The cache key covers the files of the pretrained model, the rows and their split, the settings, the precision in
    force and the versions of torch and transformers. The folder appears only when it is complete.

    Args:
        pretrained: Folder with `config.json`, safetensors weights and the tokenizer, as transformers saves it.
        task: Texts, labels, splits.
        settings: How to fine-tune; the defaults if left out.
        cache: The cache folder; `cache_folder()` if left out.
        progress: Told about the stages `fine-tune`, `measure dev`, `measure test`.

    Raises:
        HeatError: The folder holds no model, or training diverged.

    >>> prepare_teacher(fetch(MINILM), load_embedded_task()).test_accuracy  # doctest: +SKIP
    0.854
    """
    settings = settings or FineTuneSettings()
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
        with published(folder) as draft:
            _fine_tune(pretrained, task, draft, settings=settings, progress=progress)
    result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    return Teacher(
        model=load_classifier(folder, classes=task.class_names).eval(),
        tokenizer=load_tokenizer(folder),
        folder=folder,
        dev_accuracy=result["dev_accuracy"],
        test_accuracy=result["test_accuracy"],
    )


def _fine_tune(pretrained: Path, task: TextTask, into: Path, *, settings: FineTuneSettings, progress: Progress) -> None:
    tokenizer = load_tokenizer(pretrained)
    rows = encode(tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    with seeded_torch(settings.seed):
        model = load_classifier(pretrained, classes=task.class_names).train()

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
        )
    result: dict[str, object] = {"settings": asdict(settings), "task_sha256": task.sha256, "losses": history}
    for split in ("dev", "test"):
        held_out = encode(tokenizer, task, split=split, max_length=settings.max_length)
        batches = sorted_batches(held_out, batch_size=settings.batch_size)
        result[f"{split}_accuracy"] = measure_accuracy(model, batches, progress=progress, stage=f"measure {split}")
    with quiet_transformers():
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
    (into / _RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")
