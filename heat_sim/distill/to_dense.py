"""From a student back to a plain model of transformers, whose matrices are the ones that the cores stand for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from heat_sim.distill.calibrate import oriented
from heat_sim.distill.embedding import FactorizedEmbedding
from heat_sim.distill.joint import JointMember, JointProduct
from heat_sim.distill.layers import FactorizedLinear


def to_dense(student: Any) -> Any:
    """Return a copy of the student in which every factorised module is dense again; the student stays as it is.

    A factorised matrix, jointly or not, becomes an `nn.Linear` that holds the reconstructed matrix and the bias
    (a `Conv1D` where the stock model has one), a factorised embedding an `nn.Embedding`. What is left is a plain
    model: it needs nothing of heat_sim, `save_pretrained` writes it, and its outputs are the student's but for
    rounding. It is as large as the model before the factorization.

    Args:
        student: As `factorize` or `compress_embedding` returns it.

    >>> import numpy as np
    >>> from heat_sim.distill.convert import project_design
    >>> from heat_sim.distill.calibrate import encoder_linears
    >>> from heat_sim.tensorize import Design, Factorization, LayerDesign, Tensorization
    >>> from transformers import BertConfig, BertForSequenceClassification
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> model = BertForSequenceClassification(tiny)
    >>> square = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=square, ranks=(1,))
    >>> layer = LayerDesign(factorization=rank_1, trees=((("X", "G2"), "G1"),))
    >>> layers = tuple((name, layer) for name in encoder_linears(model))
    >>> design = Design(id="d1", model="tiny", tokens=16, architecture="simba_l", layers=layers)
    >>> dense = to_dense(project_design(model, design))
    >>> np.linalg.matrix_rank(dense.bert.encoder.layer[0].output.dense.weight.detach().numpy()).item()
    1
    """
    dense = copy.deepcopy(student)
    transposed = _transposed_in_stock(dense)
    for path, module in list(dense.named_modules()):
        replacement = _dense_module(module, transposed=path in transposed)
        if replacement is not None:
            parent, _, child = path.rpartition(".")
            setattr(dense.get_submodule(parent), child, replacement.train(module.training))
    return dense


def _dense_module(module: nn.Module, *, transposed: bool) -> nn.Module | None:
    """Return what takes the place of a factorised module, or None for any other and for a joint product.

    The product lives in its first member and leaves with it.
    """
    if isinstance(module, JointMember):
        size = module.product.design.factorization.out_features // len(module.product.design.members)
        return _linear(module.product.matrix()[module.place * size :][:size], module.bias, transposed=transposed)
    if isinstance(module, FactorizedLinear) and not isinstance(module, JointProduct):
        return _linear(module.matrix(), module.bias, transposed=transposed)
    if isinstance(module, FactorizedEmbedding):
        rows = module(torch.arange(module.num_embeddings, device=next(module.parameters()).device))
        return nn.Embedding.from_pretrained(rows.detach(), freeze=False, padding_idx=module.padding_idx)
    return None


def _linear(matrix: Tensor, bias: Tensor | None, *, transposed: bool) -> nn.Linear | Conv1D:
    """Return a layer with copies of a matrix, (out_features, in_features), and a bias, (out_features,)."""
    rows, columns = matrix.shape
    made: nn.Linear | Conv1D
    with torch.device("meta"):  # nothing is drawn, so the caller's generator is not touched
        made = Conv1D(nf=rows, nx=columns) if transposed else nn.Linear(columns, rows, bias=bias is not None)
    made.weight = nn.Parameter(oriented(made, matrix.detach()).clone(memory_format=torch.contiguous_format))
    if bias is not None:  # a Conv1D has one always, as those of GPT-2 have
        made.bias = nn.Parameter(bias.detach().clone())
    return made


def _transposed_in_stock(model: nn.Module) -> frozenset[str]:
    """Return the paths of the modules that are `Conv1D` in a new model of this class, which is made without memory."""
    if not isinstance(model, PreTrainedModel):
        return frozenset()
    with torch.device("meta"):
        stock = type(model)(copy.deepcopy(model.config))
    return frozenset(path for path, module in stock.named_modules() if isinstance(module, Conv1D))
