"""Texts as padded token batches, rows of like length together so that little is padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heat_sim.distill.tasks import Split, TextTask

_POOL_BATCHES = 32
"""Shuffled rows are sorted by length within pools of so many batches: near-equal lengths, still random company."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRows:
    """Token numbers of some rows of a task.

    Attributes:
        tokens: Token numbers of each row, special tokens included.
        labels: Class of each row.
        pad: Token number that fills short rows.
    """

    tokens: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    pad: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Rows padded to the longest of them.

    Attributes:
        input_ids: (rows, length) int64.
        attention_mask: (rows, length) int64, 1 on tokens and 0 on padding.
        labels: (rows,) int64.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def encode(
    tokenizer: Any, task: TextTask, *, split: Split, max_length: int, max_rows: int | None = None
) -> EncodedRows:
    """Return the tokens of the first `max_rows` rows of a split, each cut to `max_length` tokens.

    Args:
        tokenizer: A tokenizer of transformers.
        task: Texts and labels.
        split: Which rows.
        max_length: Tokens a text is cut to, special tokens included.
        max_rows: How many rows; None for all.

    >>> from transformers import BertTokenizerFast
    >>> from heat_sim.distill.tasks import make_task
    >>> words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "day")
    >>> tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    >>> task = make_task("parity", [(f"day {n}", str(n % 2)) for n in range(10)])
    >>> encode(tokenizer, task, split="dev", max_length=8).tokens  # [CLS] day <unknown number> [SEP]
    ((2, 4, 1, 3),)
    """
    rows = task.rows(split)[:max_rows]
    tokens = tokenizer([task.texts[row] for row in rows], truncation=True, max_length=max_length)["input_ids"]
    return EncodedRows(
        tokens=tuple(map(tuple, tokens)),
        labels=tuple(task.labels[row] for row in rows),
        pad=int(tokenizer.pad_token_id or 0),
    )


def sorted_batches(rows: EncodedRows, *, batch_size: int) -> tuple[Batch, ...]:
    """Return every row once, shortest first: for measuring.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> [batch.input_ids.tolist() for batch in sorted_batches(rows, batch_size=2)]
    [[[4, 0], [5, 6]], [[1, 2, 3]]]
    """
    order = sorted(range(len(rows.tokens)), key=lambda row: len(rows.tokens[row]))
    return tuple(_pad(rows, order[start : start + batch_size]) for start in range(0, len(order), batch_size))


def shuffled_batches(rows: EncodedRows, *, batch_size: int, rng: np.random.Generator) -> tuple[Batch, ...]:
    """Return every row once, in random batches of like length: one epoch of training.

    >>> rows = EncodedRows(tokens=((1, 2, 3), (4,), (5, 6)), labels=(0, 1, 0), pad=0)
    >>> sum(len(batch.labels) for batch in shuffled_batches(rows, batch_size=2, rng=np.random.default_rng(0)))
    3
    """
    order = [int(row) for row in rng.permutation(len(rows.tokens))]
    pool = batch_size * _POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda row: len(rows.tokens[row]))
        batches += [_pad(rows, near[first : first + batch_size]) for first in range(0, len(near), batch_size)]
    return tuple(batches[int(place)] for place in rng.permutation(len(batches)))


def _pad(rows: EncodedRows, chosen: list[int]) -> Batch:
    length = max(len(rows.tokens[row]) for row in chosen)
    ids = np.full((len(chosen), length), rows.pad, dtype=np.int64)
    mask = np.zeros((len(chosen), length), dtype=np.int64)
    for place, row in enumerate(chosen):
        tokens = rows.tokens[row]
        ids[place, : len(tokens)] = tokens
        mask[place, : len(tokens)] = 1
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        labels=torch.tensor([rows.labels[row] for row in chosen], dtype=torch.int64),
    )
