"""The EDP of a whole network: every matrix, attention and feed-forward block as a cascade, the best of all together.

EDP is (sum of energies) x (sum of cycles); its least over all choices lies on the vertices of the hull of the sum,
which come from the hulls of the parts (docs/model.md, rule 10.2).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from heat_sim.einsum import Cascade, Einsum, TensorAccess
from heat_sim.errors import SpecError, describe
from heat_sim.mapper.cache import MODEL_VERSION, MappingCache
from heat_sim.mapper.cascade import MappedCascade
from heat_sim.mapper.cascade.result import HasRows, Row
from heat_sim.mapper.edp import least_edp
from heat_sim.mapper.layer import LayerOption, Machine
from heat_sim.mapper.objective import OBJECTIVES
from heat_sim.networks import Network
from heat_sim.tensorize.factorization import ACTIVATIONS, Factorization
from heat_sim.vector_op import VectorOp

_HULL = OBJECTIVES["hull"]
_UP, _DOWN = "intermediate.dense", "output.dense"


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
        optimal: Whether no choice under the rules has a smaller EDP; the contraction orders of the two matrices of a
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkCoster:
    """Costs networks on one machine; what was found for one is used for the next.

    Attributes:
        machine: The hardware. With a vector unit, softmax and the function of the feed-forward block count as well.
        cache: Where parts are looked up and kept, beyond this run.
    """

    machine: Machine
    cache: MappingCache | None = None
    _layers: dict[tuple[Factorization, int], tuple[LayerOption, ...]] = field(default_factory=dict)
    _found: dict[object, tuple[bool, tuple[Option, ...]]] = field(default_factory=dict)

    def cost(self, network: Network, factorizations: Mapping[str, Factorization]) -> NetworkCost:
        """Return the best way to run a network.

        Args:
            network: The encoder.
            factorizations: Of every weight matrix, by name.

        Raises:
            SpecError: A matrix has none.
            InfeasibleError: An einsum has no mapping.
        """
        started = time.perf_counter()
        if missing := [matrix.name for matrix in network.matrices if matrix.name not in factorizations]:
            raise SpecError(
                describe(f"network {network.name}", "no factorization of a weight matrix", got=missing[0],
                         expected="one for every matrix", remedy="Add it, dense if it stays as it is.")
            )  # fmt: skip
        parts = [*self._matrices(network, factorizations), *self._attention(network)]
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

    def _matrices(self, network: Network, factorizations: Mapping[str, Factorization]) -> list[NetworkPart]:
        """Return one part per kind of matrix, and one per kind of feed-forward block if its function counts."""
        blocks: Counter[tuple[Factorization, Factorization]] = Counter()
        single: Counter[Factorization] = Counter()
        of = {matrix.name: factorizations[matrix.name] for matrix in network.matrices}
        for name, factorization in of.items():
            layer, _, place = name.rpartition(_UP)
            if self.machine.vector_unit is not None and layer and not place and f"{layer}{_DOWN}" in of:
                blocks[factorization, of[f"{layer}{_DOWN}"]] += 1
            elif not (self.machine.vector_unit is not None and self._is_down(name, of)):
                single[factorization] += 1
        found = [
            NetworkPart(
                name=_name(factorization),
                times=times,
                options=self._part(
                    ("layer", factorization, network.tokens), partial(self.layer, factorization, network.tokens)
                ),
            )
            for factorization, times in single.items()
        ]
        return [
            *found,
            *(
                NetworkPart(
                    name=f"FFN {_name(up)}, {_name(down)}",
                    times=times,
                    options=self._part(
                        ("block", up, down, network.tokens), partial(self._block, up, down, network.tokens)
                    ),
                )
                for (up, down), times in blocks.items()
            ),
        ]

    @staticmethod
    def _is_down(name: str, of: Mapping[str, Factorization]) -> bool:
        layer = name.removesuffix(_DOWN)
        return name.endswith(_DOWN) and f"{layer}{_UP}" in of

    def layer(self, factorization: Factorization, tokens: int) -> tuple[LayerOption, ...]:
        """Return the hull of one weight matrix over all contraction orders."""
        key = (factorization, tokens)
        if key not in self._layers:
            found = self.machine.map_layer(factorization.einsum(tokens), activations=ACTIVATIONS, objective=_HULL)
            self._layers[key] = found.options
        return self._layers[key]

    def _part(
        self, key: tuple[object, ...], make: Callable[[], Sequence[LayerOption]]
    ) -> tuple[Option, ...]:  # fmt: skip
        """Return the hull of a part: known, stored, or made now."""
        if key not in self._found:
            name = "" if self.cache is None else self._stored_key(key)
            if self.cache is not None and (value := self.cache.get(name)) is not None:
                self._found[key] = value["proven"], tuple(_from_json(each) for each in value["options"])
            else:
                options = tuple(make())
                proven = self.machine.parts.is_proven
                self._found[key] = proven, options
                if self.cache is not None:
                    self.cache.put(name, {"proven": proven, "options": [_as_json(each) for each in options]})
        return self._found[key][1]

    def _stored_key(self, key: tuple[object, ...]) -> str:
        """Return what tells a part on this machine from every other one."""
        machine = self.machine
        unit = machine.vector_unit
        parts = {
            "network part": [each.to_json() if isinstance(each, Factorization) else each for each in key],
            "model": MODEL_VERSION,
            "architecture": asdict(machine.architecture),
            "constraints": {level: asdict(demand) for level, demand in machine.constraints.items()},
            "vector_unit": None if unit is None else asdict(unit),
            "settings": [machine.budget, machine.fuse, machine.gap, machine.merged],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=sorted).encode()).hexdigest()

    def _block(self, up: Factorization, down: Factorization, tokens: int) -> tuple[LayerOption, ...]:
        """Return the hull of a feed-forward block: both matrices in their own best orders, the function between."""
        first, second = (
            min(self.layer(each, tokens), key=lambda option: option.energy_pj * option.cycles) for each in (up, down)
        )
        cascade, weights = feed_forward(first, second)
        between = next(step for step in cascade.einsums if isinstance(step, VectorOp))
        alone = self.machine.map_cascade(Cascade(name="function", einsums=(between,)), objective=_HULL)
        layers = [[option.mapped for option in self.layer(each, tokens)] for each in (up, down)]
        known = [layers[0], alone.front, layers[1]]
        return self._cascade(cascade, weights=weights, known=known)

    def _cascade(
        self, cascade: Cascade, *, weights: frozenset[str], known: Sequence[Sequence[MappedCascade]] = ()
    ) -> tuple[LayerOption, ...]:
        found = self.machine.map_cascade(cascade, objective=_HULL, weights=weights, known=known)
        return tuple(LayerOption(order=None, mapped=each) for each in found.front)

    def _attention(self, network: Network) -> list[NetworkPart]:
        if self.machine.vector_unit is None:
            cascades = [Cascade(name=einsum.name, einsums=(einsum,)) for einsum in network.attention]
        else:
            cascades = [attention(network)]
        return [
            NetworkPart(
                name=cascade.name, times=network.layers,
                options=self._part(
                    ("cascade", str(cascade), tuple(einsum.extents for einsum in cascade.einsums)),
                    partial(self._cascade, cascade, weights=frozenset()),
                ),
            )
            for cascade in cascades
        ]  # fmt: skip


def attention(network: Network) -> Cascade:
    """Return the attention of one encoder layer: scores, softmax, context.

    >>> from heat_sim.networks import network_from_config
    >>> config = dict(model_type="bert", hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...               intermediate_size=32, vocab_size=10, max_position_embeddings=16, type_vocab_size=2)
    >>> print(attention(network_from_config(config, tokens=4, name="toy")))
    S[h,q,t] = Q[h,q,d] * K[h,d,t]
    P[h,q,t] = softmax(S[h,q,t]) over t
    O[h,q,d] = P[h,q,t] * V[h,t,d]
    """
    scores, context = network.attention
    shares = context.inputs[0]
    along = tuple(var for var in context.contracted)
    softmax = VectorOp(
        name="softmax", inputs=(scores.output,), output=shares,
        extents=tuple((var, extent) for var, extent in scores.extents if var in shares.rank_vars),
        function="softmax", over=along,
    )  # fmt: skip
    return Cascade(name="attention", einsums=(scores, softmax, context))


def feed_forward(up: LayerOption, down: LayerOption, *, function: str = "gelu") -> tuple[Cascade, frozenset[str]]:
    """Return a feed-forward block as one cascade, and its weights.

    Where the two matrices part the features between them alike, their rank variables are the same, so that they can be
    fused; else the second one reads the result under another shape, and is fused with nothing before it.

    Args:
        up: The first matrix in some order.
        down: The second one.
        function: Between them.
    """
    assert up.order is not None
    assert down.order is not None
    first, second = up.order.cascade.einsums, down.order.cascade.einsums
    out = first[-1].output
    read = next(t for step in second for t in step.inputs if t.name == ACTIVATIONS)
    extents = dict(first[-1].extents)
    later = {var: extent for step in second for var, extent in step.extents}
    hidden = [var for var in out.rank_vars if var in first[-1].rank_vars]
    alike = [extents[var] for var in out.rank_vars] == [later[var] for var in read.rank_vars]
    same = dict(zip(read.rank_vars, hidden, strict=True)) if alike else {read.rank_vars[0]: out.rank_vars[0]}
    renamed_first = {var: var for step in first for var in step.rank_vars}
    renamed = {var: same.get(var, f"{var}_") for var in later}
    between = VectorOp(
        name=function, inputs=(replace(out, name="H"),), output=replace(out, name="A"),
        extents=tuple((var, extents[var]) for var in out.rank_vars), function=function,
    )  # fmt: skip
    steps = [
        *(_renamed(step, renamed_first, {out.name: "H"}, "") for step in first),
        between,
        *(_renamed(step, renamed, {ACTIVATIONS: "A" if alike else "A'"}, "_") for step in second),
    ]
    weights = up.order.weights | {f"{name}_" for name in down.order.weights}
    return Cascade(name="feed-forward", einsums=tuple(steps)), frozenset(weights)


def _renamed(step: Einsum, rank_vars: Mapping[str, str], tensors: Mapping[str, str], mark: str) -> Einsum:
    def access(tensor: TensorAccess) -> TensorAccess:
        return TensorAccess(
            name=tensors.get(tensor.name, f"{tensor.name}{mark}"),
            projection=tuple(tuple((rank_vars[var], c) for var, c in rank) for rank in tensor.projection),
        )

    return Einsum(
        name=f"{step.name}{mark}",
        inputs=tuple(map(access, step.inputs)),
        output=access(step.output),
        extents=tuple((rank_vars[var], extent) for var, extent in step.extents),
    )


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
