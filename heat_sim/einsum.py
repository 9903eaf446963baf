"""Einsums and cascades of einsums: the workload, as frozen value objects.

One statement such as ``Z[m,n] = A[m,k] * B[k,n]`` is one `Einsum`; a chain of them that share
intermediates is a `Cascade`. The same object is what the simulator costs and what the factorised
PyTorch layer executes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from heat_sim.errors import SpecError, describe

Term = tuple[str, int]
"""A rank variable and its coefficient."""

Projection = tuple[tuple[Term, ...], ...]
"""Per rank of a tensor, the sum of terms that indexes it."""

_FORM = "a statement like Z[m,n] = A[m,k] * B[k,n]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAccess:
    """How one tensor is indexed by the rank variables of an einsum.

    Attributes:
        name: Name of the tensor.
        projection: One entry per rank: the ``(rank variable, coefficient)`` terms whose sum indexes it.
    """

    name: str
    projection: Projection

    @property
    def rank_vars(self) -> tuple[str, ...]:
        """The relevant rank variables, in order of first use."""
        return tuple(dict.fromkeys(var for rank in self.projection for var, _ in rank))

    @property
    def is_plain(self) -> bool:
        """Whether every rank is indexed by one rank variable of coefficient 1, each used once."""
        return all(len(rank) == 1 and rank[0][1] == 1 for rank in self.projection) and len(self.rank_vars) == len(
            self.projection
        )

    def shape(self, extents: Mapping[str, int]) -> tuple[int, ...]:
        """Return the extent of every rank when each rank variable runs over its extent.

        >>> access = TensorAccess(name="I", projection=((("p", 2), ("r", 1)),))
        >>> access.shape({"p": 4, "r": 3})
        (9,)
        """
        return tuple(1 + sum(abs(c) * (extents[var] - 1) for var, c in rank) for rank in self.projection)

    def __str__(self) -> str:
        ranks = ("+".join(var if c == 1 else f"{c}*{var}" for var, c in rank) for rank in self.projection)
        return f"{self.name}[{','.join(ranks)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Einsum:
    """One tensor statement: the product of the inputs, summed into the output.

    Attributes:
        name: What messages and tables call it.
        inputs: The tensors read.
        output: The tensor written.
        extents: ``(rank variable, extent)`` pairs, every rank variable once.
    """

    name: str
    inputs: tuple[TensorAccess, ...]
    output: TensorAccess
    extents: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        problems = [
            describe(
                f"einsum {self.name}, rank variable {var}",
                "bad extent",
                got=extent,
                expected="an integer of at least 1",
                remedy="Give the number of values it takes.",
            )
            for var, extent in self.extents
            if not isinstance(extent, int) or extent < 1
        ]
        known = [var for var, _ in self.extents]
        used = dict.fromkeys(var for tensor in self.tensors for var in tensor.rank_vars)
        if len(set(known)) != len(known):
            problems.append(f"einsum {self.name}: a rank variable is given two extents. Give each one once.")
        if missing := [var for var in used if var not in known]:
            problems.append(
                describe(
                    f"einsum {self.name}",
                    f"no extent for rank variable {', '.join(missing)}",
                    got=f"extents of {', '.join(known) or 'none'}",
                    expected=f"one for each of {', '.join(used)}",
                    remedy="Add the missing extents.",
                )
            )
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            problems.append(
                describe(
                    f"einsum {self.name}",
                    "a tensor appears twice",
                    got=", ".join(names),
                    expected="distinct names",
                    remedy="Rename one of them; a tensor used twice counts as two.",
                )
            )
        if not self.inputs:
            problems.append(f"einsum {self.name}: no input tensor. Write {_FORM}.")
        if problems:
            raise SpecError(problems)

    @property
    def tensors(self) -> tuple[TensorAccess, ...]:
        """Inputs, then the output."""
        return (*self.inputs, self.output)

    @property
    def rank_vars(self) -> tuple[str, ...]:
        """Every rank variable, in the order of the extents."""
        return tuple(var for var, _ in self.extents)

    @property
    def contracted(self) -> tuple[str, ...]:
        """Rank variables that the output does not have."""
        kept = self.output.rank_vars
        return tuple(var for var in self.rank_vars if var not in kept)

    @property
    def ops(self) -> int:
        """Size of the iteration space: multiply-accumulates of a two-input einsum."""
        return math.prod(extent for _, extent in self.extents)

    def extent(self, rank_var: str) -> int:
        """Return how many values the rank variable takes."""
        return dict(self.extents)[rank_var]

    def tensor(self, name: str) -> TensorAccess:
        """Return the access of the named tensor; KeyError if there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def words(self, name: str) -> int:
        """Return the size of the named tensor in words.

        >>> parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 2, "n": 3, "k": 5}).words("B")
        15
        """
        return math.prod(self.tensor(name).shape(dict(self.extents)))

    def relevant(self, name: str) -> tuple[str, ...]:
        """Return the rank variables that index the named tensor."""
        return self.tensor(name).rank_vars

    def __str__(self) -> str:
        return f"{self.output} = {' * '.join(map(str, self.inputs))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Einsums in the order they run; later ones read what earlier ones wrote.

    Attributes:
        name: What messages and tables call it.
        einsums: In order of execution.
    """

    name: str
    einsums: tuple[Einsum, ...]

    def __post_init__(self) -> None:
        problems: list[str] = []
        shapes: dict[str, tuple[int, ...]] = {}
        written: set[str] = set()
        for einsum in self.einsums:
            extents = dict(einsum.extents)
            for tensor in einsum.tensors:
                shape = tensor.shape(extents)
                if shapes.setdefault(tensor.name, shape) != shape:
                    problems.append(
                        describe(
                            f"cascade {self.name}, einsum {einsum.name}",
                            f"tensor {tensor.name} changes its shape",
                            got=shape,
                            expected=shapes[tensor.name],
                            remedy="Give its rank variables the same extents in both einsums.",
                        )
                    )
            if einsum.output.name in written:
                problems.append(f"cascade {self.name}: tensor {einsum.output.name} is written twice. Rename one.")
            written.add(einsum.output.name)
        seen: set[str] = set()
        for einsum in self.einsums:
            late = [t.name for t in einsum.inputs if t.name in written and t.name not in seen]
            problems += [
                f"cascade {self.name}, einsum {einsum.name}: reads {name} before it is written. Reorder the einsums."
                for name in late
            ]
            seen.add(einsum.output.name)
        if not self.einsums:
            problems.append(f"cascade {self.name}: it has no einsum. Give at least one.")
        if problems:
            raise SpecError(problems)

    @property
    def intermediates(self) -> tuple[str, ...]:
        """Tensors written by one einsum and read by a later one."""
        read = {tensor.name for einsum in self.einsums for tensor in einsum.inputs}
        return tuple(e.output.name for e in self.einsums if e.output.name in read)

    @property
    def ops(self) -> int:
        """Sum of the ops of all einsums."""
        return sum(einsum.ops for einsum in self.einsums)

    def __str__(self) -> str:
        return "\n".join(map(str, self.einsums))


def parse_einsum(text: str, *, extents: Mapping[str, int], name: str | None = None) -> Einsum:
    """Parse one statement into an `Einsum`.

    Ranks may be sums of rank variables with integer coefficients (``I[2*p+r]``).

    Args:
        text: For example ``"Z[m,n] = A[m,k] * B[k,n]"``.
        extents: How many values each rank variable takes; entries the statement does not use are ignored.
        name: Name of the einsum; the output's name if left out.

    Raises:
        SpecError: The text is not a statement of this form, or an extent is missing.

    >>> einsum = parse_einsum("O[p] = I[p+r] * W[r]", extents={"p": 16, "r": 3})
    >>> einsum.ops, einsum.words("I"), einsum.contracted
    (48, 18, ('r',))
    """
    left, equals, right = text.partition("=")
    if not equals:
        raise SpecError(_syntax(text, "no '='", text.strip() or "nothing"))
    outputs = list(_accesses(left, text))
    if len(outputs) != 1:
        raise SpecError(_syntax(text, "the left side is not one tensor", left.strip() or "nothing"))
    inputs = tuple(_accesses(right, text))
    used = dict.fromkeys(var for tensor in (*inputs, outputs[0]) for var in tensor.rank_vars)
    return Einsum(
        name=name or outputs[0].name,
        inputs=inputs,
        output=outputs[0],
        extents=tuple((var, extents[var]) for var in used if var in extents),
    )


def parse_cascade(texts: Sequence[str], *, extents: Mapping[str, int], name: str) -> Cascade:
    """Parse several statements into a `Cascade`.

    >>> print(parse_cascade(["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    ...                     extents={"m": 4, "k": 8, "f": 2, "n": 8}, name="low-rank").intermediates)
    ('H',)
    """
    return Cascade(name=name, einsums=tuple(parse_einsum(text, extents=extents) for text in texts))


def _syntax(text: str, what: str, got: str) -> str:
    return describe(f"einsum {text.strip()!r}", what, got=got, expected=_FORM, remedy="Correct the statement.")


def _accesses(side: str, text: str) -> Iterator[TensorAccess]:
    """Read ``A[m,k] * B[k,n]``: a walk from bracket to bracket."""
    rest = side.strip()
    if not rest:
        raise SpecError(_syntax(text, "one side is empty", "nothing"))
    while rest:
        head, bracket, tail = rest.partition("[")
        inside, closing, rest = tail.partition("]")
        if not bracket or not closing:
            raise SpecError(_syntax(text, "a tensor without [ ]", rest.strip() or head.strip()))
        name = head.strip()
        if not name.isidentifier():
            raise SpecError(_syntax(text, "not a tensor name", repr(name)))
        yield TensorAccess(
            name=name,
            projection=tuple(_rank(rank, text) for rank in inside.split(",")) if inside.strip() else (),
        )
        rest = rest.strip()
        if rest:
            if not rest.startswith("*") or not rest[1:].strip():
                raise SpecError(_syntax(text, "tensors are joined by '*'", repr(rest)))
            rest = rest[1:].strip()


def _rank(rank: str, text: str) -> tuple[Term, ...]:
    """Read ``p`` or ``2*p+r``."""
    terms: dict[str, int] = {}
    for part in rank.split("+"):
        factor, star, var = part.rpartition("*")
        var, factor = var.strip(), factor.strip()
        if not var.isidentifier() or (star and not (factor.isascii() and factor.isdigit() and int(factor) > 0)):
            raise SpecError(_syntax(text, "not a rank variable", repr(part.strip())))
        if var in terms:
            raise SpecError(_syntax(text, f"rank variable {var} twice in one rank", repr(rank.strip())))
        terms[var] = int(factor) if star else 1
    return tuple(terms.items())
