"""Every way to run consecutive einsums as one fused group (docs/model.md, rules 10.4 to 10.7).

Common loops run over rank variables that all einsums of the group have, in the same rank of every intermediate. One of
them may be contracted by an einsum that nobody in the group waits for: its partial sums then stay at home.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum
from heat_sim.mapper.cascade.plan import GroupPlan
from heat_sim.mapper.matmul import is_matmul
from heat_sim.mapper.mesh import divisors
from heat_sim.vector_op import VectorOp


def homes(architecture: Architecture) -> tuple[int, ...]:
    """Return the levels that can be home to what stays on the chip: storages that exist once, inside the outermost."""
    return tuple(
        place
        for place, level in enumerate(architecture.levels)
        if place > 0 and architecture.instances(place) == 1 and not level.is_virtual
    )


MOST_LOOPS = 2
"""Common loops of a group at the most, if nothing else is said."""


def group_plans(
    cascade: Cascade, first: int, last: int, architecture: Architecture, *, most_loops: int = MOST_LOOPS
) -> Iterator[GroupPlan]:
    """Yield every plan of the group of einsums first..last of a cascade whose tensors at home fit there.

    The search looks at the same plans as arrays (`heat_sim.mapper.cascade.table`).

    >>> from heat_sim.architecture import StorageLevel
    >>> from heat_sim.einsum import parse_cascade
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=64)))
    >>> chain = parse_cascade(["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    ...                       extents={"m": 2, "k": 8, "f": 2, "n": 8}, name="low-rank")
    >>> for plan in itertools.islice(group_plans(chain, 0, 1, machine), 4):
    ...     print(plan.loops, sorted(plan.residents), sorted(plan.accumulators))
    () [] []
    (('f', 2),) [] ['Y']
    (('f', 2),) ['X'] ['Y']
    (('m', 2),) [] []
    """
    if first == last:
        yield GroupPlan(einsums=cascade.einsums[first : last + 1])
        return
    group = group_of(cascade, first, last)
    if not group.can_fuse:
        return
    for home in homes(architecture):
        usable = architecture.levels[home].usable_words
        for tiles in itertools.product(*(reversed(divisors(group.extents[var])) for var in group.common)):
            sizes = dict(zip(group.common, tiles, strict=True))
            if sum(tile < group.extents[var] for var, tile in sizes.items()) > most_loops:
                continue
            for plan in _plans(group, sizes, home):
                if usable is None or plan.peak_words() <= usable:
                    yield plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Einsums and how their tensors hang together.

    Attributes:
        einsums: In order.
        extents: Of all rank variables.
        common: Those that common loops may run over.
        intermediates: Written and read in the group.
        stored: Those of them that others read too.
        inputs: Rank variables of the tensors that are read only and indexed alike wherever they are.
        shared: Those of them that several einsums read.
        rank_vars: Of every tensor, as the first einsum that has it names them.
        words: Of every tensor.
    """

    einsums: tuple[Einsum, ...]
    extents: dict[str, int]
    common: tuple[str, ...]
    intermediates: frozenset[str]
    stored: frozenset[str]
    inputs: dict[str, tuple[str, ...]]
    shared: frozenset[str]
    rank_vars: dict[str, tuple[str, ...]]
    words: dict[str, int]

    @property
    def can_fuse(self) -> bool:
        """Whether there is anything to keep on the chip, and rules for all of the einsums."""
        known = all(isinstance(einsum, VectorOp) or is_matmul(einsum) for einsum in self.einsums)
        return known and bool(self.intermediates or self.shared)


def group_of(cascade: Cascade, first: int, last: int) -> Group:
    """Return the group of einsums first..last of a cascade."""
    einsums = cascade.einsums[first : last + 1]
    outputs = {einsum.output.name for einsum in einsums}
    read = [tensor.name for einsum in einsums for tensor in einsum.inputs]
    later = {tensor.name for einsum in cascade.einsums[last + 1 :] for tensor in einsum.inputs}
    intermediates = frozenset(outputs & set(read))
    inputs = {
        tensor.name: tensor.rank_vars
        for einsum in einsums
        for tensor in einsum.inputs
        if tensor.name not in outputs and _is_indexed_alike(tensor.name, einsums)
    }  # fmt: skip
    extents: dict[str, int] = {}
    for einsum in einsums:
        extents |= dict(einsum.extents)
    return Group(
        einsums=einsums,
        extents=extents,
        common=tuple(var for var in einsums[0].rank_vars if _is_common(var, einsums, intermediates)),
        intermediates=intermediates,
        stored=frozenset(intermediates & later),
        inputs=inputs,
        shared=frozenset(name for name in inputs if read.count(name) > 1),
        rank_vars={tensor.name: tensor.rank_vars for einsum in reversed(einsums) for tensor in einsum.tensors},
        words={tensor.name: einsum.words(tensor.name) for einsum in einsums for tensor in einsum.tensors},
    )


def _is_common(var: str, einsums: Sequence[Einsum], intermediates: frozenset[str]) -> bool:
    """Return whether a common loop may run over the rank variable."""
    for einsum in einsums:
        if (
            var not in einsum.rank_vars
            or len({dict(each.extents)[var] for each in einsums if var in each.rank_vars}) > 1
        ):
            return False
        if isinstance(einsum, VectorOp) and var in einsum.whole:
            return False
        if var in einsum.contracted and einsum.output.name in intermediates:
            return False  # it is not complete before the loop ends
    return all(_is_same_rank(var, name, einsums) for name in intermediates)


def _accesses(name: str, einsums: Sequence[Einsum]) -> list[tuple[str, ...]]:
    return [tensor.rank_vars for einsum in einsums for tensor in einsum.tensors if tensor.name == name]


def _is_same_rank(var: str, name: str, einsums: Sequence[Einsum]) -> bool:
    """Return whether the rank variable indexes the same rank of the tensor wherever that is."""
    plain = all(tensor.is_plain for einsum in einsums for tensor in einsum.tensors if tensor.name == name)
    places = {ranks.index(var) if var in ranks else -1 for ranks in _accesses(name, einsums)}
    return plain and len(places) == 1


def _is_indexed_alike(name: str, einsums: Sequence[Einsum]) -> bool:
    return len(set(_accesses(name, einsums))) == 1


def _plans(group: Group, sizes: dict[str, int], home: int) -> Iterator[GroupPlan]:
    """Yield the plans with tiles of these sizes: orders of the loops that make a difference, and what resides."""
    parts = tuple(part_of(einsum, sizes) for einsum in group.einsums)
    loops = [(var, group.extents[var] // size) for var, size in sizes.items() if size < group.extents[var]]
    looped = {var for var, _ in loops}
    accumulators = frozenset(einsum.output.name for einsum in group.einsums if looped & set(einsum.contracted))
    seen: set[tuple[int, ...]] = set()
    for order in itertools.permutations(loops):
        plan = GroupPlan(
            einsums=parts, loops=order, home=home, intermediates=group.intermediates, stored=group.stored,
            accumulators=accumulators,
        )  # fmt: skip
        visits = {name: plan.visits_of(ranks) for name, ranks in group.inputs.items()}
        signature = (*visits.values(), *(plan.visits(name) for name in sorted(accumulators)))
        if signature in seen:
            continue
        seen.add(signature)
        candidates = [name for name in visits if visits[name] < plan.iterations or name in group.shared]
        for size in range(len(candidates) + 1):
            for residents in itertools.combinations(candidates, size):
                if group.intermediates or group.shared & set(residents):
                    yield replace(plan, residents=frozenset(residents))


def part_of(einsum: Einsum, sizes: Mapping[str, int]) -> Einsum:
    """Return the part of an einsum where rank variables have these extents."""
    return replace(einsum, extents=tuple((var, sizes.get(var, extent)) for var, extent in einsum.extents))
