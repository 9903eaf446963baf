"""Measured accuracy of classifiers, and the scores of any task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heat_sim.distill.batches import Batch, encode, sorted_places
from heat_sim.distill.forward import logits_of, run
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.settings import Precision
from heat_sim.distill.tasks.task import Scores, Split, Task


def measure_accuracy(
    model: Any,
    batches: Sequence[Batch],
    *,
    precision: Precision = "float32",
    progress: Progress = ignore_progress,
    stage: str = "measure",
) -> float:
    """Return the share of rows, 0 to 1, that the model classifies as labelled, with dropout off.

    Args:
        model: A classifier of transformers; it is in the mode (training or not) in which it came when this returns.
        batches: The rows, for example `sorted_batches` of the test split.
        precision: Number format of the matrix products.
        progress: Called after each batch.
        stage: Name of the stage in the progress events.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> one = torch.ones(3, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=torch.tensor([0, 0, 1]))]
    >>> round(measure_accuracy(BertForSequenceClassification(tiny), batches), 2) in (0.33, 0.67)
    True
    """
    right = correct_rows(model, batches, precision=precision, progress=progress, stage=stage)
    return int(right.sum()) / len(right)


def correct_rows(
    model: Any,
    batches: Sequence[Batch],
    *,
    precision: Precision = "float32",
    progress: Progress = ignore_progress,
    stage: str = "measure",
) -> NDArray[np.bool_]:
    """Return which rows the model classifies as labelled, with dropout off, (rows,) bool in the order of the batches.

    Two models measured on the same batches can be compared row by row: what differs is far less noisy than either
    accuracy.

    Args:
        model: A classifier of transformers; it is in the mode (training or not) in which it came when this returns.
        batches: The rows, for example `sorted_batches` of the test split.
        precision: Number format of the matrix products.
        progress: Called after each batch.
        stage: Name of the stage in the progress events.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> one = torch.ones(2, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=torch.tensor([0, 1]))]
    >>> sorted(correct_rows(BertForSequenceClassification(tiny), batches).tolist())  # both rows are the same text
    [False, True]
    """
    was_training = model.training
    model.eval()
    right: list[bool] = []
    try:
        with torch.inference_mode(), mixed_precision(precision):
            for step, batch in enumerate(batches, start=1):
                logits = logits_of(model(**batch.inputs))
                right += (logits.argmax(dim=-1) == batch.labels).tolist()
                progress(ProgressEvent(stage=stage, step=step, steps=len(batches)))
    finally:
        model.train(was_training)
    return np.array(right, dtype=np.bool_)


def measure_scores(
    model: Any,
    task: Task,
    tokenizer: Any,
    *,
    split: Split = "test",
    max_length: int | None = None,
    max_rows: int | None = None,
    batch_size: int = 32,
    precision: Precision = "float32",
    progress: Progress = ignore_progress,
    stage: str = "measure",
) -> Scores:
    """Return the scores of a model on a split of any task, with dropout off.

    Args:
        model: With the head of the task; it is in the mode (training or not) in which it came when this returns.
        task: Rows and labels.
        tokenizer: Tokenizer or image reader, as `load_reader` returns it.
        split: Which rows.
        max_length: Tokens a row is cut to; None for what is usual for the kind of task.
        max_rows: How many rows; None for all.
        batch_size: Rows at once.
        precision: Number format of the matrix products.
        progress: Called after each batch.
        stage: Name of the stage in the progress events.

    >>> measure_scores(teacher.model, task, teacher.tokenizer).metrics  # doctest: +SKIP
    {'f1': 0.881, 'exact_match': 0.806}
    """
    rows = encode(tokenizer, task, split=split, max_length=max_length, max_rows=max_rows)
    batches = sorted_places(rows, batch_size=batch_size)
    logits: dict[int, NDArray[np.float32]] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), mixed_precision(precision):
            for step, places in enumerate(batches, start=1):
                logits |= zip(places, logits_of(run(model, rows.batch(places))).float().numpy(), strict=True)
                progress(ProgressEvent(stage=stage, step=step, steps=len(batches)))
    finally:
        model.train(was_training)
    return task.scores(rows, [logits[place] for place in range(len(logits))])
