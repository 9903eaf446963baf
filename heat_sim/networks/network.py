"""A Transformer as its weight matrices, attention einsums and embedding tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from heat_sim.einsum import Einsum

Role = Literal["query", "key", "value", "query_key_value", "attention_output", "up", "gate", "down"]
"""What a weight matrix does in its layer; "query_key_value" is all three as one matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMatrix:
    """One weight matrix W of a layer: y = W x.

    Attributes:
        name: Of the module of transformers that holds it, below the prefix of the base model.
        role: What it does in its layer.
        layer: Number of the layer, from 0.
        out_features: Rows.
        in_features: Columns.
    """

    name: str
    role: Role
    layer: int
    out_features: int
    in_features: int

    @property
    def parameters(self) -> int:
        """Weights, without the bias."""
        return self.out_features * self.in_features


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingTable:
    """One table of embedding vectors: of tokens, positions or token types.

    Attributes:
        name: Of the module of transformers that holds it (in a ViT, of the parameter), below the prefix of the base
            model.
        rows: Vectors.
        columns: Length of each.
    """

    name: str
    rows: int
    columns: int

    @property
    def parameters(self) -> int:
        """Size of the table."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What one forward pass over one sequence consists of.

    A decoder is costed for a pass over the whole sequence (prefill), not token by token. Attention is costed in full:
    neither a causal mask nor a sliding window saves anything.

    Attributes:
        name: What tables call it.
        tokens: Sequence length.
        matrices: Weight matrices of the layers, in order.
        attention: Activation-by-activation einsums of one layer: scores, context.
        layers: How many there are.
        function: Between the matrices of a feed-forward block: a key of `heat_sim.vector_op.VECTOR_FUNCTIONS`.
        gated: Whether a feed-forward block is down(function(gate(x)) * up(x)) instead of down(function(up(x))).
        embeddings: Tables of token, position and type embeddings.
        embedding_parameters: Of these, and in image models of the patch embedding and of tokens that stand for no
            patch.
        head_parameters: Of the base model's pooler, and of a language-model head that is not tied to the embeddings. A
            head for a task of its own, such as a classifier, is not counted.
        other_parameters: Embeddings, biases, norms, patch embedding, head: all parameters that are in no matrix.
    """

    name: str
    tokens: int
    matrices: tuple[WeightMatrix, ...]
    attention: tuple[Einsum, Einsum]
    layers: int
    function: str
    gated: bool
    embeddings: tuple[EmbeddingTable, ...]
    embedding_parameters: int
    head_parameters: int
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
