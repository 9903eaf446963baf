"""Answers to questions: the best span of the logits, and exact match and F1 as SQuAD v1.1 defines them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_BEST = 20
"""Starts and ends of a window that are tried with each other."""

MAX_ANSWER_TOKENS = 30
"""Spans of more tokens are no answer."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Return an answer in lower case, without punctuation, articles and further white space.

    >>> normalise("  The  cat's, an OLD hat! ")
    'cats old hat'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, gold: Sequence[str]) -> float:
    """Return 1 if the answer is one of the gold ones after `normalise`, else 0.

    >>> exact_match("The cat.", ["a dog", "cat"])
    1.0
    """
    return float(any(normalise(answer) == normalise(each) for each in gold))


def answer_f1(answer: str, gold: Sequence[str]) -> float:
    """Return the F1 of the words of an answer, the best over the gold ones.

    Words are counted with their number after `normalise`; ``F1 = 2 common / (words of the answer + words of the gold
    one)``, 0 without common words (Rajpurkar et al., 2016).

    >>> answer_f1("the black cat", ["a cat", "dog"])  # 2 * 1 / (2 + 1)
    0.6666666666666666
    """
    return max(_f1(normalise(answer).split(), normalise(each).split()) for each in gold)


def _f1(got: list[str], wanted: list[str]) -> float:
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted)) if common else 0.0


def best_span(
    start: NDArray[np.float32], end: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> tuple[float, int, int] | None:
    """Return score, first and last token of the best answer in one window, None if it has none.

    The score is the sum of the two logits. Tried are the `N_BEST` best starts with as many best ends; both have to be
    allowed, the end not before the start, and the span no longer than `MAX_ANSWER_TOKENS`.

    Args:
        start: Logit of each token to be the first, (length,).
        end: Logit of each token to be the last, (length,).
        allowed: Whether the token is of the text that answers, (length,).

    >>> logits = np.array([9.0, 1.0, 3.0, 2.0], np.float32)
    >>> best_span(logits, logits, np.array([False, True, True, True]))  # 9.0 is not allowed
    (6.0, 2, 2)
    """
    places = np.flatnonzero(allowed)
    starts, ends = (places[np.argsort(-logits[places], kind="stable")[:N_BEST]] for logits in (start, end))
    length = ends[None, :] - starts[:, None] + 1  # (starts, ends)
    total = np.where(
        (length >= 1) & (length <= MAX_ANSWER_TOKENS), start[starts][:, None] + end[ends][None, :], -np.inf
    )
    if not np.isfinite(total).any():
        return None
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    return float(total[row, column]), int(starts[row]), int(ends[column])
