"""The cost of a factorised layer: contraction order, fusion and every mapping, chosen together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field

from heat_sim.architecture import Architecture
from heat_sim.einsum import Cascade, Einsum
from heat_sim.mapper.cache import MappingCache
from heat_sim.mapper.cascade.incumbent import Incumbent, hull_of, sums_of
from heat_sim.mapper.cascade.parts import HULL, PartSearch
from heat_sim.mapper.cascade.plan import GroupPlan, Part
from heat_sim.mapper.cascade.result import CascadeResult, MappedCascade, MappedGroup, Row
from heat_sim.mapper.cascade.search import result_of, search_cascade
from heat_sim.mapper.cascade.trees import MOST_OPERANDS, Order, candidate_trees, orders_of
from heat_sim.mapper.objective import OBJECTIVES, Objective
from heat_sim.mapper.space import Residence
from heat_sim.mapping import LevelConstraints
from heat_sim.tensorize.contraction import ContractionTree, contraction_trees, mac_optimal_tree
from heat_sim.vector_op import VectorUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOption:
    """One way to run a layer.

    Attributes:
        orders: The contraction order of each term of a sum; none for a cascade that was given.
        mapped: Groups, mappings and cost.
    """

    orders: tuple[Order, ...]
    mapped: MappedCascade

    @property
    def order(self) -> Order:
        """The contraction order of a layer that is no sum."""
        (one,) = self.orders
        return one

    @property
    def trees(self) -> tuple[ContractionTree, ...]:
        """The contraction tree of each term."""
        return tuple(order.tree for order in self.orders)

    @property
    def energy_pj(self) -> float:
        """In all."""
        return self.mapped.energy_pj

    @property
    def cycles(self) -> int:
        """In all."""
        return self.mapped.cycles

    @property
    def stored_words(self) -> int:
        """Words of the weights that are read at run time, after ahead-of-time contractions."""
        return sum(order.contraction.stored_words for order in self.orders)

    @property
    def ops(self) -> int:
        """Multiply-accumulates at run time."""
        return sum(row.ops for row in self.rows())

    def rows(self) -> Iterator[Row]:
        """Yield where energy and cycles go."""
        return self.mapped.rows()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """The outcome of a search over the contraction orders of a layer.

    Attributes:
        result: Best way to run it, front and proof.
        options: One per entry of the front, with its contraction order.
        orders: Orders that were looked at.
        pruned: Those of them whose bound was beaten before anything was mapped.
    """

    result: CascadeResult
    options: tuple[LayerOption, ...]
    orders: int
    pruned: int

    @property
    def best(self) -> LayerOption:
        """The option with the least objective; of a hull, the least EDP."""
        return next(option for option in self.options if option.mapped is self.result.best)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Machine:
    """An architecture with its constraints, and what was found on it so far.

    Attributes:
        architecture: The hardware; its constraints name the tensors Inputs, Weights and Outputs.
        constraints: Demands per level.
        vector_unit: For vector operations; None if there is none.
        budget: Steps of the search per part at the most; None is some seconds.
        fuse: Whether einsums are fused.
        gap: What is better by no more than this share may be left out.
        merged: Whether the rank variables of a class count as one, which lies along one axis of a mesh only: faster.
        cache: Where the hulls of einsums by themselves are looked up and kept, beyond this run.
        parts: Hulls of parts found so far.
    """

    architecture: Architecture
    constraints: AbstractMapping[str, LevelConstraints] = field(default_factory=dict)
    vector_unit: VectorUnit | None = None
    budget: int | None = None
    fuse: bool = True
    gap: float = 0.0
    merged: bool = False
    cache: MappingCache | None = None
    parts: PartSearch = field(init=False)

    def __post_init__(self) -> None:
        parts = PartSearch(
            architecture=self.architecture, constraints=self.constraints, vector_unit=self.vector_unit,
            budget=self.budget, merged=self.merged, cache=self.cache,
        )  # fmt: skip
        object.__setattr__(self, "parts", parts)

    def map_layer(
        self,
        einsum: Einsum,
        *,
        activations: str,
        objective: Objective = OBJECTIVES["edp"],
        trees: tuple[ContractionTree, ...] | None = None,
    ) -> LayerResult:
        """Return the best way to run a layer over all contraction orders.

        Contractions of weights alone are done ahead of time, their product then a stored weight, or in every inference,
        whichever is better.

        Args:
            einsum: The layer as one einsum over activations and weights.
            activations: Name of the tensor that is only known at run time.
            objective: As in `map_cascade`.
            trees: Those to look at; None is all up to six operands, and for more those that are best without fusion.

        Raises:
            InfeasibleError: No order has a mapping.

        >>> from heat_sim.architecture import StorageLevel
        >>> from heat_sim.einsum import parse_einsum
        >>> from heat_sim.tensorize.contraction import tree_to_text
        >>> machine = Machine(architecture=Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
        ...     StorageLevel(name="DRAM", read_energy_pj=9.0, update_energy_pj=9.0),
        ...     StorageLevel(name="GLB", capacity_words=64, read_energy_pj=1.0, write_energy_pj=1.0,
        ...                  update_energy_pj=1.0))))
        >>> layer = parse_einsum("Y[s,o] = X[s,i] * G1[o,r] * G2[r,i]", extents={"s": 8, "o": 6, "i": 6, "r": 1})
        >>> found = machine.map_layer(layer, activations="X")
        >>> found.result.optimal, tree_to_text(found.best.order.tree), found.best.ops
        (True, '((X G2) G1)', 96)
        """
        started = time.perf_counter()
        incumbent = Incumbent(objective=objective, gap=self.gap)
        whole = trees is not None or len(einsum.inputs) <= MOST_OPERANDS
        if trees is None:
            trees = candidate_trees(einsum, self.parts, activations=activations)
        orders = [
            order
            for tree in trees
            for order in orders_of(einsum, tree, activations=activations)
            if self.fuse or not order.multiplies_weights
        ]
        owners: dict[int, Order] = {}
        keep: list[MappedCascade] = []
        pruned = 0
        # Without fusion first, which is cheap to search; and hopeful orders first: the others then meet a bound.
        ordered = sorted(orders, key=lambda order: self._promise(order, objective))
        runs = [(order, False) for order in ordered if not order.multiplies_weights]
        for order, fuse in [*runs, *((order, True) for order in ordered if self.fuse)]:
            before = {id(each) for each in incumbent.found()}
            plans = incumbent.plans
            search_cascade(order.cascade, self.parts, incumbent, fuse=fuse, weights=order.weights)
            pruned += fuse == self.fuse and incumbent.plans == plans
            for each in incumbent.found():
                if id(each) not in before:
                    owners[id(each)] = order
                    keep.append(each)  # so that its id stays its own
        if incumbent.unfused is None:
            for step in orders[0].cascade.einsums:
                self.parts.why_not(step, weights=orders[0].weights)
        result = result_of(incumbent, self.parts, started=started, is_whole=whole or not self.fuse)
        return LayerResult(
            result=result,
            options=tuple(LayerOption(orders=(owners[id(each)],), mapped=each) for each in result.front),
            orders=len(orders),
            pruned=pruned,
        )

    def map_sum(
        self, einsums: Sequence[Einsum], *, activations: str, mac_optimal: bool = False
    ) -> tuple[LayerOption, ...]:  # fmt: skip
        """Return the hull of a layer whose output is the sum of several einsums, over their contraction orders.

        They run one after another; from the second on, the last step of each finds the sum so far at the outermost
        level and adds to it (docs/model.md, rule 5.5). The first is mapped as by `map_layer`, the others without
        fusion.

        Args:
            einsums: Of the same output.
            activations: Name of the tensor that is only known at run time.
            mac_optimal: Look at the tree with the fewest multiply-accumulates only, as HEAT does, in each term.

        Raises:
            InfeasibleError: One of them has no mapping.
        """
        first, *others = einsums
        search = self.map_mac_optimal if mac_optimal else self.map_layer
        hull = list(search(first, activations=activations, objective=HULL).options)
        for einsum in others:
            added = [
                LayerOption(orders=(order,), mapped=mapped)
                for tree in ((mac_optimal_tree(einsum),) if mac_optimal else contraction_trees(einsum))
                for order in orders_of(einsum, tree, activations=activations)
                if not order.multiplies_weights
                for mapped in self._added(order)
            ]
            both = sums_of([[option.mapped for option in hull], hull_of([option.mapped for option in added])])
            hull = [
                LayerOption(orders=(*_owner(hull, each).orders, *_owner(added, each).orders), mapped=each)
                for each in both
            ]
        return tuple(hull)

    def _added(self, order: Order) -> list[MappedCascade]:
        """Return the hull of an order whose last step adds to what is at the outermost level."""
        *steps, last = order.cascade.einsums
        parts = [Part(step, None, 1) for step in steps]
        sums = Residence(level=0, tensors=frozenset({last.output.name}), accumulates=True)
        hulls = []
        for part in (*parts, Part(last, sums, 1)):
            plan = GroupPlan(einsums=(part.einsum,))
            hulls.append(
                [
                    MappedCascade(
                        groups=(MappedGroup(plan=plan, parts=(part,), mapped=(each,), architecture=self.architecture),),
                        energy_pj=each.energy_pj, cycles=each.cycles,
                    )
                    for each in self.parts.relaxed(part, weights=order.weights)
                ]
            )  # fmt: skip
        if not all(hulls):
            self.parts.why_not(last, weights=order.weights)
        return sums_of(hulls)

    def _promise(self, order: Order, objective: Objective) -> float:
        free = [self.parts.free(einsum, weights=order.weights) for einsum in order.cascade.einsums]
        return objective.value(sum(energy_pj for energy_pj, _ in free), sum(cycles for _, cycles in free))

    def map_mac_optimal(
        self, einsum: Einsum, *, activations: str, objective: Objective = OBJECTIVES["edp"]
    ) -> LayerResult:  # fmt: skip
        """Return the same for the one tree that has the fewest multiply-accumulates (opt_einsum), as HEAT chose it."""
        return self.map_layer(
            einsum, activations=activations, objective=objective, trees=(mac_optimal_tree(einsum),)
        )  # fmt: skip

    def map_cascade(
        self,
        cascade: Cascade,
        *,
        objective: Objective = HULL,
        weights: frozenset[str] | None = None,
        known: Sequence[Sequence[MappedCascade]] = (),
    ) -> CascadeResult:
        """Return the best way to run a cascade, as `heat_sim.mapper.cascade.map_cascade`.

        Args:
            cascade: Contractions and vector operations, in order.
            objective: As there.
            weights: As there.
            known: Ways to run its parts one after another, found before: the result is no worse than their best.
        """
        started = time.perf_counter()
        incumbent = Incumbent(objective=objective, gap=self.gap)
        if known:
            incumbent.offer(sums_of(known))
        search_cascade(cascade, self.parts, incumbent, fuse=self.fuse, weights=weights)
        if incumbent.unfused is None:  # what was known left none of them worth a look
            without = Incumbent(objective=OBJECTIVES["edp"] if objective.is_front else objective)
            search_cascade(cascade, self.parts, without, fuse=False, weights=weights)
            incumbent.unfused = without.unfused
        if incumbent.unfused is None:
            for einsum in cascade.einsums:
                self.parts.why_not(einsum, weights=weights)
        return result_of(incumbent, self.parts, started=started)


def _owner(options: Sequence[LayerOption], whole: MappedCascade) -> LayerOption:
    """Return the option whose groups are among those of the whole."""
    groups = {id(group) for group in whole.groups}
    return next(option for option in options if {id(group) for group in option.mapped.groups} <= groups)
