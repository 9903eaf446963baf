"""The teacher: a pretrained encoder fine-tuned on the task, cached by the hash of all that makes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from heat_sim.distill.batches import Batch, encode, sorted_batches
from heat_sim.distill.cache import cache_folder, content_key, file_sha256, published
from heat_sim.distill.loop import seeded_torch, train_epochs
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.precision import resolve_precision
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.settings import FineTuneSettings
from heat_sim.distill.tasks import TextTask
from heat_sim.errors import HeatError, describe

_MADE_OF = ("*.json", "*.safetensors", "*.txt", "*.model")
_RESULT = "teacher.json"


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
    """
    settings = settings or FineTuneSettings()
    key = content_key(
        {
            "model": _content(pretrained),
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
        tokenizer=_load_tokenizer(folder),
        folder=folder,
        dev_accuracy=result["dev_accuracy"],
        test_accuracy=result["test_accuracy"],
    )


def load_classifier(folder: Path, *, classes: tuple[str, ...]) -> Any:
    """Return the classifier of a local folder: float32, eager attention, a missing head drawn from torch's generator.

    Args:
        folder: As transformers saves it. No hub is asked.
        classes: Names of the classes, in order of the labels.
    """
    with _quiet_transformers():  # else it draws a bar and reports the head as missing, which is the intention
        return AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(classes),
            id2label=dict(enumerate(classes)),
            label2id={name: label for label, name in enumerate(classes)},
            attn_implementation="eager",  # only this implementation returns the attention maps
            dtype=torch.float32,
            local_files_only=True,
        )


def _fine_tune(pretrained: Path, task: TextTask, into: Path, *, settings: FineTuneSettings, progress: Progress) -> None:
    tokenizer = _load_tokenizer(pretrained)
    rows = encode(tokenizer, task, split="train", max_length=settings.max_length, max_rows=settings.max_rows)
    with seeded_torch(settings.seed):
        model = load_classifier(pretrained, classes=task.class_names).train()

        def loss(batch: Batch) -> Tensor:
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            return functional.cross_entropy(logits.float(), batch.labels)

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
    with _quiet_transformers():
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
    (into / _RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")


def _content(folder: Path) -> dict[str, str]:
    """Return the hash of each file that a loaded model depends on."""
    files = sorted(path for pattern in _MADE_OF for path in folder.glob(pattern))
    names = [path.name for path in files]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise HeatError(
            describe(
                str(folder),
                "not a pretrained model",
                got=", ".join(names) or "no model files",
                expected="config.json, *.safetensors and a tokenizer",
                remedy="Name a folder written by save_pretrained.",
            )
        )
    return {path.name: file_sha256(path) for path in files}


def _load_tokenizer(folder: Path) -> Any:
    with _quiet_transformers():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence the bars and load reports of transformers inside the block; errors still show."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
