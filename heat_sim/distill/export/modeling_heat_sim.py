"""Transformers whose weight matrices are held as cores and multiplied step by step, never built.

This file needs torch and transformers alone. heat_sim copies it as it is into every folder it exports; such a folder
loads with `AutoModelFor...from_pretrained(folder, trust_remote_code=True)`. The stock model of the family is built,
the modules that `heat_sim` in `config.json` lists are replaced, then the weights are loaded.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    ViTConfig,
    ViTForImageClassification,
)

FORMAT_VERSION = 1
"""Of the entry `heat_sim` in `config.json`."""

_DEVIATION = 0.02
"""Standard deviation of the cores of a model that is not loaded but made new."""


class FactorizedLinear(nn.Module):
    """A linear layer y = W x + bias whose W is held as cores.

    Args:
        entry: Of the matrix in `config.json`: `cores` (name and shape each), `terms` (steps of each, whose outputs
            are added), `in_modes`, `padding` and, per module, `out_features`.
        bias: (out_features,), or None; kept as it is.
        lender: A layer with the cores that the entry lists as `lent`; not registered here.

    >>> steps = [{"equation": "ab,cb->ac", "inputs": ["X", "G2"], "output": "T1"},
    ...          {"equation": "ab,cb->ac", "inputs": ["T1", "G1"], "output": "Y"}]
    >>> entry = {"cores": [["G1", [4, 2]], ["G2", [2, 6]]], "terms": [steps], "in_modes": [6], "padding": [0, 0],
    ...          "out_features": 4, "lent": []}
    >>> FactorizedLinear(entry, bias=None)(torch.ones(5, 7, 6)).shape
    torch.Size([5, 7, 4])
    """

    def __init__(
        self, entry: Mapping[str, Any], *, bias: Tensor | None, lender: FactorizedLinear | None = None
    ) -> None:
        super().__init__()
        lent = () if lender is None else entry["lent"]
        self.cores = nn.ParameterDict(  # of pairs: the keys of a dict would be sorted
            [(name, nn.Parameter(torch.empty(shape))) for name, shape in entry["cores"] if name not in lent]
        )
        for core in self.cores.values():
            nn.init.normal_(core, std=_DEVIATION)
        self.bias = bias
        self.entry = entry
        self._lender = (lender,)  # in a tuple: a module assigned by itself is registered

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The cores by name, those of the lender among them."""
        (lender,) = self._lender
        own = dict(self.cores.items())
        return own if lender is None else {**lender.tensors, **own}

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., out_features), for x of shape (..., in_features)."""
        rows, columns = self.entry["padding"]
        size = self.entry["out_features"]
        tensors = self.tensors
        padded = functional.pad(x, (0, columns)) if columns else x
        tensors["X"] = padded.reshape(-1, *self.entry["in_modes"])  # (tokens, i1, i2, ...)
        outputs = []
        for steps in self.entry["terms"]:
            results = dict(tensors)  # terms have their own T1, T2, ...
            for step in steps:
                operands = (results[name] for name in step["inputs"])
                results[step["output"]] = torch.einsum(step["equation"], *operands)
            outputs.append(results["Y"].reshape(*x.shape[:-1], size + rows))
        y = functools.reduce(torch.add, outputs)
        if rows:
            y = y[..., :size].contiguous()
        return y if self.bias is None else y + self.bias


class _Kept(NamedTuple):
    """A product that not all members have read, and what it was computed from."""

    x: Tensor
    state: tuple[object, ...]
    output: Tensor
    readers: frozenset[int]


class JointProduct(FactorizedLinear):
    """The product of several stacked matrices with one input, computed once for all of them.

    It is kept from the first member that asks until the last one has, and only for the very same tensor, unchanged.

    Args:
        entry: Of the stacked matrix in `config.json`.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        super().__init__(entry, bias=None)
        self._kept: _Kept | None = None

    def rows(self, x: Tensor, *, place: int) -> Tensor:
        """Return the rows of the member at this place, (..., rows of a member), for x of shape (..., in_features)."""
        members = len(self.entry["modules"])
        state = (
            torch.is_grad_enabled(),
            *(None if t.is_inference() else t._version for t in (x, *self.cores.values())),
        )
        kept = self._kept
        if kept is None or kept.x is not x or kept.state != state or place in kept.readers:
            kept = _Kept(x=x, state=state, output=self(x), readers=frozenset())
        readers = kept.readers | {place}
        self._kept = None if len(readers) == members else kept._replace(readers=readers)
        size = self.entry["out_features"] // members
        return kept.output[..., place * size : (place + 1) * size]


