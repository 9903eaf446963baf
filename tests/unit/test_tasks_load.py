"""Data by one text: files of every kind, folders with splits, images, the hub, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from heat_sim.distill.tasks import ImageTask, QuestionTask, TextTask, WordTask, load_task, load_text_task, make_task
from heat_sim.distill.tasks.tables import read_table
from heat_sim.errors import HeatError, MissingDependencyError, SpecError

ROWS = [(f"text {n}", "good" if n % 3 else "bad") for n in range(20)]
PAIRS = [(f"text {n}", f"other {n}", str(n % 2)) for n in range(20)]


def write(path: Path, header: str, rows: Sequence[Sequence[str]]) -> Path:
    lines = [header, *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def squad(**changes: Any) -> dict[str, Any]:
    """A file of ten questions; changes are to the first one."""
    questions = [
        {"id": f"q{n}", "question": f"Which day is {n}?", "answers": [{"text": f"day {n}", "answer_start": 3}]}
        for n in range(10)
    ]
    questions[0] |= changes
    paragraphs = [{"context": f"On day {n} it rained.", "qas": [question]} for n, question in enumerate(questions)]
    return {"version": "1.1", "data": [{"title": "days", "paragraphs": paragraphs}]}


@pytest.mark.parametrize(
    "columns",
    [("text", "text_b"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "sentence"),
     ("question1", "question2")],
)  # fmt: skip
def test_pairs_are_known_by_the_names_of_glue(tmp_path: Path, columns: tuple[str, str]) -> None:
    task = load_task(str(write(tmp_path / "t.tsv", "\t".join([*columns, "label"]), PAIRS)))
    assert task == make_task("t", PAIRS)
    assert task.kind == "text-pair"
    assert isinstance(task, TextTask)
    assert task.others[task.texts.index("text 7")] == "other 7"


def test_a_sentence_is_a_text_and_a_file_of_another_kind_is_no_text_task(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "sentence\tlabel", ROWS)
    assert load_task(str(path)) == load_text_task(path) == make_task("t", ROWS)
    (tmp_path / "q.json").write_text(json.dumps(squad()), encoding="utf-8")
    with pytest.raises(SpecError, match=r"another kind of task \(got question-answering"):
        load_text_task(tmp_path / "q.json")


def test_quotes_of_a_tsv_are_characters_unless_every_field_closes_them(tmp_path: Path) -> None:
    glue = ['" a lone one', 'an inner " one', '"begins" and goes on', "plain"]
    rows = read_table(write(tmp_path / "raw.tsv", "sentence\tlabel", [(text, "1") for text in glue])).rows
    assert [row["sentence"] for _, row in rows] == glue
    # One row that does not close its quote makes quotes characters in the whole file.
    mixed = read_table(write(tmp_path / "mixed.tsv", "sentence\tlabel", [('"closed"', "1"), ('"open', "1")])).rows
    assert [row["sentence"] for _, row in mixed] == ['"closed"', '"open']
    quoted = read_table(write(tmp_path / "quoted.tsv", "sentence\tlabel", [('"a ""b"" c"', "1"), ('"d\te"', "0")]))
    assert [row["sentence"] for _, row in quoted.rows] == ['a "b" c', "d\te"]


def test_the_splits_of_a_folder_are_used_as_they_are(tmp_path: Path) -> None:
    train = [*ROWS, ROWS[3], ("text 4", "bad")]  # repeated: once with the same label, once with another
    write(tmp_path / "train.tsv", "sentence\tlabel", train)
    write(tmp_path / "validation.tsv", "sentence\tlabel", [("text 1", "bad"), ("new", "good"), ("new", "good")])
    write(tmp_path / "test.tsv", "sentence\tlabel", [("text 2", "good")])
    write(tmp_path / "sentence_test.tsv", "not\tread", [])
    task = load_task(str(tmp_path))
    assert isinstance(task, TextTask)
    assert task.name == tmp_path.name
    texts = {split: [(task.texts[row], task.class_names[task.labels[row]]) for row in task.rows(split)]
             for split in ("train", "dev", "test")}  # fmt: skip
    assert texts["train"] == ROWS  # the first label stays
    assert texts["dev"] == [("text 1", "bad"), ("new", "good"), ("new", "good")]
    assert texts["test"] == [("text 2", "good")]


@pytest.mark.parametrize("test_file", [None, "sentence\nhidden\n"])
def test_without_labelled_test_rows_dev_is_the_test_split(tmp_path: Path, test_file: str | None) -> None:
    write(tmp_path / "train.tsv", "sentence\tlabel", ROWS)
    write(tmp_path / "dev.tsv", "sentence\tlabel", [("a", "good"), ("b", "bad"), ("c", "bad")])
    if test_file:
        (tmp_path / "test.tsv").write_text(test_file, encoding="utf-8")
    task = load_task(str(tmp_path))
    assert isinstance(task, TextTask)
    assert [task.texts[row] for row in task.test] == ["a", "b", "c"]
    assert len(task.dev) == 2  # a tenth of 20
    assert {task.texts[row] for row in task.dev + task.train} == {text for text, _ in ROWS}
    assert not set(task.dev) & set(task.train)


def test_without_a_dev_file_dev_is_drawn_from_train(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "sentence\tlabel", ROWS)
    write(tmp_path / "test.tsv", "sentence\tlabel", [("a", "good")])
    task = load_task(str(tmp_path))
    assert (len(task.train), len(task.dev), len(task.test)) == (18, 2, 1)
    write(tmp_path / "dev.tsv", "sentence\tlabel", [("b", "good")])
    assert (load_task(str(tmp_path)).sha256, len(load_task(str(tmp_path)).train)) != (task.sha256, 18)


def test_squad_becomes_questions(tmp_path: Path) -> None:
    several = [{"text": "day 0", "answer_start": 3}, {"text": "On day 0", "answer_start": 1}]  # off by one
    (tmp_path / "train.json").write_text(json.dumps(squad()), encoding="utf-8")
    (tmp_path / "dev-v1.1.json").write_text(json.dumps(squad(answers=several)), encoding="utf-8")
    task = load_task(str(tmp_path))
    assert isinstance(task, QuestionTask)
    assert [task.questions[row].id for row in task.test] == [f"q{n}" for n in range(10)]
    first = task.questions[task.test[0]]
    assert (first.answers, first.starts) == (("day 0", "On day 0"), (3, 0))
    assert first.context == "On day 0 it rained."


def test_words_and_tags_are_lists_or_stand_apart(tmp_path: Path) -> None:
    sentences = [([f"w{n}", "x"], ["B-A", "O"]) for n in range(12)]
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps({"tokens": words, "ner_tags": tags}) for words, tags in sentences), encoding="utf-8"
    )
    (tmp_path / "t.csv").write_text(
        "words,tags\n" + "".join(f"{' '.join(words)},{' '.join(tags)}\n" for words, tags in sentences), encoding="utf-8"
    )
    first, second = load_task(str(tmp_path / "t.jsonl")), load_task(str(tmp_path / "t.csv"))
    assert isinstance(first, WordTask)
    assert first == second
    assert first.class_names == ("B-A", "O")


def test_parquet_says_the_same_and_knows_the_names_of_classes(tmp_path: Path) -> None:
    features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}, "sentence": {"dtype": "string"}}
    table = pyarrow.table(
        {"sentence": [text for text, _ in ROWS], "label": [("bad", "good").index(label) for _, label in ROWS]},
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    assert load_task(str(tmp_path / "t.parquet")) == make_task("t", ROWS)
    pyarrow.parquet.write_table(table.replace_schema_metadata(None), tmp_path / "u.parquet")
    numbered = load_task(str(tmp_path / "u.parquet"))
    assert numbered.class_names == ("0", "1")


def test_classes_that_only_one_split_names_are_refused(tmp_path: Path) -> None:
    features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    columns = {"text": [text for text, _ in ROWS], "label": [n % 2 for n in range(len(ROWS))]}
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    pyarrow.parquet.write_table(pyarrow.table(columns, metadata=noted), tmp_path / "train.parquet")
    write(tmp_path / "test.tsv", "text\tlabel", [("a", "0")])
    with pytest.raises(
        SpecError, match=r"test\.tsv:1, label: other classes .*got no names, expected \('bad', 'good'\)"
    ):
        load_task(str(tmp_path))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"heat_sim\[parquet\]"):
        load_task(str(tmp_path / "t.parquet"))


def images(folder: Path, *, count: int, start: int = 0) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(np.full((4, 4), start + n, np.uint8)).save(folder / name / f"{n}.png")
        (folder / name / "notes.txt").write_text("no image", encoding="utf-8")


def test_a_folder_of_images_has_a_class_a_folder(tmp_path: Path) -> None:
    images(tmp_path, count=10)
    task = load_task(str(tmp_path))
    assert isinstance(task, ImageTask)
    assert task.class_names == ("cat", "dog")
    assert (len(task.train), len(task.dev), len(task.test)) == (14, 2, 4)
    assert all(path.parent.name == task.class_names[label] for path, label in zip(task.images, task.labels, strict=True)
               if isinstance(path, Path))  # fmt: skip


def test_images_may_have_splits(tmp_path: Path) -> None:
    images(tmp_path / "train", count=10)
    images(tmp_path / "val", count=2, start=50)
    task = load_task(str(tmp_path))
    assert isinstance(task, ImageTask)
    assert [Path(str(task.images[row])).parent.parent.name for row in task.test] == ["val"] * 4
    assert (len(task.train), len(task.dev)) == (18, 2)
    (tmp_path / "train" / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(SpecError, match=r"broken\.png: cannot be read"):
        load_task(str(tmp_path))


class FakeImage:
    def __init__(self, *, decode: bool = True) -> None:
        self.decode = decode


class FakeLabel:
    def __init__(self, *names: str) -> None:
        self.names = list(names)


class FakeSplit:
    """As much of `datasets.Dataset` as is used."""

    def __init__(self, features: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> None:
        self.features, self.columns = dict(features), dict(columns)
        self.column_names = list(columns)

    def cast_column(self, name: str, feature: FakeImage) -> FakeSplit:
        assert not feature.decode
        return FakeSplit(self.features | {name: feature}, self.columns)

    def to_dict(self) -> dict[str, list[Any]]:
        return self.columns


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str | None], dict[str, FakeSplit]]:
    """The data sets of a hub that needs no network."""
    known: dict[tuple[str, str | None], dict[str, FakeSplit]] = {}

    def load_dataset(name: str, config: str | None) -> dict[str, FakeSplit]:
        if (name, config) not in known:
            raise FileNotFoundError(f"no data set {name}, {config}\nand a long story")
        return known[name, config]

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.Image = FakeImage  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return known


def sst2(labels: Sequence[int], prefix: str) -> FakeSplit:
    return FakeSplit(
        {"sentence": None, "label": FakeLabel("negative", "positive")},
        {"sentence": [f"{prefix} {n}" for n in range(len(labels))], "label": list(labels)},
    )


@pytest.mark.parametrize("source", ["hf:glue/sst2", "hf:nyu-mll/glue/sst2"])
def test_the_hub_gives_splits_and_the_names_of_classes(
    hub: dict[tuple[str, str | None], dict[str, FakeSplit]], source: str
) -> None:
    splits = {"train": sst2([1, 0] * 10, "t"), "validation": sst2([1, 1, 0], "d"), "test": sst2([-1] * 4, "h")}
    hub["glue", "sst2"] = hub["nyu-mll/glue", "sst2"] = splits
    task = load_task(source)
    assert isinstance(task, TextTask)
    assert task.class_names == ("negative", "positive")
    # The labels of the test rows are kept secret: the validation rows are the test rows.
    assert [(task.texts[row], task.labels[row]) for row in task.test] == [("d 0", 1), ("d 1", 1), ("d 2", 0)]
    assert (len(task.train), len(task.dev)) == (18, 2)


def test_the_hub_has_every_kind(hub: dict[tuple[str, str | None], dict[str, FakeSplit]], tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    picture = {"bytes": (tmp_path / "a.png").read_bytes(), "path": None}
    tags = ModuleType("feature")
    tags.feature = FakeLabel("O", "B-A")  # type: ignore[attr-defined]
    hub["org/ner", None] = {
        "train": FakeSplit(
            {"tokens": None, "ner_tags": tags}, {"tokens": [["a", "b"]] * 10, "ner_tags": [[0, 1]] * 10}
        ),
        "test": FakeSplit({"tokens": None, "ner_tags": tags}, {"tokens": [["a", "b"]], "ner_tags": [[1, 0]]}),
    }
    hub["cifar", None] = {
        "train": FakeSplit(
            {"img": FakeImage(), "label": FakeLabel("x", "y")}, {"img": [picture] * 20, "label": [0, 1] * 10}
        )
    }
    hub["squad", None] = {
        "train": FakeSplit(
            {},
            {"question": ["Who?"] * 12, "context": ["It was Ann."] * 12,
             "answers": [{"text": ["Ann"], "answer_start": [7]}] * 12},
        )
    }  # fmt: skip
    words, pictures, questions = (load_task(f"hf:{name}") for name in ("org/ner", "cifar", "squad"))
    assert isinstance(words, WordTask)
    assert (words.class_names, words.tags[words.test[0]]) == (("O", "B-A"), (1, 0))
    assert (pictures.kind, pictures.class_names, len(pictures.train)) == ("image", ("x", "y"), 14)
    assert (questions.kind, len(questions.train)) == ("question-answering", 9)


def test_what_the_hub_cannot_give_is_one_clear_message(
    hub: dict[tuple[str, str | None], dict[str, FakeSplit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HeatError, match=r"hf:a/b: cannot be fetched \(got no data set a/b, None; no data set a, b,"):
        load_task("hf:a/b")
    with pytest.raises(SpecError, match="not the name of a data set"):
        load_task("hf:")
    hub["odd", None] = {"train": FakeSplit({}, {"colour": ["red"], "label": [1]})}
    with pytest.raises(SpecError, match=r"hf:odd, train: a column is missing \(got colour, label"):
        load_task("hf:odd")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"heat_sim\[hub\]"):
        load_task("hf:squad")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.tsv": "text\tlabel\na\tx\n", "train.csv": "text,label\na,x\n"}, "two files for train"),
        ({"dev.tsv": "text\tlabel\na\tx\n"}, r"no file to train on \(got dev\.tsv"),
        ({"other.tsv": "text\tlabel\n"}, r"no data in the folder \(got other\.tsv"),
        ({}, "no data in the folder"),
        (
            {"train.tsv": "text\tlabel\n" + "a\tx\n" * 20, "dev.tsv": "words\tlabel\na\tx\n"},
            r"dev\.tsv:1: a column is missing \(got words, label, expected text",
        ),
        ({"train.tsv": "text\tlabel\n" + "a\tx\n" * 20}, r"too small to learn from \(got 1 texts, 1 classes"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_task_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        load_task(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.tsv", "sentence1\tsentence2\tlabel\na\t\tx\n", r"t\.tsv:2: not a row .*expected sentence1 and sentence2"),
        ("t.tsv", 'sentence\tlabel\n"a\tb\tc\n', r"t\.tsv:2: not a row \(got 3 fields, expected 2"),
        ("t.csv", "text,label\na,b,c\n", r"t\.csv:2: not a row \(got 3 fields, expected 2"),
        ("t.jsonl", '{"words": ["a", "b"], "tags": ["O"]}\n', r"t\.jsonl:1: not a row .*one tag a word"),
        ("t.jsonl", '{"words": [], "tags": []}\n', r"t\.jsonl:1: not a row"),
        ("t.jsonl", '{"words": ["a"], "tags": [null]}\n', r"t\.jsonl:1: not a row"),
        ("t.json", "{", r"t\.json: not SQuAD v1\.1"),
        ("t.json", "[1]", r"t\.json: not SQuAD v1\.1"),
        ("t.json", '{"data": [{"paragraphs": [{"qas": []}, {"context": "a"}]}]}', r"paragraphs\[1\]: .*got no 'qas'"),
        ("t.json", json.dumps(squad(answers=[])), r"qas\[0\]: a question without answer \(got Which day is 0\?"),
        (
            "t.json",
            json.dumps(squad(answers=[{"text": "never", "answer_start": 3}])),
            r"qas\[0\]: an answer that is not in its context \(got never",
        ),
        ("t.json", json.dumps(squad(answers=[{"text": "day", "answer_start": "3"}])), r"qas\[0\]: not a row"),
        ("t.parquet", "no parquet", r"t\.parquet: cannot be read .*expected a parquet file"),
    ],
)
def test_malformed_data_of_every_kind_is_one_clear_message(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        load_task(str(tmp_path / name))
