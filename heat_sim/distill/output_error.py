"""Two estimates of what a design costs in accuracy, nearer to it than any norm of a weight matrix; no training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heat_sim.distill.batches import NO_LABEL, Batch
from heat_sim.distill.calibrate import EncoderLinear, encoder_linears, evaluation_mode, oriented, weight_of
from heat_sim.distill.forward import logits_of
from heat_sim.distill.layer_calls import encoder_layers, hidden_states, layer_of, record_calls
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization

Rebuild = Callable[[str, Factorization], NDArray[np.floating]]
"""From the name of a matrix and a factorization to the approximation W' of the matrix, (out_features, in_features)."""


@contextmanager
def replaced_weights(model: Any, weights: Mapping[str, NDArray[np.floating]]) -> Iterator[None]:
    """Compute with other encoder weights inside the block; then the model has its own again, untouched.

    Args:
        model: A classifier of transformers; no other thread may use it meanwhile.
        weights: By name, each (out_features, in_features); converted to the number format of the model's.

    Raises:
        SpecError: The model has no matrix of that name and size.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model, name = BertForSequenceClassification(tiny), "encoder.layer.0.output.dense"
    >>> with replaced_weights(model, {name: np.ones((8, 8))}):
    ...     encoder_linears(model)[name].weight.sum().item()
    64.0
    """
    linears = encoder_linears(model)
    _refuse_unknown(weights, linears)
    problems = [
        describe(f"matrix {name}", "the replacement has another size", got=weight.shape,
                 expected=tuple(weight_of(linears[name]).shape), remedy="Correct the modes.")
        for name, weight in weights.items()
        if weight.shape != tuple(weight_of(linears[name]).shape)
    ]  # fmt: skip
    if problems:
        raise SpecError(problems)
    own = {name: linears[name].weight.data for name in weights}
    try:
        for name, weight in weights.items():
            linears[name].weight.data = oriented(linears[name], torch.tensor(weight, dtype=own[name].dtype))
        yield
    finally:
        for name, data in own.items():
            linears[name].weight.data = data


class BlockOutputError:
    """Root mean square, over the encoder layers, of the relative error of a layer's output hidden states.

    Each layer is compressed alone and gets the dense model's input, so the estimate is a sum over layers and each
    layer's share is computed once per choice of its factorizations. The relative error is ``||h' - h|| / ||h||`` over
    all tokens of the calibration text that are not padding: dimensionless, 0 for the dense layer.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> one = torch.ones(1, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])]
    >>> square = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=square, ranks=(1,))
    >>> estimate = BlockOutputError(BertForSequenceClassification(tiny), batches, rebuild=lambda *_: np.zeros((8, 8)))
    >>> estimate({}), estimate({"encoder.layer.0.output.dense": rank_1}) > 0.0
    (0.0, True)
    """

    def __init__(self, model: Any, batches: Sequence[Batch], *, rebuild: Rebuild) -> None:
        """Run the dense model once and keep what goes into its layers and what comes out.

        Args:
            model: A classifier of transformers, kept: its weights are replaced for a moment in every call.
            batches: The calibration text.
            rebuild: Called for the matrices of a layer whose error is not known yet.

        Raises:
            HeatError: The layers of the model do not compute the same when they are run one by one.
        """
        self._model, self._rebuild = model, rebuild
        self._matrices: dict[str, list[str]] = {}
        for name in encoder_linears(model):
            self._matrices.setdefault(layer_of(name), []).append(name)
        self._layers = encoder_layers(model)
        self._calls = record_calls(model, batches)
        self._known: dict[tuple[tuple[str, Factorization], ...], float] = {}

    def __call__(self, design: Mapping[str, Factorization]) -> float:
        """Return the estimate for a design; matrices that it does not name stay dense.

        Raises:
            SpecError: The model has no such matrix, or one of another size.
        """
        _refuse_unknown(design, encoder_linears(self._model))
        errors = [self.layer_error(layer, design) for layer in self._layers]
        return float(np.sqrt(np.mean(np.square(errors))))

    def layer_error(self, layer: str, design: Mapping[str, Factorization]) -> float:
        """Return the relative error of one layer's output, the layer named as in `encoder.layer.0`."""
        chosen = {name: design[name] for name in self._matrices[layer] if _compresses(design.get(name))}
        key = tuple(chosen.items())
        if key not in self._known:
            weights = {name: self._rebuild(name, factorization) for name, factorization in chosen.items()}
            self._known[key] = self._compute(layer, weights) if weights else 0.0
        return self._known[key]

    def _compute(self, layer: str, weights: Mapping[str, NDArray[np.floating]]) -> float:
        squared = total = 0.0
        with evaluation_mode(self._model), torch.inference_mode(), replaced_weights(self._model, weights):
            for call in self._calls[layer]:
                output = hidden_states(self._layers[layer](*call.inputs, **call.options))
                exact = call.output[call.keep].to(torch.float64)  # (tokens, hidden)
                squared += float((output[call.keep].to(torch.float64) - exact).square().sum())
                total += float(exact.square().sum())
        return float(np.sqrt(squared / total))


