"""Token classification: the words of a sentence, a tag for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heat_sim.distill.tasks.entities import entity_f1, is_bio
from heat_sim.distill.tasks.splits import drawn_splits, first_few, given_splits, ordered_classes, refuse_small
from heat_sim.distill.tasks.task import Kind, Scores, Split, cut_length
from heat_sim.errors import HeatError, SpecError, describe

if TYPE_CHECKING:
    from heat_sim.distill.batches import Batch, EncodedRows

TaggedRow = tuple[tuple[str, ...], tuple[str, ...]]
"""Words and their tags, as many."""

_NO_TAG = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTask:
    """Sentences whose words are tagged, in three disjoint sets of rows.

    Attributes:
        name: What tables and the cache call it.
        sentences: The words of each row.
        tags: Index into `class_names` of each word.
        class_names: One per tag.
        train: Row numbers that training sees.
        dev: Row numbers for choosing settings.
        test: Row numbers for the reported metric.
    """

    name: str
    sentences: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """Token classification."""
        return "token-classification"

    @property
    def chance(self) -> float:
        """What guessing scores: 0 of an entity F1, one over the tags of an accuracy."""
        return 0.0 if is_bio(self.class_names) else 1 / len(self.class_names)

    @property
    def default_max_length(self) -> int:
        """128 tokens."""
        return 128

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of words, tags and splits."""
        content = ["words", self.sentences, self.tags, self.class_names, self.train, self.dev, self.test]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def encode(
        self, reader: Any, *, split: Split, max_length: int | None = None, max_rows: int | None = None
    ) -> WordRows:
        """Return the pieces of the first rows of a split; the first piece of a word has its tag, others no label.

        Raises:
            HeatError: The tokenizer cannot say which piece is of which word.
        """
        from heat_sim.distill.batches import NO_LABEL, EncodedRows

        require_fast(reader)
        places = {"train": self.train, "dev": self.dev, "test": self.test}[split][:max_rows]
        length = cut_length(reader, max_length, self.default_max_length)
        sentences = [list(self.sentences[place]) for place in places]
        encoded = reader(sentences, is_split_into_words=True, truncation=True, max_length=length)
        firsts, labels = [], []
        for row, place in enumerate(places):
            first: dict[int, int] = {}
            for piece, word in enumerate(encoded.word_ids(row)):
                if word is not None:
                    first.setdefault(word, piece)
            firsts.append(tuple(first.get(word, _NO_TAG) for word in range(len(self.tags[place]))))
            of_pieces = [NO_LABEL] * len(encoded["input_ids"][row])
            for word, piece in first.items():
                of_pieces[piece] = self.tags[place][word]
            labels.append(tuple(of_pieces))
        return WordRows(
            encoded=EncodedRows(
                tokens=tuple(map(tuple, encoded["input_ids"])), labels=tuple(labels), pad=int(reader.pad_token_id or 0)
            ),
            firsts=tuple(firsts),
            tags=tuple(self.tags[place] for place in places),
        )

    def scores(self, rows: Any, logits: Sequence[NDArray[np.float32]]) -> Scores:
        """Return the F1 of entities for BIO tags, else the accuracy of words; per row the share of words right.

        A word that was cut away has no prediction: it counts as wrong, and in no predicted entity.
        """
        got = [
            tuple(int(one[piece].argmax()) if piece != _NO_TAG else _NO_TAG for piece in firsts)
            for one, firsts in zip(logits, rows.firsts, strict=True)
        ]
        right = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(got, rows.tags, strict=True)]
        words = [len(tags) for tags in rows.tags]
        accuracy = sum(right) / sum(words)
        per_row = np.array(right, dtype=np.float64) / np.array(words)
        if not is_bio(self.class_names):
            return Scores(metric="accuracy", value=accuracy, per_row=per_row)
        named = (*self.class_names, "O")  # the last one is what _NO_TAG finds
        f1, precision, recall = entity_f1(
            *([[named[tag] for tag in tags] for tags in each] for each in (rows.tags, got))
        )
        further = {"precision": precision, "recall": recall, "accuracy": accuracy}
        return Scores(metric="f1", value=f1, further=further, per_row=per_row)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRows:
    """Encoded sentences.

    Attributes:
        encoded: Pieces and labels.
        firsts: For each word of each row the place of its first piece; -1 if it was cut away.
        tags: The tag of each word of each row.
    """

    encoded: EncodedRows
    firsts: tuple[tuple[int, ...], ...]
    tags: tuple[tuple[int, ...], ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Pieces of each row."""
        return self.encoded.lengths

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the rows, padded to the longest of them."""
        return self.encoded.batch(places)


def make_word_task(
    name: str,
    rows: Mapping[Split, Sequence[TaggedRow]] | Sequence[TaggedRow],
    *,
    class_names: tuple[str, ...] | None = None,
) -> WordTask:
    """Return the task of tagged sentences: with the splits given, or split at random, equal rows counting once.

    Args:
        name: What tables and the cache call it.
        rows: Words and tags, all together or by split (see `given_splits` for one that is left out).
        class_names: In the order of the labels; None for those that occur, in order.

    Raises:
        SpecError: Fewer than 10 sentences or 2 tags.

    >>> make_word_task("tiny", [((str(n), "x"), ("N", "X")) for n in range(10)]).class_names
    ('N', 'X')
    """
    if isinstance(rows, Mapping):
        together = [row for split in ("train", "dev", "test") for row in rows.get(split, ())]
        splits = given_splits({split: len(each) for split, each in rows.items()}, where=f"task {name}")
    else:
        together = list(dict.fromkeys(rows))
        splits = drawn_splits(len(together))
    names = class_names or ordered_classes({tag for _, tags in together for tag in tags})
    if problems := refuse_small(f"task {name}", splits, what="sentences", classes=len(names)):
        raise SpecError(first_few(problems))
    number = {tag: place for place, tag in enumerate(names)}
    return WordTask(
        name=name,
        sentences=tuple(words for words, _ in together),
        tags=tuple(tuple(number[tag] for tag in tags) for _, tags in together),
        class_names=names,
        train=splits.train,
        dev=splits.dev,
        test=splits.test,
    )


def require_fast(reader: Any) -> None:
    """Refuse a tokenizer that does not know where in the text its pieces are.

    Raises:
        HeatError: It is such a one.

    >>> from transformers import BertTokenizerFast
    >>> require_fast(BertTokenizerFast(vocab={"[UNK]": 0}))
    """
    if not getattr(reader, "is_fast", False):
        raise HeatError(
            describe(f"tokenizer {type(reader).__name__}", "cannot say where its pieces are in the text",
                     got="a slow tokenizer", expected="one with tokenizer.json",
                     remedy="Save the model with the fast tokenizer of its family.")
        )  # fmt: skip
