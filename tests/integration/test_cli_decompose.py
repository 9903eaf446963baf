"""`heat-sim decompose` from end to end on a tiny encoder and a tiny task, without a network."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("torch")

from heat_sim.cli import format_run, main
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.calibrate import calibration_path
from heat_sim.distill.calibration import load_calibration
from heat_sim.distill.convert import project_design
from heat_sim.distill.measure import correct_rows
from heat_sim.distill.pretrained import load_classifier, load_tokenizer
from heat_sim.distill.sequential import project_sequentially
from heat_sim.distill.tasks import load_text_task
from heat_sim.tensorize.contraction import mac_optimal_tree
from heat_sim.tensorize.design import Design, LayerDesign
from heat_sim.tensorize.factorization import Factorization
from tests.tiny_encoder import tiny_pretrained, tiny_task

FORMATS = ("low-rank", "tt-matrix", "block-low-rank")
COMPRESSIONS = ("2", "5", "40")  # at 40 a matrix of 32 x 32 has 25 parameters: less than 32 + 32 of rank 1
PROJECTIONS = ("frobenius", "activation", "fisher", "sequential")


class Job(NamedTuple):
    """A finished call: where, with which words, and what it printed."""

    root: Path
    words: tuple[str, ...]
    printed: str

    @property
    def folder(self) -> Path:
        """Where it wrote."""
        return self.root / "out"

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of its CSV file."""
        with (self.folder / "table.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    """Return one call on everything that the tests look at."""
    root = tmp_path_factory.mktemp("decompose")
    task = tiny_task(600)
    data = root / "tiny.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([text, task.class_names[label]] for text, label in zip(task.texts, task.labels, strict=True))
    words = (
        "decompose", "--model", str(tiny_pretrained(root / "tiny")), "--data", str(data), "--teacher-epochs", "8",
        "--formats", ",".join(FORMATS), "--compressions", ",".join(COMPRESSIONS), "--out", str(root / "out"),
    )  # fmt: skip
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
        patch.setattr("sys.argv", ["heat-sim", *words])
        with contextlib.suppress(SystemExit):
            main()
    return Job(root, words, printed.getvalue())


@pytest.fixture
def cached(job, monkeypatch) -> Job:
    """Return the finished call; further ones find its teacher and its projections."""
    monkeypatch.setenv("HEAT_SIM_CACHE", str(job.root / "cache"))
    return job


@pytest.fixture
def measured(monkeypatch) -> list[tuple[str, float, str]]:
    """Return a list that grows by each cell that is measured from now on."""
    keys: list[tuple[str, float, str]] = []
    measure = format_run.measure_cell

    def watched(cell, *arguments, **options):
        keys.append(cell.key)
        return measure(cell, *arguments, **options)

    monkeypatch.setattr(format_run, "measure_cell", watched)
    return keys


def by_projection(job: Job) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """Return the rows that were measured, by format and compression, then by projection."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in job.rows():
        if not row["projection"].startswith("none"):
            found.setdefault((row["format"], row["compression"]), {})[row["projection"]] = row
    return found


def test_every_cell_is_there_or_says_why_not(job):
    rows = job.rows()
    expected = []
    for form in FORMATS:
        expected += [(form, float(ratio), name) for ratio in ("2", "5") for name in PROJECTIONS]
        expected += [(form, 40.0, "none: no factorization of 32 x 32 with at most 25 parameters")]
    assert [(row["format"], float(row["compression"]), row["projection"]) for row in rows] == expected
    for row in rows:
        numbers = [row[name] for name in ("kept", "weight_error", "activation_error", "accuracy", "seconds")]
        assert (numbers == ["-"] * 5) == row["projection"].startswith("none")
        assert (row["gain"] == "-") == (row["gain_error"] == "-") == (row["projection"][:4] in ("frob", "none"))


def test_all_projections_of_a_pair_have_the_same_parameters_and_no_more_than_asked(job):
    for (_, compression), rows in by_projection(job).items():
        assert len({row["kept"] for row in rows.values()}) == 1
        assert float(rows["frobenius"]["kept"]) >= float(compression)


def test_each_projection_is_best_in_its_own_norm(job):
    """Activation-aware projection by its contract; Frobenius projection of these formats, which starts at the best."""
    for key, rows in by_projection(job).items():
        plain, aware = rows["frobenius"], rows["activation"]
        assert float(plain["weight_error"]) <= float(aware["weight_error"]), key
        assert float(aware["activation_error"]) < 0.9 * float(plain["activation_error"]), key


def test_the_table_ends_with_a_summary_of_each_projection_against_frobenius(job):
    lines = [line for line in job.printed.splitlines() if line.startswith("* ")]
    assert [line.split()[1] for line in lines] == ["activation", "fisher", "sequential"]
    assert "6 pairs of format and compression: activation error lower in 6, accuracy higher in" in lines[0]
    assert job.printed.startswith((job.folder / "table.md").read_text(encoding="utf-8"))
    assert job.printed.startswith("dense: 16,384 parameters in the encoder matrices")  # 2 * (4 * 32^2 + 2 * 32 * 64)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_accuracy_is_that_of_the_factorised_student(job, projection):
    """The student runs on its cores, step by step, as in `heat-sim distill`; the command multiplies them out."""
    record = json.loads((job.folder / "cells.json").read_text(encoding="utf-8"))
    (teacher,) = (job.root / "cache" / "teachers").iterdir()
    task = load_text_task(job.root / "tiny.csv")
    model, tokenizer = load_classifier(teacher, classes=task.class_names).eval(), load_tokenizer(teacher)
    known = load_calibration(calibration_path(teacher, sentences=256))
    cell = next(
        cell for cell in record["cells"]
        if (cell["format"], cell["compression"], cell["projection"]) == ("tt-matrix", 2.0, projection)
    )  # fmt: skip
    layers = []
    for name, weight in known.weights.items():
        form = Factorization.from_json(cell["factorizations"]["x".join(map(str, weight.shape))])
        layers.append((name, LayerDesign(factorization=form, trees=tuple(map(mac_optimal_tree, form.einsums(1))))))
    design = Design(id="d", model="tiny", tokens=1, architecture="none", layers=tuple(layers))
    assert design.parameters == cell["parameters"]
    if projection == "sequential":
        text = encode(tokenizer, task, split="train", max_length=24, max_rows=256)  # as the calibration
        student = project_sequentially(
            model, design, sorted_batches(text, batch_size=32), gradient_moments=known.gradient_moments
        )  # fmt: skip
    else:
        student = project_design(
            model, design,
            second_moments=None if projection == "frobenius" else known.second_moments,
            gradient_moments=known.gradient_moments if projection == "fisher" else None,
        )  # fmt: skip
    rows = sorted_batches(encode(tokenizer, task, split="test", max_length=64), batch_size=32)
    right = correct_rows(student, rows).tolist()
    assert len(right) == len(cell["right"]) == 120  # a fifth of 600
    # Two roundings of float32: a row may stand at the very border between the classes.
    assert sum(one != (other == "1") for one, other in zip(right, cell["right"], strict=True)) <= 1


def test_the_same_call_again_measures_nothing_and_prints_the_same(cached, run, measured):
    code, out, _ = run(*cached.words)
    assert (code, out) == (0, cached.printed)
    assert measured == []


def test_a_stopped_call_keeps_its_cells_and_is_continued_after_them(cached, run, measured, monkeypatch, tmp_path):
    words = [*cached.words[:-1], tmp_path / "out", "--formats", "low-rank", "--compressions", "2,5"]
    watched = format_run.measure_cell

    def stopped(*arguments, **options):
        if len(measured) == 2:
            raise KeyboardInterrupt
        return watched(*arguments, **options)

    monkeypatch.setattr(format_run, "measure_cell", stopped)
    assert run(*words)[0] == 130
    first = [("low-rank", 2.0, "frobenius"), ("low-rank", 2.0, "activation")]
    assert measured == first
    kept = json.loads((tmp_path / "out" / "cells.json").read_text(encoding="utf-8"))["cells"]
    assert [(cell["format"], cell["compression"], cell["projection"]) for cell in kept] == first
    assert "| low-rank |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")

    monkeypatch.setattr(format_run, "measure_cell", watched)
    code, out, _ = run(*words)
    assert code == 0
    assert len(measured) == len(set(measured)) == 2 * len(PROJECTIONS)

    def lines(text):  # without the padding, which is that of the widest cell of a column
        return ["".join(line.split()) for line in text.splitlines() if line.startswith("| low-rank")]

    assert lines(out) == [line for line in lines(cached.printed) if "none:" not in line]


