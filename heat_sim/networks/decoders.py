"""Text decoders: GPT-2, and Llama with its kin Mistral and Qwen2."""

from __future__ import annotations

from heat_sim.networks.config_reader import ConfigReader
from heat_sim.networks.layout import LayerMatrix, Layout
from heat_sim.networks.network import EmbeddingTable

_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")


def gpt2(config: ConfigReader) -> Layout:
    """Return the layout of a GPT2Model (Radford et al., 2019); query, key and value are one matrix.

    Its modules hold the transposed weight (in_features, out_features).

    >>> toy = dict(n_embd=8, n_layer=1, n_head=2, vocab_size=10, n_positions=16)
    >>> [(m.name, m.out_features, m.in_features) for m in gpt2(ConfigReader(config=toy, model="toy")).matrices][:2]
    [('attn.c_attn', 24, 8), ('attn.c_proj', 8, 8)]
    """
    hidden, layers, heads = config.size("n_embd"), config.size("n_layer"), config.size("n_head")
    inner = config.size("n_inner", 4 * hidden)
    words = EmbeddingTable(name="wte", rows=config.size("vocab_size"), columns=hidden)
    config.refuse_if_set("add_cross_attention", why="cross-attention is not covered")
    return Layout(
        stack="h",
        layers=layers,
        matrices=(
            LayerMatrix(role="query_key_value", name="attn.c_attn", out_features=3 * hidden, in_features=hidden),
            LayerMatrix(role="attention_output", name="attn.c_proj", out_features=hidden, in_features=hidden),
            LayerMatrix(role="up", name="mlp.c_fc", out_features=inner, in_features=hidden),
            LayerMatrix(role="down", name="mlp.c_proj", out_features=hidden, in_features=inner),
        ),
        heads=heads,
        key_value_heads=heads,
        head_dim=config.divide("n_embd", "n_head", whole=hidden, parts=heads),
        function=config.function("activation_function", "gelu_new"),
        embeddings=(words, EmbeddingTable(name="wpe", rows=config.size("n_positions"), columns=hidden)),
        norm_parameters=2 * hidden * (1 + 2 * layers),
        head_parameters=_language_model_head(config, words, tied=True),
    )


def llama(config: ConfigReader) -> Layout:
    """Return the layout of a LlamaModel (Touvron et al., 2023): grouped heads, gated feed-forward block, RMS norms.

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    ...            intermediate_size=32, vocab_size=10)
    >>> [(m.name, m.out_features, m.in_features) for m in llama(ConfigReader(config=toy, model="toy")).matrices][1:4]
    [('self_attn.k_proj', 4, 8), ('self_attn.v_proj', 4, 8), ('self_attn.o_proj', 8, 8)]
    """
    attention, feed_forward = config.flag("attention_bias", False), config.flag("mlp_bias", False)
    return _llama_like(
        config, query_key_value_bias=attention, output_bias=attention, feed_forward_bias=feed_forward,
        key_value_heads=config.size("num_key_value_heads", config.size("num_attention_heads")),
    )  # fmt: skip


def mistral(config: ConfigReader) -> Layout:
    """Return the layout of a MistralModel (Jiang et al., 2023): a Llama without biases.

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    ...            intermediate_size=32, vocab_size=10)
    >>> any(matrix.bias for matrix in mistral(ConfigReader(config=toy, model="toy")).matrices)
    False
    """
    return _llama_like(config, key_value_heads=config.size("num_key_value_heads"))


def qwen2(config: ConfigReader) -> Layout:
    """Return the layout of a Qwen2Model (Yang et al., 2024): a Llama with biases of query, key and value.

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    ...            intermediate_size=32, vocab_size=10)
    >>> [matrix.role for matrix in qwen2(ConfigReader(config=toy, model="toy")).matrices if matrix.bias]
    ['query', 'key', 'value']
    """
    return _llama_like(config, key_value_heads=config.size("num_key_value_heads"), query_key_value_bias=True)


def _llama_like(
    config: ConfigReader, *, key_value_heads: int, query_key_value_bias: bool = False, output_bias: bool = False,
    feed_forward_bias: bool = False,
) -> Layout:  # fmt: skip
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    layers, heads = config.size("num_hidden_layers"), config.size("num_attention_heads")
    config.divide("num_attention_heads", "num_key_value_heads", whole=heads, parts=key_value_heads)
    if config.config.get("head_dim") is None:
        head_dim = config.divide("hidden_size", "num_attention_heads", whole=hidden, parts=heads)
    else:
        head_dim = config.size("head_dim")
    words = EmbeddingTable(name="embed_tokens", rows=config.size("vocab_size"), columns=hidden)
    queries, keys = heads * head_dim, key_value_heads * head_dim
    return Layout(
        stack="layers",
        layers=layers,
        matrices=(
            LayerMatrix(
                role="query", name="self_attn.q_proj", out_features=queries, in_features=hidden,
                bias=query_key_value_bias,
            ),
            LayerMatrix(
                role="key", name="self_attn.k_proj", out_features=keys, in_features=hidden, bias=query_key_value_bias
            ),
            LayerMatrix(
                role="value", name="self_attn.v_proj", out_features=keys, in_features=hidden, bias=query_key_value_bias
            ),
            LayerMatrix(
                role="attention_output", name="self_attn.o_proj", out_features=hidden, in_features=queries,
                bias=output_bias,
            ),
            LayerMatrix(
                role="gate", name="mlp.gate_proj", out_features=inner, in_features=hidden, bias=feed_forward_bias
            ),
            LayerMatrix(role="up", name="mlp.up_proj", out_features=inner, in_features=hidden, bias=feed_forward_bias),
            LayerMatrix(
                role="down", name="mlp.down_proj", out_features=hidden, in_features=inner, bias=feed_forward_bias
            ),
        ),
        heads=heads,
        key_value_heads=key_value_heads,
        head_dim=head_dim,
        function=config.function("hidden_act", "silu"),
        embeddings=(words,),
        norm_parameters=hidden * (1 + 2 * layers),
        head_parameters=_language_model_head(config, words, tied=False),
    )  # fmt: skip


def _language_model_head(config: ConfigReader, words: EmbeddingTable, *, tied: bool) -> int:
    """Return the parameters of the head that the configuration says the model was saved with; a tied one costs none.

    Args:
        config: Its `architectures` name the model class.
        words: The token embeddings.
        tied: What a configuration that does not say it means.
    """
    saved_as = config.config.get("architectures")
    names = saved_as if isinstance(saved_as, list | tuple) else ()
    has_head = any(isinstance(name, str) and name.endswith(_LANGUAGE_MODELS) for name in names)
    return words.parameters if has_head and not config.flag("tie_word_embeddings", tied) else 0
