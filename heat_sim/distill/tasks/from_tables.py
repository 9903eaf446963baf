"""From tables to a task: the columns say of which kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from heat_sim.distill.tasks.images import make_image_task
from heat_sim.distill.tasks.questions import Question, make_question_task
from heat_sim.distill.tasks.splits import first_few
from heat_sim.distill.tasks.tables import Table
from heat_sim.distill.tasks.task import Split, Task
from heat_sim.distill.tasks.text import make_split_task, make_task
from heat_sim.distill.tasks.words import make_word_task
from heat_sim.errors import SpecError, describe

Row = TypeVar("Row")

_LABEL = "label"
_PAIRS = (
    ("text", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question1", "question2"),
)
_TEXTS = ("text", "sentence")
_QUESTIONS = ("question", "context", "answers")
_WORDS = (("words", "tags"), ("words", "ner_tags"), ("tokens", "tags"), ("tokens", "ner_tags"))
_IMAGES = ("image", "img")


def task_of_tables(name: str, tables: Table | Mapping[Split, Table]) -> Task:
    """Return the task of one table, split at random, or of a table for each split.

    Columns decide: question, context, answers; words (or tokens) and tags (or ner_tags); image and label; two texts and
    label (text and text_b, or as GLUE names them); text (or sentence) and label. Held-out tables without labels,
    and rows of -1 where classes are numbered, are left out: some data sets keep the labels of their test rows.

    Args:
        name: What tables and the cache call it.
        tables: With the columns of one kind.

    Raises:
        SpecError: Columns are missing or values are not what their column says.

    >>> rows = [(f"line {n}", {"premise": f"a {n}", "hypothesis": "b", "label": str(n % 2)}) for n in range(10)]
    >>> table = Table(where="t.csv", columns=("premise", "hypothesis", "label"), rows=rows)
    >>> task_of_tables("t", table).kind
    'text-pair'
    """
    first = tables if isinstance(tables, Table) else next(iter(tables.values()))
    columns = set(first.columns)
    if columns.issuperset(_QUESTIONS):
        questions = _read(tables, _question, needs=_QUESTIONS)
        return make_question_task(name, questions)
    for words, tags in _WORDS:
        if {words, tags} <= columns:
            return make_word_task(
                name,
                _read(tables, partial(_tagged, words=words, tags=tags), needs=(words, tags)),
                class_names=_names(tables, tags),
            )
    for image in _IMAGES:
        if {image, _LABEL} <= columns:
            pictures = _read(tables, partial(_picture, image=image), needs=(image, _LABEL))
            return make_image_task(name, pictures, class_names=_names(tables, _LABEL))
    for texts in (*_PAIRS, *((text,) for text in _TEXTS)):
        if {*texts, _LABEL} <= columns:
            rows = _read(tables, partial(_labelled, texts=texts), needs=(*texts, _LABEL))
            if isinstance(rows, Mapping):
                return make_split_task(name, rows, class_names=_names(tables, _LABEL))
            return make_task(name, rows)
    raise SpecError(
        describe(first.where, "a column is missing", got=", ".join(first.columns) or "nothing",
                 expected="the columns text and label, or those of another kind in docs/tasks.md",
                 remedy="Name them in the first line.")
    )  # fmt: skip


def _read(
    tables: Table | Mapping[Split, Table], read: Callable[[str, Mapping[str, Any], Table], Row | str | None],
    *, needs: Sequence[str],
) -> Any:  # fmt: skip
    """Return the rows of the table, or of each table by its split, all problems refused together."""
    problems: list[str] = []

    def rows_of(table: Table) -> list[Row]:
        rows: list[Row] = []
        for where, row in table.rows:
            one = read(where, row, table)
            if isinstance(one, str):
                problems.append(one)
            elif one is not None:
                rows.append(one)
        return rows

    if isinstance(tables, Table):
        together: list[Row] | dict[Split, list[Row]] = rows_of(tables)
    else:
        together = {}
        for split, table in tables.items():
            unlabelled = set(needs) - set(table.columns) == {needs[-1]} and split != "train"
            if missing := [name for name in needs if name not in table.columns and not unlabelled]:
                problems.append(
                    describe(table.where, "a column is missing", got=", ".join(table.columns) or "nothing",
                             expected=f"{', '.join(missing)}, as in the other splits", remedy="Name the columns alike.")
                )  # fmt: skip
            elif not unlabelled:
                together[split] = rows_of(table)
    if problems:
        raise SpecError(first_few(problems))
    return together


def _names(tables: Table | Mapping[Split, Table], column: str) -> tuple[str, ...] | None:
    """Return the names of the numbered classes of a column, None if it is not numbered; refuse splits that differ."""
    every = [tables] if isinstance(tables, Table) else [each for each in tables.values() if column in each.columns]
    names = every[0].classes.get(column)
    for table in every[1:]:
        if table.classes.get(column) != names:
            raise SpecError(
                describe(f"{table.where}, {column}", "other classes than in the other splits",
                         got=table.classes.get(column) or "no names", expected=names or "no names",
                         remedy="Name the classes alike.")
            )  # fmt: skip
    return names


def _not_a_row(where: str, row: Mapping[str, Any], expected: str) -> str:
    got = ", ".join(map(str, row)) or "nothing"
    return describe(where, "not a row", got=got, expected=expected, remedy="Correct the line.")


def _class_of(value: Any, names: tuple[str, ...] | None) -> str | None:
    """Return the name of a class, an empty one for no label, None for what is no class."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if names and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else "" if value == -1 else None
    return str(value).strip() or None


