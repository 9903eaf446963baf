"""Entities in BIO tags and their F1, as CoNLL counts them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_BIO = re.compile(r"O|[BI]-.+")


class Entity(NamedTuple):
    """A run of words that name one thing: kind, first word, last word."""

    kind: str
    first: int
    last: int


def is_bio(tags: Sequence[str]) -> bool:
    """Return whether the tags name entities: all are O, B-kind or I-kind, and not all are O.

    >>> is_bio(("O", "B-PER", "I-PER")), is_bio(("NOUN", "VERB"))
    (True, False)
    """
    return all(_BIO.fullmatch(tag) for tag in tags) and any(tag != "O" for tag in tags)


def entities(tags: Sequence[str]) -> set[Entity]:
    """Return the entities of one sentence.

    As conlleval and seqeval count: B begins one, and so does an I whose kind is not that of the word before.

    >>> sorted(entities(("B-PER", "I-PER", "O", "I-LOC")))
    [Entity(kind='LOC', first=3, last=3), Entity(kind='PER', first=0, last=1)]
    """
    found: set[Entity] = set()
    kind, first = "", 0
    for place, tag in enumerate((*tags, "O")):
        prefix, _, of = tag.partition("-")
        if kind and (prefix != "I" or of != kind):
            found.add(Entity(kind, first, place - 1))
            kind = ""
        if prefix != "O" and not kind:
            kind, first = of, place
    return found


def entity_f1(wanted: Sequence[Sequence[str]], got: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Return F1, precision and recall over all entities of all sentences; an entity is right as a whole or wrong.

    ``F1 = 2 TP / (entities wanted + entities got)``, 0 where there is nothing to divide by.

    Args:
        wanted: The true tags of each sentence.
        got: The predicted ones.

    >>> [round(value, 2) for value in entity_f1([("B-PER", "O", "B-LOC")], [("B-PER", "O", "B-ORG")])]
    [0.5, 0.5, 0.5]
    """
    pairs = [(entities(true), entities(predicted)) for true, predicted in zip(wanted, got, strict=True)]
    right = sum(len(true & predicted) for true, predicted in pairs)
    true_count, got_count = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return (
        2 * right / max(1, true_count + got_count),
        right / max(1, got_count),
        right / max(1, true_count),
    )
