"""Pipelined groups: the einsums of a fused group at work at the same time, each on its share of the array.

Rules (docs/model.md, 10.11). In one step einsum s works on the iteration that einsum s + 1 will get in the next, so N
iterations of k einsums take N + k - 1 steps, all as long as the slowest one. The outermost mesh is parted along one
axis; every contraction has some columns of it for itself, and an equal share of what room home has left. Each of the k
einsums has a k-th of the bandwidths of that level and all outside. What passes from one einsum to the next has room
twice. Vector operations run on the vector unit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from heat_sim.architecture import Architecture, StorageLevel
from heat_sim.mapper.cascade.parts import Mapped, PartSearch
from heat_sim.mapper.cascade.plan import GroupPlan, Part, names_of
from heat_sim.mapper.space import Residence
from heat_sim.vector_op import VectorOp


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """How a group is spread over the array.

    Attributes:
        level: The level whose mesh is parted.
        columns: Of each einsum; 0 for a vector operation.
    """

    level: int
    columns: tuple[int, ...]

    @property
    def stages(self) -> int:
        """Einsums at work at the same time."""
        return len(self.columns)


def parted_level(architecture: Architecture, home: int) -> int | None:
    """Return the outermost level at or inside home that has children side by side; None if there is none."""
    return next((p for p in range(home, len(architecture.levels)) if architecture.levels[p].fanout > 1), None)


def width(level: StorageLevel) -> int:
    """Return the columns that a mesh can be parted into: along x, or along y if x is one child wide."""
    return level.fanout_x if level.fanout_x > 1 else level.fanout_y


def pipelines(plan: GroupPlan, architecture: Architecture) -> Iterator[Pipeline]:
    """Yield every way to part the array between the contractions of a plan.

    Plans of one iteration have nothing to overlap; those that accumulate are left out, and so are machines that leak,
    whose energy would depend on the time of the whole.

    >>> from heat_sim.einsum import parse_cascade
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0, levels=(
    ...     StorageLevel(name="DRAM"), StorageLevel(name="GLB", capacity_words=64, fanout_x=4)))
    >>> chain = parse_cascade(["H[m,f] = X[m,k] * U[k,f]", "Y[m,n] = H[m,f] * V[f,n]"],
    ...                       extents={"m": 2, "k": 8, "f": 2, "n": 8}, name="low-rank")
    >>> plan = GroupPlan(einsums=chain.einsums, loops=(("m", 4),), home=1, intermediates=frozenset("H"))
    >>> [pipeline.columns for pipeline in pipelines(plan, machine)]
    [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)]
    """
    if plan.iterations == 1 or plan.accumulators or plan.home is None:
        return
    level = parted_level(architecture, plan.home)
    if level is None or any(each.leakage_energy_pj_per_cycle for each in architecture.levels):
        return
    most = width(architecture.levels[level])
    options = [(0,) if isinstance(each, VectorOp) else range(1, most + 1) for each in plan.einsums]
    for columns in itertools.product(*options):
        if sum(columns) <= most:
            yield Pipeline(level=level, columns=columns)


def stage_architecture(architecture: Architecture, pipeline: Pipeline, columns: int) -> Architecture:
    """Return what one einsum has of the machine; 0 columns is a vector operation."""
    levels = list(architecture.levels)
    for place in range(pipeline.level + 1):
        level = levels[place]
        levels[place] = replace(
            level,
            read_bandwidth_words_per_cycle=_share(level.read_bandwidth_words_per_cycle, pipeline.stages),
            write_bandwidth_words_per_cycle=_share(level.write_bandwidth_words_per_cycle, pipeline.stages),
            shared_bandwidth_words_per_cycle=_share(level.shared_bandwidth_words_per_cycle, pipeline.stages),
        )
    parted = levels[pipeline.level]
    if columns and parted.fanout_x > 1:
        levels[pipeline.level] = replace(parted, fanout_x=columns)
    elif columns:
        levels[pipeline.level] = replace(parted, fanout_y=columns)
    return replace(architecture, levels=tuple(levels))


def _share(rate: float | None, stages: int) -> float | None:
    return None if rate is None else rate / stages


def stage_part(plan: GroupPlan, pipeline: Pipeline, place: int, architecture: Architecture) -> Part | None:
    """Return an einsum of the group with the room that it has; None if there is none."""
    assert plan.home is not None
    einsum = plan.einsums[place]
    here = (plan.intermediates | plan.residents) & names_of(einsum)
    own = sum(map(plan.words, here))
    usable = architecture.levels[plan.home].usable_words
    if usable is None:
        return Part(einsum, Residence(level=plan.home, tensors=here), plan.iterations)
    taken = 2 * sum(map(plan.words, plan.intermediates)) + sum(map(plan.words, plan.residents))
    sharing = sum(1 for columns in pipeline.columns if columns) or 1
    room = (usable - taken) // sharing
    if room < 0:
        return None
    return Part(einsum, Residence(level=plan.home, tensors=here, reserved_words=usable - room - own), plan.iterations)


def steps(plan: GroupPlan, pipeline: Pipeline) -> int:
    """Return how many steps the group takes."""
    return plan.iterations + pipeline.stages - 1


@dataclass(slots=True, kw_only=True, eq=False)
class StageSearch:
    """Fronts of the einsums of pipelines, each searched once.

    Attributes:
        parts: Knows the machine.
    """

    parts: PartSearch
    _by_share: dict[tuple[Pipeline, int], PartSearch] = field(default_factory=dict)

    @property
    def is_proven(self) -> bool:
        """Whether every search so far ran through."""
        return all(parts.is_proven for parts in self._by_share.values())

    def on(self, pipeline: Pipeline, columns: int) -> PartSearch:
        """Return the search on what an einsum has of the machine."""
        key = (Pipeline(level=pipeline.level, columns=(0,) * pipeline.stages), columns)
        if key not in self._by_share:
            self._by_share[key] = replace_architecture(
                self.parts, stage_architecture(self.parts.architecture, pipeline, columns)
            )
        return self._by_share[key]


def replace_architecture(parts: PartSearch, architecture: Architecture) -> PartSearch:
    """Return a search on another machine that knows nothing yet."""
    return PartSearch(
        architecture=architecture, constraints=parts.constraints, vector_unit=parts.vector_unit, budget=parts.budget,
        merged=parts.merged,
    )  # fmt: skip


def least_cycles(plan: GroupPlan, pipeline: Pipeline, architecture: Architecture) -> int:
    """Return the cycles that the compute units of the slowest einsum need at the least, all steps."""
    parted = architecture.levels[pipeline.level]
    per_column = architecture.peak_ops_per_cycle // width(parted)
    slowest = max(
        -(-einsum.ops // (columns * per_column))
        for einsum, columns in zip(plan.einsums, pipeline.columns, strict=True)
        if columns
    )
    return steps(plan, pipeline) * slowest


def choices(fronts: Sequence[Sequence[Mapped]]) -> Iterator[tuple[Mapped, ...]]:
    """Yield, for every length that a step can have, the einsums with the least energy that keep to it."""
    lengths = sorted({each.cycles for front in fronts for each in front})
    shortest = max(min(each.cycles for each in front) for front in fronts)
    for length in lengths:
        if length >= shortest:
            yield tuple(
                min((each for each in front if each.cycles <= length), key=lambda each: (each.energy_pj, each.cycles))
                for front in fronts
            )
