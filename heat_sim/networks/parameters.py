"""The parameters of a network by place, and what its word embedding would be as a tensor train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from heat_sim.errors import SpecError, describe
from heat_sim.networks.network import EmbeddingTable, Network
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization, entropy, enumerate_tensorizations

WORDS = frozenset({"word_embeddings", "wte", "embed_tokens"})
"""Last part of the names that word embeddings have."""

_MODES = 3
"""Modes a side of a compressed table (Hrinchuk et al. 2020 take three or four)."""

_MOST_PADDING = 8
"""Rows of zeros that may be appended, so that a vocabulary of any size can be split; at most one of a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Where the parameters of a network are.

    Attributes:
        embeddings: Tables; in image models the patch embedding and the tokens that stand for no patch too.
        encoder: Weight matrices as they are held, biases, and all norms.
        head: As `Network` has it.
    """

    embeddings: int
    encoder: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embeddings + self.encoder + self.head


def count_parameters(network: Network, factorizations: Iterable[Factorization] | None = None) -> ParameterCount:
    """Return the parameters of embeddings, encoder and head.

    Args:
        network: All but its matrices is counted as it is.
        factorizations: One for every matrix, or for several that are held jointly; None for the dense matrices.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> bert = count_parameters(network_from_config(SIZES["bert-base"], name="bert-base"))
    >>> bert.embeddings, bert.encoder, bert.head, bert.total
    (23835648, 85056000, 590592, 109482240)
    """
    matrices = (
        network.matrix_parameters if factorizations is None else sum(each.parameters for each in factorizations)
    )  # fmt: skip
    rest = network.other_parameters - network.embedding_parameters - network.head_parameters
    return ParameterCount(
        embeddings=network.embedding_parameters, encoder=matrices + rest, head=network.head_parameters
    )


def compressed_words(network: Network, *, rank: int) -> tuple[EmbeddingTable, Factorization]:
    """Return the word embedding, and what it is as a tensor train of three cores with one common rank.

    The modes are the most uniform of all with at most eight rows of padding, and one in a hundred. A rank beyond which
    nothing is gained is cut to that.

    Args:
        network: With a word embedding.
        rank: At least 1.

    Raises:
        SpecError: There is no word embedding, or it cannot be split into three modes a side.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> table, train = compressed_words(network_from_config(SIZES["bert-base"], name="bert-base"), rank=16)
    >>> table.parameters, str(train.tensorization), train.ranks, train.parameters
    (23440896, '(25*33*37)x(12*8*8)-3,0', (1, 16, 16, 1), 77120)
    """
    where = f"model {network.name}, word embedding"
    table = next((table for table in network.embeddings if table.name.rpartition(".")[2] in WORDS), None)
    if table is None:
        raise SpecError(
            describe(where, "there is none", got=", ".join(each.name for each in network.embeddings),
                     expected=f"one of {', '.join(sorted(WORDS))}", remedy="Choose a model of text.")
        )  # fmt: skip
    shapes = [
        Tensorization(out_modes=shape.out_modes, in_modes=shape.in_modes, padding=(more, 0))
        for more in range(min(_MOST_PADDING, table.rows // 100) + 1)
        for shape in enumerate_tensorizations(table.rows + more, table.columns, ndim=_MODES, keep=1)
    ]
    if not shapes:
        raise SpecError(
            describe(where, "cannot be split", got=f"{table.rows}x{table.columns}",
                     expected=f"rows and columns that are products of {_MODES} integers above 1",
                     remedy="Leave the embedding dense.")
        )  # fmt: skip
    modes = max(shapes, key=lambda shape: entropy(shape.out_modes))
    limits = FORMATS["tt-matrix"].max_ranks(modes)
    return table, Factorization(
        format="tt-matrix", tensorization=modes, ranks=tuple(min(rank, limit) for limit in limits)
    )  # fmt: skip
