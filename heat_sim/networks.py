"""A Transformer encoder as its weight matrices and attention einsums, read from its configuration.

Only the configuration is needed to cost a network; weights come in when it is compressed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import SpecError, describe

_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_COVERED = ("bert",)

SIZES: Mapping[str, Mapping[str, Any]] = {
    name: {
        "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 4 * hidden, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
    }
    for name, hidden, layers, heads in (
        ("bert-base", 768, 12, 12), ("bert-large", 1024, 24, 16), ("distilbert-base", 768, 6, 12),
    )
}  # fmt: skip
"""Configurations of known encoders: Devlin et al. (2019), Sanh et al. (2019)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMatrix:
    """One weight matrix of the encoder.

    Attributes:
        name: Of the module that holds it, below the model's own prefix.
        out_features: Rows.
        in_features: Columns.
    """

    name: str
    out_features: int
    in_features: int

    @property
    def parameters(self) -> int:
        """Weights, without the bias."""
        return self.out_features * self.in_features


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What one forward pass over one sequence consists of.

    Attributes:
        name: What tables call it.
        tokens: Sequence length.
        matrices: Weight matrices of the encoder, in order.
        attention: Activation-by-activation einsums of one encoder layer.
        layers: Encoder layers.
        other_parameters: Embeddings, biases, norms, pooler: whatever stays as it is.
    """

    name: str
    tokens: int
    matrices: tuple[WeightMatrix, ...]
    attention: tuple[Einsum, ...]
    layers: int
    other_parameters: int

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the dense weight matrices."""
        return sum(matrix.parameters for matrix in self.matrices)

    @property
    def classes(self) -> dict[tuple[int, int], tuple[WeightMatrix, ...]]:
        """Matrices by (out_features, in_features), in order of first appearance."""
        groups: dict[tuple[int, int], list[WeightMatrix]] = {}
        for matrix in self.matrices:
            groups.setdefault((matrix.out_features, matrix.in_features), []).append(matrix)
        return {shape: tuple(members) for shape, members in groups.items()}


def network_from_config(config: Mapping[str, Any], *, tokens: int, name: str) -> Network:
    """Return the network of a BERT-like encoder.

    Args:
        config: A Hugging Face configuration as a dict; `model_type` "bert".
        tokens: Sequence length.
        name: What tables call it.

    Raises:
        SpecError: A key is missing, or the model type is not covered.

    >>> config = dict(model_type="bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...               intermediate_size=32, vocab_size=10, max_position_embeddings=16, type_vocab_size=2)
    >>> network = network_from_config(config, tokens=4, name="toy")
    >>> network.matrix_parameters, [str(einsum) for einsum in network.attention]
    (768, ['S[h,q,t] = Q[h,q,d] * K[h,d,t]', 'O[h,q,d] = P[h,q,t] * V[h,t,d]'])
    """
    problems = [
        describe(f"model {name}, config.{key}", "missing or not a size", got=config.get(key),
                 expected="an integer of at least 1", remedy="Give the config.json of a BERT-like encoder.")
        for key in (*_NEEDED, "vocab_size", "max_position_embeddings")
        if type(config.get(key)) is not int or config[key] < 1
    ]  # fmt: skip
    if config.get("model_type") not in _COVERED:
        problems.append(
            describe(f"model {name}, config.model_type", "not covered", got=config.get("model_type"),
                     expected=" or ".join(_COVERED), remedy="Choose a BERT-like encoder.")
        )  # fmt: skip
    if type(tokens) is not int or tokens < 1:
        problems.append(
            describe("tokens", "bad sequence length", got=tokens, expected="an integer >= 1", remedy="Correct it.")
        )
    if problems:
        raise SpecError(problems)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    if hidden % heads:
        raise SpecError(
            describe(f"model {name}, config.hidden_size", "not a multiple of the heads", got=hidden,
                     expected=f"a multiple of {heads}", remedy="Correct the config.")
        )  # fmt: skip
    parts = (
        *((f"attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")),
        ("attention.output.dense", hidden, hidden),
        ("intermediate.dense", inner, hidden),
        ("output.dense", hidden, inner),
    )
    matrices = tuple(
        WeightMatrix(name=f"encoder.layer.{layer}.{part}", out_features=rows, in_features=columns)
        for layer in range(layers)
        for part, rows, columns in parts
    )
    embeddings = hidden * (config["vocab_size"] + config["max_position_embeddings"] + config.get("type_vocab_size", 2))
    biases = layers * sum(rows for _, rows, _ in parts)
    norms = 2 * hidden * (1 + 2 * layers)
    pooler = hidden * hidden + hidden
    extents = {"h": heads, "q": tokens, "t": tokens, "d": hidden // heads}
    return Network(
        name=name,
        tokens=tokens,
        matrices=matrices,
        attention=(
            parse_einsum("S[h,q,t] = Q[h,q,d] * K[h,d,t]", extents=extents, name="scores"),
            parse_einsum("O[h,q,d] = P[h,q,t] * V[h,t,d]", extents=extents, name="context"),
        ),
        layers=layers,
        other_parameters=embeddings + biases + norms + pooler,
    )


def load_network(path: Path, *, tokens: int, name: str | None = None) -> Network:
    """Return the network of a model folder (or of its config.json).

    Raises:
        SpecError: There is no readable config.json, or it is not covered.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SpecError(
            describe(str(file), "not a readable config.json", got=error, expected="a Hugging Face model folder",
                     remedy="Give a folder with config.json.")
        ) from None  # fmt: skip
    if not isinstance(config, dict):
        raise SpecError(f"{file}: expected a JSON object. Give the config.json of a model.")
    return network_from_config(config, tokens=tokens, name=name or path.stem)
