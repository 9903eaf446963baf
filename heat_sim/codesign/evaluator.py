"""The cost of a design: energy, cycles and EDP of the encoder, parameters, estimated loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from heat_sim.architecture import Architecture
from heat_sim.codesign.estimate import LossEstimate
from heat_sim.codesign.joint import Groups
from heat_sim.codesign.layer_ways import LayerWays, Way
from heat_sim.einsum import Cascade
from heat_sim.mapper.edp import least_edp
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import Factorization

_REMEMBERED = 1000
"""Costs that an evaluator keeps in memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DesignCost:
    """What the model says of one design.

    Attributes:
        design: The factorization of every weight matrix or stacked one, by name, in the network's order.
        ways: How each factorization is run.
        attention: How the attention einsums of a layer are run.
        energy_pj: Of one forward pass through the encoder.
        cycles: Likewise; everything runs one after another.
        matrix_parameters: Words of the encoder's weights as they are stored.
        buffer_bits: Occupied on the chip by the part that occupies most.
        estimated_loss: By the estimate of the search.
        architecture: The machine.
        area_mm2: Of the machine, where it is searched too.
    """

    design: Mapping[str, Factorization]
    ways: Mapping[Factorization, Way]
    attention: tuple[Way, ...]
    energy_pj: float
    cycles: int
    matrix_parameters: int
    buffer_bits: int
    estimated_loss: float
    architecture: Architecture
    area_mm2: float | None = None

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product of the encoder."""
        return self.energy_pj * self.cycles

    @property
    def key(self) -> tuple[tuple[str, Factorization], ...]:
        """What tells designs of one network apart."""
        return tuple(self.design.items())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Costs designs of one network on one machine; equal designs are costed once.

    Attributes:
        network: The encoder.
        ways: Of its matrices on the machine, at the network's number of tokens.
        estimate: Estimated loss of a design, given per matrix name.
        area_mm2: Of the machine, if it matters.
        groups: Matrices of one input that a design may stack, by the name of the stacked one.
    """

    network: Network
    ways: LayerWays
    estimate: LossEstimate
    area_mm2: float | None = None
    groups: Groups = field(default_factory=dict)
    _costs: dict[tuple[tuple[str, Factorization], ...], DesignCost] = field(default_factory=dict)

    def cost(self, design: Mapping[str, Factorization]) -> DesignCost:
        """Return the cost of a design that has a factorization for every weight matrix, by name.

        A stacked matrix in the design is in the place of its members, and runs as one.
        """
        inside = {member: name for name, members in self.groups.items() if name in design for member in members}
        names = dict.fromkeys(inside.get(matrix.name, matrix.name) for matrix in self.network.matrices)
        ordered = {name: design[name] for name in names}
        key = tuple(ordered.items())
        if key not in self._costs:
            if len(self._costs) >= _REMEMBERED:
                self._costs.clear()
            self._costs[key] = self._cost(ordered)
        return self._costs[key]

    def _cost(self, design: Mapping[str, Factorization]) -> DesignCost:
        count = Counter(design.values())
        attention = [self.ways.of_cascade(cascade) for cascade in attention_cascades(self.network)]
        parts = [*(self.ways(factorization) for factorization in count), *attention]
        times = [*count.values(), *([self.network.layers] * len(attention))]
        points = [[(way.energy_pj, float(way.cycles)) for way in ways] for ways in parts]
        chosen = [ways[i] for ways, i in zip(parts, least_edp(points, times).chosen, strict=True)]
        return DesignCost(
            design=design,
            ways=dict(zip(count, chosen, strict=False)),
            attention=tuple(chosen[len(count) :]),
            energy_pj=sum(n * way.energy_pj for n, way in zip(times, chosen, strict=True)),
            cycles=sum(n * way.cycles for n, way in zip(times, chosen, strict=True)),
            matrix_parameters=sum(n * way.stored_words for n, way in zip(times, chosen, strict=True)),
            buffer_bits=max(way.buffer_bits for way in chosen),
            estimated_loss=self.estimate(design),
            architecture=self.ways.machine.architecture,
            area_mm2=self.area_mm2,
        )


def attention_cascades(network: Network) -> tuple[Cascade, ...]:
    """Return the einsums of a layer without weights, each by itself."""
    return tuple(Cascade(name=einsum.name, einsums=(einsum,)) for einsum in network.attention)
