"""Entities and their F1 against the definition written out: every run of words is tried."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heat_sim.distill.tasks.entities import entities, entity_f1, is_bio

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = st.lists(st.sampled_from(TAGS), min_size=1, max_size=8)


def begins(tags: Sequence[str], place: int) -> bool:
    """conlleval: B begins an entity; so does I at the start, behind O, and behind another kind."""
    before = tags[place - 1] if place else "O"
    return tags[place][0] == "B" or (tags[place][0] == "I" and before[2:] != tags[place][2:])


def every_entity(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    found = set()
    for first in range(len(tags)):
        for last in range(first, len(tags)):
            kind = tags[first][2:]
            inside = all(tag != "O" and tag[2:] == kind for tag in tags[first : last + 1])
            alone = not any(begins(tags, place) for place in range(first + 1, last + 1))
            ends = last + 1 == len(tags) or tags[last + 1] == "O" or begins(tags, last + 1)
            if begins(tags, first) and inside and alone and ends:
                found.add((kind, first, last))
    return found


@given(SENTENCES)
def test_the_entities_are_all_runs_that_the_definition_allows(tags: list[str]) -> None:
    assert entities(tags) == every_entity(tags)


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=4))
def test_f1_is_the_harmonic_mean_of_precision_and_recall_over_all_entities(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    cut = [(a[: min(len(a), len(b))], b[: min(len(a), len(b))]) for a, b in pairs]
    f1, precision, recall = entity_f1([a for a, _ in cut], [b for _, b in cut])
    wanted = {(row, *one) for row, (tags, _) in enumerate(cut) for one in every_entity(tags)}
    got = {(row, *one) for row, (_, tags) in enumerate(cut) for one in every_entity(tags)}
    right = len(wanted & got)
    assert precision == (right / len(got) if got else 0)
    assert recall == (right / len(wanted) if wanted else 0)
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall) if right else 0)


def test_the_example_of_seqeval() -> None:
    # Its README: two sentences, two entities, MISC predicted a word too short, PER right: F1 0.5.
    wanted = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    got = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert entity_f1(wanted, got) == (0.5, 0.5, 0.5)


def test_tags_are_of_entities_only_if_all_are() -> None:
    assert is_bio(("B-PER", "O"))
    assert not is_bio(("B-PER", "NOUN"))
    assert not is_bio(("O",))
