"""Reading a model: the weight matrices of its encoder, and the second moments of what they are multiplied with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heat_sim.distill.batches import Batch, encode, sorted_batches
from heat_sim.distill.calibration import Calibration, load_calibration, save_calibration
from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.tasks import TextTask
from heat_sim.distill.teacher import Teacher

_IN_A_LAYER = re.compile(r"(?:^|\.)layers?\.\d+\.")


def encoder_linears(model: Any) -> dict[str, nn.Linear]:
    """Return the Linear modules inside the numbered encoder layers, by name without the model's own prefix.

    In a BERT these are, per layer, `attention.self.query`, `.key`, `.value`, `attention.output.dense`,
    `intermediate.dense` and `output.dense`: neither the pooler nor the classifier.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> list(encoder_linears(BertForSequenceClassification(tiny)))[:2]
    ['encoder.layer.0.attention.self.query', 'encoder.layer.0.attention.self.key']
    """
    prefix = f"{model.base_model_prefix}."
    return {
        name.removeprefix(prefix): module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and _IN_A_LAYER.search(name)
    }


def weight_matrices(model: Any) -> dict[str, NDArray[np.float32]]:
    """Return a copy of every encoder weight matrix, (out_features, in_features) float32, by name.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    >>> weight_matrices(BertForSequenceClassification(tiny))["encoder.layer.0.intermediate.dense"].shape
    (16, 8)
    """
    return {
        name: linear.weight.detach().to(torch.float32).numpy().copy() for name, linear in encoder_linears(model).items()
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
    >>> batches = [Batch(input_ids=one, attention_mask=one, labels=one[:, 0])]
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
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for step, batch in enumerate(batches, start=1):
                seen.clear()
                keep = batch.attention_mask.bool()
                model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
                progress(ProgressEvent(stage="calibrate", step=step, steps=len(batches)))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    count = sum(int(batch.attention_mask.sum()) for batch in batches)
    means = {name: total / count for name, total in sums.items()}
    return {name: means[same_as[name]] for name in linears}


def prepare_calibration(
    teacher: Teacher, task: TextTask, *, sentences: int = 256, progress: Progress = ignore_progress
) -> Calibration:
    """Return weights and second moments of the teacher on the first training sentences, cached in its folder.

    Args:
        teacher: The fine-tuned model.
        task: Its task.
        sentences: How many training rows to run.
        progress: Told about the stage `calibrate`.

    >>> prepare_calibration(teacher, task).second_moments["encoder.layer.0.output.dense"].shape  # doctest: +SKIP
    (1536, 1536)
    """
    path = calibration_path(teacher.folder, sentences=sentences)
    if not path.is_file():
        max_length = min(int(teacher.tokenizer.model_max_length), int(teacher.model.config.max_position_embeddings))
        rows = encode(teacher.tokenizer, task, split="train", max_length=max_length, max_rows=sentences)
        batches = sorted_batches(rows, batch_size=32)
        calibration = Calibration(
            weights=weight_matrices(teacher.model),
            second_moments=second_moments(teacher.model, batches, progress=progress),
            tokens=sum(map(len, rows.tokens)),
        )
        save_calibration(calibration, path)
    return load_calibration(path)


def calibration_path(teacher_folder: Path, *, sentences: int) -> Path:
    """Return where the calibration of a cached teacher is kept.

    >>> calibration_path(Path("teacher"), sentences=256).name
    'calibration-256.npz'
    """
    return teacher_folder / f"calibration-{sentences}.npz"
