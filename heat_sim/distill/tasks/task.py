"""What a task is to fine-tuning, calibration, distillation and measuring, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from heat_sim.distill.batches import Rows

Split = Literal["train", "dev", "test"]

Kind = Literal["text", "text-pair", "question-answering", "token-classification", "image"]
"""What the rows are, and with that which head a model needs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """How well a model does on some rows.

    Attributes:
        metric: Name of the main metric: `accuracy`, or `f1`.
        value: The main metric, 0 to 1.
        further: Other metrics by name, 0 to 1 (`exact_match`, `macro_f1`, ...).
        per_row: (rows,) float64, 0 to 1, in the order of the rows: 1 if the class is right; of a question the F1 of its
            answer; of a sentence the share of its words that are tagged right. Two models can be compared row by row.
    """

    metric: str
    value: float
    further: Mapping[str, float] = field(default_factory=dict)
    per_row: NDArray[np.float64]

    def __post_init__(self) -> None:
        assert 0 <= self.value <= 1

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics by name, the main one first.

        >>> Scores(metric="f1", value=0.5, further={"exact_match": 0.25}, per_row=np.zeros(4)).metrics
        {'f1': 0.5, 'exact_match': 0.25}
        """
        return {self.metric: self.value, **self.further}


class Task(Protocol):
    """Labelled rows in three splits, and how they become batches and scores.

    The same task with the same tokenizer gives the same rows.
    """

    @property
    def name(self) -> str:
        """What tables and the cache call it."""

    @property
    def kind(self) -> Kind:
        """What its rows are."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per class; none for questions, whose classes are the tokens of the text."""

    @property
    def train(self) -> tuple[int, ...]:
        """Row numbers that training sees."""

    @property
    def dev(self) -> tuple[int, ...]:
        """Row numbers for choosing settings."""

    @property
    def test(self) -> tuple[int, ...]:
        """Row numbers for the reported metric."""

    @property
    def chance(self) -> float:
        """What guessing scores, 0 to 1: one over the classes, or 0."""

    @property
    def default_max_length(self) -> int:
        """Tokens a row is cut to unless told otherwise (of questions: tokens of a window)."""

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of rows, labels and splits: two tasks with the same one are the same data."""

    def encode(self, reader: Any, *, split: Split, max_length: int | None, max_rows: int | None) -> Rows:
        """Return the first rows of a split as a model takes them; see `heat_sim.distill.batches.encode`."""

    def scores(self, rows: Any, logits: Sequence[NDArray[np.float32]]) -> Scores:
        """Return the scores of a model.

        Args:
            rows: What `encode` returned.
            logits: The model's for each of these rows, (..., classes), perhaps with padding behind.
        """


def cut_length(reader: Any, max_length: int | None, default: int) -> int:
    """Return how many tokens a row may have: as asked, or the default, but no more than the model takes.

    >>> from types import SimpleNamespace
    >>> reader = SimpleNamespace(model_max_length=24)
    >>> cut_length(reader, None, 64), cut_length(reader, 8, 64)
    (24, 8)
    """
    return min(default if max_length is None else max_length, int(reader.model_max_length))
