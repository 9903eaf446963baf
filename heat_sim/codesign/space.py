"""The design space: one choice of format, tensorization and ranks for every slot, a set of matrices of one shape.

Queries, keys and values of a layer may have a slot of their own as one stacked matrix: if that is dense, the three are
what their own slots say; if not, it takes their place.
A genome is a dict of small integers, so any optimiser with integer variables can search it; several
genomes may mean the same design, and `decode` maps them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from heat_sim.codesign.joint import Groups, Joint, stacked_network, with_stacked
from heat_sim.errors import SpecError, describe
from heat_sim.networks import Network
from heat_sim.networks.network import WeightMatrix
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

DEFAULT_FORMATS = ("dense", "low-rank", "tt-matrix")
RANK_STEPS = 24
"""Values of a rank gene: evenly spaced up to the largest rank that saves parameters, then rounded."""

_GRAIN = 8
"""Ranks are rounded to a multiple of this, or of a power of two below it where they are small: an
array whose sides are powers of two cannot be filled by a prime rank."""

Per = Literal["shape", "role", "matrix"]
"""What chooses for itself: all matrices of a shape, those of a role (query, key, ..), or every matrix."""

_KEYS: Mapping[str, Callable[[WeightMatrix], object]] = {
    "shape": lambda _matrix: None,
    "role": lambda matrix: matrix.role,
    "matrix": lambda matrix: matrix.name,
}

Genome = Mapping[str, int]
Shape = tuple[int, int]
"""(out_features, in_features)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One gene: an integer from 0 to `size` - 1.

    Attributes:
        name: Unique in the space.
        size: How many values it takes.
        ordered: Whether neighbouring values mean similar designs.
    """

    name: str
    size: int
    ordered: bool


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Matrices of one shape that become the same, and what that may be.

    Attributes:
        shape: (out_features, in_features).
        matrices: Their names.
        options: Format and tensorization, as one list of alternatives.
        stacked: For each matrix what it is stacked of; empty if they are matrices of the network.
    """

    shape: Shape
    matrices: tuple[str, ...]
    options: tuple[tuple[str, Tensorization], ...]
    stacked: tuple[tuple[str, ...], ...] = ()

    @property
    def members(self) -> int:
        """How many matrices."""
        return len(self.matrices)

    @cached_property
    def dense(self) -> int:
        """The option to stay dense, which leaves what is stacked apart; KeyError if there is none."""
        names = [name for name, _ in self.options]
        if "dense" not in names:
            raise KeyError("dense")
        return names.index("dense")

    @cached_property
    def rank_values(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """What the rank genes mean, for each option: for each open rank its value at every value of the gene."""
        return tuple(_rank_values(self, option) for option in range(len(self.options)))

    @cached_property
    def ranks(self) -> int:
        """Rank genes: as many as the option with the most inner ranks needs."""
        return max(len(_inner(FORMATS[name].max_ranks(modes))) for name, modes in self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareGene:
    """A number of the machine that the search may choose.

    Attributes:
        name: Unique in the space.
        size: How many values it takes.
        base: Place of the value that the machine has unless told otherwise.
    """

    name: str
    size: int
    base: int


@dataclass(frozen=True, kw_only=True)
class DesignSpace:
    """The genes of a whole network, and of the machine if that is searched too.

    Attributes:
        slots: Every matrix of the network is in one of them, or in a stacked one, or in both.
        hardware: Of the machine; a genome without them means the base.
    """

    slots: tuple[Slot, ...]
    hardware: tuple[HardwareGene, ...] = ()

    def machine(self, genome: Genome) -> tuple[int, ...]:
        """Return the choice of each gene of the machine."""
        return tuple(genome.get(gene.name, gene.base) for gene in self.hardware)

    @cached_property
    def owners(self) -> tuple[frozenset[int], ...]:
        """For each slot the stacked ones that leave it without use if none of them is dense; empty if it always is.

        Some matrix of a slot that is always of use is in no stacked slot.
        """
        of = {name: index for index, slot in enumerate(self.slots) for members in slot.stacked for name in members}
        return tuple(
            frozenset(of[name] for name in slot.matrices)
            if all(name in of for name in slot.matrices) else frozenset()
            for slot in self.slots
        )  # fmt: skip

    @cached_property
    def optional(self) -> tuple[int, ...]:
        """The stacked slots whose members have slots of their own: being joint is a choice there."""
        own = {name for slot in self.slots for name in slot.matrices}
        return tuple(
            index for index, slot in enumerate(self.slots)
            if any(name in own for members in slot.stacked for name in members)
        )  # fmt: skip

    def apart(self, genome: Genome) -> dict[str, int]:
        """Return the genome with everything apart that need not be joint."""
        return {**genome, **{f"option{index}": self.slots[index].dense for index in self.optional}}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The genes of the network, slot by slot: the option, then its ranks."""
        return tuple(
            variable
            for index, space in enumerate(self.slots)
            for variable in (
                Variable(name=f"option{index}", size=len(space.options), ordered=False),
                *(Variable(name=f"rank{index}_{k}", size=RANK_STEPS, ordered=True) for k in range(space.ranks)),
            )
        )

    def decode(self, genome: Genome) -> tuple[Factorization, ...]:
        """Return the factorization of each slot that the genome means."""
        return tuple(
            _factorization(space, genome[f"option{i}"], [genome[f"rank{i}_{k}"] for k in range(space.ranks)])
            for i, space in enumerate(self.slots)
        )

    def per_matrix(self, genome: Genome) -> dict[str, Factorization]:
        """Return the factorization of every matrix by name; of a stacked one in the place of its members."""
        return self.by_name(self.decode(genome))

    def by_name(self, factorizations: Sequence[Factorization]) -> dict[str, Factorization]:
        """Return the same, given the factorizations of the slots."""
        apart: dict[str, Factorization] = {}
        joint: dict[str, Factorization] = {}
        own: dict[str, Factorization] = {}
        for slot, each in zip(self.slots, factorizations, strict=True):
            if not slot.stacked:
                own |= dict.fromkeys(slot.matrices, each)
            elif each.format != "dense":
                joint |= dict.fromkeys(slot.matrices, each)
            else:
                for members in slot.stacked:
                    apart |= dict.fromkeys(members, _rows(each, len(members)))
        inside = {name for slot in self.slots for whole, members in zip(slot.matrices, slot.stacked, strict=False)
                  if whole in joint for name in members}  # fmt: skip
        return {name: each for name, each in (apart | own).items() if name not in inside} | joint


def design_space(
    network: Network,
    *,
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    tensorizations: int = 2,
    per: Per = "shape",
    joint: Joint = "apart",
) -> DesignSpace:
    """Return the space of a network.

    Args:
        network: Whose matrices become something else.
        formats: Names in `FORMATS`.
        tensorizations: Tensorization shapes kept per format and number of modes, the most uniform first.
        per: Which matrices are one slot.
        joint: Whether queries, keys and values have slots of their own, one as a stacked matrix, or both.

    Raises:
        SpecError: An unknown format, or none.

    >>> from heat_sim.networks import SIZES, network_from_config
    >>> network = network_from_config(SIZES["bert-base"], tokens=128, name="bert-base")
    >>> [len(design_space(network, per=per).slots) for per in ("shape", "role", "matrix")]
    [3, 6, 72]
    >>> [len(design_space(network, per="matrix", joint=joint).slots) for joint in ("apart", "search", "always")]
    [72, 84, 48]
    """
    check_formats(formats)
    groups: Groups = {}
    if joint != "apart":
        with_groups = stacked_network(network) if joint == "always" else with_stacked(network)
        network, groups = with_groups.network, with_groups.groups
    slots: dict[tuple[object, Shape, bool], list[str]] = {}
    for matrix in network.matrices:
        shape = matrix.out_features, matrix.in_features
        slots.setdefault((_KEYS[per](matrix), shape, matrix.name in groups), []).append(matrix.name)

    def options(shape: Shape, names: tuple[str, ...]) -> tuple[tuple[str, Tensorization], ...]:
        return tuple(
            (name, modes) for name in names for modes in FORMATS[name].tensorizations(*shape, keep=tensorizations)
        )

    return DesignSpace(
        slots=tuple(
            Slot(
                shape=shape, matrices=tuple(names), stacked=tuple(groups[name] for name in names) if stacked else (),
                # What may be joint may be apart.
                options=options(shape, tuple(dict.fromkeys(("dense", *formats) if stacked else formats))),
            )
            for (_, shape, stacked), names in slots.items()
        )
    )  # fmt: skip


def check_formats(formats: tuple[str, ...]) -> None:
    """Raise SpecError on a name that is no format, or on no name at all."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise SpecError(
            describe("formats", "unknown or none", got=", ".join(unknown) or "none",
                     expected=f"some of {', '.join(FORMATS)}", remedy="Correct the names.")
        )  # fmt: skip


def dense_genome(space: DesignSpace) -> dict[str, int]:
    """Return the genome that leaves every matrix dense; KeyError if the space has no dense option."""
    genome = {variable.name: 0 for variable in space.variables}
    return genome | {f"option{index}": slot.dense for index, slot in enumerate(space.slots)}


@lru_cache(maxsize=64)
def _rows(whole: Factorization, members: int) -> Factorization:
    """Return what each of the members of a dense stacked matrix is."""
    modes = replace(whole.tensorization, out_modes=(whole.out_features // members,))
    return replace(whole, tensorization=modes)


def _rank_values(slot: Slot, option: int) -> tuple[tuple[int, ...], ...]:
    """Return what the rank genes of an option mean: for each open rank its value at every value of the gene."""
    name, modes = slot.options[option]
    limits = FORMATS[name].max_ranks(modes)
    ceiling = _saving_rank(name, modes, limits, slot.shape)
    steps = [_rounded((step + 1) * ceiling / RANK_STEPS, ceiling) for step in range(RANK_STEPS)]
    return tuple(tuple(min(limit, rank) for rank in steps) for limit in _inner(limits))


def _factorization(slot: Slot, option: int, steps: list[int]) -> Factorization:
    name, modes = slot.options[option]
    inner = iter([ranks[step] for ranks, step in zip(slot.rank_values[option], steps, strict=False)])
    ranks = tuple(1 if limit == 1 else next(inner) for limit in FORMATS[name].max_ranks(modes))
    return Factorization(format=name, tensorization=modes, ranks=ranks)


def _rounded(rank: float, ceiling: int) -> int:
    grain = _GRAIN
    while grain > 1 and grain * 8 > ceiling:
        grain //= 2
    return max(1, grain, min(ceiling // grain, round(rank / grain)) * grain)


def _inner(limits: tuple[int, ...]) -> list[int]:
    """Return the limits of the ranks that are open: those at the ends of a tensor train are always 1."""
    return [limit for limit in limits if limit > 1]


def _saving_rank(name: str, modes: Tensorization, limits: tuple[int, ...], shape: Shape) -> int:
    """Return the largest common rank at which the cores have fewer parameters than the dense matrix."""

    def parameters(rank: int) -> int:
        ranks = tuple(min(rank, limit) for limit in limits)
        return Factorization(format=name, tensorization=modes, ranks=ranks).parameters

    low, high = 1, max(limits, default=1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if parameters(middle) < shape[0] * shape[1] else (low, middle - 1)
    return low
