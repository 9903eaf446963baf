"""Vector operations: what stands between the contractions of a network - softmax, activation functions, sums.

A statement such as ``P[m,n] = softmax(S[m,n]) over n`` is one `VectorOp`: an einsum whose points are no
multiply-accumulates but some operations of a vector unit each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heat_sim.einsum import Einsum, parse_einsum
from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFunction:
    """What one function costs.

    Attributes:
        operations: Of the vector unit, per point of the iteration space.
        passes: Times that every word of the inputs is read.
        reduces: Whether it looks along some rank variables (`over`) before it writes.
    """

    operations: int
    passes: int = 1
    reduces: bool = False


VECTOR_FUNCTIONS: Mapping[str, VectorFunction] = {
    "add": VectorFunction(operations=1),
    "mul": VectorFunction(operations=1),
    "relu": VectorFunction(operations=1),
    "silu": VectorFunction(operations=4),
    "gelu": VectorFunction(operations=8),
    "softmax": VectorFunction(operations=5, passes=2, reduces=True),
    "online_softmax": VectorFunction(operations=5, passes=2, reduces=True),
    "layer_norm": VectorFunction(operations=5, passes=2, reduces=True),
}
"""Functions by name.

Operations of gelu, softmax and layer_norm as the FLOP count of ELECTRA has them (Clark et al., 2020,
``flops_computation.py``); silu is exp, add, divide, multiply. A softmax reads its input twice with the online
normaliser of Milakov and Gimelshein (2018); so does layer_norm with sum and sum of squares in one pass.
"""

ONLINE = frozenset({"online_softmax"})
"""Functions that can go on from one part of `over` to the next, if what is accumulated from their results is rescaled
(Milakov and Gimelshein, 2018; Dao et al., FlashAttention, 2022)."""

_FORM = "a statement like P[m,n] = softmax(S[m,n]) over n"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorOp(Einsum):
    """A function of tensors, word by word or along rank variables.

    Attributes:
        function: A key of `VECTOR_FUNCTIONS`.
        over: Rank variables along which it looks before it writes; none for a function of single words.
    """

    function: str
    over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Einsum.__post_init__(self)
        problems = [
            describe(f"vector operation {self.name}", f"no rank variable {var} in the output", got=self.output,
                     expected="what it looks along in the output too", remedy="Correct the statement.")
            for var in self.over
            if var not in self.output.rank_vars
        ]  # fmt: skip
        if self.function not in VECTOR_FUNCTIONS:
            problems.append(
                describe(f"vector operation {self.name}", "unknown function", got=self.function,
                         expected=f"one of {', '.join(VECTOR_FUNCTIONS)}", remedy="Correct the name.")
            )  # fmt: skip
        elif VECTOR_FUNCTIONS[self.function].reduces != bool(self.over):
            problems.append(
                describe(f"vector operation {self.name}", f"{self.function} with the wrong 'over'",
                         got=f"over {', '.join(self.over) or 'nothing'}",
                         expected="rank variables that it looks along" if not self.over else "no 'over'",
                         remedy=f"Write {_FORM}.")
            )  # fmt: skip
        if not all(tensor.is_plain for tensor in self.tensors) or set(self.rank_vars) != set(self.output.rank_vars):
            problems.append(
                describe(f"vector operation {self.name}", "its tensors are not indexed word by word", got=self,
                         expected="one rank variable per rank, all of them in the output", remedy=f"Write {_FORM}.")
            )  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def operations(self) -> int:
        """Operations of the vector unit."""
        return self.ops * VECTOR_FUNCTIONS[self.function].operations

    @property
    def passes(self) -> int:
        """Times that every word of the inputs is read."""
        return VECTOR_FUNCTIONS[self.function].passes

    @property
    def whole(self) -> tuple[str, ...]:
        """Rank variables that have to be there in full."""
        return () if self.function in ONLINE else self.over

    def __str__(self) -> str:
        along = f" over {', '.join(self.over)}" if self.over else ""
        return f"{self.output} = {self.function}({', '.join(map(str, self.inputs))}){along}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """A unit for vector operations.

    Attributes:
        energy_pj: Of one operation.
        operations_per_cycle: At the most.
    """

    energy_pj: float
    operations_per_cycle: float


def parse_statement(text: str, *, extents: Mapping[str, int], name: str | None = None) -> Einsum:
    """Parse an einsum or a vector operation.

    Args:
        text: For example ``"Z[m,n] = A[m,k] * B[k,n]"`` or ``"P[m,n] = softmax(S[m,n]) over n"``.
        extents: How many values each rank variable takes; entries the statement does not use are ignored.
        name: Name of the einsum; the output's name if left out.

    Raises:
        SpecError: The text is neither, or an extent is missing.

    >>> softmax = parse_statement("P[m,n] = softmax(S[m,n]) over n", extents={"m": 4, "n": 8})
    >>> softmax.operations, softmax.passes, softmax.over
    (160, 2, ('n',))
    >>> print(parse_statement("G[m,f] = add(A[m,f], B[m,f])", extents={"m": 4, "f": 8}))
    G[m,f] = add(A[m,f], B[m,f])
    """
    left, equals, right = text.partition("=")
    function, bracket, rest = right.partition("(")
    if not equals or not bracket or not function.strip().isidentifier():
        return parse_einsum(text, extents=extents, name=name)
    arguments, closing, after = rest.rpartition(")")
    word, _, along = after.strip().partition(" ")
    if not closing or word not in ("", "over") or (word == "over" and not along.strip()):
        raise SpecError(
            describe(f"statement {text.strip()!r}", "not a vector operation", got=after.strip() or "no ')'",
                     expected=_FORM, remedy="Correct the statement.")
        )  # fmt: skip
    # Between the tensors stands '],' where an einsum has '] *'.
    as_einsum = parse_einsum(f"{left}= {arguments.replace('],', '] *')}", extents=extents, name=name)
    return VectorOp(
        name=as_einsum.name, inputs=as_einsum.inputs, output=as_einsum.output, extents=as_einsum.extents,
        function=function.strip(), over=tuple(var.strip() for var in along.split(",")) if along else (),
    )  # fmt: skip
