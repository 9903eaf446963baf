"""Tasks: what a file of labelled texts becomes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heat_sim.distill.tasks import embedded, load_embedded_task, load_text_task, make_task
from heat_sim.errors import SpecError

ROWS = [(f"text {n}", "good" if n % 3 else "bad") for n in range(50)]


def test_splits_are_disjoint_complete_and_drawn_by_the_seed() -> None:
    task = make_task("t", ROWS)
    # A fifth of 50 rows is 10, a tenth 5, the rest 35.
    assert (len(task.test), len(task.dev), len(task.train)) == (10, 5, 35)
    assert sorted(task.test + task.dev + task.train) == list(range(50))
    assert make_task("t", ROWS) == task
    assert make_task("t", ROWS, seed=1).test != task.test
    assert task.rows("dev") == task.dev


def test_the_hash_changes_with_texts_labels_and_split() -> None:
    task = make_task("t", ROWS)
    other_text = make_task("t", [("changed", "bad"), *ROWS[1:]])
    other_label = make_task("t", [(ROWS[0][0], "good"), *ROWS[1:]])
    hashes = {each.sha256 for each in (task, other_text, other_label, make_task("t", ROWS, seed=1))}
    assert len(hashes) == 4


def test_a_repeated_row_counts_once() -> None:
    assert make_task("t", ROWS + ROWS[:7]) == make_task("t", ROWS)


def test_conflicting_labels_are_refused_and_long_lists_cut() -> None:
    conflicting = ROWS + [(text, "bad" if label == "good" else "good") for text, label in ROWS[:9]]
    with pytest.raises(SpecError, match="two labels for one text") as caught:
        make_task("t", conflicting)
    assert caught.value.problems[-1] == "... and 4 more such problems."


def test_too_small_a_task_is_refused() -> None:
    with pytest.raises(SpecError, match=r"got 9 texts, 2 classes, expected at least 10 texts of 2 classes"):
        make_task("t", ROWS[:9])
    with pytest.raises(SpecError, match="50 texts, 1 classes"):
        make_task("t", [(text, "same") for text, _ in ROWS])


def test_classes_that_are_numbers_stand_in_order_of_size() -> None:
    assert make_task("t", [(str(n), str(n % 11)) for n in range(44)]).class_names == tuple(map(str, range(11)))


def test_csv_tsv_and_jsonl_say_the_same(tmp_path: Path) -> None:
    rows = [*ROWS[1:], ('with, a comma and a "quote"', "good"), ("a line\u2028separator", "bad")]
    quoted = [(text.replace('"', '""'), label) for text, label in rows]
    (tmp_path / "t.csv").write_text(
        "label,text\n" + "".join(f'{label},"{text}"\n' for text, label in quoted), encoding="utf-8"
    )
    (tmp_path / "t.tsv").write_text(
        "text\tlabel\textra\n" + "".join(f'"{text}"\t{label}\tx\n' for text, label in quoted), encoding="utf-8"
    )
    (tmp_path / "t.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows),
        encoding="utf-8",
    )
    expected = make_task("t", rows)
    assert [load_text_task(tmp_path / f"t.{kind}") for kind in ("csv", "tsv", "jsonl")] == [expected] * 3


def test_numbers_may_be_labels(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps({"text": str(n), "label": n % 2}) for n in range(10)), encoding="utf-8"
    )
    assert load_text_task(tmp_path / "t.jsonl").class_names == ("0", "1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "text,sentiment\na,b\n", r"t\.csv:1: a column is missing \(got text, sentiment"),
        ("t.csv", "", "a column is missing"),
        ("t.csv", "text,label\na,x\n,y\n", r"t\.csv:3: not a row"),
        ("t.tsv", "text\tlabel\nonly text\n", r"t\.tsv:2: not a row"),
        ("t.csv", f"text,label\n{'a' * 200_000},x\n", r"t\.csv:\d: not a row \(got field larger"),
        ("t.jsonl", '{"text": "a", "label": "x"}\n{"text": \n', r"t\.jsonl:2: not a row"),
        ("t.jsonl", "[1, 2]\n", r"t\.jsonl:1: not a row"),
        ("t.jsonl", '{"text": "a", "label": null}\n', r"t\.jsonl:1: not a row \(got text, label"),
        ("t.txt", "a\n", r"unknown kind \(got \.txt, expected \.csv, \.tsv, \.jsonl, \.parquet or \.json\)"),
    ],
)
def test_what_is_not_a_task_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        load_text_task(tmp_path / name)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_text_task(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("text,label\ncaf\xe9,x\n".encode("latin-1"))
    with pytest.raises(SpecError, match="expected a UTF-8 file"):
        load_text_task(tmp_path / "latin.csv")


def test_the_embedded_task_takes_the_sign_of_the_mean_and_leaves_out_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{n}\t{n % 5 - 2:.2f}\tcaf\xe9 {n}\r\n" for n in range(40)]
    (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_bytes("".join(lines).encode("latin-1"))
    monkeypatch.setattr(embedded, "fetch", lambda _source, *, cache: tmp_path)
    task = load_embedded_task()
    assert len(task.texts) == 32  # one in five of 40 means is 0
    assert task.class_names == ("negative", "positive")
    assert task.labels[task.texts.index("caf\xe9 4")] == 1
    assert task.labels[task.texts.index("caf\xe9 5")] == 0
