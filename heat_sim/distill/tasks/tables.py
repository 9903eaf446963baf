"""Local files as tables: csv, tsv, jsonl, parquet and SQuAD's json."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heat_sim.errors import MissingDependencyError, SpecError, describe

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".json")

_OPENS = re.compile(r'(?:^|\t)"')
_CLOSED = re.compile(r'(?:(?:[^"\t][^\t]*|"(?:[^"]|"")*"|)(?:\t|$))*')


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of a file or of one split of a data set.

    Attributes:
        where: The file, for errors.
        columns: Names of the columns.
        rows: Each row's place, for errors, and its values by column.
        classes: For a column of numbered classes their names, in order; -1 there means no label.
    """

    where: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, Mapping[str, Any]]]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    r"""Return the rows of a file; its ending says what it is.

    `.csv` has CSV quoting. `.tsv` has it too if every field that begins with a quote also ends with one on its line;
    else quotes are characters like others, as in GLUE. `.jsonl` has one object a line. `.json` is SQuAD v1.1. Text is
    UTF-8.

    Raises:
        SpecError: The file cannot be read, or is not what its ending says.
        MissingDependencyError: A parquet file, and pyarrow is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "t.tsv"
    ...     _ = path.write_text('sentence\tlabel\n" what\t1\n')
    ...     read_table(path).rows[0][1]
    {'sentence': '" what', 'label': '1'}
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SpecError(
            describe(str(path), "unknown kind", got=suffix or "no ending",
                     expected=f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}", remedy="Rename the file.")
        )  # fmt: skip
    if suffix == ".parquet":
        return _parquet(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise SpecError(
            describe(str(path), "cannot be read", got=problem, expected="a UTF-8 file", remedy="Name another file.")
        ) from None
    if suffix == ".jsonl":
        return _jsonl(path, text)
    if suffix == ".json":
        return _squad(path, text)
    lines = text.split("\n")
    if suffix == ".csv" or all(_CLOSED.fullmatch(line.rstrip("\r")) for line in lines if _OPENS.search(line)):
        return _quoted(path, text, delimiter="," if suffix == ".csv" else "\t")
    headings, *rows = [line.rstrip("\r").split("\t") for line in lines]
    return _from_fields(path, headings, ((number, row) for number, row in enumerate(rows, start=2) if row != [""]))


def _quoted(path: Path, text: str, *, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        headings = next(reader, [])
        return _from_fields(path, headings, ((reader.line_num, row) for row in reader if row))
    except csv.Error as problem:
        raise SpecError(
            describe(f"{path}:{reader.line_num}", "not a row", got=problem,
                     expected="comma- or tab-separated values with CSV quoting", remedy="Correct the line.")
        ) from None  # fmt: skip


def _from_fields(path: Path, headings: list[str], rows: Iterator[tuple[int, list[str]]]) -> Table:
    records, problems = [], []
    for line, row in rows:
        if len(row) > len(headings):
            problems.append(
                describe(f"{path}:{line}", "not a row", got=f"{len(row)} fields", expected=f"{len(headings)}, as in "
                         "the first line", remedy="Quote fields that hold the separator.")
            )  # fmt: skip
        records.append((f"{path}:{line}", dict(zip(headings, row, strict=False))))
    if problems:
        raise SpecError(problems[:5])
    return Table(where=f"{path}:1", columns=tuple(headings), rows=records)


def _jsonl(path: Path, text: str) -> Table:
    rows = [
        (f"{path}:{number}", _json_object(line))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    broken = [where for where, row in rows if row is None]
    if broken:
        raise SpecError(
            [describe(where, "not a row", got="no JSON object", expected='one like {"text": "...", "label": "..."}',
                      remedy="Give both columns.") for where in broken[:5]]
        )  # fmt: skip
    columns = dict.fromkeys(name for _, row in rows for name in row or ())
    return Table(where=str(path), columns=tuple(columns), rows=[(where, row or {}) for where, row in rows])


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _squad(path: Path, text: str) -> Table:
    """Return the questions of a SQuAD v1.1 file with the columns of the Hugging Face data set of that name."""
    rows: list[tuple[str, dict[str, Any]]] = []
    where = str(path)
    try:
        for a, article in enumerate(json.loads(text)["data"]):
            for p, paragraph in enumerate(article["paragraphs"]):
                where = f"{path}, data[{a}].paragraphs[{p}]"
                for q, question in enumerate(paragraph["qas"]):
                    where = f"{path}, data[{a}].paragraphs[{p}].qas[{q}]"
                    answers = {
                        "text": [answer["text"] for answer in question["answers"]],
                        "answer_start": [answer["answer_start"] for answer in question["answers"]],
                    }
                    columns = {"id": question["id"], "question": question["question"], "context": paragraph["context"]}
                    rows.append((where, {**columns, "answers": answers}))
    except (json.JSONDecodeError, KeyError, TypeError) as problem:
        reason = f"no {problem}" if isinstance(problem, KeyError) else problem
        raise SpecError(
            describe(where, "not SQuAD v1.1", got=reason,
                     expected="data[].paragraphs[] with context and qas[], those with id, question, answers[], those "
                     "with text and answer_start",
                     remedy="Correct it, or give one JSON object a line in a .jsonl.")
        ) from None  # fmt: skip
    return Table(where=str(path), columns=("id", "question", "context", "answers"), rows=rows)


def _parquet(path: Path) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(
            describe(str(path), "cannot be read", got="no pyarrow", expected="the package pyarrow",
                     remedy='Run: pip install "heat_sim[parquet]"')
        ) from None  # fmt: skip

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as problem:
        raise SpecError(
            describe(str(path), "cannot be read", got=" ".join(str(problem).split())[:200], expected="a parquet file",
                     remedy="Write it again.")
        ) from None  # fmt: skip
    written = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = written.get("info", {}).get("features", {})
    return Table(
        where=str(path),
        columns=tuple(table.column_names),
        rows=[(f"{path}, row {number}", row) for number, row in enumerate(table.to_pylist(), start=1)],
        classes={name: names for name, feature in features.items() if (names := _class_names(feature))},
    )


def _class_names(feature: Any) -> tuple[str, ...]:
    """Return the class names that `datasets` noted of a column, or of the items of its lists."""
    if isinstance(feature, list):
        feature = feature[0]
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    return tuple(feature.get("names") or ()) if isinstance(feature, dict) else ()
