"""The teacher's hidden states and attention maps of every training row, on disk: computed once for all trainings.

Stage 1 compares with them at every step. Asking the teacher each time is its forward pass once more; stored in half
precision they are read through the file cache, which all processes of a machine share.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heat_sim.cache_folder import published
from heat_sim.distill.batches import Batch, Rows
from heat_sim.distill.calibrate import evaluation_mode
from heat_sim.distill.forward import run
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.settings import Precision
from heat_sim.errors import HeatError, describe

_HIDDEN, _MAPS, _LENGTHS = "hidden.npy", "maps.npy", "lengths.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateShape:
    """How large the states of a teacher are.

    Attributes:
        layers: Encoder layers.
        hidden: Entries of the hidden state of a token.
        heads: Attention maps of a layer.
    """

    layers: int
    hidden: int
    heads: int

    def size_bytes(self, lengths: Sequence[int]) -> int:
        """Return what the states of rows of these lengths take on disk, in half precision.

        >>> StateShape(layers=2, hidden=8, heads=3).size_bytes([5])  # 2 * (2 * 8 * 5 + 2 * 3 * 5 * 5)
        460
        """
        of_tokens = np.asarray(lengths, dtype=np.int64)
        values = self.layers * (self.hidden * of_tokens + self.heads * of_tokens**2)
        return 2 * int(values.sum())


def state_shape(model: Any, rows: Rows) -> StateShape | None:
    """Return how large the states are, found by running the first row; None if the layers differ in size.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.distill.batches import EncodedRows
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9,
    ...                   attn_implementation="eager")
    >>> rows = EncodedRows(tokens=((1, 2, 3),), labels=(0,), pad=0)
    >>> state_shape(BertForSequenceClassification(tiny), rows)
    StateShape(layers=1, hidden=8, heads=2)
    """
    with evaluation_mode(model), torch.no_grad():
        output = run(model, rows.batch([0]), internal=True)
    length = rows.lengths[0]
    states, maps = output.hidden_states[1:], output.attentions
    hidden, heads = states[0].shape[-1], maps[0].shape[1] if maps[0] is not None else 0
    alike = len(states) == len(maps) and all(each.shape == (1, length, hidden) for each in states)
    if not alike or any(each is None or each.shape != (1, heads, length, length) for each in maps):
        return None
    return StateShape(layers=len(states), hidden=hidden, heads=heads)


class TeacherStates:
    """States that `store_teacher_states` has written, read from disk as they are asked for.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._hidden = np.load(folder / _HIDDEN, mmap_mode="r")  # (tokens, layers, hidden)
        self._maps = np.load(folder / _MAPS, mmap_mode="r")  # row after row: (layers, heads, length, length)
        self.lengths: NDArray[np.int64] = np.load(folder / _LENGTHS)
        layers = self._hidden.shape[1]
        heads = self._maps.size // (layers * int((self.lengths**2).sum()))
        self._first_token, self._first_entry = _places(self.lengths, layers * heads)
        self._layers, self._heads = layers, heads

    def padded(self, places: Sequence[int]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return hidden states and attention maps of some rows, one float32 tensor per layer, 0 where rows are padded.

        Args:
            places: Numbers of the rows.

        Returns:
            Hidden states, (rows, length, hidden) each, and attention maps, (rows, heads, length, length) each.
        """
        longest = int(self.lengths[list(places)].max())
        hidden = np.zeros((len(places), longest, *self._hidden.shape[1:]), dtype=np.float16)
        maps = np.zeros((len(places), self._layers, self._heads, longest, longest), dtype=np.float16)
        for k, row in enumerate(places):
            length, token, entry = int(self.lengths[row]), self._first_token[row], self._first_entry[row]
            shape = (self._layers, self._heads, length, length)
            hidden[k, :length] = self._hidden[token : token + length]
            maps[k, :, :, :length, :length] = self._maps[entry : entry + int(np.prod(shape))].reshape(shape)
        of_layers = torch.from_numpy(hidden).float().permute(2, 0, 1, 3)
        return tuple(of_layers), tuple(torch.from_numpy(maps).float().permute(1, 0, 2, 3, 4))


def store_teacher_states(
    model: Any,
    rows: Rows,
    folder: Path,
    *,
    shape: StateShape,
    batch_size: int,
    precision: Precision,
    progress: Progress = ignore_progress,
) -> TeacherStates:
    """Run the teacher on all rows, dropout off, keep what it does in a new folder, and return it.

    The folder appears when it is complete. The disk space is reserved first.

    Args:
        model: The teacher.
        rows: The rows.
        folder: To be made; one that is there already is taken as it is.
        shape: As `state_shape` gives it.
        batch_size: Rows at a time.
        precision: Number format of the matrix products.
        progress: Told about the stage `teacher states`.

    Raises:
        HeatError: The disk is full, or a state is beyond the range of half precision.
    """
    if not folder.is_dir():
        with published(folder) as draft:
            _write(model, rows, draft, shape=shape, batch_size=batch_size, precision=precision, progress=progress)
    return TeacherStates(folder)


def _write(
    model: Any, rows: Rows, folder: Path, *, shape: StateShape, batch_size: int, precision: Precision,
    progress: Progress,
) -> None:  # fmt: skip
    lengths = np.asarray(rows.lengths, dtype=np.int64)
    first_token, first_entry = _places(lengths, shape.layers * shape.heads)
    np.save(folder / _LENGTHS, lengths)
    all_hidden = _reserved(folder / _HIDDEN, (int(lengths.sum()), shape.layers, shape.hidden))
    all_maps = _reserved(folder / _MAPS, (shape.layers * shape.heads * int((lengths**2).sum()),))
    order = np.argsort(lengths, kind="stable").tolist()
    with evaluation_mode(model), torch.no_grad(), mixed_precision(precision):
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            output = run(model, rows.batch(places), internal=True)
            hidden = torch.stack(output.hidden_states[1:], dim=2).half()  # (rows, length, layers, hidden)
            maps = torch.stack(output.attentions, dim=1).half()  # (rows, layers, heads, length, length)
            if not bool(torch.isfinite(hidden).all()):
                raise HeatError(
                    describe("teacher states", "beyond half precision", got="a hidden state above 65504",
                             expected="states that float16 holds", remedy="--teacher-states ask")
                )  # fmt: skip
            for k, row in enumerate(places):
                length, token, entry = int(lengths[row]), first_token[row], first_entry[row]
                all_hidden[token : token + length] = hidden[k, :length].numpy()
                of_row = maps[k, :, :, :length, :length].reshape(-1).numpy()
                all_maps[entry : entry + of_row.size] = of_row
            progress(ProgressEvent(stage="teacher states", step=start + len(places), steps=len(order)))
    all_hidden.flush()
    all_maps.flush()


def _places(lengths: NDArray[np.int64], maps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the tokens of each row begin, and where its attention maps do, of so many a row."""
    tokens, entries = np.cumsum(lengths), np.cumsum(maps * lengths**2)
    return tokens - lengths, entries - maps * lengths**2


def _reserved(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.float16]]:
    """Return a new array on disk whose space is there: writing to a mapped file on a full disk kills a process."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return array
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as problem:
        raise HeatError(
            describe(str(path), "no room", got=problem.strerror, expected=f"{path.stat().st_size / 1e9:.1f} GB free",
                     remedy="Free some, or --teacher-states ask.")
        ) from None  # fmt: skip
    return array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatesBatch(Batch):
    """Rows with what the teacher does with them.

    Attributes:
        hidden_states: Behind each layer, (rows, length, hidden).
        attentions: Of each layer, (rows, heads, length, length).
    """

    hidden_states: tuple[Tensor, ...]
    attentions: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatesRows:
    """Rows whose batches carry what the teacher does with them.

    Attributes:
        rows: The rows.
        states: Of every row.
    """

    rows: Rows
    states: TeacherStates

    @property
    def lengths(self) -> tuple[int, ...]:
        """How long each row is."""
        return tuple(self.rows.lengths)

    def batch(self, places: Sequence[int]) -> StatesBatch:
        """Return some of the rows, padded to the longest of them."""
        batch = self.rows.batch(places)
        hidden, maps = self.states.padded(places)
        return StatesBatch(
            inputs=batch.inputs, labels=batch.labels, attention_mask=batch.attention_mask, hidden_states=hidden,
            attentions=maps,
        )  # fmt: skip
