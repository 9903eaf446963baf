"""Estimates of what a design costs: against deep copies of the model with other weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from heat_sim.distill.batches import Batch, encode, sorted_batches  # noqa: E402
from heat_sim.distill.calibrate import encoder_linears  # noqa: E402
from heat_sim.distill.loop import seeded_torch  # noqa: E402
from heat_sim.distill.output_error import BlockOutputError, LogitError, replaced_weights  # noqa: E402
from heat_sim.distill.pretrained import load_classifier, load_tokenizer  # noqa: E402
from heat_sim.errors import HeatError, SpecError  # noqa: E402
from heat_sim.tensorize import Factorization, Tensorization, project, reconstruct  # noqa: E402
from tests.tiny_encoder import tiny_pretrained, tiny_task  # noqa: E402

Array = np.ndarray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pretrained(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """An encoder that was not trained; in training mode, which must survive. Its head is drawn: from a seed."""
    with seeded_torch(0):
        return load_classifier(folder, classes=("negative", "positive")).train()


@pytest.fixture(scope="module")
def batches(folder: Path) -> tuple[Batch, ...]:
    rows = encode(load_tokenizer(folder), tiny_task(80), split="train", max_length=24)
    return sorted_batches(rows, batch_size=16)


@pytest.fixture(scope="module")
def design(model: Any) -> dict[str, Factorization]:
    """Rank 4 everywhere, but one matrix that is listed as dense."""
    chosen = {}
    for name, linear in encoder_linears(model).items():
        shape = Tensorization(out_modes=(linear.out_features,), in_modes=(linear.in_features,))
        chosen[name] = Factorization(format="low-rank", tensorization=shape, ranks=(4,))
    dense = "encoder.layer.1.attention.self.key"
    chosen[dense] = Factorization(format="dense", tensorization=chosen[dense].tensorization)
    return chosen


class Rebuild:
    """Projects when asked and counts how often."""

    def __init__(self, model: Any) -> None:
        self.weights = {name: linear.weight.detach().numpy().copy() for name, linear in encoder_linears(model).items()}
        self.asked: list[str] = []

    def __call__(self, name: str, factorization: Factorization) -> Array:
        self.asked.append(name)
        return reconstruct(project(self.weights[name], factorization), factorization)


def copy_with(model: Any, weights: Mapping[str, Array]) -> Any:
    """The dumb way to another model: a deep copy with weights set, in evaluation mode."""
    other = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, weight in weights.items():
            encoder_linears(other)[name].weight.copy_(torch.from_numpy(weight))
    return other


def sentences(batches: tuple[Batch, ...]) -> list[torch.Tensor]:
    return [
        ids[mask == 1][None] for b in batches for ids, mask in zip(b.input_ids, b.attention_mask, strict=True)
    ]  # each (1, length), without padding


def rebuilt(rebuild: Rebuild, design: Mapping[str, Factorization], prefix: str = "") -> dict[str, Array]:
    return {name: rebuild(name, choice) for name, choice in design.items() if name.startswith(prefix)}


def test_block_error_is_that_of_each_layer_alone_one_sentence_at_a_time(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization]
) -> None:
    assert any((batch.attention_mask == 0).any() for batch in batches)  # else nothing is tried about padding
    rebuild = Rebuild(model)
    errors = []
    for index in (0, 1):
        other = copy_with(model, rebuilt(rebuild, design, f"encoder.layer.{index}."))
        squared = total = 0.0
        for ids in sentences(batches):
            with torch.no_grad():
                exact, changed = (
                    each.bert(ids, output_hidden_states=True).hidden_states for each in (copy_with(model, {}), other)
                )
            assert torch.equal(exact[index], changed[index])  # what the layer is fed
            squared += (changed[index + 1] - exact[index + 1]).double().square().sum().item()
            total += exact[index + 1].double().square().sum().item()
        errors.append(np.sqrt(squared / total))
    estimate = BlockOutputError(model, batches, rebuild=rebuild)
    assert [estimate.layer_error(f"encoder.layer.{k}", design) for k in (0, 1)] == pytest.approx(errors, rel=1e-4)
    assert estimate(design) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-4)


def test_logit_error_is_the_divergence_of_a_copy_with_all_weights_replaced(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization]
) -> None:
    rebuild = Rebuild(model)
    dense, other = copy_with(model, {}), copy_with(model, rebuilt(rebuild, design))
    divergences = []
    for ids in sentences(batches):
        with torch.no_grad():
            p, q = (each(ids).logits[0].double().softmax(-1).numpy() for each in (dense, other))
        divergences.append(float(np.sum(p * np.log(p / q))))
    expected = np.mean(divergences)
    assert expected > 0.01
    assert LogitError(model, batches, rebuild=rebuild)(design) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("estimator", [BlockOutputError, LogitError])
def test_nothing_compressed_is_no_error_and_asks_for_no_weight(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization], estimator: Any
) -> None:
    rebuild = Rebuild(model)
    estimate = estimator(model, batches, rebuild=rebuild)
    dense = {name: choice for name, choice in design.items() if choice.format == "dense"}
    assert estimate({}) == estimate(dense) == 0.0
    assert rebuild.asked == []
    assert estimate(design) > 0.0
    assert sorted(rebuild.asked) == sorted(design.keys() - dense.keys())


def test_a_layers_error_is_computed_once(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization]
) -> None:
    rebuild = Rebuild(model)
    estimate = BlockOutputError(model, batches, rebuild=rebuild)
    first = estimate(design)
    rebuild.asked.clear()
    assert estimate(dict(reversed(design.items()))) == first  # the order of the names does not matter
    assert rebuild.asked == []
    changed = "encoder.layer.1.output.dense"
    rank_1 = Factorization(format="low-rank", tensorization=design[changed].tensorization, ranks=(1,))
    assert estimate({**design, changed: rank_1}) != first
    assert rebuild.asked
    assert all(name.startswith("encoder.layer.1.") for name in rebuild.asked)
    assert estimate(design) == first


@pytest.mark.parametrize("estimator", [BlockOutputError, LogitError])
def test_the_model_is_as_before_also_after_an_exception(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization], estimator: Any
) -> None:
    before, rebuild = copy.deepcopy(model), Rebuild(model)
    estimate = estimator(model, batches, rebuild=rebuild)
    estimate(design)
    broken = model.bert.encoder.layer[1].register_forward_pre_hook(lambda *_: 1 / 0)
    smaller = {name: choice for name, choice in design.items() if name != "encoder.layer.1.output.dense"}
    try:
        with pytest.raises(ZeroDivisionError, match="division"):
            estimate(smaller)
    finally:
        broken.remove()
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


def test_weights_are_replaced_inside_the_block_only(model: Any) -> None:
    name = "encoder.layer.0.output.dense"
    linear = encoder_linears(model)[name]
    parameter, place = linear.weight, linear.weight.data_ptr()
    with replaced_weights(model, {name: np.ones((32, 64))}):
        assert linear.weight.sum().item() == 32 * 64
    assert linear.weight is parameter
    assert linear.weight.data_ptr() == place  # the same memory, not a copy


@pytest.mark.parametrize("estimator", [BlockOutputError, LogitError])
def test_a_design_of_another_model_is_refused(
    model: Any, batches: tuple[Batch, ...], design: dict[str, Factorization], estimator: Any
) -> None:
    name = "encoder.layer.0.output.dense"
    estimate = estimator(model, batches, rebuild=lambda *_: np.ones((3, 3)))
    with pytest.raises(SpecError, match=r"no such matrix \(got encoder\.layer\.9\.x, expected names like encoder"):
        estimate({"encoder.layer.9.x": design[name]})
    with pytest.raises(SpecError, match=rf"{name}: the replacement has another size \(got \(3, 3\), expected \(32, 64"):
        estimate({name: design[name]})


def test_layers_that_remember_their_last_call_are_refused(model: Any, batches: tuple[Batch, ...]) -> None:
    calls: list[int] = []

    def remember(_module: object, _inputs: object, output: Any) -> Any:
        calls.append(1)
        return output + len(calls)

    handle = model.bert.encoder.layer[1].register_forward_hook(remember)
    try:
        with pytest.raises(HeatError, match=r"layer encoder\.layer\.1: run by itself it computes something else"):
            BlockOutputError(model, batches, rebuild=Rebuild(model))
    finally:
        handle.remove()
