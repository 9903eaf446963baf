"""Text classification tasks: labelled texts and their split into train, dev and test rows."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from heat_sim.distill.sources import MOVIE_SNIPPETS, fetch
from heat_sim.errors import SpecError, describe

Split = Literal["train", "dev", "test"]

_MOST_DEV, _MOST_TEST = 1_000, 2_000
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTask:
    """Labelled texts, each text once, in three disjoint splits.

    Attributes:
        name: What tables and the cache call it.
        texts: One per row.
        labels: Index into `class_names`, one per row.
        class_names: One per class.
        train: Row numbers that training sees.
        dev: Row numbers for choosing settings.
        test: Row numbers for the reported accuracy.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    def rows(self, split: Split) -> tuple[int, ...]:
        """Return the row numbers of a split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[split]

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of texts, labels and splits: two tasks with the same one are the same data."""
        content = [self.texts, self.labels, self.class_names, self.train, self.dev, self.test]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def load_embedded_task(*, cache: Path | None = None) -> TextTask:
    """Return the embedded task: is a sentence of a film review positive or negative?

    The label is the sign of the mean of 15 to 29 human ratings; rows with mean exactly 0 are left out
    (Hutto and Gilbert 2014, the film snippets). 10,566 rows: 7,566 train, 1,000 dev, 2,000 test.

    Raises:
        HeatError: The data is not in the cache and cannot be downloaded.

    >>> load_embedded_task().class_names  # doctest: +SKIP
    ('negative', 'positive')
    """
    path = fetch(MOVIE_SNIPPETS, cache=cache) / MOVIE_SNIPPETS.members[0].name
    rows = []
    for line in path.read_bytes().decode("latin-1").split("\r\n"):
        if line:
            _, mean, text = line.split("\t")
            if float(mean) != 0:
                rows.append((text, "positive" if float(mean) > 0 else "negative"))
    return make_task("movie-snippets", rows)


def load_text_task(path: Path) -> TextTask:
    r"""Return the task of a local file with the columns `text` and `label`.

    `.csv` (comma) and `.tsv` (tab) have a heading line and CSV quoting; `.jsonl` has one object a line. UTF-8.
    Labels may be any words or numbers. The split is drawn with seed 0: a fifth of the rows, at most 2,000, is
    the test split, a tenth, at most 1,000, the dev split.

    Raises:
        SpecError: Not such a file; a text stands there twice with different labels; fewer than 10 rows or 2 classes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "weather.csv"
    ...     _ = path.write_text("text,label\n" + "".join(f"day {n},{'wet' if n % 2 else 'dry'}\n" for n in range(20)))
    ...     task = load_text_task(path)
    >>> task.class_names, len(task.train), len(task.dev), len(task.test)
    (('dry', 'wet'), 14, 2, 4)
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise SpecError(
            describe(str(path), "cannot be read", got=problem, expected="a UTF-8 file", remedy="Name another file.")
        ) from None
    rows, problems = [], []
    for line, row in _records(path, text):
        words, label = row.get("text"), row.get("label")
        if isinstance(words, str) and words.strip() and isinstance(label, str | int) and str(label).strip():
            rows.append((words.strip(), str(label).strip()))
        else:
            problems.append(
                describe(
                    f"{path}:{line}",
                    "not a row",
                    got=", ".join(map(str, row)) or "nothing",
                    expected="a text and a label that are not empty",
                    remedy="Give both columns.",
                )
            )
    if problems:
        raise SpecError(_first_few(problems))
    return make_task(path.stem, rows)


def make_task(name: str, rows: Sequence[tuple[str, str]], *, seed: int = 0) -> TextTask:
    """Return the task of `(text, class name)` rows; a text that stands there again with the same class counts once.

    Args:
        name: What tables and the cache call it.
        rows: In any order; the split depends on it and on the seed.
        seed: Draws the split.

    Raises:
        SpecError: A text has two classes; fewer than 10 rows or 2 classes.

    >>> make_task("parity", [(str(n), str(n % 2)) for n in range(10)]).class_names
    ('0', '1')
    """
    known: dict[str, str] = {}
    problems = []
    for text, label in rows:
        if known.setdefault(text, label) != label:
            problems.append(
                describe(
                    f"task {name}, text {text[:40]!r}",
                    "two labels for one text",
                    got=label,
                    expected=known[text],
                    remedy="Keep one of the rows.",
                )
            )
    # Numbers in order of size, words by the alphabet.
    class_names = tuple(sorted(set(known.values()), key=lambda word: (len(word) * word.isdigit(), word)))
    if len(known) < 10 or len(class_names) < 2:
        problems.append(
            describe(
                f"task {name}",
                "too small to learn from",
                got=f"{len(known)} texts, {len(class_names)} classes",
                expected="at least 10 texts of 2 classes",
                remedy="Give more rows.",
            )
        )
    if problems:
        raise SpecError(_first_few(problems))
    order = [int(row) for row in np.random.default_rng(seed).permutation(len(known))]
    test = min(_MOST_TEST, len(known) // 5)
    dev = min(_MOST_DEV, len(known) // 10)
    return TextTask(
        name=name,
        texts=tuple(known),
        labels=tuple(class_names.index(label) for label in known.values()),
        class_names=class_names,
        test=tuple(order[:test]),
        dev=tuple(order[test : test + dev]),
        train=tuple(order[test + dev :]),
    )


def _records(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and columns of each row."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
        headings = list(reader.fieldnames or ())
        if not {"text", "label"} <= set(headings):
            raise SpecError(
                describe(
                    f"{path}:1",
                    "a column is missing",
                    got=", ".join(headings) or "nothing",
                    expected="the columns text and label",
                    remedy="Name them in the first line.",
                )
            )
        try:
            for row in reader:
                yield reader.line_num, dict(row)
        except csv.Error as problem:
            raise SpecError(
                describe(
                    f"{path}:{reader.line_num}",
                    "not a row",
                    got=problem,
                    expected="comma- or tab-separated values with CSV quoting",
                    remedy="Correct the line.",
                )
            ) from None
    elif suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, _json_object(line)
    else:
        raise SpecError(
            describe(str(path), "unknown kind", got=suffix, expected=".csv, .tsv or .jsonl", remedy="Rename the file.")
        )


def _json_object(line: str) -> dict[str, object]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _first_few(problems: list[str]) -> list[str]:
    rest = len(problems) - _SHOWN
    return problems[:_SHOWN] + ([f"... and {rest} more such problems."] if rest > 0 else [])
