"""Extractive question answering: the answer to a question is a span of the context, as in SQuAD v1.1."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heat_sim.distill.tasks.answers import answer_f1, best_span, exact_match
from heat_sim.distill.tasks.splits import drawn_splits, first_few, given_splits, refuse_small
from heat_sim.distill.tasks.task import Kind, Scores, Split, cut_length
from heat_sim.distill.tasks.words import require_fast
from heat_sim.errors import SpecError

if TYPE_CHECKING:
    from heat_sim.distill.batches import Batch, EncodedRows

_MOST_QUESTION_TOKENS = 64
_MOST_STRIDE = 128
_AT_ONCE = 1_000
"""Questions encoded at once: the tokenizer's own objects take far more memory than what is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a context.

    Attributes:
        id: Its name in the file.
        text: The question.
        context: The text that holds the answer.
        answers: The gold answers, at least one.
        starts: Where in the context each begins, counted in characters.
    """

    id: str
    text: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionTask:
    """Questions in three disjoint sets of rows.

    Attributes:
        name: What tables and the cache call it.
        questions: One per row.
        train: Row numbers that training sees.
        dev: Row numbers for choosing settings.
        test: Row numbers for the reported metric.
    """

    name: str
    questions: tuple[Question, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """Question answering."""
        return "question-answering"

    @property
    def class_names(self) -> tuple[str, ...]:
        """None: the classes are the tokens of a window."""
        return ()

    @property
    def chance(self) -> float:
        """What guessing scores: hardly anything."""
        return 0.0

    @property
    def default_max_length(self) -> int:
        """384 tokens a window, question and context together."""
        return 384

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of questions, contexts, answers and splits."""
        digest = hashlib.sha256(json.dumps(["questions", self.train, self.dev, self.test]).encode())
        for each in self.questions:
            digest.update(json.dumps([each.id, each.text, each.context, each.answers, each.starts]).encode())
        return digest.hexdigest()

    def encode(
        self, reader: Any, *, split: Split, max_length: int | None = None, max_rows: int | None = None
    ) -> QuestionRows:
        """Return the windows of the first `max_rows` questions of a split.

        A window is the question (cut to 64 tokens, and to a third of the window) and as much of the context as
        fits; windows of one context overlap by 128 tokens, or half of what fits. The labels are the first and the last
        token of the first gold answer; the class token for both in a window that does not hold all of it.

        Raises:
            HeatError: The tokenizer cannot say where in the text a token is.
        """
        from heat_sim.distill.batches import EncodedRows

        require_fast(reader)
        places = {"train": self.train, "dev": self.dev, "test": self.test}[split][:max_rows]
        questions = tuple(self.questions[place] for place in places)
        length = cut_length(reader, max_length, self.default_max_length)
        most = min(_MOST_QUESTION_TOKENS, length // 3)
        special = reader.num_special_tokens_to_add(pair=True)
        stride = max(0, min(_MOST_STRIDE, (length - most - special) // 2))
        tokens: list[array[int]] = []
        segments: list[array[int]] = []
        owners: list[int] = []
        offsets: list[NDArray[np.int32]] = []
        labels: list[tuple[int, int]] = []
        for begin in range(0, len(questions), _AT_ONCE):
            some = questions[begin : begin + _AT_ONCE]
            encoded = reader(
                _cut([question.text.strip() for question in some], reader, most),
                [question.context for question in some],
                truncation="only_second",
                max_length=length,
                stride=stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
            )
            for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
                ids = encoded["input_ids"][window]
                where = np.array(encoded["offset_mapping"][window], dtype=np.int32)  # (length, 2)
                where[[part != 1 for part in encoded.sequence_ids(window)]] = -1
                tokens.append(array("i", ids))
                if "token_type_ids" in encoded:
                    segments.append(array("i", encoded["token_type_ids"][window]))
                owners.append(begin + owner)
                offsets.append(where)
                none = ids.index(reader.cls_token_id) if reader.cls_token_id in ids else 0
                labels.append(_span(where, some[owner]) or (none, none))
        return QuestionRows(
            encoded=EncodedRows(
                tokens=tuple(tokens),
                labels=tuple(labels),
                pad=int(reader.pad_token_id or 0),
                segments=tuple(segments) if segments else None,
            ),
            questions=questions,
            owners=tuple(owners),
            offsets=tuple(offsets),
        )

    def scores(self, rows: Any, logits: Sequence[NDArray[np.float32]]) -> Scores:
        """Return the mean F1 and exact match of the best answers over all windows; per row the F1 of a question."""
        best: dict[int, tuple[float, str]] = {}
        for owner, where, both in zip(rows.owners, rows.offsets, logits, strict=True):
            start, end = both[:, : len(where)]
            if span := best_span(start, end, where[:, 0] >= 0):
                score, first, last = span
                text = rows.questions[owner].context[where[first, 0] : where[last, 1]]
                best[owner] = max(best.get(owner, (-np.inf, "")), (score, text), key=lambda one: one[0])
        answers = [best.get(row, (0.0, ""))[1] for row in range(len(rows.questions))]
        pairs = [(answer, question.answers) for answer, question in zip(answers, rows.questions, strict=True)]
        f1 = np.array([answer_f1(answer, gold) for answer, gold in pairs], dtype=np.float64)
        exact = float(np.mean([exact_match(answer, gold) for answer, gold in pairs]))
        return Scores(metric="f1", value=min(1.0, float(f1.mean())), further={"exact_match": exact}, per_row=f1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuestionRows:
    """Encoded windows.

    Attributes:
        encoded: Tokens and labels (first and last token of the answer) of each window.
        questions: The questions.
        owners: The question of each window.
        offsets: Where each token of each window begins in the context, and where it has ended, (length, 2) int32; -1
            for tokens that are not of the context.
    """

    encoded: EncodedRows
    questions: tuple[Question, ...]
    owners: tuple[int, ...]
    offsets: tuple[NDArray[np.int32], ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each window."""
        return self.encoded.lengths

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the windows, padded to the longest of them; labels (rows, 2)."""
        return self.encoded.batch(places)


def make_question_task(name: str, questions: Mapping[Split, Sequence[Question]] | Sequence[Question]) -> QuestionTask:
    """Return the task of questions: with the splits given, or split at random.

    Args:
        name: What tables and the cache call it.
        questions: All together or by split (see `given_splits` for one that is left out).

    Raises:
        SpecError: Fewer than 10 questions.

    >>> one = dict(text="Who?", context="It was Ann.", answers=("Ann",), starts=(7,))
    >>> len(make_question_task("tiny", [Question(id=str(n), **one) for n in range(10)]).train)
    7
    """
    if isinstance(questions, Mapping):
        together = [one for split in ("train", "dev", "test") for one in questions.get(split, ())]
        splits = given_splits({split: len(each) for split, each in questions.items()}, where=f"task {name}")
    else:
        together = list(questions)
        splits = drawn_splits(len(together))
    if problems := refuse_small(f"task {name}", splits, what="questions"):
        raise SpecError(first_few(problems))
    return QuestionTask(name=name, questions=tuple(together), train=splits.train, dev=splits.dev, test=splits.test)


def _cut(texts: list[str], reader: Any, most: int) -> list[str]:
    """Return the texts, those of more tokens cut behind the last that fits."""
    encoded = reader(texts, add_special_tokens=False, return_offsets_mapping=True)
    return [
        text if len(where) <= most else text[: where[most - 1][1]]
        for text, where in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def _span(where: NDArray[np.int32], question: Question) -> tuple[int, int] | None:
    """Return the first and the last token of the first gold answer, None if the window does not hold all of it."""
    first, last = question.starts[0], question.starts[0] + len(question.answers[0])
    of_context = np.flatnonzero(where[:, 0] >= 0)
    begins, ends = where[of_context].T
    if not len(of_context) or begins[0] > first or ends[-1] < last:
        return None
    start, end = np.flatnonzero(begins <= first)[-1], np.flatnonzero(ends >= last)[0]
    return int(of_context[start]), int(of_context[end])
