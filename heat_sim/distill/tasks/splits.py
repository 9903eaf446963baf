"""Which rows train, which choose settings and which are reported: drawn, or as the files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from heat_sim.distill.tasks.task import Split
from heat_sim.errors import SpecError, describe

_MOST_DEV, _MOST_TEST = 1_000, 2_000
_SHOWN = 5


class Splits(NamedTuple):
    """Row numbers of each split."""

    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]


def drawn_splits(rows: int, *, seed: int = 0) -> Splits:
    """Return random splits: a fifth of the rows, at most 2,000, to test, a tenth, at most 1,000, for dev, else train.

    >>> [len(split) for split in drawn_splits(50)]
    [35, 5, 10]
    """
    order = [int(row) for row in np.random.default_rng(seed).permutation(rows)]
    test, dev = min(_MOST_TEST, rows // 5), min(_MOST_DEV, rows // 10)
    return Splits(train=tuple(order[test + dev :]), dev=tuple(order[test : test + dev]), test=tuple(order[:test]))


def given_splits(counts: Mapping[Split, int], *, where: str, seed: int = 0) -> Splits:
    """Return the splits of rows that stand one split after the other: train, dev, test.

    What is given is used as it is. Without test rows the dev rows are the test rows, as GLUE and SQuAD are reported.
    Without dev rows, or when they became the test rows, a tenth of the train rows, at most 1,000, is drawn for dev.
    Train alone is drawn from as `drawn_splits` does.

    Args:
        counts: Rows of each split; 0 or left out if there is none.
        where: For errors.
        seed: Draws what is not given.

    Raises:
        SpecError: No train rows.

    >>> [len(split) for split in given_splits({"train": 30, "dev": 9}, where="folder")]
    [27, 3, 9]
    """
    train, dev, test = (counts.get(split, 0) for split in ("train", "dev", "test"))
    if not train:
        raise SpecError(
            describe(where, "no rows to train on", got=", ".join(counts) or "nothing", expected="a train split",
                     remedy="Give a train file.")
        )  # fmt: skip
    if not dev and not test:
        return drawn_splits(train, seed=seed)
    held_out = range(train, train + dev), range(train + dev, train + dev + test)
    if dev and test:
        return Splits(train=tuple(range(train)), dev=tuple(held_out[0]), test=tuple(held_out[1]))
    order = [int(row) for row in np.random.default_rng(seed).permutation(train)]
    chosen = min(_MOST_DEV, train // 10)
    return Splits(
        train=tuple(sorted(order[chosen:])), dev=tuple(sorted(order[:chosen])), test=tuple(held_out[0] or held_out[1])
    )


def ordered_classes(names: set[str]) -> tuple[str, ...]:
    """Return the names of classes in their order: numbers by size, words by the alphabet.

    >>> ordered_classes({"10", "9", "b", "a"})
    ('a', 'b', '9', '10')
    """
    return tuple(sorted(names, key=lambda word: (len(word) * word.isdigit(), word)))


def refuse_small(where: str, splits: Splits, *, what: str, classes: int | None = None) -> list[str]:
    """Return the problem of a task with fewer than 10 rows, or with an empty split, or fewer than 2 classes; or none.

    >>> refuse_small("task t", drawn_splits(10), what="texts", classes=2)
    []
    """
    count = sum(map(len, splits))
    got = f"{count} {what}" + ("" if classes is None else f", {classes} classes")
    if count >= 10 and all(splits) and (classes is None or classes >= 2):
        return []
    return [
        describe(where, "too small to learn from", got=got,
                 expected=f"at least 10 {what}" + ("" if classes is None else " of 2 classes"),
                 remedy="Give more rows.")
    ]  # fmt: skip


def first_few(problems: list[str]) -> list[str]:
    """Return the first five problems and how many more there are.

    >>> first_few(["a", "b", "c", "d", "e", "f"])[-1]
    '... and 1 more such problems.'
    """
    rest = len(problems) - _SHOWN
    return problems[:_SHOWN] + ([f"... and {rest} more such problems."] if rest > 0 else [])