class JointMember(nn.Module):
    """One of several linear layers that get the same tensor and share all cores; the first one registers them.

    Args:
        product: Of all members.
        place: Which member this is, from 0.
        bias: (rows of a member,), or None; kept as it is.
    """

    def __init__(self, product: JointProduct, *, place: int, bias: Tensor | None) -> None:
        super().__init__()
        if place == 0:
            self.held = product
        self.bias = bias
        self.place = place
        self._product = (product,)  # in a tuple: a module assigned by itself is registered

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., rows of a member), for x of shape (..., in_features)."""
        rows = self._product[0].rows(x, place=self.place)
        return rows.contiguous() if self.bias is None else rows + self.bias


def factorize(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Replace the modules that the entry `heat_sim` of a `config.json` lists; their weights are those of a new model.

    Args:
        model: The stock model, changed in place.
        content: `version` and `matrices`.

    Raises:
        ValueError: The entry is of another version of this file.

    >>> factorize(nn.Linear(1, 1), {"version": 0, "matrices": []})
    Traceback (most recent call last):
    ValueError: config.json, heat_sim: another version (got 0, expected 1). Export the model again.
    """
    if content["version"] != FORMAT_VERSION:
        got = f"got {content['version']}, expected {FORMAT_VERSION}"
        raise ValueError(f"config.json, heat_sim: another version ({got}). Export the model again.")
    for entry in content["matrices"]:
        paths = entry["modules"]
        biases = [model.get_submodule(path).bias for path in paths]
        for path, layer in zip(paths, _layers(entry, biases), strict=True):  # type: ignore[arg-type]  # torch types a bias as Tensor | Module
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)


def _layers(entry: Mapping[str, Any], biases: Sequence[Tensor | None]) -> list[nn.Module]:
    """Return what takes the places of the modules of an entry."""
    if entry["one_input"]:
        product = JointProduct(entry)
        return [JointMember(product, place=place, bias=bias) for place, bias in enumerate(biases)]
    first = FactorizedLinear(entry, bias=biases[0])
    return [first, *(FactorizedLinear(entry, bias=bias, lender=first) for bias in biases[1:])]


class HeatBertConfig(BertConfig):
    """Of a factorised BERT; `heat_sim` says how its matrices are held."""

    model_type = "heat_sim-bert"


class HeatRobertaConfig(RobertaConfig):
    """Of a factorised RoBERTa; `heat_sim` says how its matrices are held."""

    model_type = "heat_sim-roberta"


class HeatDistilBertConfig(DistilBertConfig):
    """Of a factorised DistilBERT; `heat_sim` says how its matrices are held."""

    model_type = "heat_sim-distilbert"


class HeatViTConfig(ViTConfig):
    """Of a factorised ViT; `heat_sim` says how its matrices are held."""

    model_type = "heat_sim-vit"


class _Factorized:
    """Makes the stock model that stands behind it in the bases a factorised one."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]  # of the stock model, which comes next in the bases
        factorize(self, config.heat_sim)  # type: ignore[arg-type]  # the bases make it a module


class HeatBertForSequenceClassification(_Factorized, BertForSequenceClassification):
    """A factorised BERT that classifies texts."""

    config_class = HeatBertConfig


class HeatBertForTokenClassification(_Factorized, BertForTokenClassification):
    """A factorised BERT that classifies tokens."""

    config_class = HeatBertConfig


class HeatBertForQuestionAnswering(_Factorized, BertForQuestionAnswering):
    """A factorised BERT that finds answers in a text."""

    config_class = HeatBertConfig


class HeatRobertaForSequenceClassification(_Factorized, RobertaForSequenceClassification):
    """A factorised RoBERTa that classifies texts."""

    config_class = HeatRobertaConfig


class HeatRobertaForTokenClassification(_Factorized, RobertaForTokenClassification):
    """A factorised RoBERTa that classifies tokens."""

    config_class = HeatRobertaConfig


class HeatRobertaForQuestionAnswering(_Factorized, RobertaForQuestionAnswering):
    """A factorised RoBERTa that finds answers in a text."""

    config_class = HeatRobertaConfig


class HeatDistilBertForSequenceClassification(_Factorized, DistilBertForSequenceClassification):
    """A factorised DistilBERT that classifies texts."""

    config_class = HeatDistilBertConfig


class HeatDistilBertForTokenClassification(_Factorized, DistilBertForTokenClassification):
    """A factorised DistilBERT that classifies tokens."""

    config_class = HeatDistilBertConfig


class HeatDistilBertForQuestionAnswering(_Factorized, DistilBertForQuestionAnswering):
    """A factorised DistilBERT that finds answers in a text."""

    config_class = HeatDistilBertConfig


class HeatViTForImageClassification(_Factorized, ViTForImageClassification):
    """A factorised ViT that classifies images."""

    config_class = HeatViTConfig
