"""The whole of a SuperNet on a BERT of 20 thousand parameters: project, train, store, run at any ranks, warm-start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import prepare_calibration  # noqa: E402
from heat_sim.distill.calibration import Calibration  # noqa: E402
from heat_sim.distill.checkpoint import Checkpoints, TrainingState  # noqa: E402
from heat_sim.distill.convert import load_student, project_design, save_student  # noqa: E402
from heat_sim.distill.measure import measure_accuracy  # noqa: E402
from heat_sim.distill.progress import ProgressEvent  # noqa: E402
from heat_sim.distill.settings import DistillSettings, FineTuneSettings  # noqa: E402
from heat_sim.distill.supernet import elastic_layers, extract, plain_design, running  # noqa: E402
from heat_sim.distill.supernet_estimate import SuperNetEstimate  # noqa: E402
from heat_sim.distill.supernet_options import at_share, supernet_options  # noqa: E402
from heat_sim.distill.supernet_settings import SuperNetSettings  # noqa: E402
from heat_sim.distill.supernet_store import SuperNet, prepare_supernet, projected_supernet  # noqa: E402
from heat_sim.distill.supernet_train import train_supernet  # noqa: E402
from heat_sim.distill.tasks import TextTask  # noqa: E402
from heat_sim.distill.teacher import Teacher, prepare_teacher  # noqa: E402
from heat_sim.distill.train import distill  # noqa: E402
from heat_sim.errors import HeatError  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

FINE_TUNE = FineTuneSettings(epochs=20, learning_rate=3e-3, precision="float32")
TRAIN = SuperNetSettings(epochs=10, learning_rate=3e-3, precision="float32")
SHORT = replace(TRAIN, epochs=1, max_rows=128)
MIDDLE, FEW = 0.5, 0.25
"""Shares of the largest ranks: 2 and 1 of 4 in a matrix of 32 x 32; the task needs no more."""

Options = dict[str, tuple[Factorization, ...]]


@pytest.fixture(scope="module")
def task() -> TextTask:
    return tiny_task()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def teacher(task: TextTask, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    pretrained = tiny_pretrained(tmp_path_factory.mktemp("pretrained"))
    return prepare_teacher(pretrained, task, settings=FINE_TUNE, cache=cache)


@pytest.fixture(scope="module")
def calibration(teacher: Teacher, task: TextTask) -> Calibration:
    return prepare_calibration(teacher, task, sentences=100)


@pytest.fixture(scope="module")
def options(calibration: Calibration) -> Options:
    return supernet_options({name: weight.shape for name, weight in calibration.weights.items()}, share=0.3)


@pytest.fixture(scope="module")
def start(teacher: Teacher, options: Options, calibration: Calibration) -> object:
    return projected_supernet(teacher, options, calibration=calibration)


@pytest.fixture(scope="module")
def supernet(teacher: Teacher, task: TextTask, options: Options, calibration: Calibration, cache: Path) -> SuperNet:
    return prepare_supernet(teacher, task, options, calibration=calibration, settings=TRAIN, cache=cache)


@pytest.fixture(scope="module")
def held_out(teacher: Teacher, task: TextTask) -> tuple[Batch, ...]:
    return sorted_batches(encode(teacher.tokenizer, task, split="test", max_length=24), batch_size=32)


def shared(options: Options, share: float) -> dict[str, Factorization]:
    return {name: at_share(some[0], share) for name, some in options.items()}


def logits(model: object, batches: tuple[Batch, ...]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(**batch.inputs).logits for batch in batches])


@pytest.mark.parametrize("share", [MIDDLE, FEW])
def test_after_training_it_beats_the_plain_projection_at_the_same_ranks(
    teacher: Teacher, supernet: SuperNet, calibration: Calibration, options: Options, held_out, share: float
) -> None:
    design = shared(options, share)
    projected = project_design(teacher.model, plain_design(design), second_moments=calibration.second_moments)
    before = measure_accuracy(projected, held_out)
    with running(supernet.student, design):
        after = measure_accuracy(supernet.student, held_out)
    assert teacher.dev_accuracy > 0.85
    assert before < teacher.dev_accuracy - 0.05
    assert after > before + 0.03


def test_its_divergence_falls_with_the_ranks_and_below_that_of_its_start(
    teacher: Teacher, supernet: SuperNet, start: object, options: Options, held_out
) -> None:
    designs = [shared(options, share) for share in (FEW, MIDDLE, 0.75, 1.0)]
    trained = [SuperNetEstimate(supernet.student, held_out, teacher=teacher.model)(design) for design in designs]
    untrained = [SuperNetEstimate(start, held_out, teacher=teacher.model)(design) for design in designs]
    assert trained[0] > trained[1] > max(trained[2:])
    assert sum(trained[:2]) < 0.5 * sum(untrained[:2])


def test_training_lowers_the_loss(supernet: SuperNet) -> None:
    tenth = len(supernet.losses) // 10
    assert sum(supernet.losses[-tenth:]) < 0.8 * sum(supernet.losses[:tenth])


def test_same_seed_same_weights(teacher: Teacher, task: TextTask, start: object) -> None:
    events: list[ProgressEvent] = []
    first = train_supernet(teacher, start, task, settings=SHORT, progress=events.append)
    again = train_supernet(teacher, start, task, settings=SHORT)
    other = train_supernet(teacher, start, task, settings=replace(SHORT, seed=1))
    assert first.losses == again.losses != other.losses
    assert all(torch.equal(a, b) for a, b in zip(first.student.parameters(), again.student.parameters(), strict=True))
    assert [(event.stage, event.step, event.steps) for event in events] == [
        ("train SuperNet", step, 4) for step in range(1, 5)
    ]
    used = {layer.used for layer in elastic_layers(first.student).values()}
    assert used == {layer.largest[0] for layer in elastic_layers(start).values()}


def test_a_stopped_training_goes_on_bit_for_bit(
    teacher: Teacher, task: TextTask, start: object, tmp_path: Path
) -> None:
    longer = replace(SHORT, epochs=3)
    whole = train_supernet(teacher, start, task, settings=longer)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(teacher, start, task, settings=longer, kept=_StopsAfterOne(tmp_path, key="k", every=5))
    resumed = train_supernet(teacher, start, task, settings=longer, kept=Checkpoints(tmp_path, key="k", every=5))
    assert resumed.losses == whole.losses
    assert all(torch.equal(a, b) for a, b in zip(whole.student.parameters(), resumed.student.parameters(), strict=True))


class _StopsAfterOne(Checkpoints):
    def save(self, states: list[TrainingState]) -> None:
        super().save(states)
        raise KeyboardInterrupt


def test_the_given_supernet_stays_as_it_is(
    teacher: Teacher, task: TextTask, start: object, options: Options, calibration: Calibration
) -> None:
    train_supernet(teacher, start, task, settings=replace(SHORT, max_rows=32))
    fresh = projected_supernet(teacher, options, calibration=calibration)
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), fresh.parameters(), strict=True))


def test_the_sandwich_and_the_spread_change_what_is_trained(teacher: Teacher, task: TextTask, start: object) -> None:
    plain, sandwich, narrow = (
        train_supernet(teacher, start, task, settings=replace(SHORT, **changes)).losses
        for changes in ({"sandwich_every": 0}, {"sandwich_every": 1}, {"sandwich_every": 0, "spread": 0.0})
    )
    assert plain[0] != sandwich[0] != narrow[0] != plain[0]


def test_it_is_trained_once_and_then_read(
    teacher: Teacher, task: TextTask, options: Options, calibration: Calibration, cache: Path, supernet, held_out,
    monkeypatch,
) -> None:  # fmt: skip
    import heat_sim.distill.supernet_store as store

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(store, "train_supernet", refuse)
    again = prepare_supernet(teacher, task, options, calibration=calibration, settings=TRAIN, cache=cache)
    assert again.folder == supernet.folder
    assert again.losses == supernet.losses
    with running(again.student, shared(options, MIDDLE)), running(supernet.student, shared(options, MIDDLE)):
        assert torch.equal(logits(again.student, held_out), logits(supernet.student, held_out))
    for changes in ({"settings": replace(TRAIN, seed=1)}, {"options": supernet_options(
        {name: weight.shape for name, weight in calibration.weights.items()}, share=0.5)}):  # fmt: skip
        with pytest.raises(AssertionError, match="trained again"):
            prepare_supernet(
                **{"teacher": teacher, "task": task, "options": options, "calibration": calibration,
                   "settings": TRAIN, "cache": cache} | changes
            )  # fmt: skip
    assert {path.name for path in supernet.folder.iterdir()} == {"supernet.safetensors", "supernet.json"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "supernet.safetensors").write_bytes(b"no"),
        lambda folder: (folder / "supernet.json").write_text("{}"),
        lambda folder: (folder / "supernet.json").write_text(
            json.dumps(json.loads((folder / "supernet.json").read_text()) | {"losses": 1})
        ),
    ],
    ids=["weights", "record", "losses"],
)
def test_a_damaged_folder_is_one_clear_message(
    teacher: Teacher, task: TextTask, options: Options, calibration: Calibration, tmp_path: Path, spoil
) -> None:
    settings = replace(SHORT, epochs=0)
    made = prepare_supernet(teacher, task, options, calibration=calibration, settings=settings, cache=tmp_path)
    spoil(made.folder)
    with pytest.raises(HeatError, match="cannot load its"):
        prepare_supernet(teacher, task, options, calibration=calibration, settings=settings, cache=tmp_path)


def test_a_student_is_extracted_distilled_further_saved_and_read_back(
    teacher: Teacher, task: TextTask, supernet: SuperNet, options: Options, held_out, tmp_path: Path
) -> None:
    design = plain_design(shared(options, FEW))
    student = extract(supernet.student, design)
    with running(supernet.student, shared(options, FEW)):
        torch.testing.assert_close(logits(student, held_out), logits(supernet.student, held_out), rtol=1e-4, atol=1e-4)
    settings = DistillSettings(
        layerwise_epochs=0, logit_epochs=2, logit_learning_rate=1e-3, max_rows=256, precision="float32"
    )
    trained = distill(teacher, student, task, settings=settings)
    save_student(trained.student, design, tmp_path / "d00")
    again, read = load_student(tmp_path / "d00")
    assert read == design
    assert torch.equal(logits(again, held_out), logits(trained.student, held_out))
