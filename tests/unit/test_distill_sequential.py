"""Sequential projection: the target against least squares, and what it must not change and not lose."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import block_diag

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import encoder_linears, gradient_moments, second_moments  # noqa: E402
from heat_sim.distill.convert import factorize  # noqa: E402
from heat_sim.distill.pretrained import load_classifier, load_tokenizer  # noqa: E402
from heat_sim.distill.progress import ProgressEvent  # noqa: E402
from heat_sim.distill.sequential import corrected_target, input_groups, project_sequentially  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.tensorize import Design, Factorization, LayerDesign, Tensorization, project, reconstruct  # noqa: E402
from heat_sim.tensorize.contraction import contraction_trees  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

LAYER_0 = "encoder.layer.0."
FULL = 10_000


def choice(out_features: int, in_features: int, rank: int) -> Factorization:
    """Low rank, or dense for rank 0."""
    shape = Tensorization(out_modes=(out_features,), in_modes=(in_features,))
    if rank == 0:
        return Factorization(format="dense", tensorization=shape)
    return Factorization(format="low-rank", tensorization=shape, ranks=(min(rank, out_features, in_features),))


def layer_of(factorization: Factorization, members: tuple[str, ...] = ()) -> LayerDesign:
    trees = tuple(contraction_trees(einsum)[-1] for einsum in factorization.einsums(1))
    return LayerDesign(factorization=factorization, trees=trees, members=members)


def design_of(model: Any, *, rank: int, ranks: Mapping[str, int] | None = None) -> Design:
    """One rank for every matrix but those named."""
    layers = tuple(
        (name, layer_of(choice(linear.out_features, linear.in_features, (ranks or {}).get(name, rank))))
        for name, linear in encoder_linears(model).items()
    )
    return Design(id="d00", model="tiny", tokens=16, architecture="none", layers=layers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """An encoder that was not trained; in training mode, which must survive."""
    return load_classifier(folder, classes=("negative", "positive")).train()


@pytest.fixture(scope="module")
def batches(folder: Path) -> tuple[Batch, ...]:
    rows = encode(load_tokenizer(folder), tiny_task(300), split="train", max_length=24)
    return sorted_batches(rows, batch_size=32)


def hidden(model: Any, batches: tuple[Batch, ...]) -> np.ndarray:
    """Output of the encoder, (tokens, hidden), padding left out."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        states = [(model.bert(b.input_ids, attention_mask=b.attention_mask)[0], b.attention_mask) for b in batches]
    return torch.cat([state[mask.bool()] for state, mask in states]).double().numpy()


def inputs(model: Any, name: str, batches: tuple[Batch, ...]) -> np.ndarray:
    """What a Linear is fed, (tokens, in_features), one sentence without padding at a time."""
    model, seen = copy.deepcopy(model).eval(), []
    encoder_linears(model)[name].register_forward_pre_hook(lambda _module, args: seen.append(args[0][0]))
    with torch.no_grad():
        for batch in batches:
            for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
                model(ids[mask == 1][None])
    return torch.cat(seen).double().numpy()


def same_parameters(a: Any, b: Any) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(name == other and torch.equal(x, y) for (name, x), (other, y) in pairs)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_corrected_target_is_least_squares_on_the_tokens(ridge: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6))
    student_x = x + 0.3 * rng.standard_normal((50, 6))
    weight = rng.standard_normal((4, 6))
    second, cross = student_x.T @ student_x / 50, x.T @ student_x / 50
    # Minimise |W x - M x'|^2 / 50 + r |M - W|^2: the second term as six more rows sqrt(50 r) e_i with target W e_i.
    pull = np.sqrt(50 * ridge * np.linalg.eigvalsh(second).mean()) * np.eye(6)
    expected = np.linalg.lstsq(np.vstack([student_x, pull]), np.vstack([x @ weight.T, pull @ weight.T]))[0].T
    target = corrected_target(weight, second=second, cross=cross, ridge=ridge)
    np.testing.assert_allclose(target, expected, rtol=1e-10, atol=1e-10)


def test_the_corrected_target_is_the_weight_where_nothing_has_changed() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((4, 6)), rng.standard_normal((3, 6))  # three tokens: the moment is singular
    moment = x.T @ x / 3
    np.testing.assert_allclose(corrected_target(weight, second=moment, cross=moment), weight, rtol=1e-10)


def test_groups_are_in_forward_order(model: Any, batches: tuple[Batch, ...]) -> None:
    per_layer = (
        ("attention.self.query", "attention.self.key", "attention.self.value"),
        ("attention.output.dense",),
        ("intermediate.dense",),
        ("output.dense",),
    )
    expected = tuple(
        tuple(f"encoder.layer.{layer}.{name}" for name in group) for layer in (0, 1) for group in per_layer
    )
    assert input_groups(model, batches[0]) == expected


@pytest.mark.parametrize("correct", [False, True])
def test_a_dense_design_changes_nothing(model: Any, batches: tuple[Batch, ...], correct: bool) -> None:
    student = project_sequentially(model, design_of(model, rank=0), batches, correct=correct)
    assert student is not model
    assert same_parameters(student, model)


