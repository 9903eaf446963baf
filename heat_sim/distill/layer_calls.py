"""The encoder layers of a model one by one: what each is called with, and what its matrices are fed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heat_sim.distill.batches import Batch
from heat_sim.distill.calibrate import encoder_linears, evaluation_mode
from heat_sim.errors import HeatError, describe

_LAYER = re.compile(r"(?:.*?\.)?(?:layers?|h)\.\d+(?=\.)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerCall:
    """One call of an encoder layer.

    Attributes:
        inputs: Arguments by position; the first one the hidden states, (rows, length, hidden).
        options: Arguments by name.
        keep: Which tokens are not padding, (rows, length) bool.
        output: Hidden states, (rows, length, hidden).
    """

    inputs: tuple[Any, ...]
    options: dict[str, Any]
    keep: Tensor
    output: Tensor


def layer_of(name: str) -> str:
    """Return the encoder layer that a matrix of `encoder_linears` is in.

    >>> layer_of("encoder.layer.0.attention.self.query")
    'encoder.layer.0'
    """
    found = _LAYER.match(name)
    assert found is not None  # by the definition of encoder_linears
    return found[0]


def encoder_layers(model: Any) -> dict[str, nn.Module]:
    """Return the encoder layers that have matrices, by name without the model's own prefix, in order."""
    modules = {name.removeprefix(f"{model.base_model_prefix}."): module for name, module in model.named_modules()}
    return {layer: modules[layer] for layer in dict.fromkeys(map(layer_of, encoder_linears(model)))}


def record_calls(model: Any, batches: Sequence[Batch]) -> dict[str, list[LayerCall]]:
    """Return the calls of every encoder layer, one per batch, with dropout off.

    Raises:
        HeatError: The layers of the model do not compute the same when they are run one by one.
    """
    layers = encoder_layers(model)
    calls: dict[str, list[LayerCall]] = {layer: [] for layer in layers}
    keep = torch.ones(1, 1, dtype=torch.bool)

    def watch(layer: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
            calls[layer].append(LayerCall(inputs=inputs, options=options, keep=keep, output=hidden_states(output)))

        return hook

    handles = [module.register_forward_hook(watch(layer), with_kwargs=True) for layer, module in layers.items()]
    try:
        with evaluation_mode(model), torch.inference_mode():
            for batch in batches:
                keep = batch.attention_mask.bool()
                model(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    for layer, module in layers.items():
        with evaluation_mode(model), torch.inference_mode():
            first = calls[layer][0]
            again = hidden_states(module(*first.inputs, **first.options))
        if not torch.equal(again[first.keep], first.output[first.keep]):
            raise HeatError(
                describe(f"layer {layer}", "run by itself it computes something else", got="other hidden states",
                         expected="those of the whole model", remedy="Give an encoder that keeps no cache.")
            )  # fmt: skip
    return calls


def hidden_states(output: Any) -> Tensor:
    """Return the hidden states of a layer's output: some layers return a tuple that begins with them."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


class LayerByLayer:
    """What the matrices of a model are fed, while its weights change from the first layer to the last.

    The hidden states at the entry of one layer are held, so that only the part of that layer before the matrix runs.
    """

    def __init__(self, model: Any, calls: Mapping[str, Sequence[LayerCall]], batches: Sequence[Batch]) -> None:
        """Stand at the first layer.

        Args:
            model: In evaluation mode. Its weights may change, in layers that were not left yet.
            calls: Of a model of the same kind with the same embeddings, as `record_calls` returns them.
            batches: Those of the calls.
        """
        self._model, self._calls, self._batches = model, calls, batches
        self._layers = encoder_layers(model)
        self._at = next(iter(self._layers))
        self._entry: list[Tensor] = [call.inputs[0] for call in calls[self._at]]

    def enter(self, layer: str) -> None:
        """Go on to a layer, through those before it as they are now."""
        names = list(self._layers)
        for name in names[names.index(self._at) : names.index(layer)]:
            with torch.inference_mode():
                self._entry = [hidden_states(self._run(name, k)) for k in range(len(self._batches))]
        self._at = layer

    def inputs(self, name: str) -> Iterator[NDArray[np.float64]]:
        """Yield what the named matrix is fed, batch by batch, (tokens, in_features) float64, padding left out."""
        found: list[Tensor] = []

        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.append(inputs[0])
            raise Reached

        handle = encoder_linears(self._model)[name].register_forward_pre_hook(hook)
        try:
            for k, batch in enumerate(self._batches):
                try:
                    with torch.inference_mode():
                        if layer_of(name) == self._at:
                            self._run(self._at, k)
                        else:
                            self._model(**batch.inputs)
                except Reached:
                    pass
                yield found.pop()[batch.attention_mask.bool()].to(torch.float64).numpy()
        finally:
            handle.remove()

    def _run(self, layer: str, k: int) -> Any:
        call = self._calls[layer][k]
        return self._layers[layer](self._entry[k], *call.inputs[1:], **call.options)


class Reached(Exception):  # noqa: N818  # no error: it ends a forward pass whose rest is not needed
    """What the watched module is called with is known."""
