"""What a format says of its cores: a sum of terms, each a product of cores indexed by named rank variables."""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.einsum import TensorAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSpec:
    """One core of a factorised weight matrix.

    Attributes:
        name: Name of the tensor in the einsum: "G1", "G2", ...
        dims: ``(rank variable, extent)`` per rank of the core, in storage order.
    """

    name: str
    dims: tuple[tuple[str, int], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of every rank."""
        return tuple(extent for _, extent in self.dims)

    @property
    def rank_vars(self) -> tuple[str, ...]:
        """Rank variable of every rank."""
        return tuple(var for var, _ in self.dims)

    @property
    def access(self) -> TensorAccess:
        """The core as an operand of an einsum."""
        return TensorAccess(name=self.name, projection=tuple(((var, 1),) for var, _ in self.dims))


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One product of cores; a factorised matrix is the sum of its terms.

    A rank variable among `out_vars` and `in_vars` alike makes the term block-diagonal: it is zero where the two differ.

    Attributes:
        out_vars: The variable of every output mode, in order.
        in_vars: The variable of every input mode, in order.
        cores: Multiplied, and summed over the variables that are no modes.
    """

    out_vars: tuple[str, ...]
    in_vars: tuple[str, ...]
    cores: tuple[CoreSpec, ...]

    @property
    def mode_vars(self) -> tuple[str, ...]:
        """Variables of all modes, the outputs first."""
        return self.out_vars + self.in_vars

    @property
    def extents(self) -> dict[str, int]:
        """Extent of every rank variable of the cores."""
        return {var: extent for core in self.cores for var, extent in core.dims}


def mode_vars(letter: str, modes: tuple[int, ...]) -> tuple[str, ...]:
    """Return the variables of the modes of one side.

    >>> mode_vars("o", (16, 24))
    ('o1', 'o2')
    """
    return tuple(f"{letter}{k}" for k in range(1, len(modes) + 1))
