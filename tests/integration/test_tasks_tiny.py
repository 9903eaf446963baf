"""Every kind of task on a model of 20 thousand parameters: fine-tune, calibrate, project, distil, measure, save."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import NO_LABEL, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import calibration_batches, prepare_calibration, weight_matrices  # noqa: E402
from heat_sim.distill.calibration import Calibration  # noqa: E402
from heat_sim.distill.convert import load_student, project_design, save_student  # noqa: E402
from heat_sim.distill.forward import logits_of, run  # noqa: E402
from heat_sim.distill.measure import measure_accuracy, measure_scores  # noqa: E402
from heat_sim.distill.output_error import BlockOutputError, LogitError  # noqa: E402
from heat_sim.distill.progress import ProgressEvent  # noqa: E402
from heat_sim.distill.sequential import project_sequentially  # noqa: E402
from heat_sim.distill.settings import DistillSettings, FineTuneSettings  # noqa: E402
from heat_sim.distill.tasks import Kind, Task  # noqa: E402
from heat_sim.distill.teacher import Teacher, prepare_teacher  # noqa: E402
from heat_sim.distill.train import distill  # noqa: E402
from heat_sim.errors import HeatError  # noqa: E402
from heat_sim.tensorize.contraction import mac_optimal_tree  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign  # noqa: E402
from heat_sim.tensorize.factorization import Factorization  # noqa: E402
from heat_sim.tensorize.projection import project, reconstruct  # noqa: E402
from heat_sim.tensorize.tensorization import Tensorization  # noqa: E402
from tests.tiny_tasks import TINY, tiny_model  # noqa: E402

FINE_TUNE = FineTuneSettings(epochs=20, learning_rate=3e-3, precision="float32")
DISTILL = DistillSettings(
    layerwise_epochs=1, logit_epochs=1, logit_learning_rate=2.5e-4, max_length=32, precision="float32"
)
"""So short a stage 1 leaves much to stage 2, which learns at the rate of one that stands alone."""

LEARNT = {"text": 0.6, "text-pair": 0.9, "question-answering": 0.7, "token-classification": 0.9, "image": 0.9}
"""What a teacher has to reach: far above guessing, and near to what it does reach."""


class Case:
    """One kind of task with a teacher, its calibration and a student of rank 2."""

    def __init__(self, kind: Kind, root: Path) -> None:
        self.kind, self.root, self.task = kind, root, TINY[kind]()
        self.pretrained = tiny_model(root / "pretrained", kind)
        self.teacher: Teacher = prepare_teacher(self.pretrained, self.task, settings=FINE_TUNE, cache=root)
        self.calibration: Calibration = prepare_calibration(self.teacher, self.task, sentences=40)
        self.design = rank_2(self.calibration.weights)
        self.projected: Any = project_design(
            self.teacher.model, self.design, second_moments=self.calibration.second_moments,
            gradient_moments=self.calibration.gradient_moments,
        )  # fmt: skip


def rank_2(weights: Mapping[str, NDArray[np.float32]]) -> Design:
    layers = []
    for name, weight in weights.items():
        modes = Tensorization(out_modes=weight.shape[:1], in_modes=weight.shape[1:])
        factorization = Factorization(format="low-rank", tensorization=modes, ranks=(2,))
        trees = tuple(map(mac_optimal_tree, factorization.einsums(16)))
        layers.append((name, LayerDesign(factorization=factorization, trees=trees)))
    return Design(id="d00", model="tiny", tokens=16, architecture="simba_l", layers=tuple(layers))


@pytest.fixture(scope="module", params=list(TINY))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp(request.param))


def test_fine_tuning_learns_every_kind_and_is_done_once(case: Case) -> None:
    def fail(event: ProgressEvent) -> None:
        raise AssertionError(event)

    assert case.teacher.test_accuracy > LEARNT[case.kind] > case.task.chance
    scores = measure_scores(case.teacher.model, case.task, case.teacher.tokenizer)
    assert (scores.metric, scores.value, scores.further) == (
        case.teacher.metric, case.teacher.test_accuracy, case.teacher.further,
    )  # fmt: skip
    again = prepare_teacher(case.pretrained, case.task, settings=FINE_TUNE, cache=case.root, progress=fail)
    assert (again.folder, again.test_accuracy) == (case.teacher.folder, case.teacher.test_accuracy)


def test_the_scores_have_one_value_a_row(case: Case) -> None:
    scores = measure_scores(case.projected, case.task, case.teacher.tokenizer, batch_size=7)
    assert scores.per_row.shape == (len(case.task.test),)
    if case.kind != "token-classification":
        assert scores.per_row.mean() == pytest.approx(scores.value)
    few = measure_scores(case.projected, case.task, case.teacher.tokenizer, max_rows=3)
    assert few.per_row == pytest.approx(scores.per_row[:3])


def test_the_accuracy_of_batches_is_that_of_the_scores(case: Case) -> None:
    if case.kind not in ("text", "text-pair", "image"):
        pytest.skip("one class a row only")
    rows = encode(case.teacher.tokenizer, case.task, split="test")
    assert measure_accuracy(case.teacher.model, sorted_batches(rows, batch_size=32)) == case.teacher.test_accuracy


def test_the_moments_are_those_of_the_inputs_and_the_gradients(case: Case) -> None:
    name = next(iter(case.calibration.weights))  # the query of the first layer
    inputs: list[Any] = []
    model = case.teacher.model
    module = dict(model.named_modules())[f"{model.base_model_prefix}.{name}"]
    handle = module.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    batches = calibration_batches(case.teacher, case.task, sentences=40)
    with torch.inference_mode():
        for batch in batches:
            run(model, batch)
    handle.remove()
    tokens = torch.cat(
        [each[batch.attention_mask.bool()] for each, batch in zip(inputs, batches, strict=True)]
    ).double()
    np.testing.assert_allclose(
        case.calibration.second_moments[name], (tokens.T @ tokens / len(tokens)).numpy(), rtol=1e-5, atol=1e-6
    )
    assert case.calibration.tokens == len(tokens)
    assert all(np.trace(moment) > 0 for moment in case.calibration.gradient_moments.values())


def test_projection_in_forward_order_takes_every_kind(case: Case) -> None:
    batches = calibration_batches(case.teacher, case.task, sentences=40)
    student = project_sequentially(case.teacher.model, case.design, batches)
    assert student.num_parameters() == case.projected.num_parameters() < case.teacher.model.num_parameters()
    assert measure_scores(student, case.task, case.teacher.tokenizer).value <= case.teacher.test_accuracy


def test_the_estimates_are_zero_for_the_dense_model_only(case: Case) -> None:
    batches = calibration_batches(case.teacher, case.task, sentences=40)
    weights = case.calibration.weights

    def rebuild(name: str, factorization: Factorization) -> NDArray[np.floating]:
        return reconstruct(project(weights[name], factorization), factorization)

    design = {name: layer.factorization for name, layer in case.design.layers}
    for estimate in (LogitError, BlockOutputError):
        error = estimate(case.teacher.model, batches, rebuild=rebuild)
        assert error({}) == pytest.approx(0.0, abs=1e-9)
        assert error(design) > 1e-3


def test_the_logit_error_counts_labelled_places_alike(case: Case) -> None:
    batches = sorted_batches(encode(case.teacher.tokenizer, case.task, split="dev", max_rows=5), batch_size=2)
    model = case.teacher.model
    name = next(iter(case.calibration.weights))
    module = dict(model.named_modules())[f"{model.base_model_prefix}.{name}"]
    zero = Factorization(format="low-rank", tensorization=Tensorization(out_modes=(32,), in_modes=(32,)), ranks=(1,))
    error = LogitError(model, batches, rebuild=lambda *_: np.zeros((32, 32)))({name: zero})

    def probabilities() -> list[Any]:
        with torch.inference_mode():
            return [logits_of(run(model, batch)).double().softmax(dim=-1) for batch in batches]

    dense = probabilities()
    kept, module.weight.data = module.weight.data, torch.zeros(32, 32)
    other = probabilities()
    module.weight.data = kept
    terms = [
        sum(float(a * (a / b).log()) for a, b in zip(p[place], q[place], strict=True))
        for batch, p, q in zip(batches, dense, other, strict=True)
        for place in np.ndindex(*batch.labels.shape)
        if batch.labels[place] != NO_LABEL
    ]
    assert error == pytest.approx(np.mean(terms), rel=1e-6)


def test_distillation_and_the_folder_of_a_student_take_every_kind(case: Case, tmp_path: Path) -> None:
    task: Any = case.task
    result = distill(case.teacher, case.projected, task, settings=DISTILL)
    assert result.layerwise_losses
    assert result.logit_losses
    assert np.isfinite([*result.layerwise_losses, *result.logit_losses]).all()
    trained = measure_scores(result.student, case.task, case.teacher.tokenizer)
    before = measure_scores(case.projected, case.task, case.teacher.tokenizer)
    assert trained.value > before.value or trained.value > 0.9 * case.teacher.test_accuracy
    save_student(result.student, case.design, tmp_path / "d00")
    student, design = load_student(tmp_path / "d00")
    assert design == case.design
    assert type(student) is type(case.teacher.model)
    again = measure_scores(student, case.task, case.teacher.tokenizer)
    assert (again.value, again.per_row.tolist()) == (trained.value, trained.per_row.tolist())


def test_a_head_for_other_classes_gives_way_in_fine_tuning(case: Case, tmp_path: Path) -> None:
    if case.kind != "image":
        pytest.skip("the same code for every kind")
    from heat_sim.distill.pretrained import load_model
    from heat_sim.distill.tasks import make_image_task

    three = make_image_task("three", [(np.full((8, 8), 8 * n, np.uint8), str(n % 3)) for n in range(30)])
    short = FineTuneSettings(epochs=1, precision="float32")
    teacher = prepare_teacher(case.teacher.folder, three, settings=short, cache=tmp_path)
    assert teacher.model.config.num_labels == 3
    with pytest.raises(HeatError, match="cannot load its model"):
        load_model(case.teacher.folder, kind="image", classes=("a", "b", "c"))


def test_the_weights_are_those_of_the_encoder(case: Case) -> None:
    assert len(weight_matrices(case.teacher.model)) == 12  # 2 layers of 6 matrices, and no head


def test_a_model_of_another_input_is_refused(tmp_path: Path) -> None:
    images: Task = TINY["image"]()
    with pytest.raises(HeatError, match=r"not a model of colour images \(got model_type bert"):
        prepare_teacher(tiny_model(tmp_path, "text"), images, cache=tmp_path)
