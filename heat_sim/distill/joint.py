"""Matrices factorised jointly: modules that hold the cores once, and what the stacked matrix is projected with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import block_diag
from torch import Tensor, nn

from heat_sim.distill.layers import FactorizedLinear
from heat_sim.errors import SpecError, describe
from heat_sim.networks import network_from_config
from heat_sim.tensorize.design import LayerDesign

_ONE_INPUT = frozenset({"query", "key", "value"})
"""Roles of matrices that are multiplied with the same tensor if they are of one layer, as in the cost model."""


def have_one_input(model: Any, members: Collection[str]) -> bool:
    """Return whether the matrices are queries, keys and values of one layer, which get the very same tensor.

    Args:
        model: A model of transformers, of a family that `heat_sim.networks` covers.
        members: Names of its weight matrices.

    Raises:
        SpecError: The family is not covered.

    >>> from transformers import BertConfig, BertModel
    >>> tiny = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    >>> query, key = (f"encoder.layer.{layer}.attention.self.{role}" for layer, role in ((0, "query"), (1, "key")))
    >>> have_one_input(BertModel(tiny), [query, key.replace("1", "0")]), have_one_input(BertModel(tiny), [query, key])
    (True, False)
    """
    network = network_from_config(model.config.to_dict(), name=model.config.model_type)
    found = [matrix for matrix in network.matrices if matrix.name in members]
    return {matrix.role for matrix in found} <= _ONE_INPUT and len({matrix.layer for matrix in found}) == 1


def joint_layers(
    design: LayerDesign, *, cores: Sequence[Tensor], biases: Sequence[Tensor | None], one_input: bool
) -> tuple[nn.Module, ...]:
    """Return the modules of the members, in their order; the first one holds the cores that they share.

    With one input all cores are shared; otherwise every member has its own rows of ``G1``, and ``G2`` is shared.

    Args:
        design: With members.
        cores: Of the stacked matrix, in the order of the factorization.
        biases: Of the members, (rows of a member,) each, or None.
        one_input: Whether the members get the very same tensor.

    Raises:
        SpecError: The cores or a bias do not fit, or the inputs differ and the format is not low-rank.

    >>> from heat_sim.tensorize import Factorization, Tensorization
    >>> stacked = Tensorization(out_modes=(8,), in_modes=(6,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=stacked, ranks=(2,)),
    ...                      trees=((("X", "G2"), "G1"),), members=("layer.0", "layer.1"))
    >>> cores = [torch.ones(8, 2), torch.ones(2, 6)]
    >>> for one_input in (True, False):
    ...     modules = nn.ModuleList(joint_layers(design, cores=cores, biases=[None, None], one_input=one_input))
    ...     modules[1](torch.ones(3, 6)).shape, sorted(modules.state_dict())
    (torch.Size([3, 4]), ['0.held.cores.G1', '0.held.cores.G2'])
    (torch.Size([3, 4]), ['0.cores.G1', '0.cores.G2', '1.cores.G1'])
    """
    if one_input:
        product = JointProduct(design, cores=cores)
        return tuple(JointMember(product, place=place, bias=bias) for place, bias in enumerate(biases))
    count = len(design.members)
    member = LayerDesign(factorization=design.factorization.member(count), trees=design.trees)
    first, second = cores
    first_rows, *other_rows = first.split(member.factorization.out_features)[:count]
    lender = FactorizedLinear(member, cores=[first_rows, second], bias=biases[0])
    others = (
        FactorizedLinear(member, cores=[rows], bias=bias, lender=lender)
        for rows, bias in zip(other_rows, biases[1:], strict=True)
    )
    return (lender, *others)


@dataclass(slots=True, kw_only=True, eq=False)
class _Pass:
    """One product that not all members have read.

    Attributes:
        held: What it was computed from, kept so that no id is used for another tensor.
        state: As `_state` tells it.
        content: A copy of the input if torch does not count the writes to it, else None.
        output: (..., rows of all members).
        readers: Members that have read it; all of them once a backward pass has been through it.
    """

    held: tuple[Tensor, ...]
    state: tuple[object, ...]
    content: Tensor | None
    output: Tensor
    readers: set[int]


class JointProduct(FactorizedLinear):
    """The product of several stacked matrices with one input, computed once for all of them.

    The result is kept from the first member that asks for it until all have read it. It is used for the very same
    tensor object only, and only while nothing it depends on has changed: input and cores (by torch's count of writes,
    which leaves out those through `.data`), grad mode, autocast. A member that asks again, or after a backward pass,
    gets a new product.

    Args:
        design: With members.
        cores: Of the stacked matrix, in the order of the factorization.
    """

    def __init__(self, design: LayerDesign, *, cores: Sequence[Tensor]) -> None:
        super().__init__(design, cores=cores, bias=None)
        self._pass: _Pass | None = None

    def rows(self, x: Tensor, *, place: int) -> Tensor:
        """Return the rows of the member at this place, (..., rows of a member), for x of shape (..., in_features)."""
        members = len(self.design.members)
        kept = self._pass
        if kept is None or not self._is_good(kept, x, place=place):
            kept = _Pass(
                held=(x, *self.cores.values()),
                state=self._state(x),
                content=x.clone() if x.is_inference() else None,
                output=self(x),
                readers=set(),
            )
            if kept.output.requires_grad:  # a backward pass frees the graph behind the product
                readers = kept.readers
                kept.output.register_hook(lambda _gradient: readers.update(range(members)))
        kept.readers.add(place)
        self._pass = kept if len(kept.readers) < members else None
        size = self.design.factorization.out_features // members
        return kept.output[..., place * size : (place + 1) * size]

    def _is_good(self, kept: _Pass, x: Tensor, *, place: int) -> bool:
        """Return whether a kept product is what the member would get from a new one."""
        if place in kept.readers or kept.state != self._state(x):
            return False
        return kept.content is None or torch.equal(kept.content, x)

    def _state(self, x: Tensor) -> tuple[object, ...]:
        """Return what tells whether the product of x would be another one now: equal states, equal products."""
        return (
            *((id(each), each.dtype, each.requires_grad) for each in (x, *self.cores.values())),
            None if x.is_inference() else x._version,
            *(object() if core.is_inference() else core._version for core in self.cores.values()),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled(x.device.type) and torch.get_autocast_dtype(x.device.type),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: not the kept product, which has a graph."""
        return {**super().__getstate__(), "_pass": None}


