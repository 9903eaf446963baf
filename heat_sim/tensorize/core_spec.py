"""What a format says of one of its cores: its name and the rank variables that index it."""

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
    def access(self) -> TensorAccess:
        """The core as an operand of an einsum."""
        return TensorAccess(name=self.name, projection=tuple(((var, 1),) for var, _ in self.dims))
