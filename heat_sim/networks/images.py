"""Image encoders: ViT and DeiT."""

from __future__ import annotations

from heat_sim.networks.config_reader import ConfigReader
from heat_sim.networks.layout import LayerMatrix, Layout
from heat_sim.networks.network import EmbeddingTable


def vit(config: ConfigReader) -> Layout:
    """Return the layout of a ViTModel, pooler included (Dosovitskiy et al., 2021): a class token before the patches.

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=224,
    ...            patch_size=16)
    >>> vit(ConfigReader(config=toy, model="toy")).image_tokens
    197
    """
    return _image_encoder(config, further_tokens=1)


def deit(config: ConfigReader) -> Layout:
    """Return the layout of a DeiTModel (Touvron et al., 2021): a class and a distillation token before the patches.

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=224,
    ...            patch_size=16)
    >>> deit(ConfigReader(config=toy, model="toy")).image_tokens
    198
    """
    return _image_encoder(config, further_tokens=2)


def _image_encoder(config: ConfigReader, *, further_tokens: int) -> Layout:
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    layers, heads = config.size("num_hidden_layers"), config.size("num_attention_heads")
    image, patch = config.sides("image_size"), config.sides("patch_size")
    patches = (image[0] // patch[0]) * (image[1] // patch[1])
    convolution = hidden * config.size("num_channels", 3) * patch[0] * patch[1] + hidden
    pooled = config.size("pooler_output_size", hidden)
    bias = config.flag("qkv_bias", True)
    return Layout(
        stack="layers",
        layers=layers,
        matrices=(
            LayerMatrix(role="query", name="attention.q_proj", out_features=hidden, in_features=hidden, bias=bias),
            LayerMatrix(role="key", name="attention.k_proj", out_features=hidden, in_features=hidden, bias=bias),
            LayerMatrix(role="value", name="attention.v_proj", out_features=hidden, in_features=hidden, bias=bias),
            LayerMatrix(role="attention_output", name="attention.o_proj", out_features=hidden, in_features=hidden),
            LayerMatrix(role="up", name="mlp.fc1", out_features=inner, in_features=hidden),
            LayerMatrix(role="down", name="mlp.fc2", out_features=hidden, in_features=inner),
        ),
        heads=heads,
        key_value_heads=heads,
        head_dim=config.divide("hidden_size", "num_attention_heads", whole=hidden, parts=heads),
        function=config.function("hidden_act", "gelu"),
        embeddings=(
            EmbeddingTable(name="embeddings.position_embeddings", rows=patches + further_tokens, columns=hidden),
        ),
        norm_parameters=2 * hidden * (1 + 2 * layers),
        head_parameters=pooled * hidden + pooled,
        image_parameters=convolution + further_tokens * hidden,
        image_tokens=patches + further_tokens,
    )
