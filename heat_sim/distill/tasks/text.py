"""Text classification: one text or a pair of texts a row, one class each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heat_sim.distill.tasks.class_scores import class_scores
from heat_sim.distill.tasks.splits import (
    Splits,
    drawn_splits,
    first_few,
    given_splits,
    ordered_classes,
    refuse_small,
)
from heat_sim.distill.tasks.task import Kind, Scores, Split, cut_length
from heat_sim.errors import SpecError, describe

if TYPE_CHECKING:
    from heat_sim.distill.batches import EncodedRows

TextRow = tuple[str, ...]
"""Text and class name, or first text, second text and class name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTask:
    """Labelled texts, or pairs of texts, in three disjoint sets of rows.

    Attributes:
        name: What tables and the cache call it.
        texts: One per row; of a pair the first.
        labels: Index into `class_names`, one per row.
        class_names: One per class.
        train: Row numbers that training sees.
        dev: Row numbers for choosing settings.
        test: Row numbers for the reported accuracy.
        others: The second text of each row; none if rows have one text.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]
    others: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Whether rows have one text or two."""
        return "text-pair" if self.others else "text"

    @property
    def chance(self) -> float:
        """What guessing scores: one over the classes."""
        return 1 / len(self.class_names)

    @property
    def default_max_length(self) -> int:
        """64 tokens for a text, 128 for a pair."""
        return 128 if self.others else 64

    def rows(self, split: Split) -> tuple[int, ...]:
        """Return the row numbers of a split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of texts, labels and splits: two tasks with the same one are the same data."""
        content: list[object] = [self.texts, self.labels, self.class_names, self.train, self.dev, self.test]
        content += [self.others] if self.others else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def encode(
        self, reader: Any, *, split: Split, max_length: int | None = None, max_rows: int | None = None
    ) -> EncodedRows:
        """Return the tokens of the first rows of a split, cut to `max_length`; of a pair the longer text is cut first.

        Segment numbers (`token_type_ids`) are there for pairs, if the tokenizer gives them.
        """
        from heat_sim.distill.batches import EncodedRows

        rows = self.rows(split)[:max_rows]
        texts, others = ([source[row] for row in rows] if source else None for source in (self.texts, self.others))
        length = cut_length(reader, max_length, self.default_max_length)
        encoded = reader(texts, others, truncation=True, max_length=length)
        segments = encoded.get("token_type_ids") if self.others else None
        return EncodedRows(
            tokens=tuple(map(tuple, encoded["input_ids"])),
            labels=tuple(self.labels[row] for row in rows),
            pad=int(reader.pad_token_id or 0),
            segments=None if segments is None else tuple(map(tuple, segments)),
        )

    def scores(self, rows: Any, logits: Sequence[NDArray[np.float32]]) -> Scores:
        """Return accuracy and macro F1; per row 1 if the class is right."""
        return class_scores(rows.labels, logits)


def make_task(name: str, rows: Sequence[TextRow], *, seed: int = 0) -> TextTask:
    """Return the task of `(text, class name)` or `(text, text, class name)` rows, split at random.

    A text (or pair) that stands there again with the same class counts once.

    Args:
        name: What tables and the cache call it.
        rows: In any order, all with as many texts; the split depends on it and on the seed.
        seed: Draws the split.

    Raises:
        SpecError: A text has two classes; fewer than 10 rows or 2 classes.

    >>> make_task("parity", [(str(n), str(n % 2)) for n in range(10)]).class_names
    ('0', '1')
    """
    known: dict[tuple[str, ...], str] = {}
    problems = []
    for *texts, label in rows:
        if known.setdefault(tuple(texts), label) != label:
            problems.append(
                describe(
                    f"task {name}, text {texts[0][:40]!r}",
                    "two labels for one text",
                    got=label,
                    expected=known[tuple(texts)],
                    remedy="Keep one of the rows.",
                )
            )
    task_rows = [(*texts, label) for texts, label in known.items()]
    return _task(name, task_rows, drawn_splits(len(known), seed=seed), class_names=None, problems=problems)


def make_split_task(
    name: str, rows: Mapping[Split, Sequence[TextRow]], *, class_names: tuple[str, ...] | None = None
) -> TextTask:
    """Return the task of rows whose splits are given; see `given_splits` for one that is left out.

    A text that stands in train again counts once, with its first class. Dev and test are used row by row as they are,
    so that figures compare with those of others, and a text may stand in several splits.

    Args:
        name: What tables and the cache call it.
        rows: `(text, class name)` or `(text, text, class name)` of each split.
        class_names: In the order of the labels; None for those that occur, in order.

    Raises:
        SpecError: No train rows, fewer than 10 rows, or fewer than 2 classes.

    >>> train = [(str(n), str(n % 2)) for n in range(10)]
    >>> make_split_task("parity", {"train": [*train, ("3", "0")], "test": [("3", "1")]}).labels[-1]
    1
    """
    first: dict[tuple[str, ...], str] = {}
    for *texts, label in rows.get("train", ()):
        first.setdefault(tuple(texts), label)
    train = [(*texts, label) for texts, label in first.items()]
    held_out = {split: list(rows.get(split, ())) for split in ("dev", "test")}
    counts: dict[Split, int] = {"train": len(train), "dev": len(held_out["dev"]), "test": len(held_out["test"])}
    splits = given_splits(counts, where=f"task {name}")
    return _task(name, [*train, *held_out["dev"], *held_out["test"]], splits, class_names=class_names, problems=[])


def _task(
    name: str,
    rows: Sequence[TextRow],
    splits: Splits,
    *,
    class_names: tuple[str, ...] | None,
    problems: list[str],
) -> TextTask:
    names = class_names or ordered_classes({row[-1] for row in rows})
    problems = problems + refuse_small(f"task {name}", splits, what="texts", classes=len(names))
    if problems:
        raise SpecError(first_few(problems))
    number = {label: place for place, label in enumerate(names)}
    return TextTask(
        name=name,
        texts=tuple(row[0] for row in rows),
        others=tuple(row[1] for row in rows if len(row) == 3),
        labels=tuple(number[row[-1]] for row in rows),
        class_names=names,
        train=splits.train,
        dev=splits.dev,
        test=splits.test,
    )
