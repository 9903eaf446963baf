"""Answers: exact match and F1 of SQuAD v1.1 against numbers worked out by hand, and the best span against all spans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.distill.tasks.answers import MAX_ANSWER_TOKENS, answer_f1, best_span, exact_match, normalise


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Denver Broncos!", "denver broncos"),
        ("an  apple\ta day", "apple day"),
        ("theatre", "theatre"),  # an article only as a word of its own
        ("U.S.A.", "usa"),
        ("the", ""),
        ("24\u201310", "24\u201310"),  # a dash that is not ASCII is no punctuation
    ],
)
def test_normalising_follows_the_official_definition(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("Denver Broncos", ["The Denver Broncos", "Broncos"], 1.0, 1.0),
        # denver broncos | carolina panthers: nothing in common
        ("Denver Broncos", ["Carolina Panthers"], 0.0, 0.0),
        # in santa clara california | santa clara: 2 of 4 and 2 of 2 words, 2 * (1/2 * 1) / (3/2) = 2/3
        ("in Santa Clara, California", ["Santa Clara"], 0.0, 2 / 3),
        # the best over the gold answers: 1 of 2 and 1 of 1 is 2/3, against 1 of 2 and 1 of 3, 2/5
        ("golden anniversary", ["gold and golden", "anniversary"], 0.0, 2 / 3),
        # words count as often as they stand there: new new york | new york york: 2 of 3 and 2 of 3
        ("New New York", ["new york york"], 0.0, 2 / 3),
        ("", ["something"], 0.0, 0.0),
        # after normalising both are empty: the official script has no common words, and equal strings
        ("the", ["a"], 1.0, 0.0),
    ],
)
def test_exact_match_and_f1_are_those_worked_out_by_hand(answer: str, gold: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, gold) == exact
    assert answer_f1(answer, gold) == pytest.approx(f1)


def every_span(start: list[float], end: list[float], allowed: list[bool]) -> float | None:
    """The score of the best span by trying all of them."""
    scores = [
        start[first] + end[last]
        for first in range(len(start))
        for last in range(first, min(len(start), first + MAX_ANSWER_TOKENS))
        if allowed[first] and allowed[last]
    ]
    return max(scores, default=None)


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99), st.booleans()), min_size=1, max_size=20))
def test_the_best_span_is_the_best_of_all_spans(tokens: list[tuple[int, int, bool]]) -> None:
    start, end, allowed = (list(column) for column in zip(*tokens, strict=True))
    found = best_span(np.array(start, np.float32), np.array(end, np.float32), np.array(allowed))
    expected = every_span(start, end, allowed)
    if found is None:
        assert expected is None
    else:
        score, first, last = found
        assert score == expected == start[first] + end[last]
        assert first <= last
        assert allowed[first]
        assert allowed[last]


def test_an_answer_has_thirty_tokens_at_the_most() -> None:
    start, end = np.zeros(40, np.float32), np.zeros(40, np.float32)
    start[0], end[30], end[29] = 9.0, 9.0, 1.0
    assert best_span(start, end, np.ones(40, np.bool_)) == (10.0, 0, 29)