@pytest.mark.parametrize("correct", [False, True])
def test_full_ranks_are_the_dense_model(model: Any, batches: tuple[Batch, ...], correct: bool) -> None:
    student = project_sequentially(model, design_of(model, rank=FULL), batches, correct=correct)
    np.testing.assert_allclose(hidden(student, batches), hidden(model, batches), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_correction_brings_the_encoders_output_nearer_than_independent_projection(
    model: Any, batches: tuple[Batch, ...], rank: int
) -> None:
    design, moments = design_of(model, rank=rank), second_moments(model, batches)
    linears = encoder_linears(model)
    cores = {
        name: project(linears[name].weight.detach().numpy(), layer.factorization, second_moment=moments[name])
        for name, layer in design.layers
    }
    target = hidden(model, batches)
    students = (factorize(model, design, cores=cores), project_sequentially(model, design, batches))
    independent, sequential = (np.square(hidden(student, batches) - target).sum() for student in students)
    assert sequential < 0.9 * independent


@pytest.mark.parametrize("correct", [False, True])
def test_the_second_matrix_is_fitted_to_what_the_first_one_leaves(
    model: Any, batches: tuple[Batch, ...], correct: bool
) -> None:
    # Only two matrices are compressed, one after the other, so both steps can be redone on stacked tokens.
    first, second = f"{LAYER_0}attention.output.dense", f"{LAYER_0}output.dense"
    design = design_of(model, rank=0, ranks={first: 3, second: 5})
    student = project_sequentially(model, design, batches, correct=correct)
    layers, linears = dict(design.layers), encoder_linears(model)

    def rebuilt(name: str) -> np.ndarray:
        cores = [core.detach().numpy() for core in student.get_submodule(f"bert.{name}").cores.values()]
        return reconstruct(cores, layers[name].factorization)

    halfway = copy.deepcopy(model)
    for name in (first, second):
        weight = linears[name].weight.detach().double().numpy()
        x, own = inputs(model, name, batches), inputs(halfway, name, batches)
        moment = own.T @ own / len(own)
        if correct:
            weight = corrected_target(weight, second=moment, cross=x.T @ own / len(own))
        expected = reconstruct(
            project(weight, layers[name].factorization, second_moment=moment), layers[name].factorization
        )
        np.testing.assert_allclose(rebuilt(name), expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())
        with torch.no_grad():
            encoder_linears(halfway)[name].weight.copy_(torch.from_numpy(rebuilt(name)))


def test_gradient_moments_reach_the_projection(model: Any, batches: tuple[Batch, ...]) -> None:
    query = f"{LAYER_0}attention.self.query"
    design = design_of(model, rank=0, ranks={query: 3})
    moments, gradients = second_moments(model, batches), gradient_moments(model, batches)
    student = project_sequentially(model, design, batches, gradient_moments=gradients)
    weight, factorization = (
        encoder_linears(model)[query].weight.detach().numpy(),
        dict(design.layers)[query].factorization,
    )
    # Nothing is compressed before it, so its target is the weight and its input the dense model's.
    expected = project(weight, factorization, second_moment=moments[query], gradient_moment=gradients[query])
    cores = student.get_submodule(f"bert.{query}").cores.values()
    for core, other in zip(cores, expected, strict=True):
        np.testing.assert_allclose(core.detach().numpy(), other, rtol=1e-2, atol=1e-4)


def test_model_and_mode_stay_and_the_same_call_gives_the_same_student(model: Any, batches: tuple[Batch, ...]) -> None:
    before = copy.deepcopy(model)
    events: list[ProgressEvent] = []
    design = design_of(model, rank=4)
    first = project_sequentially(model, design, batches, progress=events.append)
    again = project_sequentially(model, design, batches)
    assert same_parameters(model, before)
    assert same_parameters(first, again)
    assert model.training
    assert first.training
    assert not any(module._forward_pre_hooks for each in (model, first) for module in each.modules())
    assert [(event.stage, event.step, event.steps) for event in events] == [
        ("project", step, 8) for step in range(1, 9)
    ]


@pytest.mark.parametrize(
    "members",
    [
        tuple(f"{LAYER_0}attention.self.{role}" for role in ("query", "key", "value")),  # one input
        tuple(f"encoder.layer.{layer}.attention.output.dense" for layer in (1, 0)),  # two inputs, the later one first
    ],
)
def test_joint_matrices_are_projected_as_one(model: Any, batches: tuple[Batch, ...], members: tuple[str, ...]) -> None:
    # The others stay dense, so that all members get the dense model's input: their targets are their weights.
    others = tuple((name, layer) for name, layer in design_of(model, rank=0).layers if name not in members)
    factorization = choice(32 * len(members), 32, 6)
    joint = ("joint", layer_of(factorization, members))
    design = Design(id="d01", model="tiny", tokens=16, architecture="none", layers=(*others, joint))
    moments, gradients = second_moments(model, batches), gradient_moments(model, batches)
    linears = encoder_linears(model)
    cores = project(
        np.concatenate([linears[name].weight.detach().double().numpy() for name in members]),
        factorization,
        second_moment=np.mean([moments[name] for name in members], axis=0),
        gradient_moment=block_diag(*(gradients[name] for name in members)),
    )
    expected = hidden(factorize(model, design, cores={"joint": cores}), batches)
    for correct in (False, True):
        student = project_sequentially(model, design, batches, correct=correct, gradient_moments=gradients)
        np.testing.assert_allclose(hidden(student, batches), expected, rtol=1e-2, atol=1e-3)


def test_the_design_of_another_model_is_refused_at_once(model: Any, batches: tuple[Batch, ...]) -> None:
    short = Design(id="d02", model="tiny", tokens=16, architecture="none", layers=design_of(model, rank=4).layers[1:])

    def never(event: ProgressEvent) -> None:
        raise AssertionError(event)

    with pytest.raises(SpecError, match=r"no layer for encoder\.layer\.0\.attention\.self\.query"):
        project_sequentially(model, short, batches, progress=never)
