"""`heat-sim estimate-check` on a tiny encoder that learnt a tiny task, without a network."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

pytest.importorskip("torch")

import heat_sim.cli.estimate_measure as measuring
from heat_sim.cli import main
from heat_sim.codesign.estimate import ESTIMATES
from heat_sim.codesign.forest import ForestEstimate
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.calibrate import calibration_batches, encoder_linears, prepare_calibration
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.output_error import BlockOutputError, LogitError
from heat_sim.distill.settings import DistillSettings, FineTuneSettings
from heat_sim.distill.tasks import load_text_task
from heat_sim.distill.teacher import prepare_teacher
from heat_sim.networks import load_network
from heat_sim.tensorize import Factorization, project, reconstruct, relative_error
from tests.tiny_encoder import tiny_encoder_and_texts

DESIGNS, EPOCHS = 9, 6
IN_THE_TABLE = {"weight", "activation", "fisher", "block-output", "logit", "forest"}
QUICK_LEARNER = partial(FineTuneSettings, learning_rate=3e-3)
"""The encoder starts from random weights; at the usual rate it would still guess after these epochs."""

Run = Callable[..., tuple[int, str, str]]


def words(root: Path, **options: object) -> list[object]:
    given = {"designs": DESIGNS, "formats": "low-rank", "teacher-epochs": EPOCHS, "out": root / "out"} | options
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    return ["estimate-check", "--model", root / "tiny", "--data", root / "tiny.csv", *flags]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with encoder, texts and cache."""
    return tiny_encoder_and_texts(tmp_path_factory.mktemp("check"))


@pytest.fixture(autouse=True)
def own_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
    monkeypatch.setattr("heat_sim.distill.settings.FineTuneSettings", QUICK_LEARNER)


@pytest.fixture(scope="module")
def finished(root: Path) -> tuple[Path, str]:
    """The folder of a check, and what it printed."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
        patch.setattr("heat_sim.distill.settings.FineTuneSettings", QUICK_LEARNER)
        patch.setattr("sys.argv", ["heat-sim", *map(str, words(root, json=root / "check.json"))])
        with contextlib.suppress(SystemExit):
            main()
    return root / "out", printed.getvalue()


@pytest.fixture
def copied(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A folder with the samples of the check, to be spoilt."""
    folder = tmp_path / "copied"
    folder.mkdir()
    shutil.copy(finished[0] / "samples.json", folder)
    return folder


def read(folder: Path) -> dict:
    return json.loads((folder / "samples.json").read_text(encoding="utf-8"))


def write(folder: Path, data: dict) -> None:
    (folder / "samples.json").write_text(json.dumps(data), encoding="utf-8")


