"""A plan: how consecutive einsums run as one fused group, but for the mapping of each (docs/model.md, section 10)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from heat_sim.einsum import Einsum
from heat_sim.mapper.space import Residence
from heat_sim.vector_op import VectorOp


@dataclass(frozen=True, slots=True)
class Part:
    """An einsum as it runs in some iterations of the common loops.

    Attributes:
        einsum: With the extents of one iteration.
        residence: What it finds at home or leaves there, and what others have taken.
        count: In how many iterations.
    """

    einsum: Einsum
    residence: Residence | None
    count: int


class Transfer(NamedTuple):
    """Moves of a tensor between the outermost level and home, in steps of their own.

    Attributes:
        tensor: Its name.
        words: Of one move.
        loads: Moves inwards.
        stores: Moves outwards.
    """

    tensor: str
    words: int
    loads: int
    stores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """How a group of consecutive einsums runs.

    Attributes:
        einsums: In order, with the extents of one iteration.
        loops: Rank variable and bound of the common loops, outermost first; all bounds above 1.
        home: Level of what stays on the chip; None for a group of one einsum without common loops.
        intermediates: Tensors that live at home from one einsum to a later one of the group.
        stored: Those of them that later groups read too: they leave home as well.
        residents: Inputs that are brought home in steps of their own.
        accumulators: Outputs that a common loop contracts: their partial sums stay at home.
    """

    einsums: tuple[Einsum, ...]
    loops: tuple[tuple[str, int], ...] = ()
    home: int | None = None
    intermediates: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    residents: frozenset[str] = frozenset()
    accumulators: frozenset[str] = frozenset()

    @property
    def iterations(self) -> int:
        """Of the common loops."""
        return math.prod(bound for _, bound in self.loops)

    def words(self, tensor: str) -> int:
        """Return the words of a tensor in one iteration."""
        return next(einsum.words(tensor) for einsum in self.einsums if tensor in names_of(einsum))

    def visits(self, tensor: str) -> int:
        """Return how often the part of the tensor that an iteration needs is another one than before.

        >>> from heat_sim.einsum import parse_einsum
        >>> einsum = parse_einsum("Z[m,n] = A[m,k] * B[k,n]", extents={"m": 1, "n": 1, "k": 1})
        >>> plan = GroupPlan(einsums=(einsum,), loops=(("m", 2), ("k", 3), ("n", 5)))
        >>> [plan.visits(tensor) for tensor in "ABZ"]
        [6, 30, 30]
        """
        return self.visits_of(self._rank_vars(tensor))

    def visits_of(self, rank_vars: Sequence[str]) -> int:
        """Return the same for a tensor of these rank variables."""
        return visits(self.loops, rank_vars)

    def _rank_vars(self, tensor: str) -> tuple[str, ...]:
        return next(einsum.tensor(tensor).rank_vars for einsum in self.einsums if tensor in names_of(einsum))

    def distinct(self, tensor: str) -> int:
        """Return how many parts the common loops divide the tensor into."""
        has = self._rank_vars(tensor)
        return math.prod(bound for var, bound in self.loops if var in has)

    def parts(self) -> Iterator[Part]:
        """Yield every einsum as it runs; one that accumulates runs first without partial sums, then with them."""
        for place, einsum in enumerate(self.einsums):
            residence = self.residence(place)
            if residence is not None and einsum.output.name in self.accumulators:
                first = self.distinct(einsum.output.name)
                yield Part(einsum, residence, first)
                if first < self.iterations:
                    yield Part(einsum, replace(residence, accumulates=True), self.iterations - first)
            else:
                yield Part(einsum, residence, self.iterations)
        yield from self._rescalings()

    def _rescalings(self) -> Iterator[Part]:
        """Yield what an online function along a common loop asks for: its accumulators scaled in every iteration."""
        looped = {var for var, _ in self.loops}
        if not any(isinstance(einsum, VectorOp) and looped & set(einsum.over) for einsum in self.einsums):
            return
        for place, einsum in enumerate(self.einsums):
            if einsum.output.name in self.accumulators:
                access = einsum.output
                extents = tuple((var, extent) for var, extent in einsum.extents if var in access.rank_vars)
                scaled = VectorOp(
                    name=f"rescale {access.name}", inputs=(replace(access, name=f"{access.name} before"),),
                    output=access, extents=extents, function="mul",
                )  # fmt: skip
                words = einsum.words(access.name)
                residence = self.residence(place)
                if residence is not None:
                    tensors = frozenset(tensor.name for tensor in scaled.tensors)
                    # In place: the words before and after have the same room, which the einsum has counted.
                    yield Part(
                        scaled, Residence(level=residence.level, tensors=tensors, reserved_words=-words),
                        self.iterations,
                    )  # fmt: skip

    def transfers(self) -> tuple[Transfer, ...]:
        """Return what moves between the outermost level and home by itself."""
        loads = [Transfer(name, self.words(name), self.visits(name), 0) for name in sorted(self.residents)]
        stores = [Transfer(name, self.words(name), 0, self.iterations) for name in sorted(self.stored)]
        sums = [
            Transfer(name, self.words(name), self.visits(name) - self.distinct(name), self.visits(name))
            for name in sorted(self.accumulators)
        ]
        return (*loads, *stores, *sums)

    def residence(self, place: int) -> Residence | None:
        """Return what the einsum at this place finds at home or leaves there, and what the others have taken."""
        if self.home is None:
            return None
        einsum = self.einsums[place]
        here = names_of(einsum)
        live = {tensor for tensor in self._at_home() if self._is_live(tensor, place)}
        return Residence(
            level=self.home,
            tensors=frozenset(live & here),
            reserved_words=sum(map(self.words, live - here)) - self._taken_over(place),
        )

    def _at_home(self) -> frozenset[str]:
        return self.intermediates | self.residents | self.accumulators

    def _is_live(self, tensor: str, place: int) -> bool:
        if tensor in self.residents | self.accumulators and self.visits(tensor) < self.iterations:
            return True  # it stays from one iteration to the next
        uses = [at for at, einsum in enumerate(self.einsums) if tensor in names_of(einsum)]
        return uses[0] <= place <= uses[-1]

    def _taken_over(self, place: int) -> int:
        """Return the words of an input whose room the output takes: vector operations work in place."""
        einsum = self.einsums[place]
        out = einsum.output.name
        if not isinstance(einsum, VectorOp) or out not in self.intermediates:
            return 0
        for tensor in einsum.inputs:
            last = not any(tensor.name in names_of(later) for later in self.einsums[place + 1 :])
            if last and tensor.name in self.intermediates and self.words(tensor.name) == self.words(out):
                return self.words(out)
        return 0

    def peak_words(self) -> int:
        """Return the words at home when most is live there, tiles of what does not live there left out."""
        peak = 0
        for place in range(len(self.einsums)):
            residence = self.residence(place)
            if residence is not None:
                peak = max(peak, residence.reserved_words + sum(map(self.words, residence.tensors)))
        return peak


def visits(loops: Sequence[tuple[str, int]], rank_vars: Sequence[str]) -> int:
    """Return the product of the bounds from the outermost loop to the innermost one that touches the rank variables."""
    touching = [place for place, (var, _) in enumerate(loops) if var in rank_vars]
    return math.prod(bound for _, bound in loops[: touching[-1] + 1]) if touching else 1


def names_of(einsum: Einsum) -> frozenset[str]:
    """Return the names of the tensors of an einsum."""
    return frozenset(tensor.name for tensor in einsum.tensors)
