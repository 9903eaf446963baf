"""The factorised layer: it runs, step by step, the online cascade of the design that the simulator costs."""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from heat_sim.einsum import Einsum
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.contraction import contract
from heat_sim.tensorize.design import LayerDesign
from heat_sim.tensorize.factorization import ACTIVATIONS, OUTPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchStep:
    """One einsum of a cascade in the form that torch runs.

    Attributes:
        equation: For `torch.einsum`, for example `"ab,cb->ac"`.
        inputs: Names of its operands, in order.
        output: Name of its result.
    """

    equation: str
    inputs: tuple[str, ...]
    output: str


def torch_step(einsum: Einsum) -> TorchStep:
    """Return the einsum as torch runs it.

    Raises:
        SpecError: A rank is indexed by more than one rank variable, or there are more than 52 of them.

    >>> from heat_sim.einsum import parse_einsum
    >>> torch_step(parse_einsum("T1[s,r1] = X[s,i1] * G2[r1,i1]", extents={"s": 2, "i1": 3, "r1": 4})).equation
    'ab,cb->ac'
    """
    variables = einsum.rank_vars
    if len(variables) > len(string.ascii_letters) or not all(tensor.is_plain for tensor in einsum.tensors):
        raise SpecError(
            describe(
                f"einsum {einsum}",
                "not one that torch.einsum can run",
                got=f"{len(variables)} rank variables",
                expected=f"one rank variable per rank, at most {len(string.ascii_letters)} in all",
                remedy="Split the einsum.",
            )
        )
    letter = dict(zip(variables, string.ascii_letters, strict=False))
    *inputs, output = ("".join(letter[var] for var in tensor.rank_vars) for tensor in einsum.tensors)
    return TorchStep(
        equation=f"{','.join(inputs)}->{output}",
        inputs=tuple(tensor.name for tensor in einsum.inputs),
        output=einsum.output.name,
    )


def torch_terms(design: LayerDesign) -> tuple[tuple[TorchStep, ...], ...]:
    """Return, term by term, the steps that multiply the activations with the cores, einsums of cores alone first.

    >>> from heat_sim.tensorize.factorization import Factorization
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(6,))
    >>> low_rank = Factorization(format="low-rank", tensorization=shape, ranks=(2,))
    >>> (steps,) = torch_terms(LayerDesign(factorization=low_rank, trees=((("X", "G2"), "G1"),)))
    >>> [(step.equation, step.output) for step in steps]
    [('ab,cb->ac', 'T1'), ('ac,bc->ab', 'Y')]
    """
    terms = []
    # The number of tokens is not known yet and changes from batch to batch; no equation depends on it.
    for einsum, tree in zip(design.factorization.einsums(1), design.trees, strict=True):
        cores = frozenset(operand.name for operand in einsum.inputs) - {ACTIVATIONS}
        contraction = contract(einsum, tree, ahead_of_time=cores)
        terms.append(tuple(map(torch_step, (*contraction.offline, *contraction.online.einsums))))
    return tuple(terms)


class FactorizedLinear(nn.Module):
    """A linear layer y = W x + bias whose W is held as cores and never built, unless the design folds it.

    The parameters are the cores. What the design folds ahead of time (einsums of cores alone) is folded
    from them in every forward pass, so that it trains as what it is; the rest runs in the order of the design.

    Args:
        design: Factorization and contraction trees; its members, if any, are one tall matrix here.
        cores: In the order and of the shapes of the factorization; copied. With a lender, the first ones only.
        bias: (out_features,), copied, or None.
        lender: A layer that holds the other cores, by name, as its own parameters; it is not registered here, so that
            the cores are among the parameters and in the state dict once.

    >>> from heat_sim.tensorize.factorization import Factorization
    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(6,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(2,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> layer = FactorizedLinear(design, cores=[torch.ones(4, 2), torch.ones(2, 6)], bias=None)
    >>> layer(torch.ones(5, 7, 6)).shape, layer(torch.ones(1, 6))[0, 0].item()
    (torch.Size([5, 7, 4]), 12.0)
    """

    def __init__(
        self,
        design: LayerDesign,
        *,
        cores: Sequence[Tensor],
        bias: Tensor | None,
        lender: FactorizedLinear | None = None,
    ) -> None:
        super().__init__()
        factorization = design.factorization
        names = factorization.core_names
        lent = {} if lender is None else {name: lender.tensors[name] for name in names[len(cores) :]}
        shapes = tuple(tuple(core.shape) for core in (*cores, *lent.values()))
        if shapes != factorization.core_shapes:
            raise SpecError(
                describe(f"factorised layer, format {factorization.format}", "the cores do not fit the design",
                         got=shapes, expected=factorization.core_shapes, remedy="Project the weight with this design.")
            )  # fmt: skip
        if bias is not None and tuple(bias.shape) != (factorization.out_features,):
            raise SpecError(
                describe(f"factorised layer, format {factorization.format}", "the bias does not fit the design",
                         got=tuple(bias.shape), expected=(factorization.out_features,),
                         remedy="Give the bias of the layer that is replaced.")
            )  # fmt: skip
        self.design = design
        self.terms = torch_terms(design)
        self.cores = nn.ParameterDict(  # of pairs: the keys of a dict would be sorted
            [(name, nn.Parameter(core.detach().clone())) for name, core in zip(names, cores, strict=False)]
        )
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self._lender = (lender,)  # in a tuple: a module assigned by itself is registered

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The cores by name, those of the lender among them."""
        (lender,) = self._lender
        own = dict(self.cores.items())
        return own if lender is None else {**lender.tensors, **own}

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., out_features), for x of shape (..., in_features)."""
        factorization = self.design.factorization
        rows, columns = factorization.tensorization.padding
        padded = functional.pad(x, (0, columns)) if columns else x
        tensors = self.tensors
        tensors[ACTIVATIONS] = padded.reshape(-1, *factorization.tensorization.in_modes)  # (tokens, i1, i2, ...)
        outputs = []
        for steps in self.terms:
            results = dict(tensors)  # terms have their own T1, T2, ...
            for step in steps:
                results[step.output] = torch.einsum(step.equation, *(results[name] for name in step.inputs))
            outputs.append(results[OUTPUT].reshape(*x.shape[:-1], factorization.out_features + rows))
        y = functools.reduce(torch.add, outputs)
        if rows:
            y = y[..., : factorization.out_features].contiguous()
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return format, modes and ranks for `print(model)`."""
        factorization = self.design.factorization
        return f"{factorization.format}, {factorization.tensorization}, ranks {factorization.ranks}"
