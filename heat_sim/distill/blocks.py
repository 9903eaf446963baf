"""Stage 1 one encoder layer at a time: every layer is fed the teacher's hidden states, which are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heat_sim.distill.batches import Batch, Rows
from heat_sim.distill.layer_calls import Reached, encoder_layers, hidden_states
from heat_sim.distill.losses import layerwise_loss
from heat_sim.distill.precision import mixed_precision
from heat_sim.distill.progress import Progress, ProgressEvent
from heat_sim.distill.settings import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTargets:
    """What one layer of the teacher does with each row: tensors without padding, float32.

    Attributes:
        inputs: Hidden states before the layer, (length, hidden) each.
        outputs: Hidden states behind it.
        maps: Attention maps, (heads, length, length) each.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]


class Blocks:
    """The encoder layers of teacher and student, side by side.

    It holds hidden states and attention maps of one layer at a time: 4 bytes times (2 * hidden + heads * length) for
    every token of the training rows.

    Args:
        teacher: The dense model, in evaluation mode.
        student: The model that is trained.
    """

    def __init__(self, teacher: Any, student: Any) -> None:
        self._teacher, self._student = teacher, student
        self._of_teacher = encoder_layers(teacher)
        self._of_student = {
            layer: student.get_submodule(f"{student.base_model_prefix}.{layer}") for layer in self._of_teacher
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(self._of_teacher)

    def module(self, layer: str) -> nn.Module:
        """Return a layer of the student."""
        return self._of_student[layer]

    def targets(
        self, layer: str, rows: Rows, inputs: Sequence[Tensor] | None, *, batch_size: int, precision: Precision,
        progress: Progress,
    ) -> LayerTargets:  # fmt: skip
        """Run a layer of the teacher on all rows.

        Args:
            layer: Its name.
            rows: The rows.
            inputs: Hidden states before it, as the layer before gave them; None for the first layer.
            batch_size: Rows at a time.
            precision: Number format of the matrix products.
            progress: Told about the stage `teacher layers`.
        """
        lengths = rows.lengths
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        before: dict[int, Tensor] = {}
        after: dict[int, Tensor] = {}
        maps: dict[int, Tensor] = {}
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = rows.batch(places)
            with torch.no_grad(), mixed_precision(precision):
                entry, options = self._entry(batch)
                hidden = entry if inputs is None else _padded([inputs[place] for place in places])
                output, attention = _run(self._of_teacher[layer], hidden, options)
            for k, place in enumerate(places):
                length = int(batch.attention_mask[k].sum())
                before[place] = hidden[k, :length].float().clone()
                after[place] = output[k, :length].float().clone()
                maps[place] = attention[k, :, :length, :length].float().clone()
            progress(ProgressEvent(stage="teacher layers", step=len(before), steps=len(order)))
        rows_in_order = range(len(order))
        return LayerTargets(
            inputs=tuple(before[row] for row in rows_in_order),
            outputs=tuple(after[row] for row in rows_in_order),
            maps=tuple(maps[row] for row in rows_in_order),
        )

    def loss(self, layer: str, batch: LayerBatch) -> Tensor:
        """Return the layer-wise loss of one layer of the student that is fed the teacher's hidden states: a scalar."""
        with torch.no_grad():
            _, options = self._entry(batch)
        output, attention = _run(self._of_student[layer], batch.before, options)
        return layerwise_loss(
            ((output,), (attention,)), ((batch.after,), (batch.maps,)), attention_mask=batch.attention_mask
        )

    def _entry(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """Return what the first layer of the teacher is called with."""
        first = next(iter(self._of_teacher.values()))
        found: list[tuple[Tensor, dict[str, Any]]] = []

        def hook(_module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
            found.append((inputs[0], {"rest": inputs[1:], **options}))
            raise Reached

        handle = first.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            self._teacher(**batch.inputs)
        except Reached:
            pass
        finally:
            handle.remove()
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerBatch(Batch):
    """Rows with what one layer of the teacher does with them, padded with zeros.

    Attributes:
        before: Hidden states before the layer, (rows, length, hidden).
        after: Hidden states behind it.
        maps: Attention maps, (rows, heads, length, length).
    """

    before: Tensor
    after: Tensor
    maps: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerRows:
    """Rows whose batches carry what one layer of the teacher does with them.

    Attributes:
        rows: The rows.
        targets: Of every row.
    """

    rows: Rows
    targets: LayerTargets

    @property
    def lengths(self) -> tuple[int, ...]:
        """How long each row is."""
        return tuple(self.rows.lengths)

    def batch(self, places: Sequence[int]) -> LayerBatch:
        """Return some of the rows, padded to the longest of them."""
        batch = self.rows.batch(places)
        before, after = (
            _padded([tensors[place] for place in places]) for tensors in (self.targets.inputs, self.targets.outputs)
        )
        found = [self.targets.maps[place] for place in places]
        maps = torch.zeros(len(places), found[0].shape[0], before.shape[1], before.shape[1])
        for k, each in enumerate(found):
            maps[k, :, : each.shape[-1], : each.shape[-1]] = each
        return LayerBatch(
            inputs=batch.inputs, labels=batch.labels, attention_mask=batch.attention_mask, before=before, after=after,
            maps=maps,
        )  # fmt: skip


def _run(layer: nn.Module, hidden: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return a layer's output and its attention map."""
    named = {name: value for name, value in options.items() if name != "rest"}
    with _attention_maps(layer) as maps:
        output = hidden_states(layer(hidden, *options["rest"], **named))
    return output, maps[-1]


@contextmanager
def _attention_maps(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Yield the list that attention maps are added to inside the block: second results that are 4-dimensional."""
    maps: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, tuple) and len(output) > 1 and isinstance(output[1], Tensor) and output[1].ndim == 4:
            maps.append(output[1])

    handles = [module.register_forward_hook(hook) for module in layer.modules()]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _padded(tensors: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True)