class LogitError:
    """Mean over what is classified of KL(dense softmax || compressed softmax), in nats; 0 for the dense model.

    Classified are the calibration sequences, or the tokens of theirs that have a label, or start and end of an answer.

    All matrices are replaced at once, so it sees how errors add up and cancel; every call runs the whole model.

    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> one = torch.ones(1, 4, dtype=torch.int64)
    >>> batches = [Batch.of_tokens(input_ids=one, attention_mask=one, labels=one[:, 0])]
    >>> LogitError(BertForSequenceClassification(tiny), batches, rebuild=lambda *_: np.zeros((8, 8)))({})
    0.0
    """

    def __init__(self, model: Any, batches: Sequence[Batch], *, rebuild: Rebuild) -> None:
        """Run the dense model once and keep its log-probabilities.

        Args:
            model: A classifier of transformers, kept: its weights are replaced for a moment in every call.
            batches: The calibration text.
            rebuild: Called in every call for every matrix that does not stay dense.
        """
        self._model, self._batches, self._rebuild = model, batches, rebuild
        self._dense = self._log_probabilities({})

    def __call__(self, design: Mapping[str, Factorization]) -> float:
        """Return the estimate for a design; matrices that it does not name stay dense.

        Raises:
            SpecError: The model has no such matrix, or one of another size.
        """
        _refuse_unknown(design, encoder_linears(self._model))
        weights = {name: self._rebuild(name, choice) for name, choice in design.items() if _compresses(choice)}
        other = self._log_probabilities(weights)
        divergences = [(a.exp() * (a - b)).sum(dim=-1) for a, b in zip(self._dense, other, strict=True)]
        return max(0.0, float(torch.cat(divergences).mean()))

    def _log_probabilities(self, weights: Mapping[str, NDArray[np.floating]]) -> list[Tensor]:
        """Return the logarithms of the probabilities of the classes of each batch, (places, classes) float64.

        Places without label are left out. The classes of an answer are the tokens, as many as the batch is long.
        """
        with evaluation_mode(self._model), torch.inference_mode(), replaced_weights(self._model, weights):
            logits = [logits_of(self._model(**b.inputs))[b.labels != NO_LABEL] for b in self._batches]
        return [each.to(torch.float64).log_softmax(dim=-1) for each in logits]


def _compresses(choice: Factorization | None) -> bool:
    return choice is not None and choice.format != "dense"


def _refuse_unknown(names: Mapping[str, object], linears: Mapping[str, EncoderLinear]) -> None:
    if unknown := [name for name in names if name not in linears]:
        raise SpecError(
            describe("output error", "the model has no such matrix", got=", ".join(unknown[:5]),
                     expected=f"names like {next(iter(linears))}", remedy="Name the right model.")
        )  # fmt: skip
