"""Calibration: which matrices are read, and that their moments are the plain sums over real tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import (  # noqa: E402
    calibration_path,
    encoder_linears,
    gradient_moments,
    prepare_calibration,
    second_moments,
    weight_matrices,
)
from heat_sim.distill.calibration import Calibration, load_calibration, save_calibration  # noqa: E402
from heat_sim.distill.convert import load_student, project_design, save_student  # noqa: E402
from heat_sim.distill.loop import seeded_torch  # noqa: E402
from heat_sim.distill.output_error import BlockOutputError, replaced_weights  # noqa: E402
from heat_sim.distill.pretrained import load_classifier, load_tokenizer  # noqa: E402
from heat_sim.distill.sequential import project_sequentially  # noqa: E402
from heat_sim.distill.teacher import Teacher  # noqa: E402
from heat_sim.errors import SpecError  # noqa: E402
from heat_sim.networks import network_from_config  # noqa: E402
from heat_sim.tensorize import Factorization, Tensorization  # noqa: E402
from heat_sim.tensorize.design import Design, LayerDesign  # noqa: E402
from heat_sim.tensorize.metric import Metric  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

PER_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """An encoder that was not trained: calibration does not care."""
    folder = tiny_pretrained(tmp_path_factory.mktemp("pretrained"))
    return Teacher(
        model=load_classifier(folder, classes=("negative", "positive")).eval(),
        tokenizer=load_tokenizer(folder),
        folder=folder,
        dev_accuracy=0.5,
        test_accuracy=0.5,
    )


@pytest.fixture(scope="module")
def batches(teacher: Teacher) -> tuple[Batch, ...]:
    rows = encode(teacher.tokenizer, tiny_task(100), split="train", max_length=24)
    return sorted_batches(rows, batch_size=9)


def test_the_matrices_are_the_encoders_and_neither_pooler_nor_head(teacher: Teacher) -> None:
    weights = weight_matrices(teacher.model)
    assert list(weights) == [f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in PER_LAYER]
    assert weights["encoder.layer.1.intermediate.dense"].shape == (64, 32)
    assert weights["encoder.layer.1.output.dense"].dtype == np.float32
    expected = teacher.model.bert.encoder.layer[1].output.dense.weight.detach().numpy()
    assert np.array_equal(weights["encoder.layer.1.output.dense"], expected)


def test_second_moments_are_the_mean_over_tokens_one_row_at_a_time(
    teacher: Teacher, batches: tuple[Batch, ...]
) -> None:
    sums = {}
    tokens = 0
    for batch in batches:
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            alone = ids[mask == 1][None]  # one sentence without any padding
            tokens += alone.shape[1]
            with torch.no_grad():
                states = teacher.model.bert(alone, output_hidden_states=True).hidden_states
                hidden = states[1][0].double()  # input of layer 1
                attended = teacher.model.bert.encoder.layer[1].attention(states[1])[0][0].double()
            for name, x in (("attention.self.key", hidden), ("intermediate.dense", attended)):
                sums[name] = sums.get(name, 0) + (x.T @ x).numpy()
    moments = second_moments(teacher.model, batches)
    for name, total in sums.items():
        moment = moments[f"encoder.layer.1.{name}"]
        assert moment.dtype == np.float64
        np.testing.assert_allclose(moment, total / tokens, rtol=1e-4, atol=1e-5)


def test_second_moments_are_symmetric_positive_and_the_same_again(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    first, again = (second_moments(teacher.model, batches) for _ in range(2))
    for name, moment in first.items():
        assert np.array_equal(moment, again[name])
        assert np.linalg.eigvalsh(moment).min() > -1e-12 * np.trace(moment)
    assert first["encoder.layer.0.attention.self.query"] is first["encoder.layer.0.attention.self.value"]
    assert first["encoder.layer.0.attention.self.query"] is not first["encoder.layer.1.attention.self.query"]


def loss_and_outputs(model: Any, ids: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the loss of one sequence without padding and the outputs of its Linears, by name."""
    outputs: dict[str, Any] = {}
    handles = [
        linear.register_forward_hook(lambda _module, _inputs, output, name=name: outputs.update({name: output}))
        for name, linear in encoder_linears(model).items()
    ]
    logits = model(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).logits
    for handle in handles:
        handle.remove()
    return torch.nn.functional.cross_entropy(logits, label[None]), outputs


