"""Every pairwise contraction is a batched matmul: the classes of its rank variables.

Each rank variable of ``Z = A * B`` is in A, B and Z (batch), in A and Z (m), in B and Z (n), or in
A and B (k). Rank variables of one class only ever appear together, so they merge into one; in the
merged matmul each tensor has exactly one irrelevant class: A has n, B has m, Z has k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from heat_sim.einsum import Einsum
from heat_sim.errors import HeatError, describe

CLASSES = ("batch", "m", "n", "k")
"""Order of the classes in every array of the mapper."""

IRRELEVANT = (2, 1, 3)
"""Class that is irrelevant to A, B and Z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matmul:
    """A batched matmul and where it came from.

    Attributes:
        einsum: The einsum that was classified; its inputs are A and B, its output Z.
        members: Rank variables of each class, in the order of `CLASSES`.
    """

    einsum: Einsum
    members: tuple[tuple[str, ...], ...]

    @property
    def extents(self) -> tuple[int, ...]:
        """Extent of each class."""
        return tuple(math.prod(self.einsum.extent(var) for var in members) for members in self.members)

    @property
    def words(self) -> tuple[int, int, int]:
        """Words of A, B and Z."""
        a, b = self.einsum.inputs
        return self.einsum.words(a.name), self.einsum.words(b.name), self.einsum.words(self.einsum.output.name)


def as_matmul(einsum: Einsum) -> Matmul:
    """Return the classes of a pairwise contraction.

    Raises:
        HeatError: The einsum is not the contraction of two plain tensors.

    >>> from heat_sim.einsum import parse_einsum
    >>> step = parse_einsum("T[s,o,r] = X[s,i,j] * G[r,o,j,i]", extents=dict(s=8, i=4, j=6, o=3, r=2))
    >>> as_matmul(step).members
    ((), ('s',), ('r', 'o'), ('i', 'j'))
    """
    where = f"einsum {einsum.name}"
    if len(einsum.inputs) != 2 or not all(tensor.is_plain for tensor in einsum.tensors):
        raise HeatError(
            describe(where, "the mapper covers contractions of two plain tensors", got=einsum,
                     expected="a statement like Z[m,n] = A[m,k] * B[k,n]", remedy="Contract two tensors at a time.")
        )  # fmt: skip
    a, b = (set(tensor.rank_vars) for tensor in einsum.inputs)
    z = set(einsum.output.rank_vars)
    classes = {(True, True, True): 0, (True, False, True): 1, (False, True, True): 2, (True, True, False): 3}
    members: list[list[str]] = [[], [], [], []]
    for var in einsum.rank_vars:
        places = (var in a, var in b, var in z)
        if places not in classes:
            raise HeatError(
                describe(where, f"rank variable {var} is in one tensor only", got=einsum,
                         expected="every rank variable in two tensors at least",
                         remedy=f"Sum over {var}, or drop it, beforehand.")
            )  # fmt: skip
        members[classes[places]].append(var)
    return Matmul(einsum=einsum, members=tuple(tuple(group) for group in members))


@lru_cache(maxsize=2**16)
def is_matmul(einsum: Einsum) -> bool:
    """Return whether the einsum is a pairwise contraction that `as_matmul` takes."""
    try:
        as_matmul(einsum)
    except HeatError:
        return False
    return True
