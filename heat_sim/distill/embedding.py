"""The factorised embedding: a table of vectors held as the cores of a tensor train, looked up without building it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization

_FORMAT = "tt-matrix"


class FactorizedEmbedding(nn.Module):
    """An embedding table of shape (rows, columns) whose row is a product of one slice per core.

    A row number is written in mixed radix, its digits the places along the output modes, first the slowest; each
    digit picks a slice of its core, and the slices are multiplied (Hrinchuk et al. 2020). Rows of a batch that occur
    more than once are multiplied once.

    `padding_idx` is kept for those who read it, such as RoBERTa. Unlike that of `nn.Embedding`, the row is trained
    with the others, and it is zero only if the cores make it so.

    Args:
        factorization: tt-matrix; rows as its outputs, columns as its inputs, padded or not.
        cores: In the order and of the shapes of the factorization; copied.
        padding_idx: Of the embedding that is replaced.

    >>> from heat_sim.tensorize import Tensorization
    >>> shape = Tensorization(out_modes=(2, 3), in_modes=(2, 2))
    >>> table = Factorization(format="tt-matrix", tensorization=shape, ranks=(1, 4, 1))
    >>> embedding = FactorizedEmbedding(table, cores=[torch.ones(2, 2, 4), torch.ones(4, 3, 2)])
    >>> embedding(torch.tensor([[0, 5, 5]])).shape, embedding(torch.tensor(5)).tolist()
    (torch.Size([1, 3, 4]), [4.0, 4.0, 4.0, 4.0])
    """

    def __init__(
        self, factorization: Factorization, *, cores: Sequence[Tensor], padding_idx: int | None = None
    ) -> None:
        super().__init__()
        if factorization.format != _FORMAT:
            raise SpecError(
                describe("factorised embedding", "rows cannot be looked up in this format", got=factorization.format,
                         expected=_FORMAT, remedy="Factorise the table as a tensor train.")
            )  # fmt: skip
        shapes = tuple(tuple(core.shape) for core in cores)
        if shapes != factorization.core_shapes:
            raise SpecError(
                describe("factorised embedding", "the cores do not fit the factorization", got=shapes,
                         expected=factorization.core_shapes, remedy="Project the table with this factorization.")
            )  # fmt: skip
        self.factorization = factorization
        self.num_embeddings = factorization.out_features
        self.embedding_dim = factorization.in_features
        self.padding_idx = padding_idx
        names = factorization.core_names
        self.cores = nn.ParameterDict(  # of pairs: the keys of a dict would be sorted
            [(name, nn.Parameter(core.detach().clone())) for name, core in zip(names, cores, strict=True)]
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows, (..., columns), of row numbers of any shape (...), int64 or int32.

        Raises:
            SpecError: A number is not that of a row.
        """
        distinct, places = torch.unique(ids, return_inverse=True)  # (n,) in rising order, and the shape of ids
        if len(distinct) and not 0 <= int(distinct[0]) <= int(distinct[-1]) < self.num_embeddings:
            raise SpecError(
                describe("factorised embedding", "no such row", got=f"{int(distinct[0])} to {int(distinct[-1])}",
                         expected=f"0 to {self.num_embeddings - 1}", remedy="Encode with the model's own tokenizer.")
            )  # fmt: skip
        return functional.embedding(places, self._rows(distinct))

    def _rows(self, ids: Tensor) -> Tensor:
        """Return the rows, (n, columns), of row numbers (n,)."""
        modes = self.factorization.tensorization
        ranks = self.factorization.ranks
        product = next(iter(self.cores.values())).new_ones(len(ids), 1, 1)  # (n, i1 * .. * ik, rk)
        stride = math.prod(modes.out_modes)
        for k, core in enumerate(self.cores.values()):
            out, in_ = modes.out_modes[k], modes.in_modes[k]
            stride //= out
            digits = ids // stride % out
            whole = core.reshape(ranks[k], out, in_, ranks[k + 1])
            slices = whole.index_select(1, digits)  # (r_{k-1}, n, ik, rk)
            slices = slices.transpose(0, 1).reshape(len(ids), ranks[k], in_ * ranks[k + 1])
            width = math.prod(modes.in_modes[: k + 1])
            product = torch.bmm(product, slices).reshape(len(ids), width, ranks[k + 1])
        return product.reshape(len(ids), math.prod(modes.in_modes))[:, : self.embedding_dim]

    def extra_repr(self) -> str:
        """Return rows, columns, modes and ranks for `print(model)`."""
        shape = f"{self.num_embeddings}, {self.embedding_dim}"
        return f"{shape}, {self.factorization.tensorization}, ranks {self.factorization.ranks}"


def compress_embedding(
    model: Any, name: str, *, factorization: Factorization, cores: Sequence[NDArray[np.floating]]
) -> Any:
    """Return a copy of the model with one embedding table factorised; the model stays as it is.

    Args:
        model: A model of transformers.
        name: Of the `nn.Embedding`, without the model's own prefix, as `EmbeddingTable` has it.
        factorization: tt-matrix of the table, (rows, columns).
        cores: Of the table, as `heat_sim.tensorize.project` returns them; converted to its number format.

    Raises:
        SpecError: There is no such table, it does more than looking up, a head shares it, or the cores do not fit.

    >>> from transformers import BertConfig, BertModel
    >>> from heat_sim.tensorize import Tensorization, project
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=61)
    >>> model = BertModel(tiny)
    >>> padded = Tensorization(out_modes=(8, 8), in_modes=(4, 2), padding=(3, 0))
    >>> rank_2 = Factorization(format="tt-matrix", tensorization=padded, ranks=(1, 2, 1))
    >>> cores = project(model.embeddings.word_embeddings.weight.detach().numpy(), rank_2)
    >>> smaller = compress_embedding(model, "embeddings.word_embeddings", factorization=rank_2, cores=cores)
    >>> model.num_parameters() - smaller.num_parameters()  # 61 * 8, less 8 * 4 * 2 + 2 * 8 * 2
    392
    """
    copied = copy.deepcopy(model)
    prefix = f"{copied.base_model_prefix}."
    paths = {path.removeprefix(prefix): path for path, _ in copied.named_modules()}
    table = copied.get_submodule(paths[name]) if name in paths else None
    where = f"embedding {name}"
    if type(table) is not nn.Embedding or table.max_norm is not None:
        raise SpecError(
            describe(where, "not a table that is only looked up", got=table, expected="a plain nn.Embedding",
                     remedy="Name one, without the prefix of the base model.")
        )  # fmt: skip
    holders = [path for path, module in copied.named_modules() if getattr(module, "weight", None) is table.weight]
    if len(holders) > 1:
        raise SpecError(
            describe(where, "its weights are needed elsewhere", got=", ".join(holders), expected="this table alone",
                     remedy="Untie the head first.")
        )  # fmt: skip
    size = (factorization.out_features, factorization.in_features)
    if size != tuple(table.weight.shape):
        raise SpecError(
            describe(where, "another size", got=size, expected=tuple(table.weight.shape), remedy="Correct the modes.")
        )
    converted = [torch.as_tensor(np.asarray(core)).to(table.weight.dtype) for core in cores]
    parent, _, child = paths[name].rpartition(".")
    replacement = FactorizedEmbedding(factorization, cores=converted, padding_idx=table.padding_idx)
    setattr(copied.get_submodule(parent), child, replacement)
    return copied