def test_gradient_moments_are_the_mean_over_tokens_one_sequence_and_token_at_a_time(
    teacher: Teacher, batches: tuple[Batch, ...]
) -> None:
    sums = {name: np.zeros((linear.out_features,) * 2) for name, linear in encoder_linears(teacher.model).items()}
    tokens = 0
    for batch in batches:
        for ids, mask, label in zip(batch.input_ids, batch.attention_mask, batch.labels, strict=True):
            loss, outputs = loss_and_outputs(teacher.model, ids[mask == 1], label)
            gradients = torch.autograd.grad(loss, list(outputs.values()))
            tokens += int(mask.sum())
            for name, gradient in zip(outputs, gradients, strict=True):
                for g in gradient[0].double().numpy():
                    sums[name] += np.outer(g, g)
    assert any((batch.attention_mask == 0).any() for batch in batches)  # else nothing is tried about padding
    moments = gradient_moments(teacher.model, batches)
    assert list(moments) == list(sums)
    for name, total in sums.items():
        expected = total / tokens
        assert moments[name].dtype == np.float64
        np.testing.assert_allclose(moments[name], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_gradient_moments_know_no_batches_and_no_padding(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    alone, together = batches[:1], batches[0]
    wider = Batch.of_tokens(
        input_ids=torch.nn.functional.pad(together.input_ids, (0, 5), value=5),
        attention_mask=torch.nn.functional.pad(together.attention_mask, (0, 5)),
        labels=together.labels,
    )
    rows = tuple(
        Batch.of_tokens(input_ids=ids[None], attention_mask=mask[None], labels=label[None])
        for ids, mask, label in zip(together.input_ids, together.attention_mask, together.labels, strict=True)
    )
    expected = gradient_moments(teacher.model, alone)
    for others in ((wider,), rows):
        for name, moment in gradient_moments(teacher.model, others).items():
            np.testing.assert_allclose(moment, expected[name], rtol=1e-3, atol=1e-5 * np.abs(expected[name]).max())


def test_both_moments_of_a_single_token_are_the_square_of_the_losss_slope(
    teacher: Teacher, batches: tuple[Batch, ...]
) -> None:
    # The gradient of a weight is g x^T then, so ||D^(1/2) M C^(1/2)||^2 = (g^T M x)^2 = <gradient, M>^2, whatever M.
    ids, label = batches[0].input_ids[0, :1], batches[0].labels[0]
    single = (Batch.of_tokens(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None], labels=label[None]),)
    second, outer = second_moments(teacher.model, single), gradient_moments(teacher.model, single)
    loss, _ = loss_and_outputs(teacher.model, ids, label)
    # Attention to one token is 1 whatever query and key are: their gradient is nothing.
    linears = {name: each for name, each in encoder_linears(teacher.model).items() if "query" not in name}
    linears = {name: each for name, each in linears.items() if "key" not in name}
    slopes = torch.autograd.grad(loss, [linear.weight for linear in linears.values()])
    rng = np.random.default_rng(0)
    for name, slope in zip(linears, slopes, strict=True):
        step = rng.standard_normal(slope.shape)
        expected = float(np.vdot(slope.double().numpy(), step)) ** 2
        assert expected > 0.0
        assert Metric(inputs=second[name], outputs=outer[name]).square(step) == pytest.approx(expected, rel=1e-3)


def test_gradient_moments_are_the_same_again_and_leave_no_trace(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    model, frozen = teacher.model, teacher.model.bert.pooler.dense.weight
    hooks = [len(module._forward_hooks) for module in model.modules()]  # transformers has some of its own
    frozen.requires_grad_(False)
    model.train()
    first, again = (gradient_moments(model, batches[:1]) for _ in range(2))
    assert model.training
    model.eval()
    assert all(np.array_equal(moment, again[name]) for name, moment in first.items())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(parameter.requires_grad == (parameter is not frozen) for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    frozen.requires_grad_(True)


def test_a_matrix_that_the_loss_does_not_see_is_refused(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    skip = teacher.model.bert.encoder.layer[1].register_forward_hook(lambda _module, inputs, _output: inputs[0])
    try:
        with pytest.raises(SpecError, match=r"does not depend on these matrices \(got encoder\.layer\.1\.attention"):
            gradient_moments(teacher.model, batches[:1])
    finally:
        skip.remove()


def test_calibrating_leaves_no_trace_in_the_model(teacher: Teacher, batches: tuple[Batch, ...]) -> None:
    teacher.model.train()
    second_moments(teacher.model, batches[:1])
    assert teacher.model.training
    teacher.model.eval()
    assert not any(module._forward_pre_hooks for module in teacher.model.modules())


def test_a_calibration_is_made_once_and_read_back(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(100)
    made = prepare_calibration(teacher, task, sentences=20)
    path = calibration_path(teacher.folder, sentences=20)
    assert path.name == "calibration-20-v2.npz"
    assert [each.name for each in teacher.folder.glob("*.npz")] == [path.name]
    monkeypatch.setattr(teacher.model, "forward", None)  # a second run must not need it
    again = prepare_calibration(teacher, task, sentences=20)
    assert again.tokens == made.tokens > 20
    assert all(np.array_equal(again.weights[name], weight) for name, weight in made.weights.items())
    assert all(np.array_equal(again.second_moments[name], moment) for name, moment in made.second_moments.items())
    assert again.gradient_moments.keys() == made.weights.keys()
    assert all(np.array_equal(again.gradient_moments[name], moment) for name, moment in made.gradient_moments.items())
    batches = sorted_batches(encode(teacher.tokenizer, task, split="train", max_length=24, max_rows=20), batch_size=32)
    monkeypatch.undo()
    for name, moment in gradient_moments(teacher.model, batches).items():
        assert np.array_equal(again.gradient_moments[name], moment)
    shared = again.second_moments
    assert shared["encoder.layer.0.attention.self.query"] is shared["encoder.layer.0.attention.self.key"]


def test_what_is_not_a_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    for content in (b"text", b""):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=r"not a calibration .*Delete it and calibrate again"):
            load_calibration(path)
    np.savez(path, other=np.ones(3))
    with pytest.raises(SpecError, match="not a calibration"):
        load_calibration(path)


def test_weights_without_a_fitting_second_moment_are_refused() -> None:
    good = Calibration(weights={"a": np.ones((2, 3), np.float32)}, second_moments={"a": np.eye(3)}, tokens=1)
    with pytest.raises(
        SpecError, match=r"matrix a: no second moment that fits \(got shape \(2, 2\), expected shape \(3"
    ):
        replace(good, second_moments={"a": np.eye(2)})
    with pytest.raises(SpecError, match="got none"):
        replace(good, second_moments={})


def test_all_gradient_moments_fit_or_there_are_none(tmp_path: Path) -> None:
    weights = {name: np.ones((2, 3), np.float32) for name in "ab"}
    good = Calibration(
        weights=weights,
        second_moments=dict.fromkeys("ab", np.eye(3)),
        tokens=1,
        gradient_moments=dict.fromkeys("ab", np.eye(2)),
    )
    with pytest.raises(
        SpecError, match=r"matrix a: no gradient moment that fits \(got shape \(3, 3\), expected shape \(2"
    ):
        replace(good, gradient_moments={"a": np.eye(3), "b": np.eye(2)})
    with pytest.raises(SpecError, match=r"matrix b: no gradient moment that fits \(got none"):
        replace(good, gradient_moments={"a": np.eye(2)})
    without = replace(good, gradient_moments={})
    save_calibration(without, tmp_path / "calibration.npz")
    assert load_calibration(tmp_path / "calibration.npz").gradient_moments == {}


@pytest.fixture
def gpt2() -> Any:
    """A GPT-2 that was not trained; its Conv1D modules store matrices transposed."""
    config = transformers.GPT2Config(
        n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=12, num_labels=2, pad_token_id=0, bos_token_id=1,
        eos_token_id=1, initializer_range=0.3, use_cache=False, attn_implementation="eager",
    )  # fmt: skip
    with seeded_torch(0):
        return transformers.GPT2ForSequenceClassification(config).eval()


@pytest.fixture
def gpt2_batches() -> tuple[Batch, ...]:
    ids = torch.randint(2, 20, (6, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    return (Batch.of_tokens(input_ids=ids * mask, attention_mask=mask, labels=torch.tensor([0, 1] * 3)),)


def logits_of(model: Any, batches: tuple[Batch, ...]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=batches[0].input_ids, attention_mask=batches[0].attention_mask).logits


def low_rank_design(weights: dict[str, np.ndarray], *, ranks: int | None) -> Design:
    """Return a design of one rank for every matrix, or of full ranks."""
    layers = tuple(
        (
            name,
            LayerDesign(
                factorization=Factorization(
                    format="low-rank", ranks=(ranks or min(weight.shape),),
                    tensorization=Tensorization(out_modes=weight.shape[:1], in_modes=weight.shape[1:]),
                ),
                trees=((("X", "G2"), "G1"),),
            ),
        )
        for name, weight in weights.items()
    )  # fmt: skip
    return Design(id="d1", model="gpt2", tokens=12, architecture="simba_l", layers=layers)


def test_transposed_matrices_are_those_of_the_network(gpt2: Any, gpt2_batches: tuple[Batch, ...]) -> None:
    weights = weight_matrices(gpt2)
    network = network_from_config(gpt2.config.to_dict(), tokens=12, name="gpt2")
    assert {name: weight.shape for name, weight in weights.items()} == {
        matrix.name: (matrix.out_features, matrix.in_features) for matrix in network.matrices
    }
    up = gpt2.transformer.h[1].mlp.c_fc
    x = torch.ones(8).cumsum(0)
    product = torch.from_numpy(weights["h.1.mlp.c_fc"]) @ x + up.bias
    torch.testing.assert_close(product, up(x[None])[0])
    second, outer = second_moments(gpt2, gpt2_batches), gradient_moments(gpt2, gpt2_batches)
    for name, weight in weights.items():
        assert (outer[name].shape[0], second[name].shape[0]) == weight.shape


def test_transposed_matrices_are_projected_saved_and_read_back(
    gpt2: Any, gpt2_batches: tuple[Batch, ...], tmp_path: Path
) -> None:
    expected = logits_of(gpt2, gpt2_batches)
    whole, rank_1 = (low_rank_design(weight_matrices(gpt2), ranks=ranks) for ranks in (None, 1))
    moments = second_moments(gpt2, gpt2_batches)
    for student in (
        project_design(gpt2, whole, second_moments=moments),
        project_sequentially(gpt2, whole, gpt2_batches),
    ):
        torch.testing.assert_close(logits_of(student, gpt2_batches), expected, rtol=1e-3, atol=1e-4)
    assert not any(type(module).__name__ == "Conv1D" for module in student.modules())
    smaller = project_design(gpt2, rank_1)
    assert (logits_of(smaller, gpt2_batches) - expected).abs().max() > 1e-2
    save_student(smaller, rank_1, tmp_path / "student")
    again, _ = load_student(tmp_path / "student")
    torch.testing.assert_close(logits_of(again, gpt2_batches), logits_of(smaller, gpt2_batches))


def test_transposed_matrices_are_replaced_for_a_moment(gpt2: Any, gpt2_batches: tuple[Batch, ...]) -> None:
    expected, weights = logits_of(gpt2, gpt2_batches), weight_matrices(gpt2)
    with replaced_weights(gpt2, weights):
        torch.testing.assert_close(logits_of(gpt2, gpt2_batches), expected)
    with replaced_weights(gpt2, {"h.0.mlp.c_proj": np.zeros((8, 32))}):
        assert (logits_of(gpt2, gpt2_batches) - expected).abs().max() > 1e-2
    assert torch.equal(logits_of(gpt2, gpt2_batches), expected)
    with pytest.raises(SpecError, match=r"another size \(got \(32, 8\), expected \(8, 32\)"):
        replaced_weights(gpt2, {"h.0.mlp.c_proj": np.zeros((32, 8))}).__enter__()
    estimate = BlockOutputError(gpt2, gpt2_batches, rebuild=lambda name, _: weights[name])
    design = {name: layer.factorization for name, layer in low_rank_design(weights, ranks=None).layers}
    assert estimate(design) < 1e-5


def test_a_model_without_matrices_in_numbered_layers_is_refused() -> None:
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=0, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    model = transformers.BertForSequenceClassification(config)
    message = (
        r"model BertForSequenceClassification: no weight matrix in numbered layers \(got none, expected Linear or "
        r"Conv1D modules below layer\.N, layers\.N or h\.N\)\. Give a dense model of one of the families bert, .*gpt2"
    )
    for read in (weight_matrices, lambda model: second_moments(model, []), lambda model: gradient_moments(model, [])):
        with pytest.raises(SpecError, match=message):
            read(model)
