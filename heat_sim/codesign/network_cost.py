"""The EDP of a whole network: every matrix, attention and feed-forward block as a cascade, the best of all together.

EDP is (sum of energies) x (sum of cycles); its least over all choices lies on the vertices of the hull of the sum,
which come from the hulls of the parts (docs/model.md, rule 10.2).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from heat_sim.codesign.layer_ways import Order
from heat_sim.codesign.network_cascades import attention, feed_forward
from heat_sim.codesign.part_key import part_key
from heat_sim.einsum import Cascade
from heat_sim.errors import SpecError, describe
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.cascade import MappedCascade
from heat_sim.mapper.cascade.incumbent import sums_of
from heat_sim.mapper.cascade.result import HasRows, Row
from heat_sim.mapper.edp import least_edp
from heat_sim.mapper.layer import LayerOption, Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import ACTIVATIONS, Factorization
from heat_sim.tensorize.tensorization import Tensorization
from heat_sim.vector_op import VectorOp

_HULL = OBJECTIVES["hull"]
_FEED_FORWARD = ("gate", "up", "down")
_ONE_INPUT = {"query", "key", "value"}
"""Roles of matrices that read the same activations."""


class Option(HasRows, Protocol):
    """One way to run a part of a network."""

    @property
    def energy_pj(self) -> float:
        """In all."""

    @property
    def cycles(self) -> int:
        """In all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOption:
    """One way to run a part, as a cache gives it back: what it costs, and where.

    Attributes:
        energy_pj: In all.
        cycles: In all.
        lines: Of the breakdown.
    """

    energy_pj: float
    cycles: int
    lines: tuple[Row, ...]

    def rows(self) -> tuple[Row, ...]:
        """Return where energy and cycles go."""
        return self.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPart:
    """Something that a network runs one or more times.

    Attributes:
        name: What tables call it.
        times: How often.
        options: The vertices of its (energy, cycles) hull.
    """

    name: str
    times: int
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """The best way to run a network.

    Attributes:
        parts: Name, how often it runs, and the option chosen.
        energy_pj: Of one forward pass.
        cycles: Likewise; everything runs one after another.
        optimal: Whether no choice under the rules has a smaller EDP; the contraction orders of the matrices of a
            feed-forward block are those that are best by themselves.
        seconds: Wall time.
    """

    parts: tuple[tuple[str, int, Option], ...]
    energy_pj: float
    cycles: int
    optimal: bool
    seconds: float

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product."""
        return self.energy_pj * self.cycles


class _Block(NamedTuple):
    """A kind of feed-forward block: its matrices, and the function between them."""

    up: Factorization
    down: Factorization
    gate: Factorization | None
    function: str

    @property
    def matrices(self) -> tuple[Factorization, ...]:
        """In the order in which they run."""
        return (self.up, self.down) if self.gate is None else (self.gate, self.up, self.down)

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"FFN {', '.join(map(_name, self.matrices))}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkCoster:
    """Costs networks on one machine; what was found for one is used for the next.

    Attributes:
        machine: The hardware. With a vector unit, softmax and the function of the feed-forward block count as well.
        cache: Where parts are looked up and kept, beyond this run.
        order: By what the contraction orders of matrices are chosen.
    """

    machine: Machine
    cache: MappingCache | None = None
    order: Order = "edp"
    _layers: dict[tuple[Factorization, int], tuple[LayerOption, ...]] = field(default_factory=dict)
    _found: dict[object, tuple[bool, tuple[Option, ...]]] = field(default_factory=dict)

    def cost(
        self,
        network: Network,
        factorizations: Mapping[str, Factorization],
        *,
        joint: Mapping[str, tuple[str, ...]] | None = None,
    ) -> NetworkCost:
        """Return the best way to run a network.

        Args:
            network: The network.
            factorizations: Of every weight matrix or joint entry, by name.
            joint: Members of the joint entries, as in `Design.joint`. Query, key and value of one layer, which have one
                input, run as one layer; other members run one by one, and what they share is read by each of them.

        Raises:
            SpecError: A matrix has none, or a joint entry cannot be run.
            InfeasibleError: An einsum has no mapping.
        """
        started = time.perf_counter()
        factorizations, together = _one_by_one(network, factorizations, joint or {})
        parts = [*self._matrices(network, factorizations, together), *self._attention(network)]
        points = [[(each.energy_pj, float(each.cycles)) for each in part.options] for part in parts]
        best = least_edp(points, [part.times for part in parts])
        chosen = [(part.name, part.times, part.options[i]) for part, i in zip(parts, best.chosen, strict=True)]
        return NetworkCost(
            parts=tuple(chosen),
            energy_pj=sum(times * option.energy_pj for _, times, option in chosen),
            cycles=sum(times * option.cycles for _, times, option in chosen),
            optimal=self.machine.gap == 0 and all(proven for proven, _ in self._found.values()),
            seconds=time.perf_counter() - started,
        )

    def _matrices(
        self, network: Network, factorizations: Mapping[str, Factorization], together: Counter[Factorization]
    ) -> list[NetworkPart]:
        """Return one part per kind of matrix, and one per kind of feed-forward block if its function counts."""
        blocks: Counter[_Block] = Counter()
        single = Counter(together)
        in_block: dict[int, dict[str, Factorization]] = {}
        for matrix in network.matrices:
            if matrix.name not in factorizations:
                continue  # runs together with others
            factorization = factorizations[matrix.name]
            if self.machine.vector_unit is not None and matrix.role in _FEED_FORWARD:
                in_block.setdefault(matrix.layer, {})[matrix.role] = factorization
            else:
                single[factorization] += 1
        for of in in_block.values():
            blocks[_Block(up=of["up"], down=of["down"], gate=of.get("gate"), function=network.function)] += 1
        found = [
            NetworkPart(
                name=_name(factorization),
                times=times,
                options=self._part(
                    self._key("layer", factorization, network.tokens),
                    partial(self.layer, factorization, network.tokens),
                ),
            )
            for factorization, times in single.items()
        ]
        return [
            *found,
            *(
                NetworkPart(
                    name=block.name,
                    times=times,
                    options=self._part(
                        self._key("block", *block, network.tokens), partial(self._block, block, network.tokens)
                    ),
                )
                for block, times in blocks.items()
            ),
        ]

    def layer(self, factorization: Factorization, tokens: int) -> tuple[LayerOption, ...]:
        """Return the hull of one weight matrix over all contraction orders."""
        key = (factorization, tokens)
        if key not in self._layers:
            self._layers[key] = self.machine.map_sum(
                factorization.einsums(tokens), activations=ACTIVATIONS, mac_optimal=self.order == "macs"
            )
        return self._layers[key]

    def _key(self, *what: object) -> tuple[object, ...]:
        return (*what, *(() if self.order == "edp" else ("order", self.order)))

    def _part(
        self, key: tuple[object, ...], make: Callable[[], Sequence[LayerOption]]
    ) -> tuple[Option, ...]:  # fmt: skip
        """Return the hull of a part: known, stored, or made now."""
        if key not in self._found:
            name = "" if self.cache is None else part_key(self.machine, key)
            if self.cache is not None and (value := self.cache.get(name)) is not None:
                self._found[key] = value["proven"], tuple(_from_json(each) for each in value["options"])
            else:
                options = tuple(make())
                proven = self.machine.parts.is_proven
                self._found[key] = proven, options
                if self.cache is not None:
                    self.cache.put(name, {"proven": proven, "options": [_as_json(each) for each in options]})
        return self._found[key][1]

    def _block(self, block: _Block, tokens: int) -> tuple[LayerOption, ...]:
        """Return the hull of a feed-forward block: all matrices in their own best orders, the function between."""

        def best(factorization: Factorization) -> LayerOption:
            return min(self.layer(factorization, tokens), key=lambda option: option.energy_pj * option.cycles)

        if any(len(each.terms) > 1 for each in block.matrices):
            return self._block_of_sums(block, tokens)
        cascade, weights = feed_forward(
            best(block.up), best(block.down), gate=None if block.gate is None else best(block.gate),
            function=block.function,
        )  # fmt: skip
        return self._cascade(cascade, weights=weights, known=self._apart(block, cascade, tokens))

    def _apart(self, block: _Block, cascade: Cascade, tokens: int) -> list[Sequence[MappedCascade]]:
        """Return the hulls of the matrices and functions of a block by themselves, in order."""
        layers = [[option.mapped for option in self.layer(each, tokens)] for each in block.matrices]
        functions = [
            self.machine.map_cascade(Cascade(name=step.name, einsums=(step,)), objective=_HULL).front
            for step in cascade.einsums
            if isinstance(step, VectorOp)
        ]
        return [*(part for pair in zip(layers, functions, strict=False) for part in pair), layers[-1]]

    def _block_of_sums(self, block: _Block, tokens: int) -> tuple[LayerOption, ...]:
        """Return the hull of a block in which a matrix is a sum of terms: nothing is fused across the function."""
        dense = [self.layer(_dense(each), tokens)[0] for each in block.matrices]  # for the functions between them
        gate, up = (None, dense[0]) if block.gate is None else dense[:2]
        cascade, _ = feed_forward(up, dense[-1], gate=gate, function=block.function)
        return tuple(LayerOption(orders=(), mapped=each) for each in sums_of(self._apart(block, cascade, tokens)))

    def _cascade(
        self, cascade: Cascade, *, weights: frozenset[str], known: Sequence[Sequence[MappedCascade]] = ()
    ) -> tuple[LayerOption, ...]:
        found = self.machine.map_cascade(cascade, objective=_HULL, weights=weights, known=known)
        return tuple(LayerOption(orders=(), mapped=each) for each in found.front)

    def _attention(self, network: Network) -> list[NetworkPart]:
        if self.machine.vector_unit is None:
            cascades = [Cascade(name=einsum.name, einsums=(einsum,)) for einsum in network.attention]
        else:
            cascades = [attention(network)]
        return [
            NetworkPart(
                name=cascade.name, times=network.layers,
                options=self._part(
                    ("cascade", cascade),
                    partial(self._cascade, cascade, weights=frozenset()),
                ),
            )
            for cascade in cascades
        ]  # fmt: skip


def _one_by_one(
    network: Network, factorizations: Mapping[str, Factorization], joint: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, Factorization], Counter[Factorization]]:
    """Return the factorization of every matrix that runs by itself, and those of the matrices that run together."""
    of = {matrix.name: matrix for matrix in network.matrices}
    alone = {name: each for name, each in factorizations.items() if name not in joint}
    together: Counter[Factorization] = Counter()
    covered = set(alone)
    for entry, members in joint.items():
        matrices = [of[name] for name in members if name in of]
        covered |= set(members)
        if {matrix.role for matrix in matrices} <= _ONE_INPUT and len({matrix.layer for matrix in matrices}) == 1:
            together[factorizations[entry]] += 1
        else:
            alone |= dict.fromkeys(members, factorizations[entry].member(len(members)))
    if missing := [name for name in of if name not in covered]:
        raise SpecError(
            describe(f"network {network.name}", "no factorization of a weight matrix", got=missing[0],
                     expected="one for every matrix", remedy="Add it, dense if it stays as it is.")
        )  # fmt: skip
    return alone, together


def _dense(factorization: Factorization) -> Factorization:
    shape = Tensorization(out_modes=(factorization.out_features,), in_modes=(factorization.in_features,))
    return Factorization(format="dense", tensorization=shape)


def _name(factorization: Factorization) -> str:
    tensorization = factorization.tensorization
    shape = f"{tensorization.out_features}x{tensorization.in_features}"
    ranks = f" r{','.join(map(str, factorization.ranks))}" if factorization.ranks else ""
    return f"{factorization.format} {shape}{ranks}"


def _as_json(option: Option) -> dict[str, Any]:
    return {"energy_pj": option.energy_pj, "cycles": option.cycles, "rows": [asdict(row) for row in option.rows()]}


def _from_json(value: Mapping[str, Any]) -> StoredOption:
    return StoredOption(
        energy_pj=value["energy_pj"], cycles=value["cycles"], lines=tuple(Row(**row) for row in value["rows"])
    )
