"""The cost of a factorised layer: every contraction order, each step under its best mapping."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.edp import lower_left_hull, sum_vertices
from heat_sim.mapper.result import MappedEinsum, MappingResult, pareto_front
from heat_sim.mapper.roles import Bounds, matmul_extents, role_einsum
from heat_sim.mapper.search import map_einsum
from heat_sim.mapping import LevelConstraints
from heat_sim.tensorize.contraction import Contraction, ContractionTree, contract, contraction_trees


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Machine:
    """An architecture with its constraints, and the mappings found on it so far.

    Attributes:
        architecture: The hardware; its constraints name the tensors Inputs, Weights and Outputs.
        constraints: Demands per level.
        budget: Steps of the search per einsum at the most; None is some seconds.
        cache: Where mappings are looked up and kept, beyond this run.
        results: Mapping results by extents (batch, m, n, k).
    """

    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints]
    budget: int | None = None
    cache: MappingCache | None = None
    results: dict[Bounds, MappingResult] = field(default_factory=dict)

    def map(self, extents: Bounds) -> MappingResult:
        """Return the hull of (energy, cycles) over all mappings of the batched matmul, searched once."""
        if extents not in self.results:
            self.results[extents] = map_einsum(
                role_einsum(extents), self.architecture, objective="hull", constraints=self.constraints,
                budget=self.budget, cache=self.cache,
            )  # fmt: skip
        return self.results[extents]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedStep:
    """One pairwise contraction and its mapping.

    Attributes:
        einsum: The step, in the layer's own names.
        mapped: Its mapping in the names of the roles.
    """

    einsum: Einsum
    mapped: MappedEinsum


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOption:
    """One way to run a layer: a contraction order and a mapping for every step.

    Attributes:
        tree: The order; None for a single einsum.
        steps: Contractions at run time, in order.
        energy_pj: Sum over the steps.
        cycles: Sum over the steps, which run one after another.
        stored_words: Words of the weights that the steps read, after ahead-of-time contractions.
    """

    tree: ContractionTree | None
    steps: tuple[MappedStep, ...]
    energy_pj: float
    cycles: int
    stored_words: int

    @property
    def ops(self) -> int:
        """Multiply-accumulates at run time."""
        return sum(step.einsum.ops for step in self.steps)


def layer_options(einsum: Einsum, machine: Machine, *, activations: str) -> tuple[LayerOption, ...]:
    """Return the vertices of the (energy, cycles) hull over all contraction orders, least cycles first.

    Contractions of weights alone are done ahead of time; their product is then a stored weight.

    Args:
        einsum: The layer as one einsum over activations and weights.
        machine: The hardware.
        activations: Name of the tensor that is only known at run time.
    """
    weights = frozenset(tensor.name for tensor in einsum.inputs if tensor.name != activations)
    contractions = {tree: contract(einsum, tree, ahead_of_time=weights) for tree in contraction_trees(einsum)}
    options: list[LayerOption] = []
    # Cheap orders first, so that hopeless ones meet a bound instead of a search.
    for tree, contraction in sorted(contractions.items(), key=lambda item: item[1].online.ops):
        least_energy_pj = contraction.online.ops * machine.architecture.compute_energy_pj
        least_cycles = contraction.online.ops / machine.architecture.peak_ops_per_cycle
        if any(option.energy_pj <= least_energy_pj and option.cycles <= least_cycles for option in options):
            continue
        options += _options(tree, contraction, machine, activations)
    vertices = lower_left_hull([(option.energy_pj, float(option.cycles)) for option in options])
    return tuple(options[i] for i in vertices)


def _options(tree: ContractionTree, contraction: Contraction, machine: Machine, activations: str) -> list[LayerOption]:
    live = activations
    fronts: list[tuple[Einsum, tuple[MappedEinsum, ...]]] = []
    for step in contraction.online.einsums:
        fronts.append((step, machine.map(matmul_extents(step, inputs=live)).front))
        live = step.output.name
    points = [[(m.energy_pj, float(m.cycles)) for m in front] for _, front in fronts]
    stored_words = sum(words for _, words in contraction.stored)
    return [
        _combine(tree, [(step, front[i]) for (step, front), i in zip(fronts, vertex.chosen, strict=True)], stored_words)
        for vertex in sum_vertices(points, [1] * len(points))
    ]


def _combine(tree: ContractionTree | None, chosen: list[tuple[Einsum, MappedEinsum]], stored_words: int) -> LayerOption:
    return LayerOption(
        tree=tree,
        steps=tuple(MappedStep(einsum=einsum, mapped=mapped) for einsum, mapped in chosen),
        energy_pj=sum(mapped.energy_pj for _, mapped in chosen),
        cycles=sum(mapped.cycles for _, mapped in chosen),
        stored_words=stored_words,
    )


def activation_options(einsum: Einsum, machine: Machine) -> tuple[LayerOption, ...]:
    """Return the hull of an einsum of two activations: either operand may play the weights."""
    mapped = [
        mapped for tensor in einsum.inputs for mapped in machine.map(matmul_extents(einsum, inputs=tensor.name)).front
    ]
    front = pareto_front(mapped)
    vertices = lower_left_hull([(m.energy_pj, float(m.cycles)) for m in front])
    return tuple(_combine(None, [(einsum, front[i])], 0) for i in vertices)