def _labelled(
    where: str, row: Mapping[str, Any], table: Table, *, texts: Sequence[str]
) -> tuple[str, ...] | str | None:
    words = [row.get(text) for text in texts]
    label = _class_of(row.get(_LABEL), table.classes.get(_LABEL))
    if label is None or not all(isinstance(each, str) and each.strip() for each in words):
        return _not_a_row(where, row, f"{' and '.join(texts)} and a label that are not empty")
    return (*(str(each).strip() for each in words), label) if label else None


def _tagged(
    where: str, row: Mapping[str, Any], table: Table, *, words: str, tags: str
) -> tuple[tuple[str, ...], tuple[str, ...]] | str:
    sentence, marks = (value.split() if isinstance(value := row.get(name), str) else value for name in (words, tags))
    names = [_class_of(mark, table.classes.get(tags)) for mark in marks] if isinstance(marks, list) else []
    if not (
        isinstance(sentence, list) and sentence and len(sentence) == len(names)
        and all(isinstance(word, str) for word in sentence) and all(names)
    ):  # fmt: skip
        return _not_a_row(where, row, f"{words} and {tags}, one tag a word, as lists or with spaces between")
    return tuple(sentence), tuple(map(str, names))


def _question(where: str, row: Mapping[str, Any], _table: Table) -> Question | str:
    answers = row.get("answers")
    texts, starts = (answers.get(key) if isinstance(answers, dict) else None for key in ("text", "answer_start"))
    question, context = row.get("question"), row.get("context")
    if not (
        isinstance(question, str) and question.strip() and isinstance(context, str) and isinstance(texts, list)
        and isinstance(starts, list) and len(texts) == len(starts) and all(isinstance(text, str) for text in texts)
        and all(type(start) is int for start in starts)
    ):  # fmt: skip
        return _not_a_row(where, row, "question, context, and answers with as many text as answer_start")
    if not texts or not all(text.strip() for text in texts):
        return describe(where, "a question without answer", got=question[:40], expected="SQuAD v1.1: an answer to each",
                        remedy="Leave the question out.")  # fmt: skip
    found = [_nearest(text, context, start) for text, start in zip(texts, starts, strict=True)]
    if -1 in found:
        return describe(where, "an answer that is not in its context", got=texts[found.index(-1)][:40],
                        expected="a part of the context", remedy="Correct the answer.")  # fmt: skip
    return Question(
        id=str(row.get("id") or where), text=question, context=context, answers=tuple(texts), starts=tuple(found)
    )


def _nearest(text: str, context: str, start: int) -> int:
    """Return where in the context the text stands, nearest to where it should; -1 if nowhere.

    SQuAD's own files have answers that are off by a character.
    """
    if context.startswith(text, start) and start >= 0:
        return start
    before, after = context.rfind(text, 0, max(0, start) + len(text)), context.find(text, max(0, start))
    places = [place for place in (before, after) if place >= 0]
    return min(places, key=lambda place: abs(place - start), default=-1)


def _picture(where: str, row: Mapping[str, Any], table: Table, *, image: str) -> tuple[Any, str] | str | None:
    value = row.get(image)
    content = value.get("bytes") if isinstance(value, dict) else value
    label = _class_of(row.get(_LABEL), table.classes.get(_LABEL))
    if label is None or not isinstance(content, bytes):
        return _not_a_row(where, row, f"{image} with the bytes of an image file, and a label")
    return (content, label) if label else None