def cells(text: str) -> list[list[str]]:
    """The rows of a Markdown table, without heading."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_the_table_has_every_estimate_best_first_with_the_rho_of_the_stored_samples(finished):
    folder, printed = finished
    stored = read(folder)
    losses = [stored["dense_accuracy"] - sample["accuracy"] for sample in stored["samples"]]
    small = [place for place, loss in enumerate(losses) if loss < 0.1]
    table = cells(printed)
    assert {row[0] for row in table} == IN_THE_TABLE
    for name, rho, low, high, rho_small, milliseconds in table:
        values = [sample["estimates"][name] for sample in stored["samples"]]
        assert rho == f"{spearmanr(values, losses).statistic:.3f}"
        assert float(low) <= float(rho) <= float(high)
        expected = spearmanr(np.array(values)[small], np.array(losses)[small]).statistic if len(small) >= 8 else None
        assert rho_small == ("-" if expected is None else f"{expected:.3f}")
        assert float(milliseconds.replace(",", "")) > 0
    assert [float(row[1]) for row in table] == sorted((float(row[1]) for row in table), reverse=True)


def test_it_is_a_check_that_can_tell_estimates_from_noise(finished):
    """The encoder learnt its task, some designs lose it, and the logits of the calibration text see which."""
    stored = read(finished[0])
    accuracies = [sample["accuracy"] for sample in stored["samples"]]
    assert stored["dense_accuracy"] > 0.9
    assert max(accuracies) - min(accuracies) > 0.1
    rhos = {row[0]: float(row[1]) for row in cells(finished[1])}
    assert rhos["logit"] > 0.7


def test_it_writes_everything_it_names(finished):
    folder, printed = finished
    for name in ("estimates.csv", "estimates.md", "scatter.png", "samples.json"):
        assert (folder / name).stat().st_size > 0
        assert str(folder / name) in printed
    assert f"{DESIGNS} designs; dense accuracy {100 * read(folder)['dense_accuracy']:.1f} %" in printed
    assert (folder / "estimates.md").read_text(encoding="utf-8") in printed


def test_the_json_has_the_numbers_of_the_table(finished, root):
    written = json.loads((root / "check.json").read_text(encoding="utf-8"))
    assert [(row["estimate"], f"{row['rho']:.3f}") for row in written["estimates"]] == [
        (row[0], row[1]) for row in cells(finished[1])
    ]
    assert written["accuracies"] == [sample["accuracy"] for sample in read(finished[0])["samples"]]


def test_samples_are_what_the_definitions_say(finished, root):
    """Each matrix projected by hand, set into the model by hand."""
    settings = DistillSettings()
    task = load_text_task(root / "tiny.csv")
    teacher = prepare_teacher(root / "tiny", task, settings=QUICK_LEARNER(epochs=EPOCHS))
    calibration = prepare_calibration(teacher, task)
    batches = sorted_batches(
        encode(teacher.tokenizer, task, split="test", max_length=settings.max_length), batch_size=settings.batch_size
    )
    text = calibration_batches(teacher, task)
    sample = read(finished[0])["samples"][0]
    design, rebuilt = {}, {}
    for members, plain in zip(
        load_network(root / "tiny").classes.values(), sample["factorizations"], strict=True
    ):  # fmt: skip
        for name in (matrix.name for matrix in members):
            design[name] = Factorization.from_json(plain)
            moment = calibration.second_moments[name]
            cores = project(calibration.weights[name], design[name], second_moment=moment)
            rebuilt[name] = reconstruct(cores, design[name])

    def rebuild(name, _factorization):
        return rebuilt[name]

    errors = [relative_error(calibration.weights[name], rebuilt[name]) for name in design]
    estimates = sample["estimates"]
    assert estimates["weight"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)
    block = BlockOutputError(teacher.model, text, rebuild=rebuild)
    assert estimates["block-output"] == pytest.approx(block(design), rel=1e-4)
    assert estimates["logit"] == pytest.approx(LogitError(teacher.model, text, rebuild=rebuild)(design), rel=1e-4)
    assert read(finished[0])["dense_accuracy"] == measure_accuracy(teacher.model, batches, precision="auto")
    import torch

    for name, linear in encoder_linears(teacher.model).items():
        linear.weight.data = torch.tensor(rebuilt[name], dtype=torch.float32)
    assert sample["accuracy"] == measure_accuracy(teacher.model, batches, precision="auto")


def test_the_forest_was_fitted_without_the_design_it_is_asked_about(finished, root):
    task = load_text_task(root / "tiny.csv")
    calibration = prepare_calibration(
        prepare_teacher(root / "tiny", task, settings=QUICK_LEARNER(epochs=EPOCHS)), task
    )  # fmt: skip
    errors = MatrixErrors(
        weights=calibration.weights, second_moments=calibration.second_moments,
        gradient_moments=calibration.gradient_moments,
    )  # fmt: skip
    stored = read(finished[0])
    classes = load_network(root / "tiny").classes.values()
    designs = [
        {
            matrix.name: Factorization.from_json(plain)
            for members, plain in zip(classes, sample["factorizations"], strict=True)
            for matrix in members
        }
        for sample in stored["samples"]
    ]
    losses = [stored["dense_accuracy"] - sample["accuracy"] for sample in stored["samples"]]
    expected = ForestEstimate(errors=errors, designs=designs, losses=losses).out_of_fold()
    assert [sample["estimates"]["forest"] for sample in stored["samples"]] == pytest.approx(expected.tolist())
    for name in ("activation", "fisher"):
        assert stored["samples"][0]["estimates"][name] == pytest.approx(ESTIMATES[name](errors=errors)(designs[0]))


def test_the_same_call_again_measures_nothing_and_prints_the_same(finished, root, run: Run, monkeypatch):
    def refuse(*_args: object, **_options: object) -> float:
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "measure_accuracy", refuse)
    monkeypatch.setattr(measuring, "project_all", refuse)
    before = (finished[0] / "samples.json").stat().st_mtime_ns
    code, out, _ = run(*words(root))
    assert code == 0
    assert out == finished[1]
    assert (finished[0] / "samples.json").stat().st_mtime_ns == before


def test_a_stopped_check_keeps_what_it_measured_and_continues(finished, root, run: Run, monkeypatch):
    calls = []

    def stop_at(last: int) -> Callable[..., float]:
        def counted(*args, **options) -> float:
            calls.append(1)
            if len(calls) == last:
                raise KeyboardInterrupt
            return measure_accuracy(*args, **options)

        return counted

    stopped = root / "stopped"
    monkeypatch.setattr(measuring, "measure_accuracy", stop_at(5))
    code, _, _ = run(*words(root, out=stopped))
    assert code == 130
    assert len(read(stopped)["samples"]) == 3  # the dense model, three designs, and the fourth is the stop
    calls.clear()
    monkeypatch.setattr(measuring, "measure_accuracy", stop_at(-1))
    code, _, _ = run(*words(root, out=stopped))
    assert code == 0
    assert len(calls) == DESIGNS - 3
    for again, once in zip(read(stopped)["samples"], read(finished[0])["samples"], strict=True):
        assert (again["factorizations"], again["accuracy"]) == (once["factorizations"], once["accuracy"])
        assert again["estimates"] == pytest.approx(once["estimates"], rel=1e-6)
        # The projections of the first check are on disk, so there was nothing to time here.
        assert again["milliseconds"]["logit"] is again["milliseconds"]["block-output"] is None
        assert min(again["milliseconds"]["weight"], once["milliseconds"]["weight"]) > 0


def test_three_designs_have_no_forest(root, run: Run):
    code, out, _ = run(*words(root, designs=3, out=root / "three"))
    assert code == 0
    assert {row[0] for row in cells(out)} == IN_THE_TABLE - {"forest"}


@pytest.mark.parametrize(
    ("option", "value", "known"), [("seed", 1, "0"), ("designs", 10, "9"), ("teacher-epochs", 2, "6")]
)
def test_other_arguments_are_refused_before_anything_is_trained(finished, root, run: Run, option, value, known):
    code, _, err = run(*words(root, **{option: value}))
    assert code == 2
    assert f"other arguments (got {value}, expected {known})" in err
    assert "another --out" in err
    assert "fine-tune" not in err


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: re.sub(r'"accuracy": ([\d.]+)', r'"accuracy": "\1"', text, count=1),
        lambda text: text.replace('"accuracy": ', '"accuracy": NaN, "was": ', 1),
        lambda text: text.replace('"samples"', '"sample"'),
        lambda text: "[]",
    ],
    ids=["cut off", "text for a number", "not a number", "no samples", "a list"],
)
def test_a_damaged_file_is_refused(copied, root, run: Run, spoil):
    path = copied / "samples.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(spoil(text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    code, _, err = run(*words(root, out=copied))
    assert code == 2
    assert "samples.json: not the samples of an estimate check" in err
    assert "Traceback" not in err


def test_samples_of_another_teacher_other_designs_or_estimates_are_refused_together(copied, root, run: Run):
    data = read(copied)
    data["teacher"] = "tiny-0123"
    data["samples"][0]["factorizations"][0]["ranks"] = [1]
    data["samples"][0]["factorizations"][0]["format"] = "low-rank"
    data["samples"][1]["estimates"]["guess"] = 0.5
    write(copied, data)
    code, _, err = run(*words(root, out=copied))
    assert code == 2
    assert "with another teacher (got tiny-0123, expected tiny-" in err
    assert "with other designs" in err
    assert "with other estimates" in err


def test_a_folder_of_something_else_is_refused(root, run: Run, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Sir", encoding="utf-8")
    code, _, err = run(*words(root, out=tmp_path))
    assert code == 2
    assert "the folder is not empty" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"designs": 2}, "equal to 3"),
        ({"formats": "dense"}, "the space has too few designs"),
        ({"formats": "low-rank,tt"}, "unknown or none (got tt"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(root, run: Run, options, message):
    code, _, err = run(*words(root, out=root / "bad", **options))
    assert code == 2
    assert message in " ".join(err.split())
    assert not (root / "bad").exists()


ADDED = {"supernet": None, "supernet-epochs": 2, "distilled": 4, "logit-epochs": 0}


def more_words(root: Path, **options: object) -> list[object]:
    """The words of a call, options without a value as flags."""
    return [word for word in words(root, **options) if word is not None]


@pytest.fixture(scope="module")
def added(finished: tuple[Path, str], root: Path) -> tuple[Path, str]:
    """The finished check, copied and called again with a SuperNet and distilled designs; and what it printed."""
    folder, printed = root / "added", io.StringIO()
    folder.mkdir()
    shutil.copy(finished[0] / "samples.json", folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
        patch.setattr("heat_sim.distill.settings.FineTuneSettings", QUICK_LEARNER)
        given = more_words(root, out=folder, json=root / "added.json", **ADDED)
        patch.setattr("sys.argv", ["heat-sim", *map(str, given)])
        with contextlib.suppress(SystemExit):
            main()
    return folder, printed.getvalue()


def test_a_supernet_and_distilled_accuracies_are_added_to_a_finished_check(finished, added):
    before, after = read(finished[0])["samples"], read(added[0])["samples"]
    for old, new in zip(before, after, strict=True):
        assert (old["accuracy"], old["factorizations"]) == (new["accuracy"], new["factorizations"])
        assert new["estimates"] == old["estimates"] | {"supernet": new["estimates"]["supernet"]}
        assert new["milliseconds"]["supernet"] > 0
    assert len({sample["estimates"]["supernet"] for sample in after}) == DESIGNS
    assert [sample["distilled_accuracy"] is not None for sample in after] == [True] * 4 + [False] * (DESIGNS - 4)
    assert any(sample["distilled_accuracy"] != sample["accuracy"] for sample in after[:4])


def test_both_tables_and_the_gain_are_of_the_stored_samples(added, root):
    folder, printed = added
    stored = read(folder)
    dense, samples = stored["dense_accuracy"], stored["samples"]
    lines = cells(printed)
    assert len(lines) == 2 * 7 + 2  # two tables of seven estimates, and heading and rule of the second
    first = {row[0]: row[1] for row in lines[:7]}
    second = {row[0]: row[1] for row in lines[9:]}
    assert first.keys() == second.keys() == IN_THE_TABLE | {"supernet"}
    for table, key, some in ((first, "accuracy", samples), (second, "distilled_accuracy", samples[:4])):
        losses = [dense - sample[key] for sample in some]
        for name, rho in table.items():
            values = [sample["estimates"][name] for sample in some]
            assert rho == f"{spearmanr(values, losses).statistic:.3f}"
    gains = json.loads((root / "added.json").read_text(encoding="utf-8"))["gains"]
    assert [(gain["over"], gain["against"], gain["designs"]) for gain in gains] == [
        (over, against, designs)
        for against, designs in (("as projected", DESIGNS), ("after distillation", 4))
        for over in ("activation", "fisher")
    ]
    table = {"as projected": first, "after distillation": second}
    for gain in gains:
        rhos = table[gain["against"]]
        assert gain["difference"] == pytest.approx(float(rhos["supernet"]) - float(rhos[gain["over"]]), abs=1.1e-3)
        assert gain["low"] <= gain["difference"] <= gain["high"]
        assert f"supernet over {gain['over']}, {gain['against']}: rho {gain['difference']:+.3f}" in printed
    assert f"SuperNet {stored['supernet']}: projected and trained in" in printed
    for name in ("estimates.md", "distilled.csv", "distilled.png"):
        assert (folder / name).stat().st_size > 0


def test_the_supernet_of_the_check_is_the_one_that_its_definition_says(added, root):
    """The stored estimate is the divergence on the dev rows of the cached SuperNet, run at the ranks of the design."""
    from heat_sim.distill.supernet_estimate import SuperNetEstimate
    from heat_sim.distill.supernet_store import load_supernet

    stored = read(added[0])
    task = load_text_task(root / "tiny.csv")
    teacher = prepare_teacher(root / "tiny", task, settings=QUICK_LEARNER(epochs=EPOCHS))
    supernet = load_supernet(teacher.model, root / "cache" / "supernets" / stored["supernet"])
    batches = sorted_batches(encode(teacher.tokenizer, task, split="dev", max_length=64), batch_size=32)
    estimate = SuperNetEstimate(supernet.student, batches, teacher=teacher.model)
    classes = load_network(root / "tiny").classes.values()
    for sample in stored["samples"][:3]:
        design = {
            matrix.name: Factorization.from_json(plain)
            for members, plain in zip(classes, sample["factorizations"], strict=True)
            for matrix in members
        }
        assert estimate(design) == pytest.approx(sample["estimates"]["supernet"], rel=1e-5, abs=1e-9)


def test_the_same_call_again_adds_nothing_and_prints_the_same(added, root, run: Run, monkeypatch):
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("again")

    import heat_sim.cli.estimate_distilled as distilling
    import heat_sim.cli.estimate_supernet as training

    monkeypatch.setattr(distilling, "distill", refuse)
    monkeypatch.setattr(training, "prepare_supernet", refuse)
    before = (added[0] / "samples.json").read_bytes()
    code, out, _ = run(*more_words(root, out=added[0], **ADDED))
    assert code == 0
    assert out == added[1]
    assert (added[0] / "samples.json").read_bytes() == before
    code, out, _ = run(*words(root, out=added[0]))  # without the options it shows what is there
    assert code == 0
    assert out == added[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supernet-epochs": 1}, "another SuperNet"),
        ({"logit-epochs": 1}, "distilled otherwise"),
        ({"distilled-rows": 50}, "distilled otherwise"),
    ],
    ids=["epochs", "distillation", "rows"],
)
def test_another_supernet_or_another_distillation_is_refused(added, root, run: Run, changes, message):
    before = (added[0] / "samples.json").read_bytes()
    code, _, err = run(*more_words(root, out=added[0], **ADDED | changes))
    assert code == 2
    assert message in err
    assert (added[0] / "samples.json").read_bytes() == before


def test_a_stop_while_distilling_loses_one_design(added, finished, root, run: Run, monkeypatch):
    import heat_sim.cli.estimate_distilled as distilling

    folder, calls = root / "stopped-later", []
    folder.mkdir()
    shutil.copy(finished[0] / "samples.json", folder)

    def stop_at_third(*args, **options) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure_accuracy(*args, **options)

    monkeypatch.setattr(distilling, "measure_accuracy", stop_at_third)
    given = more_words(root, out=folder, **{"distilled": 4, "logit-epochs": 0})
    assert run(*given)[0] == 130
    assert [sample["distilled_accuracy"] is not None for sample in read(folder)["samples"]] == [True] * 2 + [False] * 7
    code, out, _ = run(*given)
    assert code == 0
    assert "supernet" not in out
    again, once = ([each["distilled_accuracy"] for each in read(at)["samples"]] for at in (folder, added[0]))
    assert again == once


def test_the_supernet_command_trains_once_and_prints_a_row_per_share(root, run: Run):
    given = ["supernet", "--model", root / "tiny", "--data", root / "tiny.csv", "--teacher-epochs", EPOCHS,
             "--formats", "low-rank,tt-matrix", "--max-ratio", "0.5", "--epochs", 2]  # fmt: skip
    code, out, err = run(*given, "--json", root / "shares.json")
    assert code == 0
    assert "train SuperNet" in err
    rows = json.loads((root / "shares.json").read_text(encoding="utf-8"))["shares"]
    table = cells(out)
    assert [(row[0], float(row[1])) for row in table] == [(row["format"], row["share"]) for row in rows]
    assert [row["share"] for row in rows] == [1.0, 0.75, 0.5, 0.25, 0.125] * 2
    for row in rows:
        assert row["ratio"] > 2
        assert row["divergence"] >= 0
    few = [row for row in rows if row["share"] <= 0.25]
    assert sum(row["divergence"] for row in few) < sum(row["projected_divergence"] for row in few)
    code, again, err = run(*given)
    assert code == 0
    assert again == out
    assert "train SuperNet" not in err
    assert run(*given[:-4], "--formats", "tt")[0] == 2