class JointMember(nn.Module):
    """One of several linear layers that get the same tensor and share all cores.

    The first one registers the product, so that its cores are among the parameters and in the state dict once.

    Args:
        product: Of all members.
        place: Which member this is, from 0.
        bias: (rows of a member,), copied, or None.
    """

    def __init__(self, product: JointProduct, *, place: int, bias: Tensor | None) -> None:
        super().__init__()
        design = product.design
        rows = design.factorization.out_features // len(design.members)
        if bias is not None and tuple(bias.shape) != (rows,):
            raise SpecError(
                describe(f"joint layer, member {design.members[place]}", "the bias does not fit the design",
                         got=tuple(bias.shape), expected=(rows,), remedy="Give the bias of the layer that is replaced.")
            )  # fmt: skip
        if place == 0:
            self.held = product
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.place = place
        self._product = (product,)  # in a tuple: a module assigned by itself is registered

    @property
    def product(self) -> JointProduct:
        """The product of all members."""
        return self._product[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., rows of a member), for x of shape (..., in_features)."""
        rows = self.product.rows(x, place=self.place)
        return rows.clone(memory_format=torch.contiguous_format) if self.bias is None else rows + self.bias

    def extra_repr(self) -> str:
        """Return the place among the members for `print(model)`."""
        return f"rows {self.place + 1} of {len(self.product.design.members)}, {self.product.extra_repr()}"


def stacked_second_moment(moments: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the second moment that stacked matrices are projected with: that of their input, or the mean of several.

    Args:
        moments: E[x x^T] of each member's input, (in_features, in_features); of one input the same array object.

    >>> one = np.eye(2)
    >>> stacked_second_moment([one, one]) is one, stacked_second_moment([one, 3 * one]).tolist()
    (True, [[2.0, 0.0], [0.0, 2.0]])
    """
    first = moments[0]
    return first if all(moment is first for moment in moments) else np.mean(moments, axis=0, dtype=np.float64)


def stacked_gradient_moment(moments: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the gradient moment of stacked matrices: block-diagonal, as if members were uncorrelated.

    Args:
        moments: E[g g^T] of each member's output, (rows, rows).

    >>> stacked_gradient_moment([np.ones((1, 1)), 2 * np.ones((1, 1))]).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    blocks: NDArray[np.floating] = block_diag(*moments)
    return blocks
