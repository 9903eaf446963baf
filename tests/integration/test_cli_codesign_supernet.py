"""`heat-sim codesign --estimate supernet` on a tiny encoder that learnt a tiny task, without a network."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from heat_sim.cli import main
from heat_sim.cli.estimate_supernet import space_options
from heat_sim.cli.plan import SearchPlan, recorded_plan
from heat_sim.codesign.space import design_space
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.calibrate import prepare_calibration
from heat_sim.distill.settings import FineTuneSettings
from heat_sim.distill.supernet_estimate import SuperNetEstimate
from heat_sim.distill.supernet_options import largest_factorization
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_store import load_supernet, supernet_folder
from heat_sim.distill.supernet_table import supernet_table
from heat_sim.distill.supernet_table_store import prepare_supernet_table
from heat_sim.distill.tasks import load_text_task
from heat_sim.distill.teacher import prepare_teacher
from heat_sim.networks import load_network
from heat_sim.report.run_folder import read_manifest
from heat_sim.tensorize.design import load_design
from tests.tiny_encoder import tiny_encoder_and_texts

EPOCHS = 4
QUICK_LEARNER = partial(FineTuneSettings, learning_rate=3e-3)
"""The encoder starts from random weights; at the usual rate it would still guess after these epochs."""

Run = Callable[..., tuple[int, str, str]]


def words(root: Path, **options: object) -> list[object]:
    given = {
        "estimate": "supernet", "joint": "apart", "arch": "simba_l", "seq": 16, "formats": "low-rank,btt",
        "population": 12, "generations": 3, "jobs": 1, "teacher-epochs": EPOCHS, "supernet-epochs": 1,
        "supernet-rows": 300, "model": root / "tiny", "data": root / "tiny.csv", "out": root / "out",
    } | options  # fmt: skip
    return ["codesign", *(word for name, value in given.items() for word in (f"--{name}", value))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with encoder, texts and cache."""
    return tiny_encoder_and_texts(tmp_path_factory.mktemp("search"))


@pytest.fixture(autouse=True)
def own_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
    monkeypatch.setattr("heat_sim.distill.settings.FineTuneSettings", QUICK_LEARNER)


