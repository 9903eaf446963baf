"""The teacher's logits of every training row, computed once: no stage, epoch, design or seed asks the teacher again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.batches import Batch, Rows
from heat_sim.distill.forward import logits_of, run
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.settings import Precision

_NEVER = -1e4
"""Logit of a place that a shorter row does not have: its probability is 0 in float32."""


def teacher_logits(
    model: Any,
    rows: Rows,
    *,
    batch_size: int,
    precision: Precision,
    progress: Progress = ignore_progress,
) -> tuple[Tensor, ...]:
    """Return the logits of every row, (..., classes) float32 each, with dropout off.

    Args:
        model: The teacher.
        rows: The rows.
        batch_size: Rows at a time.
        precision: Number format of the matrix products.
        progress: Told about the stage `teacher logits` after each batch.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.distill.batches import EncodedRows
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,)), labels=(0, 1), pad=0)
    >>> [each.shape for each in teacher_logits(BertForSequenceClassification(tiny), rows, batch_size=2,
    ...                                        precision="float32")]
    [torch.Size([2]), torch.Size([2])]
    """
    lengths = rows.lengths
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    found: dict[int, Tensor] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), mixed_precision(precision):
            for start in range(0, len(order), batch_size):
                places = order[start : start + batch_size]
                batch = rows.batch(places)
                logits = logits_of(run(model, batch)).float()
                axis = _token_axis(batch)
                for place, each in zip(places, logits, strict=True):
                    found[place] = each.clone() if axis is None else each.narrow(axis, 0, lengths[place]).clone()
                progress(ProgressEvent(stage="teacher logits", step=len(found), steps=len(order)))
    finally:
        model.train(was_training)
    return tuple(found[row] for row in range(len(order)))


def _token_axis(batch: Batch) -> int | None:
    """Return the axis of a row's logits that is as long as the row, None if there is none.

    A token task has a label a token and logits (length, classes); of an answer there are two labels and logits
    (2, length).
    """
    if batch.labels.ndim == 1:
        return None
    return 0 if batch.labels.shape[1] == batch.attention_mask.shape[1] else 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedTargets:
    """The logits of all rows as two arrays, to be sent to other processes: many small tensors take long.

    Attributes:
        values: Of all rows, one after the other.
        shapes: (rows, axes), of the logits of each row.

    >>> logits = (torch.ones(2, 3), torch.zeros(2, 1))
    >>> [each.tolist() for each in PackedTargets.of(logits).unpack()]
    [[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [[0.0], [0.0]]]
    """

    values: np.ndarray
    shapes: np.ndarray

    @classmethod
    def of(cls, logits: Sequence[Tensor]) -> PackedTargets:
        """Return the logits, as `teacher_logits` returns them, packed."""
        return cls(
            values=torch.cat([each.reshape(-1) for each in logits]).numpy(),
            shapes=np.array([each.shape for each in logits], dtype=np.int64),
        )

    def unpack(self) -> tuple[Tensor, ...]:
        """Return the logits of every row again."""
        values = torch.tensor(self.values)
        return tuple(
            part.reshape(shape)
            for part, shape in zip(
                values.split(self.shapes.prod(axis=1).tolist()), self.shapes.tolist(), strict=True
            )
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetedRows:
    """Rows whose batches carry the teacher's logits.

    Attributes:
        rows: The rows.
        logits: Of every row, as `teacher_logits` returns them.
    """

    rows: Rows
    logits: Sequence[Tensor]

    @property
    def lengths(self) -> tuple[int, ...]:
        """How long each row is."""
        return tuple(self.rows.lengths)

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the rows with the teacher's logits, short ones filled up with a logit that is never chosen.

        >>> from heat_sim.distill.batches import EncodedRows
        >>> rows = EncodedRows(tokens=((1, 2, 3), (4,)), labels=(0, 1), pad=0)
        >>> answers = (torch.ones(2, 3), torch.ones(2, 1))  # start and end of an answer: a class a token
        >>> TargetedRows(rows=rows, logits=answers).batch([0, 1]).targets[1].tolist()
        [[1.0, -10000.0, -10000.0], [1.0, -10000.0, -10000.0]]
        """
        batch = self.rows.batch(places)
        chosen = [self.logits[place] for place in places]
        shape = [max(sizes) for sizes in zip(*(each.shape for each in chosen), strict=True)]
        # Question answering has a class a token, which a longer row of the batch may add to; a token task has a place a
        # token. Neither a filled place (it has no label) nor a filled class (its probability is 0) counts.
        targets = torch.full((len(chosen), *shape), _NEVER)
        for place, each in enumerate(chosen):
            targets[place][tuple(map(slice, each.shape))] = each
        return replace(batch, targets=targets)
