"""Measured accuracy: the share of rows whose highest logit is the label's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from heat_sim.distill.batches import Batch
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.settings import Precision


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
    >>> batches = [Batch(input_ids=one, attention_mask=one, labels=torch.tensor([0, 0, 1]))]
    >>> round(measure_accuracy(BertForSequenceClassification(tiny), batches), 2) in (0.33, 0.67)
    True
    """
    was_training = model.training
    model.eval()
    right = rows = 0
    try:
        with torch.inference_mode(), mixed_precision(precision):
            for step, batch in enumerate(batches, start=1):
                logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
                right += int((logits.argmax(dim=-1) == batch.labels).sum())
                rows += len(batch.labels)
                progress(ProgressEvent(stage=stage, step=step, steps=len(batches)))
    finally:
        model.train(was_training)
    return right / rows
