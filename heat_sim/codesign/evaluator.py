"""The cost of a design: energy, cycles and EDP of the encoder, parameters, estimated loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heat_sim.codesign.estimate import LossEstimate
from heat_sim.einsum import Cascade
from heat_sim.mapper.edp import least_edp
from heat_sim.mapper.layer import LayerOption, Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import ACTIVATIONS, Factorization

_HULL = OBJECTIVES["hull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignCost:
    """What the model says of one design.

    Attributes:
        factorizations: One per matrix class, in the network's order.
        layers: The contraction order and mapping chosen for each class.
        attention: Those of the attention einsums.
        energy_pj: Of one forward pass through the encoder.
        cycles: Likewise; everything runs one after another.
        matrix_parameters: Words of the encoder's weights as they are stored.
        estimated_loss: By the estimate of the search.
    """

    factorizations: tuple[Factorization, ...]
    layers: tuple[LayerOption, ...]
    attention: tuple[LayerOption, ...]
    energy_pj: float
    cycles: int
    matrix_parameters: int
    estimated_loss: float

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product of the encoder."""
        return self.energy_pj * self.cycles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Costs designs of one network on one machine; equal parts are costed once.

    Attributes:
        network: The encoder.
        machine: The hardware.
        estimate: Estimated loss of a design, given per matrix name.
    """

    network: Network
    machine: Machine
    estimate: LossEstimate
    _options: dict[Factorization, tuple[LayerOption, ...]] = field(default_factory=dict)
    _attention: list[tuple[LayerOption, ...]] = field(default_factory=list)
    _costs: dict[tuple[Factorization, ...], DesignCost] = field(default_factory=dict)

    def cost(self, factorizations: tuple[Factorization, ...]) -> DesignCost:
        """Return the cost of a design, given per matrix class in the network's order."""
        if factorizations not in self._costs:
            self._costs[factorizations] = self._cost(factorizations)
        return self._costs[factorizations]

    def per_matrix(self, factorizations: tuple[Factorization, ...]) -> Mapping[str, Factorization]:
        """Return the factorization of every matrix by name."""
        return {
            matrix.name: factorization
            for members, factorization in zip(self.network.classes.values(), factorizations, strict=True)
            for matrix in members
        }

    def ways(self, factorization: Factorization) -> tuple[LayerOption, ...]:
        """Return the ways to run one matrix that a network of least EDP may have: the hull of energy and cycles."""
        if factorization not in self._options:
            einsums = factorization.einsums(self.network.tokens)
            self._options[factorization] = self.machine.map_sum(einsums, activations=ACTIVATIONS)
        return self._options[factorization]

    def _cost(self, factorizations: tuple[Factorization, ...]) -> DesignCost:
        if not self._attention:
            for einsum in self.network.attention:
                one = Cascade(name=einsum.name, einsums=(einsum,))
                found = self.machine.map_cascade(one, objective=_HULL, weights=frozenset())
                self._attention.append(tuple(LayerOption(orders=(), mapped=each) for each in found.front))
        parts = [self.ways(factorization) for factorization in factorizations] + self._attention
        members = [len(group) for group in self.network.classes.values()]
        counts = members + [self.network.layers] * len(self._attention)
        points = [[(option.energy_pj, float(option.cycles)) for option in options] for options in parts]
        chosen = [options[i] for options, i in zip(parts, least_edp(points, counts).chosen, strict=True)]
        layers, attention = chosen[: len(members)], chosen[len(members) :]
        return DesignCost(
            factorizations=factorizations,
            layers=tuple(layers),
            attention=tuple(attention),
            energy_pj=sum(n * option.energy_pj for n, option in zip(counts, chosen, strict=True)),
            cycles=sum(n * option.cycles for n, option in zip(counts, chosen, strict=True)),
            matrix_parameters=sum(n * option.stored_words for n, option in zip(members, layers, strict=True)),
            estimated_loss=self.estimate(self.per_matrix(factorizations)),
        )