def test_other_arguments_are_refused_before_anything_is_prepared(cached, run, monkeypatch, tmp_path):
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "empty"))
    before = (cached.folder / "cells.json").read_bytes()
    code, out, error = run(*cached.words, "--seed", "1", "--compressions", "2")
    assert (code, out) == (2, "")
    assert "cells of another seed (got 1, expected 0). Give another --out" in error
    assert "cells of another compressions (got [2.0], expected [2.0, 5.0, 40.0])" in error
    assert not (tmp_path / "empty").exists()
    assert (cached.folder / "cells.json").read_bytes() == before


def test_cells_of_another_teacher_are_refused(cached, run):
    """The same words may mean another teacher: its text is another, or torch is."""
    data = cached.root / "tiny.csv"
    text = data.read_text(encoding="utf-8")
    try:
        data.write_text(text.replace("word1,", "word2,", 1), encoding="utf-8")
        code, _, error = run(*cached.words)
    finally:
        data.write_text(text, encoding="utf-8")
    assert code == 2
    assert "cells of another teacher" in error


def test_json_on_standard_output_is_nothing_else(cached, run):
    code, out, _ = run(*cached.words, "--json", "-")
    data = json.loads(out)
    assert code == 0
    assert [row["projection"] for row in data["rows"]] == [row["projection"] for row in cached.rows()]
    assert data["dense_parameters"] == 16_384
    assert data["summaries"][0]["pairs"] == 6


def test_bad_names_are_one_message_before_anything_is_prepared(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
    code, out, error = run(
        "decompose", "--model", "no-such-model", "--formats", "tt", "--projections", "plain", "--compressions", "1",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert error.startswith("heat-sim: --formats: unknown or none (got tt, expected some of low-rank")
    assert "--projections: unknown or none (got plain" in error
    assert "--compressions: not numbers above 1 (got 1," in error
    assert list(tmp_path.iterdir()) == []
