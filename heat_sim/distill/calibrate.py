"""Reading a model: the weight matrices of its encoder, what they are multiplied with, what their outputs matter."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from heat_sim.distill.batches import Batch, encode, sorted_batches
from heat_sim.distill.calibration import Calibration, load_calibration, save_calibration
from heat_sim.distill.forward import cross_entropy, logits_of
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.tasks.task import Task
from heat_sim.distill.teacher import Teacher
from heat_sim.errors import SpecError, describe
from heat_sim.networks import COVERED

_IN_A_LAYER = re.compile(r"(?:^|\.)(?:layers?|h)\.\d+\.")

CALIBRATION_SENTENCES = 256
"""Training rows that a calibration runs unless told otherwise."""

EncoderLinear: TypeAlias = nn.Linear | Conv1D
"""A module that multiplies with a weight matrix; GPT-2's Conv1D stores the transposed one, see `oriented`."""


def encoder_linears(model: Any) -> dict[str, EncoderLinear]:
    """Return the Linear and Conv1D modules inside the numbered layers, by name without the model's own prefix.

    In a BERT these are, per layer, `attention.self.query`, `.key`, `.value`, `attention.output.dense`,
    `intermediate.dense` and `output.dense`: neither the pooler nor the classifier. The names are those of
    `heat_sim.networks`.

    Raises:
        SpecError: There are none.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> list(encoder_linears(BertForSequenceClassification(tiny)))[:2]
    ['encoder.layer.0.attention.self.query', 'encoder.layer.0.attention.self.key']
    """
    prefix = f"{model.base_model_prefix}."
    found = {
        name.removeprefix(prefix): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and _IN_A_LAYER.search(name)
    }
    if not found:
        raise SpecError(
            describe(f"model {type(model).__name__}", "no weight matrix in numbered layers", got="none",
                     expected="Linear or Conv1D modules below layer.N, layers.N or h.N",
                     remedy=f"Give a dense model of one of the families {', '.join(COVERED)}.")
        )  # fmt: skip
    return found


def oriented(module: EncoderLinear, weight: Tensor) -> Tensor:
    """Return a weight that is as the module stores it as (out_features, in_features), a view; or the way back.

    >>> oriented(Conv1D(nf=3, nx=2), torch.ones(2, 3)).shape, oriented(nn.Linear(2, 3), torch.ones(3, 2)).shape
    (torch.Size([3, 2]), torch.Size([3, 2]))
    """
    return weight.T if isinstance(module, Conv1D) else weight


def weight_of(module: EncoderLinear) -> Tensor:
    """Return the weight matrix of a module, (out_features, in_features): a view that can be written to.

    >>> weight_of(Conv1D(nf=3, nx=2)).shape
    torch.Size([3, 2])
    """
    return oriented(module, module.weight)


def weight_matrices(model: Any) -> dict[str, NDArray[np.float32]]:
    """Return a copy of every encoder weight matrix, (out_features, in_features) float32, by name.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> weight_matrices(BertForSequenceClassification(tiny))["encoder.layer.0.intermediate.dense"].shape
    (16, 8)
    """
    return {
        name: weight_of(linear).detach().to(torch.float32).numpy().copy()
        for name, linear in encoder_linears(model).items()
    }


def second_moments(
    model: Any, batches: Sequence[Batch], *, progress: Progress = ignore_progress
) -> dict[str, NDArray[np.float64]]:
    """Return E[x x^T] of the input x of every encoder Linear, (in_features, in_features) float64, by name.

    The mean is over the tokens that are not padding; sums are float64, dropout is off. Linears that are fed the same
    tensor (query, key and value) get the same array object.

    Args:
        model: A classifier of transformers; it is in the mode in which it came when this returns.
        batches: The calibration text.
        progress: Told about the stage `calibrate` after each batch.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> one = torch.ones(3, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])]
    >>> second_moments(BertForSequenceClassification(tiny), batches)["encoder.layer.0.output.dense"].shape
    (16, 16)
    """
    linears = encoder_linears(model)
    sums: dict[str, NDArray[np.float64]] = {}
    same_as: dict[str, str] = {}
    seen: dict[int, tuple[Tensor, str]] = {}  # holds the tensors of one batch, so that no id is used twice
    keep = torch.ones(1, 1, dtype=torch.bool)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            _, first = seen.setdefault(id(inputs[0]), (inputs[0], name))
            same_as[name] = first
            if first == name:
                tokens = inputs[0][keep].to(torch.float64).numpy()  # (tokens, in_features)
                sums[name] = sums.get(name, 0.0) + tokens.T @ tokens

        return hook

    handles = [linear.register_forward_pre_hook(watch(name)) for name, linear in linears.items()]
    try:
        with evaluation_mode(model), torch.inference_mode():
            for step, batch in enumerate(batches, start=1):
                seen.clear()
                keep = batch.attention_mask.bool()
                model(**batch.inputs)
                progress(ProgressEvent(stage="calibrate", step=step, steps=len(batches)))
    finally:
        for handle in handles:
            handle.remove()
    count = sum(int(batch.attention_mask.sum()) for batch in batches)
    means = {name: total / count for name, total in sums.items()}
    return {name: means[same_as[name]] for name in linears}


