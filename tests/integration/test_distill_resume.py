"""Training that is stopped and goes on, that is watched, and that trains one layer at a time; on the tiny encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill import train as training  # noqa: E402
from heat_sim.distill.batches import encode  # noqa: E402
from heat_sim.distill.blocks import Blocks  # noqa: E402
from heat_sim.distill.calibrate import prepare_calibration  # noqa: E402
from heat_sim.distill.checkpoint import FILE, Checkpoints, TrainingState  # noqa: E402
from heat_sim.distill.convert import project_design  # noqa: E402
from heat_sim.distill.forward import run  # noqa: E402
from heat_sim.distill.optimiser import embedding_parameters  # noqa: E402
from heat_sim.distill.progress import ignore_progress  # noqa: E402
from heat_sim.distill.settings import DistillSettings, Dropout, FineTuneSettings, LayerwiseMode  # noqa: E402
from heat_sim.distill.stages import Pair  # noqa: E402
from heat_sim.distill.tasks import TextTask  # noqa: E402
from heat_sim.distill.teacher import Teacher, prepare_teacher  # noqa: E402
from heat_sim.distill.train import DistillResult, distill, layers_only, training_key  # noqa: E402
from heat_sim.errors import HeatError  # noqa: E402
from tests.integration.test_distill_tiny import design_of  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

SETTINGS = DistillSettings(
    layerwise_epochs=2, layerwise_learning_rate=3e-3, logit_epochs=2, logit_learning_rate=1e-3, max_rows=160,
    validation_rows=40, validate_every=3, precision="float32",
)  # fmt: skip
STEPS = 10  # of either stage: 2 epochs of 160 rows in batches of 32


@pytest.fixture(scope="module")
def task() -> TextTask:
    return tiny_task()


@pytest.fixture(scope="module")
def teacher(task: TextTask, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    pretrained = tiny_pretrained(tmp_path_factory.mktemp("pretrained"))
    settings = FineTuneSettings(epochs=6, learning_rate=3e-3, precision="float32")
    return prepare_teacher(pretrained, task, settings=settings, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def projected(teacher: Teacher, task: TextTask) -> object:
    calibration = prepare_calibration(teacher, task, sentences=100)
    return project_design(
        teacher.model, design_of(calibration.weights, rank=4), second_moments=calibration.second_moments
    )


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Deadly(Checkpoints):
    """Checkpoints that kill the run right after a write."""

    def __init__(self, folder: Path, *, after: int) -> None:
        super().__init__(folder, key="k", every=4)
        self.left = after

    def save(self, states: list[TrainingState]) -> None:
        super().save(states)
        self.left -= 1
        if self.left == 0:
            raise Killed


def same(a: DistillResult, b: DistillResult) -> bool:
    weights = zip(a.student.state_dict().values(), b.student.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in weights)


@pytest.mark.parametrize(
    ("dropout", "drops"),
    [("both", (True, True)), ("layers", (True, False)), ("logits", (False, True)), ("none", (False, False))],
)
def test_the_student_drops_out_in_the_stages_that_are_named(
    teacher: Teacher, projected: object, task: TextTask, monkeypatch: pytest.MonkeyPatch, dropout: Dropout,
    drops: tuple[bool, bool],
) -> None:  # fmt: skip
    modes: list[tuple[bool, bool]] = []

    def spied(train: Callable[..., object]) -> Callable[..., object]:
        def spy(pair: Pair, **options: object) -> object:
            before = pair.student.training
            states = train(pair, **options)
            modes.append((before, pair.student.training))  # looks at dev rows between leave the mode as it was
            return states

        return spy

    for name in ("train_layers", "train_logits"):
        monkeypatch.setattr(training, name, spied(getattr(training, name)))
    result = distill(teacher, projected, task, settings=replace(SETTINGS, dropout=dropout))
    assert modes == [(each, each) for each in drops]
    assert not result.student.training


@pytest.mark.parametrize("mode", ["model", "blocks"])
def test_a_killed_training_goes_on_bit_for_bit(
    mode: str, teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, layerwise_mode=mode)  # type: ignore[arg-type]
    undisturbed = distill(teacher, projected, task, settings=settings)
    count = 0

    class Counting(Checkpoints):
        def save(self, states: list[TrainingState]) -> None:
            nonlocal count
            count += 1
            super().save(states)

    kept = distill(teacher, projected, task, settings=settings,
                   checkpoints=Counting(tmp_path / "whole", key="k", every=4))  # fmt: skip
    assert same(kept, undisturbed)
    # steps 4, 8 and the end of a stage; blocks: of each of the two layers
    assert count == 3 * (2 if mode == "model" else 3)
    for after in range(1, count + 1):
        folder = tmp_path / f"killed{after}"
        with pytest.raises(Killed):
            distill(teacher, projected, task, settings=settings, checkpoints=Deadly(folder, after=after))
        resumed = distill(
            teacher, projected, task, settings=settings, checkpoints=Checkpoints(folder, key="k", every=4)
        )
        assert same(resumed, undisturbed)
        assert resumed.layerwise_losses == undisturbed.layerwise_losses
        assert resumed.logit_losses == undisturbed.logit_losses
        assert [state.checks for state in resumed.logits] == [state.checks for state in undisturbed.logits]


def test_the_time_of_a_resumed_training_is_that_of_all_its_steps(
    teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        distill(teacher, projected, task, settings=SETTINGS, checkpoints=Deadly(tmp_path, after=1))
    kept = Checkpoints(tmp_path, key="k", every=4)
    (state,) = kept.load()
    assert state.seconds > 0
    state.seconds = 1000.0
    kept.save([state])
    resumed = distill(teacher, projected, task, settings=SETTINGS, checkpoints=kept)
    assert 1000 < resumed.layers[0].seconds < resumed.seconds < 1100


def test_a_stopped_fine_tuning_goes_on_bit_for_bit(
    task: TextTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = tiny_pretrained(tmp_path / "pretrained")
    settings = FineTuneSettings(epochs=2, learning_rate=3e-3, max_rows=160, precision="float32")
    whole = prepare_teacher(pretrained, task, settings=settings, cache=tmp_path / "whole")

    saved = Checkpoints.save
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "__init__", lambda self, folder, key: _begin(self, folder, key, every=4))
        patch.setattr(Checkpoints, "save", lambda self, states: (saved(self, states), _stop()))
        with pytest.raises(Killed):
            prepare_teacher(pretrained, task, settings=settings, cache=tmp_path / "killed")
    (checkpoint,) = (tmp_path / "killed" / "teachers").glob(".*checkpoint/checkpoint.pt")
    resumed = prepare_teacher(pretrained, task, settings=settings, cache=tmp_path / "killed")
    assert not checkpoint.parent.exists()
    weights = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def _begin(self: Checkpoints, folder: Path, key: str, *, every: int) -> None:
    self.folder, self.key, self.every = folder, key, every


def _stop() -> None:
    raise Killed


def test_after_layers_sees_the_student_of_stage_1_again_when_resumed(
    teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    def watched() -> tuple[list[object], Callable[..., None]]:
        seen: list[object] = []

        def note(student: object, _states: object) -> None:
            seen.append({name: value.clone() for name, value in student.state_dict().items()})  # type: ignore[attr-defined]
            assert not student.training  # type: ignore[attr-defined]

        return seen, note

    first, note = watched()
    distill(teacher, projected, task, settings=SETTINGS, after_layers=note)
    with pytest.raises(Killed):
        distill(teacher, projected, task, settings=SETTINGS, checkpoints=Deadly(tmp_path, after=3))
    again, note = watched()
    distill(teacher, projected, task, settings=SETTINGS, after_layers=note,
            checkpoints=Checkpoints(tmp_path, key="k", every=4))  # fmt: skip
    (a,), (b,) = first, again
    assert all(torch.equal(a[name], b[name]) for name in a)  # type: ignore[index,attr-defined]


def test_after_layers_is_not_called_when_stage_2_goes_on(
    teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    # A checkpoint of stage 2 holds the weights of stage 2 alone: there is no student of stage 1 to show.
    with pytest.raises(Killed):
        distill(teacher, projected, task, settings=SETTINGS, checkpoints=Deadly(tmp_path, after=4))
    kept = Checkpoints(tmp_path, key="k", every=4)
    assert [state.stage for state in kept.load()] == ["distill layers", "distill logits"]
    called: list[object] = []
    distill(teacher, projected, task, settings=SETTINGS, checkpoints=kept,
            after_layers=lambda *_: called.append(1))  # fmt: skip
    assert called == []


@pytest.mark.parametrize("mode", ["model", "blocks"])
def test_another_stage_2_begins_where_stage_1_ended(
    mode: LayerwiseMode, teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, layerwise_mode=mode)
    stage_1 = Checkpoints(tmp_path / "stage-1", key=training_key(layers_only(settings)))
    distill(teacher, projected, task, settings=settings, checkpoints=Checkpoints(tmp_path / "a", key="a"),
            after_layers=lambda _, states: stage_1.save(list(states)))  # fmt: skip
    gentler = replace(settings, logit_learning_rate=1e-4, dropout="layers", logit_epochs=2)
    undisturbed = distill(teacher, projected, task, settings=gentler)
    assert training_key(layers_only(gentler)) == stage_1.key
    taken_up = distill(teacher, projected, task, settings=gentler, checkpoints=Checkpoints(tmp_path / "b", key="b"),
                       layers=stage_1.load_own())  # fmt: skip
    assert same(taken_up, undisturbed)
    assert taken_up.logit_losses == undisturbed.logit_losses
    assert taken_up.layerwise_losses == undisturbed.layerwise_losses
    assert sum(state.seconds for state in taken_up.layers) == sum(state.seconds for state in stage_1.load())
    assert taken_up.seconds > sum(state.seconds for state in taken_up.layers) > 0


@pytest.mark.parametrize("change", [{"seed": 5}, {"layerwise_learning_rate": 1e-4}, {"dropout": "none"},
                                    {"layerwise_epochs": 3}, {"max_rows": 50}])  # fmt: skip
def test_another_stage_1_is_not_taken_for_the_same(change: dict[str, Any], tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, key=training_key(layers_only(SETTINGS)))
    kept.save([TrainingState(stage="distill layers", done=True)])
    other = Checkpoints(tmp_path, key=training_key(layers_only(replace(SETTINGS, **change))))
    assert len(kept.load_own()) == 1
    assert other.load_own() == []


def test_a_checkpoint_of_another_run_is_refused(
    teacher: Teacher, projected: object, task: TextTask, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        distill(teacher, projected, task, settings=SETTINGS, checkpoints=Deadly(tmp_path, after=1))
    other = Checkpoints(tmp_path, key=training_key(SETTINGS), every=4)
    with pytest.raises(HeatError, match=r"checkpoint\.pt: of another training run \(got k"):
        distill(teacher, projected, task, settings=SETTINGS, checkpoints=other)


def test_a_broken_checkpoint_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"half a file")
    with pytest.raises(HeatError, match=r"checkpoint\.pt: cannot be read .*Delete it"):
        Checkpoints(tmp_path, key="k").load()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path, key="k")
    kept.save([TrainingState(stage="a", step=1)])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(HeatError, match=r"cannot be written \(got .*No space left.*--resume"):
            kept.save([TrainingState(stage="a", step=2)])
    assert [state.step for state in kept.load()] == [1]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_best_check_is_kept(teacher: Teacher, projected: object, task: TextTask) -> None:
    # So high a rate that the loss goes up and down: the last weights are not the best ones.
    wild = replace(SETTINGS, layerwise_epochs=0, logit_epochs=3, logit_learning_rate=0.05, validate_every=2)
    (state,) = distill(teacher, projected, task, settings=wild).logits
    losses = [loss for _, loss, _ in state.checks]
    assert state.best_step == state.checks[losses.index(min(losses))][0]
    assert losses[-1] > min(losses)  # else nothing is tried
    # The schedule depends on the number of steps, so the weights of that step are found by training without selection.
    unwatched = distill(teacher, projected, task, settings=replace(wild, validation_rows=0)).logits[0]
    assert unwatched.losses == state.losses
    assert unwatched.model.keys() == state.model.keys()
    assert any(not torch.equal(unwatched.model[name], state.model[name]) for name in state.model)


def test_a_stage_that_does_harm_ends_where_it_began(teacher: Teacher, projected: Any, task: TextTask) -> None:
    harmful = replace(SETTINGS, layerwise_epochs=0, logit_epochs=1, logit_learning_rate=5.0, validate_every=1)
    result = distill(teacher, projected, task, settings=harmful)
    (state,) = result.logits
    assert [step for step, _, _ in state.checks] == list(range(state.step + 1))
    assert state.best_step == 0
    before, after = projected.state_dict(), result.student.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_patience_ends_a_stage_early(teacher: Teacher, projected: object, task: TextTask) -> None:
    wild = replace(SETTINGS, layerwise_epochs=0, logit_epochs=8, logit_learning_rate=0.1, validate_every=1, patience=3)
    (state,) = distill(teacher, projected, task, settings=wild).logits
    assert state.step < 8 * 5
    assert state.step == state.best_step + 3


def test_blocks_lower_the_loss_of_every_layer(teacher: Teacher, projected: object, task: TextTask) -> None:
    blocks = replace(SETTINGS, layerwise_mode="blocks", layerwise_epochs=6, logit_epochs=0, max_rows=None)
    result = distill(teacher, projected, task, settings=blocks)
    assert [state.stage for state in result.layers] == ["distill layers 1", "distill layers 2"]
    for state in result.layers:
        losses = [loss for _, loss, _ in state.checks]
        assert losses[-1] < 0.8 * losses[1]  # the first is before the first step
        assert all(math.isfinite(loss) for loss in losses)


def test_targets_of_blocks_are_what_the_whole_teacher_computes(
    teacher: Teacher, projected: object, task: TextTask
) -> None:
    rows = encode(teacher.tokenizer, task, split="dev", max_length=24, max_rows=9)
    blocks = Blocks(teacher.model, projected)
    inputs = None
    for place, layer in enumerate(blocks.names):
        found = blocks.targets(layer, rows, inputs, batch_size=4, precision="float32", progress=ignore_progress)
        for row, length in enumerate(rows.lengths):
            with torch.no_grad():
                whole = run(teacher.model, rows.batch([row]), internal=True)
            assert found.inputs[row].shape == (length, 32)
            for got, wanted in (
                (found.inputs, whole.hidden_states[place]),
                (found.outputs, whole.hidden_states[place + 1]),
                (found.maps, whole.attentions[place]),
            ):
                torch.testing.assert_close(got[row], wanted[0], rtol=1e-4, atol=1e-5)
        inputs = found.outputs


@pytest.mark.parametrize("trained", [True, False])
def test_embeddings_are_trained_if_asked(trained: bool, teacher: Teacher, projected: object, task: TextTask) -> None:
    result = distill(teacher, projected, task, settings=replace(SETTINGS, train_embeddings=trained))
    pairs = zip(embedding_parameters(result.student), embedding_parameters(projected), strict=True)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in pairs) != trained


def test_fan_in_rates_train_other_weights_and_learn(teacher: Teacher, projected: object, task: TextTask) -> None:
    equal, scaled = (
        distill(teacher, projected, task, settings=replace(SETTINGS, rates=rates, layerwise_epochs=0))
        for rates in ("equal", "fan-in")  # type: ignore[arg-type]
    )
    assert not same(equal, scaled)
    assert scaled.logits[0].checks[-1][1] < scaled.logits[0].checks[1][1]


def test_both_executions_train_alike(teacher: Teacher, projected: object, task: TextTask) -> None:
    short = replace(SETTINGS, max_rows=32, layerwise_epochs=1, logit_epochs=1)
    one, other = (
        distill(teacher, projected, task, settings=replace(short, execution=e)) for e in ("cascade", "fastest")
    )  # type: ignore[arg-type]
    for a, b in zip(one.student.parameters(), other.student.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