@pytest.fixture(scope="module")
def searched(root: Path) -> tuple[Path, str]:
    """The folder of a run, and what it said."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("HEAT_SIM_CACHE", str(root / "cache"))
        patch.setattr("heat_sim.distill.settings.FineTuneSettings", QUICK_LEARNER)
        patch.setattr("sys.argv", ["heat-sim", *map(str, words(root))])
        with contextlib.suppress(SystemExit):
            main()
    return root / "out", said.getvalue()


def front(run: Path) -> dict[str, dict[str, str]]:
    with (run / "front.csv").open(encoding="utf-8") as file:
        return {row["design"]: row for row in csv.DictReader(file)}


def test_the_estimated_losses_are_those_of_the_table_of_its_supernet(searched, root) -> None:
    """Table and scale worked out anew, from the SuperNet in the cache: one matrix at a time, root of the share."""
    run, said = searched
    assert "est. loss" in said
    task = load_text_task(root / "tiny.csv")
    teacher = prepare_teacher(root / "tiny", task, settings=QUICK_LEARNER(epochs=EPOCHS))
    (folder,) = (each for each in (root / "cache" / "supernets").iterdir() if not each.name.startswith("."))
    checked = space_options(design_space(load_network(root / "tiny"), formats=("dense", "low-rank", "btt")))
    assert folder.name == supernet_folder(  # the one that estimate-check would take from the cache
        teacher, task, checked, calibration=prepare_calibration(teacher, task),
        settings=SuperNetSettings(epochs=1, max_rows=300),
    ).name  # fmt: skip
    supernet = load_supernet(teacher.model, folder)
    record = json.loads((folder / "supernet.json").read_text(encoding="utf-8"))
    assert (record["settings"]["epochs"], record["settings"]["max_rows"]) == (1, 300)
    dev = encode(teacher.tokenizer, task, split="dev", max_rows=256)
    estimate = SuperNetEstimate(supernet.student, sorted_batches(dev, batch_size=32), teacher=teacher.model)
    space = design_space(load_network(root / "tiny"), formats=("dense", "low-rank", "btt"), per="matrix", joint="apart")
    options = {
        name: tuple(largest_factorization(form, modes) for form, modes in slot.options)
        for slot in space.slots
        for name in slot.matrices
    }
    assert {each.format for each in options["encoder.layer.0.output.dense"]} == {"dense", "low-rank", "btt"}
    table = supernet_table(estimate, options, steps=6)
    worst = sum(
        max(0.0, *(estimate({name: replace(each, ranks=tuple(1 for _ in each.ranks))}) - estimate({})
                   for each in some if each.ranks), *(max(lost) for _, lost in table.curves[name].values()))
        for name, some in options.items()
    )  # fmt: skip
    rows = front(run)
    assert float(rows["dense"]["estimated_loss"]) == 0.0
    found = {path.stem: load_design(path) for path in (run / "designs").iterdir()}
    assert len(found) >= 2
    formats = set()
    for name, design in found.items():
        lost = [table.squared(key, layer.factorization) for key, layer in design.layers]
        formats |= {layer.factorization.format for _, layer in design.layers}
        assert float(rows[name]["estimated_loss"]) == pytest.approx(math.sqrt(sum(lost) / worst), rel=1e-4, abs=1e-9)
    assert len({row["estimated_loss"] for row in rows.values()}) > 2
    assert formats > {"dense"}


def test_the_table_is_kept_with_losses_that_never_fall_with_fewer_parameters(searched, root) -> None:
    path = next((root / "cache" / "supernet-tables").glob("*/table.json"))
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert len(stored) == 12
    for curves in stored.values():
        for curve in curves:
            assert curve["parameters"] == sorted(set(curve["parameters"]))
            assert curve["divergence"] == sorted(curve["divergence"], reverse=True)
            assert np.all(np.array(curve["divergence"]) >= 0)


def test_the_rows_of_a_table_are_the_first_of_the_dev_split(searched, root) -> None:
    task = load_text_task(root / "tiny.csv")
    teacher = prepare_teacher(root / "tiny", task, settings=QUICK_LEARNER(epochs=EPOCHS))
    options = space_options(design_space(load_network(root / "tiny"), formats=("dense", "low-rank", "btt")))
    settings = SuperNetSettings(epochs=1, max_rows=300)
    given = {"calibration": prepare_calibration(teacher, task), "settings": settings, "steps": 1}
    tables = [prepare_supernet_table(teacher, task, options, rows=rows, **given) for rows in (10, 20)]
    assert tables[0].most != tables[1].most
    folder = supernet_folder(teacher, task, options, calibration=given["calibration"], settings=settings)
    dev = encode(teacher.tokenizer, task, split="dev", max_rows=10)
    estimate = SuperNetEstimate(
        load_supernet(teacher.model, folder).student, sorted_batches(dev, batch_size=32), teacher=teacher.model
    )
    assert tables[0].most == pytest.approx(supernet_table(estimate, options, steps=1).most, rel=1e-4)


def test_a_stopped_run_goes_on_with_its_own_options_and_trains_nothing(searched, root, run: Run, monkeypatch) -> None:
    """The points are cut in half, as a kill leaves them."""
    import heat_sim.distill.supernet_table_store as storing

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(storing, "prepare_supernet", refuse)
    folder = root / "resumed"
    shutil.copytree(searched[0], folder)
    lines = (folder / "points.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "points.jsonl").write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    (folder / "front.csv").unlink()
    arguments = read_manifest(folder)["arguments"]
    assert (arguments["estimate"], arguments["supernet_epochs"], arguments["supernet_rows"]) == ("supernet", 1, 300)
    code, _, err = run("codesign", "--resume", folder)
    assert code == 0, err
    assert (folder / "front.csv").read_bytes() == (searched[0] / "front.csv").read_bytes()


def test_points_of_another_table_are_not_gone_on_with(searched, root, run: Run, tmp_path) -> None:
    shutil.copytree(root / "cache", tmp_path / "cache")
    for path in (tmp_path / "cache" / "supernet-tables").glob("*/table.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        next(iter(stored.values()))[0]["divergence"][0] += 0.5
        path.write_text(json.dumps(stored), encoding="utf-8")
    shutil.copytree(searched[0], tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
        code, _, err = run("codesign", "--resume", tmp_path / "run")
    assert code == 2
    assert "points.jsonl" in err


def test_a_table_of_other_options_or_a_damaged_one_is_refused(searched, root, run: Run, tmp_path) -> None:
    shutil.copytree(root / "cache", tmp_path / "cache")
    paths = [*(tmp_path / "cache" / "supernet-tables").glob("*/table.json")]
    whole = paths[0].read_text(encoding="utf-8")
    for spoilt in (whole.replace('"low-rank"', '"cp"', 1), whole[:200], "{}"):
        for path in paths:
            path.write_text(spoilt, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEAT_SIM_CACHE", str(tmp_path / "cache"))
            code, _, err = run(*words(root, out=tmp_path / "new"))
        assert code == 2
        assert "cannot load its SuperNet table" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint": "search"}, r"has no joint queries, keys and values \(got --joint search, expected --joint apart\)"),
        ({"joint": "always"}, r"got --joint always, expected --joint apart"),
        ({"cores": "frobenius"}, r"cores are those of the trained SuperNet \(got --cores frobenius"),
        ({"calibration": "moments.safetensors"}, r"needs a model, a teacher and labelled data \(got --calibration"),
        ({"model": "bert-base"}, r"needs a teacher, which needs the weights of a model \(got bert-base, a config"),
    ],
    ids=["search", "always", "frobenius", "calibration", "configuration"],
)
def test_what_a_supernet_does_not_know_is_refused_before_anything_is_trained(root, run: Run, changes, message) -> None:
    code, _, err = run(*words(root, out=root / "refused", **changes))
    assert code == 2
    assert re.search(message, " ".join(err.split())), err
    assert "fine-tune" not in err
    assert not (root / "refused").exists()


def test_all_that_is_wrong_is_said_at_once(root, run: Run) -> None:
    code, _, err = run(*words(root, model="bert-base", joint="search", cores="frobenius", out=root / "refused"))
    assert code == 2
    assert err.count("--estimate supernet:") == 3


def test_a_baseline_of_a_format_that_was_not_trained_is_refused(searched, root, run: Run, tmp_path) -> None:
    shutil.copytree(searched[0], tmp_path / "run")
    code, _, err = run("baselines", tmp_path / "run", "--designs", "d01", "--formats", "cp")
    assert code == 2
    assert re.search(r"SuperNet table, matrix \S+: no such option \(got cp", " ".join(err.split())), err


def test_manifests_of_other_estimates_stay_as_they_were(searched, tmp_path) -> None:
    """A run that began before there was this estimate goes on: no argument of it is asked for."""
    plan = replace(recorded_plan(searched[0]), estimate="fisher")
    assert not {"supernet_epochs", "supernet_rows"} & plan.arguments.keys()
    manifest = read_manifest(searched[0])
    old = manifest | {"arguments": plan.arguments}
    (tmp_path / "manifest.json").write_text(json.dumps(old), encoding="utf-8")
    assert isinstance(recorded_plan(tmp_path), SearchPlan)
    (tmp_path / "manifest.json").write_text(
        json.dumps(old | {"arguments": plan.arguments | {"estimate": "supernet"}}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="none named supernet_epochs, supernet_rows"):
        recorded_plan(tmp_path)
