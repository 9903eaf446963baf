"""The factorised layer: it runs, step by step, the online cascade of the design that the simulator costs.

For training there is a second way to the same result, the matrix built from the cores and multiplied with.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from heat_sim.einsum import Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.contraction import Contraction, contract, mac_optimal_tree
from heat_sim.tensorize.core_spec import Term
from heat_sim.tensorize.design import LayerDesign
from heat_sim.tensorize.factorization import ACTIVATIONS, OUTPUT, Factorization

Execution: TypeAlias = Literal["cascade", "reconstructed"]
"""How a factorised layer multiplies: step by step as the design says, or with the matrix that the cores stand for."""

_IDENTITY = "I"
"""Names of the identity matrices that write a block-diagonal term out begin so; no core has such a name."""


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
    # The number of tokens is not known yet and changes from batch to batch; no equation depends on it.
    return tuple(tuple(map(torch_step, _steps(contraction))) for contraction in _contractions(design, tokens=1))


def _contractions(design: LayerDesign, *, tokens: int) -> tuple[Contraction, ...]:
    """Return the steps of every term, those of cores alone ahead of time."""
    return tuple(
        contract(einsum, tree, ahead_of_time=frozenset(core.name for core in term.cores))
        for einsum, tree, term in zip(
            design.factorization.einsums(tokens), design.trees, design.factorization.terms, strict=True
        )
    )


def _steps(contraction: Contraction) -> tuple[Einsum, ...]:
    return (*contraction.offline, *contraction.online.einsums)


@functools.lru_cache(maxsize=1024)  # the matrices of a network are of a few sizes, and of as many factorizations
def matrix_terms(factorization: Factorization) -> tuple[tuple[Einsum, ...], ...]:
    """Return, term by term, the steps that multiply the cores to the term's matrix, in the order of fewest ops.

    The last step of a term writes ``Y[o1,..,i1,..]``. A term that is block-diagonal is multiplied with an identity
    matrix ``I..`` per shared rank variable, which puts zeros beside the blocks.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(2, 3), in_modes=(2, 4))
    >>> for steps in matrix_terms(Factorization(format="block-low-rank", tensorization=shape, ranks=(1,))):
    ...     print(*steps)
    Y[o1,o2,i1,i2] = G1[o1,o2,r1] * G2[r1,i1,i2]
    Y[b1,o2,Ib1,i2] = B[b1,o2,i2] * Ib1[b1,Ib1]
    """
    whole = (_matrix_einsum(term) for term in factorization.terms)
    return tuple(_steps(contract(einsum, mac_optimal_tree(einsum), ahead_of_time=frozenset())) for einsum in whole)


def _matrix_einsum(term: Term) -> Einsum:
    """Return the einsum from the cores of a term to its matrix, whose rank variables are all distinct."""
    copies = {var: _IDENTITY + var for var in term.in_vars if var in term.out_vars}
    extents = {**term.extents, **{copy: term.extents[var] for var, copy in copies.items()}}
    identities = (_access(copy, (var, copy)) for var, copy in copies.items())
    columns = tuple(copies.get(var, var) for var in term.in_vars)
    return Einsum(
        name="matrix",
        inputs=(*(core.access for core in term.cores), *identities),
        output=_access(OUTPUT, (*term.out_vars, *columns)),
        extents=tuple(extents.items()),
    )


def _access(name: str, rank_vars: tuple[str, ...]) -> TensorAccess:
    return TensorAccess(name=name, projection=tuple(((var, 1),) for var in rank_vars))


def execution_macs(design: LayerDesign, *, tokens: int) -> dict[Execution, int]:
    """Return the multiply-accumulates of a training step by execution: forward, backward to the input and to all cores.

    The backward pass of a product of two tensors is two products of the same size, so a training step has three times
    the multiply-accumulates of the forward pass; identity matrices are counted like cores, which is a little too much.
    The sum of terms and the bias are left out.

    Args:
        design: Factorization and contraction trees.
        tokens: Rows of the input, over all sentences of a batch.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(40,), in_modes=(60,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(30,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> execution_macs(design, tokens=100)  # 3 * 100 * 30 * (40 + 60), and 3 * (100 + 30) * 40 * 60
    {'cascade': 900000, 'reconstructed': 936000}
    """
    factorization = design.factorization
    cascade = sum(step.ops for contraction in _contractions(design, tokens=tokens) for step in _steps(contraction))
    matrix = sum(step.ops for steps in matrix_terms(factorization) for step in steps if len(step.inputs) > 1)
    dense = tokens * factorization.out_features * factorization.in_features
    return {"cascade": 3 * cascade, "reconstructed": 3 * (matrix + dense)}


def use_fastest_execution(student: nn.Module, *, tokens: int) -> dict[str, Execution]:
    """Let every factorised layer run the execution of fewer multiply-accumulates in training; return it by module.

    Counts decide and no clock does, so the choice is the same on every machine and in every run; where they are equal
    it is the cascade. The result of a layer is the same but for rounding. Words that are moved do not count, so a
    layer with large intermediates (btt) may be slower than its count says; docs/export.md has figures.

    Args:
        student: As `factorize` returns it; changed in place.
        tokens: Rows of a layer's input in a training step: sentences times their length.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(4,), in_modes=(6,))
    >>> design = LayerDesign(factorization=Factorization(format="low-rank", tensorization=shape, ranks=(4,)),
    ...                      trees=((("X", "G2"), "G1"),))
    >>> student = nn.Sequential(FactorizedLinear(design, cores=[torch.ones(4, 4), torch.ones(4, 6)], bias=None))
    >>> use_fastest_execution(student, tokens=1), use_fastest_execution(student, tokens=1000)
    ({'0': 'cascade'}, {'0': 'reconstructed'})
    """
    chosen: dict[str, Execution] = {}
    for name, module in student.named_modules():
        if isinstance(module, FactorizedLinear):
            macs = execution_macs(module.design, tokens=tokens)
            module.execution = "cascade" if macs["cascade"] <= macs["reconstructed"] else "reconstructed"
            chosen[name] = module.execution
    return chosen


class FactorizedLinear(nn.Module):
    """A linear layer y = W x + bias whose W is held as cores and not built, unless the design folds it.

    The parameters are the cores. What the design folds ahead of time (einsums of cores alone) is folded
    from them in every forward pass, so that it trains as what it is; the rest runs in the order of the design.

    With `execution = "reconstructed"` every forward pass builds W from the cores and multiplies with it: the same
    function of input and cores, and faster where it takes fewer operations, see `use_fastest_execution`.

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
        self.execution: Execution = "cascade"
        self.cores = nn.ParameterDict(  # of pairs: the keys of a dict would be sorted
            # One layout whatever made the cores, so that equal states give equal outputs to the last bit.
            [
                (name, nn.Parameter(core.detach().clone(memory_format=torch.contiguous_format)))
                for name, core in zip(names, cores, strict=False)
            ]
        )
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self._lender = (lender,)  # in a tuple: a module assigned by itself is registered

    @property
    def lender(self) -> FactorizedLinear | None:
        """The layer that holds the cores which are not among the parameters of this one."""
        return self._lender[0]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The cores by name, those of the lender among them."""
        own = dict(self.cores.items())
        return own if self.lender is None else {**self.lender.tensors, **own}

    def matrix(self) -> Tensor:
        """Return W, (out_features, in_features), built from the cores, which gradients reach."""
        factorization = self.design.factorization
        rows, columns = factorization.tensorization.padding
        tensors = self.tensors
        like = next(iter(tensors.values()))
        matrices = []
        for steps in matrix_terms(factorization):
            results = dict(tensors)
            for step in steps:
                for name in (operand.name for operand in step.inputs if operand.name.startswith(_IDENTITY)):
                    results[name] = torch.eye(step.extent(name), dtype=like.dtype, device=like.device)
            matrices.append(
                _run(map(torch_step, steps), results).reshape(
                    factorization.out_features + rows, factorization.in_features + columns
                )
            )
        return functools.reduce(torch.add, matrices)[: factorization.out_features, : factorization.in_features]

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias, (..., out_features), for x of shape (..., in_features)."""
        if self.execution == "reconstructed":
            return functional.linear(x, self.matrix(), self.bias)
        factorization = self.design.factorization
        rows, columns = factorization.tensorization.padding
        padded = functional.pad(x, (0, columns)) if columns else x
        tensors = self.tensors
        tensors[ACTIVATIONS] = padded.reshape(-1, *factorization.tensorization.in_modes)  # (tokens, i1, i2, ...)
        # Terms have their own T1, T2, ...
        outputs = [
            _run(steps, dict(tensors)).reshape(*x.shape[:-1], factorization.out_features + rows) for steps in self.terms
        ]
        y = functools.reduce(torch.add, outputs)
        if rows:
            y = y[..., : factorization.out_features].contiguous()
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return format, modes and ranks for `print(model)`."""
        factorization = self.design.factorization
        return f"{factorization.format}, {factorization.tensorization}, ranks {factorization.ranks}"


def _run(steps: Iterable[TorchStep], tensors: dict[str, Tensor]) -> Tensor:
    """Return the output of the last step; the results of all are added to the tensors."""
    for step in steps:
        tensors[step.output] = torch.einsum(step.equation, *(tensors[name] for name in step.inputs))
    return tensors[OUTPUT]
