"""Rows of a task as batches, rows of like length together so that little is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.tasks.task import Split, Task

_POOL_BATCHES = 32
"""Shuffled rows are sorted by length within pools of so many batches: near-equal lengths, still random company."""


NO_LABEL = -100
"""Label of a place whose logits count in no loss: padding, or the later pieces of a word. Torch ignores it too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Rows as a model takes them.

    Attributes:
        inputs: Arguments of the model by name, rows first.
        labels: int64, (rows,) for one class a row, (rows, places) for more; `NO_LABEL` where there is none.
        attention_mask: (rows, length) int64, 1 on tokens and 0 on padding, as the encoder's hidden states are long.
        targets: The teacher's logits, (rows, ..., classes), where they are at hand.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    attention_mask: Tensor
    targets: Tensor | None = None

    @classmethod
    def of_tokens(cls, *, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Batch:
        """Return the batch of one text a row, (rows, length) int64 each but for the labels.

        >>> ones = torch.ones(2, 3, dtype=torch.int64)
        >>> sorted(Batch.of_tokens(input_ids=ones, attention_mask=ones, labels=ones[:, 0]).inputs)
        ['attention_mask', 'input_ids']
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return cls(inputs=inputs, labels=labels, attention_mask=attention_mask)

    @property
    def input_ids(self) -> Tensor:
        """Token numbers, (rows, length) int64; of a batch of text only."""
        return self.inputs["input_ids"]


class Rows(Protocol):
    """Encoded rows of a task: what batches are made of."""

    @property
    def lengths(self) -> Sequence[int]:
        """How long each row is: rows of like length share a batch."""

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the rows, by their numbers, padded to the longest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRows:
    """Token numbers of some rows of a task.

    Attributes:
        tokens: Token numbers of each row, special tokens included.
        labels: The class of each row; or several labels a row, filled up with `NO_LABEL`.
        pad: Token number that fills short rows.
        segments: Which text of a pair each token is of (`token_type_ids`), where the model is told.
    """

    tokens: Sequence[Sequence[int]]
    labels: Sequence[int] | Sequence[Sequence[int]]
    pad: int
    segments: Sequence[Sequence[int]] | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each row."""
        return tuple(map(len, self.tokens))

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the rows, padded to the longest of them.

        >>> EncodedRows(tokens=((1, 2, 3), (4,)), labels=(0, 1), pad=0).batch([1, 0]).input_ids.tolist()
        [[4, 0, 0], [1, 2, 3]]
        >>> EncodedRows(tokens=((1, 2), (4,)), labels=((0, 1), (1,)), pad=0).batch([1, 0]).labels.tolist()
        [[1, -100], [0, 1]]
        """
        tokens = [self.tokens[row] for row in places]
        mask = _filled([(1,) * len(row) for row in tokens], 0)
        inputs = {"input_ids": _filled(tokens, self.pad), "attention_mask": mask}
        if self.segments is not None:
            inputs["token_type_ids"] = _filled([self.segments[row] for row in places], 0)
        labels = [self.labels[row] for row in places]
        single = [label for label in labels if isinstance(label, int)]
        several = [label for label in labels if not isinstance(label, int)]
        wanted = torch.tensor(single, dtype=torch.int64) if single else _filled(several, NO_LABEL)
        return Batch(inputs=inputs, labels=wanted, attention_mask=mask)


def _filled(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Return the rows as one tensor, (rows, longest) int64, short ones filled up behind."""
    filled = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    return torch.from_numpy(filled)


def encode(
    tokenizer: Any, task: Task, *, split: Split, max_length: int | None = None, max_rows: int | None = None
) -> Rows:
    """Return the first `max_rows` rows of a split of any task as a model takes them.

    Args:
        tokenizer: What `load_reader` returns for the task: a tokenizer, or an image reader.
        task: Rows and labels.
        split: Which rows.
        max_length: Tokens a row (of questions: a window) is cut to, special tokens included; None for what is usual
            for the kind of task. Never more than the model takes.
        max_rows: How many rows; None for all.

    >>> from transformers import BertTokenizerFast
    >>> from heat_sim.distill.tasks import make_task
    >>> words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "day")
    >>> tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    >>> task = make_task("parity", [(f"day {n}", str(n % 2)) for n in range(10)])
    >>> rows = encode(tokenizer, task, split="dev", max_length=8)
    >>> rows.batch([0]).input_ids.tolist()  # [CLS] day <unknown number> [SEP]
    [[2, 4, 1, 3]]
    """
    return task.encode(tokenizer, split=split, max_length=max_length, max_rows=max_rows)


def sorted_batches(rows: Rows, *, batch_size: int) -> tuple[Batch, ...]:
    """Return every row once, shortest first: for measuring.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> [batch.input_ids.tolist() for batch in sorted_batches(rows, batch_size=2)]
    [[[4, 0], [5, 6]], [[1, 2, 3]]]
    """
    return tuple(rows.batch(places) for places in sorted_places(rows, batch_size=batch_size))


def sorted_places(rows: Rows, *, batch_size: int) -> tuple[tuple[int, ...], ...]:
    """Return the row numbers of the batches of `sorted_batches`.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> sorted_places(rows, batch_size=2)
    ((1, 2), (0,))
    """
    lengths = rows.lengths
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return tuple(tuple(order[start : start + batch_size]) for start in range(0, len(order), batch_size))


def shuffled_places(rows: Rows, *, batch_size: int, rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    """Return the row numbers of random batches of like length, every row once: the order of one epoch of training.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> sorted(sum(shuffled_places(rows, batch_size=2, rng=np.random.default_rng(0)), ()))
    [0, 1, 2]
    """
    lengths = rows.lengths
    order = [int(row) for row in rng.permutation(len(lengths))]
    pool = batch_size * _POOL_BATCHES
    batches: list[tuple[int, ...]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [tuple(near[first : first + batch_size]) for first in range(0, len(near), batch_size)]
    return tuple(batches[int(place)] for place in rng.permutation(len(batches)))


def shuffled_batches(rows: Rows, *, batch_size: int, rng: np.random.Generator) -> tuple[Batch, ...]:
    """Return every row once, in random batches of like length: one epoch of training.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> sum(len(batch.labels) for batch in shuffled_batches(rows, batch_size=2, rng=np.random.default_rng(0)))
    3
    """
    return tuple(rows.batch(places) for places in shuffled_places(rows, batch_size=batch_size, rng=rng))
