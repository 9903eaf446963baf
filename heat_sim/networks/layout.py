"""What a family of models says of one configuration: its layer, and the parameters outside of the matrices."""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.networks.network import EmbeddingTable, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMatrix:
    """One weight matrix of every layer.

    Attributes:
        role: What it does there.
        name: Of its module, within the layer.
        out_features: Rows.
        in_features: Columns.
        bias: Whether the module has one.
    """

    role: Role
    name: str
    out_features: int
    in_features: int
    bias: bool = True

    @property
    def bias_parameters(self) -> int:
        """Parameters of the bias."""
        return self.out_features if self.bias else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one configuration lays a model out.

    Attributes:
        stack: Name of the module that holds the layers.
        layers: How many.
        matrices: Of one layer, in order.
        heads: Of the queries.
        key_value_heads: Of keys and values; they divide the heads of the queries into groups.
        head_dim: Features of a head.
        function: Of the feed-forward block.
        embeddings: All tables.
        norm_parameters: Of all norms.
        head_parameters: As `Network` has them.
        image_parameters: Of the patch embedding, a convolution, and of the tokens that stand for no patch.
        image_tokens: Patches and further tokens; None for text.
    """

    stack: str
    layers: int
    matrices: tuple[LayerMatrix, ...]
    heads: int
    key_value_heads: int
    head_dim: int
    function: str
    embeddings: tuple[EmbeddingTable, ...]
    norm_parameters: int
    head_parameters: int = 0
    image_parameters: int = 0
    image_tokens: int | None = None

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward block has a gate."""
        return any(matrix.role == "gate" for matrix in self.matrices)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of all that makes the input of the first layer, but norms."""
        return sum(table.parameters for table in self.embeddings) + self.image_parameters

    @property
    def other_parameters(self) -> int:
        """All parameters that are in no matrix."""
        biases = self.layers * sum(matrix.bias_parameters for matrix in self.matrices)
        return self.embedding_parameters + biases + self.norm_parameters + self.head_parameters
