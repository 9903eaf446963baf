"""The whole of distillation on a BERT of 20 thousand parameters: fine-tune, calibrate, project, distil, measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from heat_sim.cli.bench import Bench  # noqa: E402
from heat_sim.cli.options import ProjectionName  # noqa: E402
from heat_sim.cli.start import Start  # noqa: E402
from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import calibration_batches, prepare_calibration, weight_matrices  # noqa: E402
from heat_sim.distill.calibration import Calibration  # noqa: E402
from heat_sim.distill.convert import factorize, load_student, project_design, save_student  # noqa: E402
from heat_sim.distill.measure import measure_accuracy  # noqa: E402
from heat_sim.distill.progress import ProgressEvent  # noqa: E402
from heat_sim.distill.sequential import project_sequentially  # noqa: E402
from heat_sim.distill.settings import DistillSettings, FineTuneSettings  # noqa: E402
from heat_sim.distill.tasks import TextTask  # noqa: E402
from heat_sim.distill.teacher import Teacher, prepare_teacher  # noqa: E402
from heat_sim.distill.train import DistillResult, distill  # noqa: E402
from heat_sim.errors import HeatError, SpecError  # noqa: E402
from heat_sim.tensorize.contraction import mac_optimal_tree  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign, dump_design  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.formats import FORMATS  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

FINE_TUNE = FineTuneSettings(epochs=20, learning_rate=3e-3, precision="float32")
SHORT = FineTuneSettings(epochs=1, max_rows=64, precision="float32")
DISTILL = DistillSettings(
    layerwise_epochs=4,
    layerwise_learning_rate=3e-3,
    logit_epochs=2,
    logit_learning_rate=1e-3,
    train_embeddings=True,  # random ones, which are most of so small a model
    precision="float32",
)


def design_of(weights: Mapping[str, NDArray[np.float32]], *, rank: int, format_name: str = "low-rank") -> Design:
    """Return a design with one rank for every matrix, cut to what the matrix can have."""
    layers = []
    for name, weight in weights.items():
        out_features, in_features = weight.shape
        if format_name == "tt-matrix":
            modes = Tensorization(out_modes=(out_features // 4, 4), in_modes=(4, in_features // 4))
            ranks = tuple(min(rank, limit) for limit in FORMATS[format_name].max_ranks(modes))
        else:
            modes = Tensorization(out_modes=(out_features,), in_modes=(in_features,))
            ranks = (min(rank, out_features, in_features),)
        factorization = Factorization(format=format_name, tensorization=modes, ranks=ranks)
        layers.append(
            (
                name,
                LayerDesign(factorization=factorization, trees=tuple(map(mac_optimal_tree, factorization.einsums(16)))),
            )
        )
    return Design(id="d00", model="tiny", tokens=16, architecture="simba_l", layers=tuple(layers))


@pytest.fixture(scope="module")
def task() -> TextTask:
    return tiny_task()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def teacher(task: TextTask, pretrained: Path, cache: Path) -> Teacher:
    return prepare_teacher(pretrained, task, settings=FINE_TUNE, cache=cache)


@pytest.fixture(scope="module")
def calibration(teacher: Teacher, task: TextTask) -> Calibration:
    return prepare_calibration(teacher, task, sentences=100)


@pytest.fixture(scope="module")
def test_rows(teacher: Teacher, task: TextTask) -> tuple[Batch, ...]:
    return sorted_batches(encode(teacher.tokenizer, task, split="test", max_length=24), batch_size=32)


@pytest.fixture(scope="module")
def small(calibration: Calibration) -> Design:
    """Rank 2 in every matrix: a 32 x 32 one has 2 * (32 + 32) words left, an eighth."""
    return design_of(calibration.weights, rank=2)


@pytest.fixture(scope="module")
def projected(teacher: Teacher, small: Design, calibration: Calibration) -> object:
    return project_design(teacher.model, small, second_moments=calibration.second_moments)


@pytest.fixture(scope="module")
def distilled(teacher: Teacher, projected: object, task: TextTask) -> DistillResult:
    return distill(teacher, projected, task, settings=DISTILL)


def logits_of(model: object, batches: tuple[Batch, ...]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(input_ids=b.input_ids, attention_mask=b.attention_mask).logits for b in batches])  # type: ignore[operator]


@pytest.mark.parametrize("projection", ["frobenius", "activation", "fisher", "sequential"])
def test_a_student_starts_from_the_projection_that_is_asked_for(
    projection: ProjectionName, teacher: Teacher, task: TextTask, calibration: Calibration, small: Design,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HEAT_SIM_CACHE", str(tmp_path))
    bench = Bench(model="tiny", task=task, teacher=teacher, calibration=calibration)
    moments = {"second_moments": calibration.second_moments, "gradient_moments": calibration.gradient_moments}
    if projection == "sequential":
        expected = project_sequentially(
            teacher.model, small, calibration_batches(teacher, task), gradient_moments=calibration.gradient_moments
        )
    else:
        used = {"frobenius": (), "activation": ("second_moments",), "fisher": tuple(moments)}[projection]
        expected = project_design(teacher.model, small, **{name: moments[name] for name in used})
    start = Start(bench=bench, projection=projection)
    for student in (start(small), start(small)):  # the second time from the disk
        assert all(
            torch.equal(a, b) for a, b in zip(student.parameters(), expected.parameters(), strict=True)
        )  # fmt: skip


def test_fine_tuning_learns_the_task(teacher: Teacher, task: TextTask, test_rows: tuple[Batch, ...]) -> None:
    share_of_most_common = max(task.labels.count(0), task.labels.count(1)) / len(task.labels)
    assert teacher.test_accuracy > 0.9 > share_of_most_common
    assert measure_accuracy(teacher.model, test_rows) == teacher.test_accuracy
    assert not teacher.model.training


def test_the_teacher_is_made_once(teacher: Teacher, task: TextTask, pretrained: Path, cache: Path) -> None:
    def fail(event: ProgressEvent) -> None:
        raise AssertionError(event)

    again = prepare_teacher(pretrained, task, settings=FINE_TUNE, cache=cache, progress=fail)
    assert again.folder == teacher.folder
    assert again.test_accuracy == teacher.test_accuracy


def test_another_seed_is_another_teacher_and_a_killed_run_leaves_none(
    task: TextTask, pretrained: Path, tmp_path: Path, teacher: Teacher
) -> None:
    stages: list[str] = []

    def kill_when_measuring(event: ProgressEvent) -> None:
        stages.append(event.stage)
        if event.stage == "measure test":
            raise KeyboardInterrupt("killed")

    other = replace(SHORT, seed=1)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        prepare_teacher(pretrained, task, settings=other, cache=tmp_path, progress=kill_when_measuring)
    assert stages.count("fine-tune") == 2  # 64 rows in batches of 32
    (left,) = (tmp_path / "teachers").iterdir()
    assert left.name.endswith("-checkpoint")  # what it goes on from
    made = prepare_teacher(pretrained, task, settings=other, cache=tmp_path)
    assert list((tmp_path / "teachers").iterdir()) == [made.folder]
    assert made.folder.name != teacher.folder.name


def test_same_seed_same_teacher(task: TextTask, pretrained: Path, tmp_path: Path) -> None:
    first, again = (prepare_teacher(pretrained, task, settings=SHORT, cache=tmp_path / name) for name in "ab")
    assert again.folder.name == first.folder.name
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), first.model.parameters(), strict=True))


@pytest.mark.parametrize("format_name", ["low-rank", "tt-matrix"])
def test_a_full_rank_student_is_the_teacher(
    teacher: Teacher, calibration: Calibration, test_rows: tuple[Batch, ...], format_name: str
) -> None:
    design = design_of(calibration.weights, rank=10_000, format_name=format_name)
    for second_moments in (None, calibration.second_moments):
        student = project_design(teacher.model, design, second_moments=second_moments)
        torch.testing.assert_close(
            logits_of(student, test_rows), logits_of(teacher.model, test_rows), rtol=1e-4, atol=1e-4
        )


def test_projection_loses_accuracy_and_distillation_recovers_it(
    teacher: Teacher, projected: object, distilled: DistillResult, task: TextTask, test_rows: tuple[Batch, ...]
) -> None:
    before, after = measure_accuracy(projected, test_rows), measure_accuracy(distilled.student, test_rows)
    assert before < teacher.test_accuracy
    assert before < after
    assert teacher.test_accuracy - after < 0.5 * (teacher.test_accuracy - before)


def test_each_stage_lowers_its_own_loss(
    teacher: Teacher, projected: object, distilled: DistillResult, task: TextTask
) -> None:
    # Stage 1 leaves nothing for stage 2 on so small a task, so that stage is tried from the projected student.
    alone = distill(teacher, projected, task, settings=replace(DISTILL, layerwise_epochs=0))
    assert alone.layerwise_losses == ()
    for losses in (distilled.layerwise_losses, alone.logit_losses):
        tenth = len(losses) // 10
        assert sum(losses[-tenth:]) < 0.8 * sum(losses[:tenth])


def test_second_moments_bring_the_projection_nearer_to_the_teacher(
    teacher: Teacher, small: Design, projected: object, test_rows: tuple[Batch, ...]
) -> None:
    target = logits_of(teacher.model, test_rows)
    plain, weighted = (
        (logits_of(model, test_rows) - target).square().mean().item()
        for model in (project_design(teacher.model, small), projected)
    )
    assert weighted < plain


def test_teacher_and_projected_student_stay_as_they_are(
    teacher: Teacher, projected: object, small: Design, calibration: Calibration, distilled: DistillResult
) -> None:
    again = project_design(teacher.model, small, second_moments=calibration.second_moments)
    assert all(torch.equal(a, b) for a, b in zip(projected.parameters(), again.parameters(), strict=True))  # type: ignore[attr-defined]
    now = weight_matrices(teacher.model)
    assert all((calibration.weights[name] == weight).all() for name, weight in now.items())


def test_same_seed_same_student(teacher: Teacher, projected: object, task: TextTask) -> None:
    short = replace(DISTILL, layerwise_epochs=1, logit_epochs=1, max_rows=64)
    events: list[ProgressEvent] = []
    first = distill(teacher, projected, task, settings=short, progress=events.append)
    again = distill(teacher, projected, task, settings=short)
    other = distill(teacher, projected, task, settings=replace(short, seed=1))
    assert [(event.stage, event.step, event.steps) for event in events if event.loss is not None] == [
        (stage, step, 2) for stage in ("distill layers", "distill logits") for step in (1, 2)
    ]
    assert first.layerwise_losses == again.layerwise_losses != other.layerwise_losses
    assert all(torch.equal(a, b) for a, b in zip(first.student.parameters(), again.student.parameters(), strict=True))


def test_a_saved_student_is_read_back(
    distilled: DistillResult, small: Design, tmp_path: Path, test_rows: tuple[Batch, ...]
) -> None:
    save_student(distilled.student, small, tmp_path / "d00")
    student, design = load_student(tmp_path / "d00")
    assert design == small
    assert torch.equal(logits_of(student, test_rows), logits_of(distilled.student, test_rows))
    assert student.config.id2label == {0: "negative", 1: "positive"}
    with pytest.raises(SpecError, match="d00: already there"):
        save_student(distilled.student, small, tmp_path / "d00")


def test_a_joint_student_is_distilled_saved_and_read_back(
    teacher: Teacher,
    small: Design,
    calibration: Calibration,
    task: TextTask,
    tmp_path: Path,
    test_rows: tuple[Batch, ...],
) -> None:
    query, key, value = (f"encoder.layer.1.attention.self.{role}" for role in ("query", "key", "value"))
    ups = tuple(f"encoder.layer.{layer}.intermediate.dense" for layer in (0, 1))
    entries = dict(small.layers)
    for entry, members, rows in (("qkv", (query, key, value), 3 * 32), ("ups", ups, 2 * 64)):
        stacked = Tensorization(out_modes=(rows,), in_modes=(32,))
        factorization = Factorization(format="low-rank", tensorization=stacked, ranks=(2,))
        entries[entry] = replace(entries[members[0]], factorization=factorization, members=members)
        for name in members:
            del entries[name]
    joint = replace(small, layers=tuple(entries.items()))
    projected = project_design(teacher.model, joint, second_moments=calibration.second_moments)
    short = replace(DISTILL, layerwise_epochs=1, logit_epochs=0)
    trained = distill(teacher, projected, task, settings=short)
    assert sum(trained.layerwise_losses[-8:]) < sum(trained.layerwise_losses[:8])
    save_student(trained.student, joint, tmp_path / "d00")
    student, design = load_student(tmp_path / "d00")
    assert design == joint
    assert torch.equal(logits_of(student, test_rows), logits_of(trained.student, test_rows))
    # Three, and two, matrices of 32 columns share the second core of rank 2: two, and one, times 2 * 32 words less.
    apart = project_design(teacher.model, small).num_parameters()
    assert apart - student.num_parameters() == 3 * 2 * 32


def test_a_broken_student_is_one_clear_message(
    distilled: DistillResult, small: Design, calibration: Calibration, tmp_path: Path
) -> None:
    with pytest.raises(HeatError, match=r"d00: cannot load its student .*Write it again"):
        load_student(tmp_path / "d00")
    save_student(distilled.student, small, tmp_path / "d00")
    (tmp_path / "d00" / "design.yaml").write_text(dump_design(design_of(calibration.weights, rank=1)), encoding="utf-8")
    with pytest.raises(HeatError, match="size mismatch"):
        load_student(tmp_path / "d00")


def test_dense_matrices_are_kept(teacher: Teacher, calibration: Calibration, test_rows: tuple[Batch, ...]) -> None:
    dense = tuple(
        (
            name,
            LayerDesign(
                factorization=Factorization(format="dense", tensorization=layer.factorization.tensorization),
                trees=(("X", "W"),),
            ),
        )
        for name, layer in design_of(calibration.weights, rank=1).layers
    )
    student = factorize(
        teacher.model, Design(id="dense", model="tiny", tokens=16, architecture="simba_l", layers=dense), cores={}
    )
    assert torch.equal(logits_of(student, test_rows), logits_of(teacher.model, test_rows))


def test_a_design_of_another_model_is_refused(teacher: Teacher, small: Design) -> None:
    (first_name, first), *others = small.layers
    renamed = replace(small, layers=(("encoder.layer.9.output.dense", first), *others))
    with pytest.raises(SpecError, match=r"no matrix encoder\.layer\.9\.output\.dense") as caught:
        project_design(teacher.model, renamed)
    assert f"no layer for {first_name}" in str(caught.value)
    swapped = replace(small, layers=((first_name, others[-1][1]), *others))
    with pytest.raises(SpecError, match=r"query: another size \(got \(32, 64\), expected \(32, 32\)\)"):
        project_design(teacher.model, swapped)


def test_divergence_is_one_clear_message(teacher: Teacher, projected: object, task: TextTask) -> None:
    wild = replace(DISTILL, layerwise_learning_rate=1e30, max_rows=128)
    with pytest.raises(HeatError, match=r"distill layers, step \d of 16: training has diverged"):
        distill(teacher, projected, task, settings=wild)
