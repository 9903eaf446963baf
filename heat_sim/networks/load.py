"""From a configuration to a network: as a dict, as a config.json, or as a model folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heat_sim.errors import SpecError, describe
from heat_sim.networks.attention import attention_einsums
from heat_sim.networks.config_reader import ConfigReader
from heat_sim.networks.decoders import gpt2, llama, mistral, qwen2
from heat_sim.networks.encoders import bert, distilbert
from heat_sim.networks.images import deit, vit
from heat_sim.networks.layout import Layout
from heat_sim.networks.network import Network, WeightMatrix

_FAMILIES: Mapping[str, Callable[[ConfigReader], Layout]] = {
    "bert": bert, "roberta": bert, "xlm-roberta": bert, "camembert": bert, "distilbert": distilbert,
    "vit": vit, "deit": deit,
    "gpt2": gpt2, "llama": llama, "mistral": mistral, "qwen2": qwen2,
}  # fmt: skip

COVERED = tuple(_FAMILIES)
"""Each `model_type` that is covered."""

TEXT_TOKENS = 128
"""Sequence length of text if none is given."""


def network_from_config(config: Mapping[str, Any], *, tokens: int | None = None, name: str) -> Network:
    """Return the network of a Transformer.

    Args:
        config: A Hugging Face configuration as a dict; `model_type` one of `COVERED`.
        tokens: Sequence length. None is what an image of the configuration makes (its patches, and the class token; in
            a DeiT the distillation token too), and `TEXT_TOKENS` for text.
        name: What tables call it.

    Raises:
        SpecError: Keys are missing or do not fit together, or the model type is not covered: all of it in one.

    >>> config = dict(model_type="bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...               intermediate_size=32, vocab_size=10, max_position_embeddings=16, type_vocab_size=2)
    >>> network = network_from_config(config, tokens=4, name="toy")
    >>> network.matrix_parameters, [str(einsum) for einsum in network.attention]
    (768, ['S[h,q,t] = Q[h,q,d] * K[h,d,t]', 'O[h,q,d] = P[h,q,t] * V[h,t,d]'])
    """
    reader = ConfigReader(config=config, model=name)
    family = config.get("model_type")
    layout = _FAMILIES[family](reader) if isinstance(family, str) and family in _FAMILIES else None
    if layout is None:
        reader.problems.append(
            describe(f"model {name}, config.model_type", "not covered", got=family,
                     expected=f"one of {', '.join(COVERED)}", remedy="Choose a model of one of these families.")
        )  # fmt: skip
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        reader.problems.append(
            describe("tokens", "bad sequence length", got=tokens, expected="an integer >= 1", remedy="Correct it.")
        )
    if reader.problems or layout is None:
        raise SpecError(reader.problems)
    return _network(layout, tokens=tokens or layout.image_tokens or TEXT_TOKENS, name=name)


def load_network(source: str | Path, *, tokens: int | None = None, name: str | None = None) -> Network:
    """Return the network of a model folder (or of its config.json).

    Args:
        source: Folder or file; the hub is not asked.
        tokens: As in `network_from_config`.
        name: What tables call it; the name of the folder or file if left out.

    Raises:
        SpecError: There is no readable config.json, or `network_from_config` refuses it.

    >>> from tempfile import TemporaryDirectory
    >>> config = '{"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 9, "n_positions": 16}'
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "config.json").write_text(config, encoding="utf-8")
    ...     load_network(folder, tokens=4, name="toy").matrices[0].name
    'h.0.attn.c_attn'
    """
    path = Path(source)
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


def _network(layout: Layout, *, tokens: int, name: str) -> Network:
    return Network(
        name=name,
        tokens=tokens,
        matrices=tuple(
            WeightMatrix(
                name=f"{layout.stack}.{layer}.{matrix.name}", role=matrix.role, layer=layer,
                out_features=matrix.out_features, in_features=matrix.in_features,
            )
            for layer in range(layout.layers)
            for matrix in layout.matrices
        ),
        attention=attention_einsums(
            tokens=tokens, heads=layout.heads, key_value_heads=layout.key_value_heads, head_dim=layout.head_dim
        ),
        layers=layout.layers,
        function=layout.function,
        gated=layout.is_gated,
        embeddings=layout.embeddings,
        embedding_parameters=layout.embedding_parameters,
        head_parameters=layout.head_parameters,
        other_parameters=layout.other_parameters,
    )  # fmt: skip
