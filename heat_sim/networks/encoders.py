"""Text encoders: BERT, RoBERTa and DistilBERT."""

from __future__ import annotations

from heat_sim.networks.config_reader import ConfigReader
from heat_sim.networks.layout import LayerMatrix, Layout
from heat_sim.networks.network import EmbeddingTable


def bert(config: ConfigReader) -> Layout:
    """Return the layout of a BertModel or RobertaModel, pooler included (Devlin et al., 2019; Liu et al., 2019).

    >>> toy = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=10,
    ...            max_position_embeddings=16, type_vocab_size=2)
    >>> [matrix.name for matrix in bert(ConfigReader(config=toy, model="toy")).matrices][3:]
    ['attention.output.dense', 'intermediate.dense', 'output.dense']
    """
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    layers, heads = config.size("num_hidden_layers"), config.size("num_attention_heads")
    config.refuse_if_set("add_cross_attention", why="cross-attention is not covered")
    return Layout(
        stack="encoder.layer",
        layers=layers,
        matrices=(
            LayerMatrix(role="query", name="attention.self.query", out_features=hidden, in_features=hidden),
            LayerMatrix(role="key", name="attention.self.key", out_features=hidden, in_features=hidden),
            LayerMatrix(role="value", name="attention.self.value", out_features=hidden, in_features=hidden),
            LayerMatrix(
                role="attention_output", name="attention.output.dense", out_features=hidden, in_features=hidden
            ),
            LayerMatrix(role="up", name="intermediate.dense", out_features=inner, in_features=hidden),
            LayerMatrix(role="down", name="output.dense", out_features=hidden, in_features=inner),
        ),
        heads=heads,
        key_value_heads=heads,
        head_dim=config.divide("hidden_size", "num_attention_heads", whole=hidden, parts=heads),
        function=config.function("hidden_act", "gelu"),
        embeddings=tuple(
            EmbeddingTable(name=f"embeddings.{name}", rows=rows, columns=hidden)
            for name, rows in (
                ("word_embeddings", config.size("vocab_size")),
                ("position_embeddings", config.size("max_position_embeddings")),
                ("token_type_embeddings", config.size("type_vocab_size", 2)),
            )
        ),
        norm_parameters=2 * hidden * (1 + 2 * layers),
        head_parameters=hidden * hidden + hidden,
    )


def distilbert(config: ConfigReader) -> Layout:
    """Return the layout of a DistilBertModel, which has neither pooler nor token types (Sanh et al., 2019).

    >>> toy = dict(dim=8, n_layers=1, n_heads=2, hidden_dim=32, vocab_size=10, max_position_embeddings=16)
    >>> [matrix.name for matrix in distilbert(ConfigReader(config=toy, model="toy")).matrices][3:]
    ['attention.out_lin', 'ffn.lin1', 'ffn.lin2']
    """
    hidden, inner = config.size("dim"), config.size("hidden_dim")
    layers, heads = config.size("n_layers"), config.size("n_heads")
    return Layout(
        stack="transformer.layer",
        layers=layers,
        matrices=(
            LayerMatrix(role="query", name="attention.q_lin", out_features=hidden, in_features=hidden),
            LayerMatrix(role="key", name="attention.k_lin", out_features=hidden, in_features=hidden),
            LayerMatrix(role="value", name="attention.v_lin", out_features=hidden, in_features=hidden),
            LayerMatrix(role="attention_output", name="attention.out_lin", out_features=hidden, in_features=hidden),
            LayerMatrix(role="up", name="ffn.lin1", out_features=inner, in_features=hidden),
            LayerMatrix(role="down", name="ffn.lin2", out_features=hidden, in_features=inner),
        ),
        heads=heads,
        key_value_heads=heads,
        head_dim=config.divide("dim", "n_heads", whole=hidden, parts=heads),
        function=config.function("activation", "gelu"),
        embeddings=tuple(
            EmbeddingTable(name=f"embeddings.{name}", rows=rows, columns=hidden)
            for name, rows in (
                ("word_embeddings", config.size("vocab_size")),
                ("position_embeddings", config.size("max_position_embeddings")),
            )
        ),
        norm_parameters=2 * hidden * (1 + 2 * layers),
    )
