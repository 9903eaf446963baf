"""Fused groups: consecutive einsums under common outer loops, their intermediates on the chip.

The rules, beside those of the model:

* A group runs its einsums one after another in every iteration of the common loops. These run over rank variables that
  all its einsums have and none contracts.
* Inside an iteration each einsum has a mapping of its own, of the part that the iteration covers. The intermediates of
  the group live at one level that exists once (`home`), in full from where they are written to where they were read
  last; outside it they are never seen.
* A tensor that no common loop touches is either read anew in every iteration, or it resides at home: read once from the
  outermost level and written once at home, in a step of its own, and there in full for as long as the group runs.
* What is live at a time shares home's capacity. Energies and cycles add up.

So a group of one iteration costs what its einsums cost with the intermediates bypassing the levels outside home, and a
group of one einsum what that costs (docs/model.md, section 10).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum
from heat_sim.mapper.mesh import divisors
from heat_sim.mapper.space import Residence


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """How a fused group runs, but for the mappings of its einsums.

    Attributes:
        einsums: In order, with the extents of one iteration.
        loops: Rank variable and bound of the common loops.
        home: Level of the intermediates; None for a group of one einsum without common loops.
        intermediates: Tensors that live at home from one einsum to a later one.
        residents: Tensors that stay at home for all iterations.
        loads: Words of each resident.
    """

    einsums: tuple[Einsum, ...]
    loops: tuple[tuple[str, int], ...] = ()
    home: int | None = None
    intermediates: frozenset[str] = frozenset()
    residents: frozenset[str] = frozenset()

    @property
    def iterations(self) -> int:
        """Of the common loops."""
        return math.prod(bound for _, bound in self.loops)

    def words(self, tensor: str) -> int:
        """Return the words of a tensor in one iteration."""
        return next(einsum.words(tensor) for einsum in self.einsums if tensor in _names(einsum))

    def residence(self, place: int) -> Residence | None:
        """Return what the einsum at this place finds at home, and what the others have taken there."""
        if self.home is None:
            return None
        here = _names(self.einsums[place])
        live = {tensor for tensor in self.intermediates if self._is_live(tensor, place)} | self.residents
        return Residence(
            level=self.home,
            tensors=frozenset(live & here),
            reserved_words=sum(self.words(tensor) for tensor in live - here),
        )

    def _is_live(self, tensor: str, place: int) -> bool:
        uses = [at for at, einsum in enumerate(self.einsums) if tensor in _names(einsum)]
        return uses[0] <= place <= uses[-1]


def _names(einsum: Einsum) -> frozenset[str]:
    return frozenset(tensor.name for tensor in einsum.tensors)


def homes(architecture: Architecture) -> tuple[int, ...]:
    """Return the levels that can be home to what stays on the chip: storages that exist once, inside the outermost."""
    return tuple(
        place
        for place, level in enumerate(architecture.levels)
        if place > 0 and architecture.instances(place) == 1 and not level.is_virtual
    )


def group_plans(cascade: Cascade, first: int, last: int, architecture: Architecture) -> Iterator[GroupPlan]:
    """Yield every plan of the group of einsums first..last of a cascade.

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_cascade
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=64)))
    >>> chain = parse_cascade(["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    ...                       extents={"m": 4, "k": 8, "f": 2, "n": 8}, name="low-rank")
    >>> [(dict(plan.loops), sorted(plan.residents)) for plan in group_plans(chain, 0, 1, machine)][:3]
    [({'m': 1}, []), ({'m': 2}, []), ({'m': 2}, ['U'])]
    """
    einsums = cascade.einsums[first : last + 1]
    if first == last:
        yield GroupPlan(einsums=einsums)
        return
    inside = frozenset(einsum.output.name for einsum in einsums[:-1])
    outside = cascade.einsums[:first] + cascade.einsums[last + 1 :]
    if any(inside & _names(einsum) for einsum in outside) or not all(_is_read(name, einsums) for name in inside):
        return  # an intermediate that others need has to leave the chip
    common = [
        var
        for var in einsums[0].rank_vars
        if all(var in einsum.output.rank_vars for einsum in einsums) and _indexes_alike(var, inside, einsums)
    ]
    for home in homes(architecture):
        usable = architecture.levels[home].usable_words
        for tiles in itertools.product(*(reversed(divisors(einsums[0].extent(var))) for var in common)):
            sizes = dict(zip(common, tiles, strict=True))
            loops = tuple((var, einsums[0].extent(var) // tile) for var, tile in sizes.items())
            parts = tuple(_part(einsum, sizes) for einsum in einsums)
            touched = {var for var, bound in loops if bound > 1}
            still = [
                tensor.name
                for einsum in einsums
                for tensor in einsum.inputs
                if tensor.name not in inside and not touched & set(tensor.rank_vars)
            ]
            candidates = tuple(dict.fromkeys(still)) if touched else ()
            for size in range(len(candidates) + 1):
                for residents in itertools.combinations(candidates, size):
                    plan = GroupPlan(einsums=parts, loops=loops, home=home, intermediates=inside,
                                     residents=frozenset(residents))  # fmt: skip
                    if usable is None or _peak_words(plan) <= usable:
                        yield plan


def _is_read(tensor: str, einsums: Sequence[Einsum]) -> bool:
    return any(tensor in {access.name for access in einsum.inputs} for einsum in einsums)


def _indexes_alike(rank_var: str, tensors: frozenset[str], einsums: Sequence[Einsum]) -> bool:
    """Return whether the rank variable is the same rank of each of the tensors wherever that appears."""
    for name in tensors:
        accesses = [tensor for einsum in einsums for tensor in einsum.tensors if tensor.name == name]
        places = {
            tuple(place for place, rank in enumerate(access.projection) if (rank_var, 1) in rank)
            for access in accesses
        }  # fmt: skip
        if len(places) > 1 or not all(access.is_plain for access in accesses):
            return False
    return True


def _part(einsum: Einsum, sizes: dict[str, int]) -> Einsum:
    return replace(einsum, extents=tuple((var, sizes.get(var, extent)) for var, extent in einsum.extents))


def _peak_words(plan: GroupPlan) -> int:
    """Return the words at home when most is live there."""
    needs: list[int] = []
    for place in range(len(plan.einsums)):
        residence = plan.residence(place)
        if residence is not None:
            needs.append(residence.reserved_words + sum(map(plan.words, residence.tensors)))
    return max(needs)
