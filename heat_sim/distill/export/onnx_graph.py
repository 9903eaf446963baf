"""A student as an ONNX graph, for runtimes without torch."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heat_sim.distill.export.folder import check_is_free, new_folder
from heat_sim.distill.export.heads import Head, head_of
from heat_sim.distill.export.matrices import matrix_entries
from heat_sim.distill.export.model_card import model_card
from heat_sim.distill.layers import FactorizedLinear
from heat_sim.distill.pretrained import quiet_transformers
from heat_sim.errors import MissingDependencyError, describe
from heat_sim.tensorize.design import Design

_PACKAGES = ("onnx", "onnxscript")
_FILE = "model.onnx"
_EXAMPLE = (2, 3)
"""Sentences and tokens of the input that the graph is traced with; neither stays fixed."""


def require_onnx() -> None:
    """Return if onnx and onnxscript are installed; they are looked for, not imported.

    Raises:
        MissingDependencyError: One of them is not installed.

    >>> require_onnx()
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise MissingDependencyError(
            describe("export to ONNX", "packages are not installed", got=f"no {', '.join(missing)}",
                     expected=", ".join(_PACKAGES), remedy='Run: pip install "heat_sim[onnx]"')
        )  # fmt: skip


def export_to_onnx(
    student: Any, folder: Path, *, design: Design, processor: Any | None = None, edp_gain: float | None = None
) -> None:
    """Write a new folder with `model.onnx`, the files of the processor, `config.json` and a README.md.

    Inputs of the graph are int64 `input_ids` and `attention_mask`, (batch, sequence), and `token_type_ids` where the
    model has several types; of images `pixel_values`, (batch, channels, height, width). Batch and sequence are free,
    the latter up to the positions of the model. Outputs are `logits`, or `start_logits` and `end_logits`.

    Args:
        student: As `factorize` returns it, see `export_to_hugging_face`.
        folder: Must not exist.
        design: What the student was made by; for the README.md.
        processor: Tokenizer or image processor that goes with the model.
        edp_gain: EDP of the dense encoder over that of the design; for the README.md.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        SpecError: The folder is there already, or the student cannot be exported.

    >>> export_to_onnx(student, Path("exported"), design=design)  # doctest: +SKIP
    """
    require_onnx()
    check_is_free(folder)
    head = head_of(student)
    entries = matrix_entries(student)
    student = _as_designed(student)
    example = _example(student, head)
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=_longest(student.config))
    axes: dict[str, dict[int, Any]] = {
        name: {0: batch, 1: sequence} if head.input == "text" else {0: batch} for name in example
    }
    with new_folder(folder, processor=processor) as draft:
        with _quiet_exporter():
            program = torch.onnx.export(
                _Graph(student, inputs=example, outputs=head.outputs).eval(),
                tuple(example.values()),
                dynamo=True,
                dynamic_shapes=(tuple(axes.values()),),
                input_names=list(example),
                output_names=list(head.outputs),
                verbose=False,
            )
            assert program is not None  # with dynamo there is one
            program.save(str(draft / _FILE))
            student.config.save_pretrained(draft)
        card = model_card(loading=_loading_code(example), entries=entries, design=design, edp_gain=edp_gain)
        (draft / "README.md").write_text(card, encoding="utf-8")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter tells of its own working; what it cannot export it still raises."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


class _Graph(nn.Module):
    """The student with tensors by place in and out; the exporter keeps this order.

    Args:
        student: A model of transformers.
        inputs: Names of its arguments.
        outputs: Names of the tensors it returns.
    """

    def __init__(self, student: nn.Module, *, inputs: Iterable[str], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.student = student
        self.inputs = tuple(inputs)
        self.outputs = outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs."""
        result = self.student(**dict(zip(self.inputs, tensors, strict=True)), return_dict=True)
        return tuple(result[name] for name in self.outputs)


def _as_designed(student: Any) -> Any:
    """Return a copy in evaluation mode whose layers run the cascade of the design, whatever they were trained with."""
    copied = copy.deepcopy(student).eval()
    for module in copied.modules():
        if isinstance(module, FactorizedLinear):
            module.execution = "cascade"
    return copied


def _example(student: Any, head: Head) -> dict[str, Tensor]:
    """Return small inputs by name, in the order of the graph."""
    config = student.config
    if head.input == "image":
        sides = config.image_size if isinstance(config.image_size, list | tuple) else (config.image_size,) * 2
        return {"pixel_values": torch.zeros(_EXAMPLE[0], config.num_channels, *sides)}
    names = ["input_ids", "attention_mask"]
    if "token_type_ids" in inspect.signature(student.forward).parameters and config.type_vocab_size > 1:
        names.append("token_type_ids")
    return {name: torch.full(_EXAMPLE, int(name != "token_type_ids")) for name in names}


def _longest(config: Any) -> int | None:
    """Return how many tokens a text model takes; those of RoBERTa start behind the place of the padding."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type == "roberta":
        positions -= config.pad_token_id + 1
    return positions


def _loading_code(example: Mapping[str, Tensor]) -> str:
    inputs = ", ".join(f'"{name}": {name}' for name in example)
    return (
        "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("FOLDER/{_FILE}")  # FOLDER: where this file is\n'
        f"outputs = session.run(None, {{{inputs}}})"
    )
