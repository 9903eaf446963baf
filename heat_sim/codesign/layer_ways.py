"""The ways to run one factorised matrix that a network of least EDP may have, remembered from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from heat_sim.codesign.buffers import buffer_bits
from heat_sim.codesign.part_key import part_key
from heat_sim.einsum import Cascade
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.layer import LayerOption, Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.tensorize.contraction import ContractionTree, parse_tree, tree_to_text
from heat_sim.tensorize.factorization import ACTIVATIONS, Factorization

_HULL = OBJECTIVES["hull"]

Order: TypeAlias = Literal["edp", "macs"]
"""By what the contraction order of a matrix is chosen: cost on the hardware, or multiply-accumulates, as in HEAT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run a part of a network, mapped.

    Attributes:
        energy_pj: In all.
        cycles: In all.
        stored_words: Words of the weights that are read at run time, after ahead-of-time contractions.
        buffer_bits: Occupied on the chip at the peak, see `heat_sim.codesign.buffers.buffer_bits`.
        trees: The contraction tree of each term of a matrix; none for activation-by-activation einsums.
    """

    energy_pj: float
    cycles: int
    stored_words: int
    buffer_bits: int
    trees: tuple[ContractionTree, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerWays:
    """The hull of (energy, cycles) of every factorised matrix on one machine, over contraction orders and mappings.

    Attributes:
        machine: The hardware.
        tokens: Sequence length.
        cache: Where hulls are looked up and kept, beyond this run.
        order: By what contraction orders are chosen.
    """

    machine: Machine
    tokens: int
    cache: MappingCache | None = None
    order: Order = "edp"
    _found: dict[object, tuple[bool, tuple[Way, ...]]] = field(default_factory=dict)

    def __call__(self, factorization: Factorization) -> tuple[Way, ...]:
        """Return the vertices of the hull, the fastest first.

        Raises:
            InfeasibleError: No contraction order has a mapping.
        """
        return self.searched(factorization)[1]

    def of_cascade(self, cascade: Cascade) -> tuple[Way, ...]:
        """Return the same for einsums without weights, such as those of attention."""
        return self.searched(cascade)[1]

    def knows(self, part: Factorization | Cascade) -> bool:
        """Return whether the hull is at hand, in memory or on disk, so that asking for it takes no time."""
        return self._known(self._key(part))

    def searched(self, part: Factorization | Cascade) -> tuple[bool, tuple[Way, ...]]:
        """Return whether the hull is proven, and its vertices."""
        return self._of(self._key(part))

    def learn(self, part: Factorization | Cascade, found: tuple[bool, tuple[Way, ...]]) -> None:
        """Take in a hull that another process found, and kept."""
        self._found[self._key(part)] = found

    @property
    def proven(self) -> int:
        """How many of the parts asked for are proven: nothing under the rules is better."""
        return sum(proven for proven, _ in self._found.values())

    @property
    def asked(self) -> int:
        """How many different parts were asked for."""
        return len(self._found)

    def _key(self, part: Factorization | Cascade) -> tuple[object, ...]:
        if isinstance(part, Cascade):
            return ("ways of a cascade", part)
        return ("ways of a layer", part, self.tokens, *(() if self.order == "edp" else ("order", self.order)))

    def _known(self, key: tuple[object, ...]) -> bool:
        if key not in self._found and self.cache is not None:
            stored = self.cache.get(part_key(self.machine, key))
            if stored is not None:
                self._found[key] = stored["proven"], tuple(map(_from_json, stored["ways"]))
        return key in self._found

    def _of(self, key: tuple[object, ...]) -> tuple[bool, tuple[Way, ...]]:
        if not self._known(key):
            ways = tuple(map(_way, self._search(key[1])))
            self._found[key] = self.machine.parts.is_proven, ways
            if self.cache is not None:
                value = {"proven": self._found[key][0], "ways": [_as_json(way) for way in ways]}
                self.cache.put(part_key(self.machine, key), value)
        return self._found[key]

    def _search(self, what: object) -> tuple[LayerOption, ...]:
        if isinstance(what, Factorization):
            return self.machine.map_sum(
                what.einsums(self.tokens), activations=ACTIVATIONS, mac_optimal=self.order == "macs"
            )
        assert isinstance(what, Cascade)
        found = self.machine.map_cascade(what, objective=_HULL, weights=frozenset())
        return tuple(LayerOption(orders=(), mapped=each) for each in found.front)


def _way(option: LayerOption) -> Way:
    return Way(
        energy_pj=option.energy_pj, cycles=option.cycles, stored_words=option.stored_words,
        buffer_bits=buffer_bits(option.mapped), trees=option.trees,
    )  # fmt: skip


def _as_json(way: Way) -> dict[str, Any]:
    return {
        "energy_pj": way.energy_pj,
        "cycles": way.cycles,
        "stored_words": way.stored_words,
        "buffer_bits": way.buffer_bits,
        "trees": [tree_to_text(tree) for tree in way.trees],
    }


def _from_json(value: Mapping[str, Any]) -> Way:
    return Way(
        energy_pj=value["energy_pj"], cycles=value["cycles"], stored_words=value["stored_words"],
        buffer_bits=value["buffer_bits"],
        trees=tuple(map(parse_tree, value["trees"])),
    )  # fmt: skip