def gradient_moments(
    model: Any, batches: Sequence[Batch], *, progress: Progress = ignore_progress
) -> dict[str, NDArray[np.float64]]:
    """Return E[g g^T] at the output of every encoder Linear, (out_features, out_features) float64, by name.

    g is the gradient, with respect to the output at one token, of the loss of that token's sequence: the cross-entropy
    with its label, not divided by the batch size. The mean is over the tokens that are not padding; sums are float64,
    dropout is off. With the second moments of the inputs these are the two factors of the Kronecker-factored empirical
    Fisher matrix (Martens and Grosse 2015).

    Args:
        model: A classifier of transformers; when this returns it is in the mode in which it came, and so are its
            parameters, without gradients of this.
        batches: The calibration text, with labels.
        progress: Told about the stage `calibrate gradients` after each batch.

    Raises:
        SpecError: The loss depends on some matrix in no way.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> one = torch.ones(3, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])]
    >>> gradient_moments(BertForSequenceClassification(tiny), batches)["encoder.layer.0.output.dense"].shape
    (8, 8)
    """
    linears = encoder_linears(model)
    sums: dict[str, NDArray[np.float64]] = {}
    keep = torch.ones(1, 1, dtype=torch.bool)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def add(gradient: Tensor) -> None:  # (rows, length, out_features)
            tokens = gradient[keep].to(torch.float64).numpy()  # (tokens, out_features)
            sums[name] = sums.get(name, 0.0) + tokens.T @ tokens

        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            output.register_hook(add)

        return hook

    def start_of_graph(_module: nn.Module, _inputs: tuple[Tensor, ...], embedded: Tensor) -> None:
        embedded.requires_grad_()

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles = [linear.register_forward_hook(watch(name)) for name, linear in linears.items()]
    handles.append(model.get_input_embeddings().register_forward_hook(start_of_graph))
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)  # so that backward computes gradients of outputs only
        with evaluation_mode(model), torch.enable_grad():
            for step, batch in enumerate(batches, start=1):
                keep = batch.attention_mask.bool()
                cross_entropy(logits_of(model(**batch.inputs)), batch.labels, reduction="sum").backward()
                progress(ProgressEvent(stage="calibrate gradients", step=step, steps=len(batches)))
    finally:
        for handle in handles:
            handle.remove()
        for parameter in parameters:
            parameter.requires_grad_(True)
    if unused := [name for name in linears if name not in sums]:
        raise SpecError(
            describe("gradient moments", "the loss does not depend on these matrices", got=", ".join(unused[:5]),
                     expected="none such", remedy="Calibrate a model whose head reads what the encoder computes.")
        )  # fmt: skip
    count = sum(int(batch.attention_mask.sum()) for batch in batches)
    return {name: sums[name] / count for name in linears}


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Switch dropout off inside the block; then the model is in the mode in which it came.

    >>> model = nn.Dropout().train()
    >>> with evaluation_mode(model):
    ...     print(model.training)
    False
    >>> model.training
    True
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def calibration_batches(teacher: Teacher, task: Task, *, sentences: int = CALIBRATION_SENTENCES) -> tuple[Batch, ...]:
    """Return the calibration text: the first training rows, texts cut where the model takes no more.

    Questions are cut into windows as for fine-tuning.

    Args:
        teacher: The fine-tuned model.
        task: Its task.
        sentences: How many rows.

    >>> calibration_batches(teacher, task)[0].input_ids.shape  # doctest: +SKIP
    torch.Size([32, 5])
    """
    positions = getattr(teacher.model.config, "max_position_embeddings", None)  # an image model has none
    longest = min(int(teacher.tokenizer.model_max_length), sys.maxsize if positions is None else int(positions))
    max_length = None if task.kind == "question-answering" else longest
    rows = encode(teacher.tokenizer, task, split="train", max_length=max_length, max_rows=sentences)
    return sorted_batches(rows, batch_size=32)


def prepare_calibration(
    teacher: Teacher, task: Task, *, sentences: int = CALIBRATION_SENTENCES, progress: Progress = ignore_progress
) -> Calibration:
    """Return weights and both moments of the teacher on the first training sentences, cached in its folder.

    Args:
        teacher: The fine-tuned model.
        task: Its task.
        sentences: How many training rows to run.
        progress: Told about the stages `calibrate` and `calibrate gradients`.

    >>> prepare_calibration(teacher, task).second_moments["encoder.layer.0.output.dense"].shape  # doctest: +SKIP
    (1536, 1536)
    """
    path = calibration_path(teacher.folder, sentences=sentences)
    if not path.is_file():
        batches = calibration_batches(teacher, task, sentences=sentences)
        calibration = Calibration(
            weights=weight_matrices(teacher.model),
            second_moments=second_moments(teacher.model, batches, progress=progress),
            gradient_moments=gradient_moments(teacher.model, batches, progress=progress),
            tokens=sum(int(batch.attention_mask.sum()) for batch in batches),
        )
        save_calibration(calibration, path)
    return load_calibration(path)


def calibration_path(teacher_folder: Path, *, sentences: int = CALIBRATION_SENTENCES) -> Path:
    """Return where the calibration of a cached teacher is kept; v2 files hold gradient moments, the first had none.

    >>> calibration_path(Path("teacher"), sentences=256).name
    'calibration-256-v2.npz'
    """
    return teacher_folder / f"calibration-{sentences}-v2.npz"
