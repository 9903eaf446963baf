"""The loop nest: which loops run where, and which tensor each level keeps.

Levels and loops are written from the outermost to the innermost. The spatial loops of a level sit
below its temporal loops and spread the work over its children.
"""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field, replace
from typing import Literal

from heat_sim.architecture import Architecture
from heat_sim.einsum import Einsum
from heat_sim.errors import InfeasibleError, MappingError, describe

Dimension = Literal["temporal", "x", "y"]

Limit = tuple[int, int | None]
"""The least and the most that a bound may be; None is no most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One loop of a nest.

    Attributes:
        rank_var: The rank variable it advances.
        bound: Iterations, or units side by side if spatial.
        dimension: In time, or along which axis of the children's mesh.
        residual: Iterations of the last pass, which happens while every loop further out over the same
            rank variable is in its own last iteration; None is a perfect loop, whose last pass is full.
    """

    rank_var: str
    bound: int
    dimension: Dimension = "temporal"
    residual: int | None = None

    @property
    def last_bound(self) -> int:
        """Iterations of the last pass."""
        return self.bound if self.residual is None else self.residual

    def __str__(self) -> str:
        where = "for" if self.dimension == "temporal" else f"parallel-for-{self.dimension}"
        last = "" if self.residual is None else f" (0..{self.residual - 1} in the last pass)"
        return f"{where} {self.rank_var} in 0..{self.bound - 1}{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelMapping:
    """What happens at one storage level.

    Attributes:
        level: Name of the storage level.
        temporal: Loops in time, outermost first.
        spatial: Loops over the children, outermost first.
        keep: Names of the tensors the level holds; the others bypass it.
    """

    level: str
    temporal: tuple[Loop, ...] = ()
    spatial: tuple[Loop, ...] = ()
    keep: frozenset[str] = frozenset()

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Temporal, then spatial loops."""
        return (*self.temporal, *self.spatial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The nest of one einsum on one architecture.

    Attributes:
        levels: One entry per storage level of the architecture, outermost first.
    """

    levels: tuple[LevelMapping, ...]

    @property
    def is_perfect(self) -> bool:
        """Whether no loop has a residual."""
        return all(loop.residual is None for level in self.levels for loop in level.loops)

    def bound(self, rank_var: str) -> int:
        """Return how many values of the rank variable the loops run over: the product of perfect bounds.

        >>> outer, inner = Loop(rank_var="m", bound=3), Loop(rank_var="m", bound=4, residual=2)
        >>> Mapping(levels=(LevelMapping(level="DRAM", temporal=(outer, inner)),)).bound("m")  # 4 + 4 + 2
        10
        """
        last = 0
        for level in self.levels:
            for loop in level.loops:
                if loop.rank_var == rank_var:
                    last = last * loop.bound + loop.last_bound - 1
        return last + 1

    def tile_extents(self, index: int) -> dict[str, int]:
        """Return how far each rank variable runs inside one instance of the level at `index`."""
        extents: dict[str, int] = {}
        for level in self.levels[index:]:
            for loop in level.loops:
                extents[loop.rank_var] = extents.get(loop.rank_var, 1) * loop.bound
        return extents

    def __str__(self) -> str:
        lines: list[str] = []
        depth = 0
        for level in self.levels:
            lines.append(f"{'  ' * depth}{level.level} [{', '.join(sorted(level.keep)) or 'keeps nothing'}]")
            for loop in level.loops:
                if loop.bound > 1:
                    lines.append(f"{'  ' * depth}| {loop}")
                    depth += 1
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelConstraints:
    """What a spec demands of the mapping at one storage level.

    The spatial entries speak of the loops over the level's children. None means free; a bound of a
    rank variable that is not listed is free. What depends on the einsum (`others`, a bound 0, the
    `only` flags) is spelled out by `resolve_constraints`.

    Attributes:
        keep: Tensors that must be kept.
        bypass: Tensors that must bypass the level.
        others: Where the tensors go that neither list names.
        temporal_bounds: Rank variable to fixed bound; 0 is the whole extent.
        spatial_bounds: Rank variable to fixed bound; 0 is the whole extent.
        temporal_limits: Rank variable to the least and the most its bound may be; None is no most.
        spatial_limits: Rank variable to the least and the most its bound may be; None is no most.
        temporal_only: Whether every rank variable without a temporal bound here has bound 1.
        spatial_only: Whether every rank variable without a spatial bound here has bound 1.
        temporal_order: Rank variables, outermost first.
        spatial_order: Rank variables, outermost first.
        split: How many of the innermost entries of the complete spatial order lie along x.
    """

    keep: frozenset[str] = frozenset()
    bypass: frozenset[str] = frozenset()
    others: Literal["keep", "bypass"] | None = None
    temporal_bounds: AbstractMapping[str, int] = field(default_factory=dict)
    spatial_bounds: AbstractMapping[str, int] = field(default_factory=dict)
    temporal_limits: AbstractMapping[str, Limit] = field(default_factory=dict)
    spatial_limits: AbstractMapping[str, Limit] = field(default_factory=dict)
    temporal_only: bool = False
    spatial_only: bool = False
    temporal_order: tuple[str, ...] | None = None
    spatial_order: tuple[str, ...] | None = None
    split: int | None = None

    @property
    def speaks_of_loops(self) -> bool:
        """Whether it demands more than what is kept and what is bypassed."""
        return replace(self, keep=frozenset(), bypass=frozenset(), others=None) != LevelConstraints()


Constraints = AbstractMapping[str, LevelConstraints]
"""Level name to what is demanded there."""


def resolve_constraints(constraints: Constraints, *, einsum: Einsum) -> dict[str, LevelConstraints]:
    """Return the constraints with what depends on the einsum spelled out.

    Names that the einsum does not know stay as they are: they are for the caller to refuse.

    >>> from heat_sim.einsum import parse_einsum
    >>> matmul = parse_einsum("z[m] = a[m,k] * x[k]", extents={"m": 4, "k": 2})
    >>> demand = LevelConstraints(keep=frozenset("a"), others="bypass", temporal_bounds={"k": 0}, temporal_only=True)
    >>> found = resolve_constraints({"RF": demand}, einsum=matmul)["RF"]
    >>> sorted(found.bypass), found.temporal_bounds
    (['x', 'z'], {'k': 2, 'm': 1})
    """
    extents = dict(einsum.extents)

    def bounds(written: AbstractMapping[str, int], *, only: bool) -> dict[str, int]:
        found = {name: bound or extents.get(name, 0) for name, bound in written.items()}
        return found | {name: 1 for name in extents if only and name not in found}

    resolved: dict[str, LevelConstraints] = {}
    for level, demand in constraints.items():
        rest = frozenset(tensor.name for tensor in einsum.tensors) - demand.keep - demand.bypass
        resolved[level] = replace(
            demand,
            keep=demand.keep | (rest if demand.others == "keep" else frozenset()),
            bypass=demand.bypass | (rest if demand.others == "bypass" else frozenset()),
            others=None,
            temporal_bounds=bounds(demand.temporal_bounds, only=demand.temporal_only),
            spatial_bounds=bounds(demand.spatial_bounds, only=demand.spatial_only),
            temporal_only=False,
            spatial_only=False,
        )
    return resolved


def check_mapping(einsum: Einsum, architecture: Architecture, mapping: Mapping) -> None:
    """Raise if the mapping is not one of this einsum on this architecture (model section 2).

    Args:
        einsum: The workload.
        architecture: The hardware.
        mapping: The nest.

    Raises:
        MappingError: Levels, tensors or rank variables do not match, or bounds do not multiply to the extents.
        InfeasibleError: A spatial bound exceeds the mesh. Capacity is the model's to check.
    """
    names = [level.name for level in architecture.levels]
    mapped = [level.level for level in mapping.levels]
    if names != mapped:
        raise MappingError(
            describe("mapping", "its levels are not the architecture's", got=", ".join(mapped),
                     expected=", ".join(names), remedy="Give one entry per level, outermost first.")
        )  # fmt: skip
    tensors = {tensor.name for tensor in einsum.tensors}
    for storage, level in zip(architecture.levels, mapping.levels, strict=True):
        where = f"mapping at {level.level}"
        if unknown := level.keep - tensors:
            raise MappingError(
                describe(where, "keeps an unknown tensor", got=", ".join(sorted(unknown)),
                         expected=f"some of {', '.join(sorted(tensors))}", remedy="Correct the name.")
            )  # fmt: skip
        if storage.is_virtual and level.keep:
            raise MappingError(f"{where}: it has no storage, yet it keeps {', '.join(sorted(level.keep))}. Bypass it.")
        used = {"x": 1, "y": 1}
        for loop in level.loops:
            if loop.rank_var not in einsum.rank_vars:
                raise MappingError(
                    describe(where, "unknown rank variable", got=loop.rank_var,
                             expected=f"one of {', '.join(einsum.rank_vars)}", remedy="Correct the name.")
                )  # fmt: skip
            if not isinstance(loop.bound, int) or loop.bound < 1:
                raise MappingError(
                    describe(f"{where}, loop {loop.rank_var}", "bad bound", got=loop.bound,
                             expected="an integer >= 1", remedy="Correct it.")
                )  # fmt: skip
            if not isinstance(loop.last_bound, int) or not 1 <= loop.last_bound <= loop.bound:
                raise MappingError(
                    describe(f"{where}, loop {loop.rank_var}", "bad residual", got=loop.residual,
                             expected=f"an integer from 1 to {loop.bound}", remedy="Correct it.")
                )  # fmt: skip
        for loop in level.spatial:
            if loop.dimension == "temporal":
                raise MappingError(f"{where}: loop {loop.rank_var} is spatial but has no axis. Say x or y.")
            used[loop.dimension] *= loop.bound
        for axis, mesh in (("x", storage.fanout_x), ("y", storage.fanout_y)):
            if used[axis] > mesh:
                raise InfeasibleError(
                    describe(where, f"spatial loops along {axis} do not fit", got=used[axis],
                             expected=f"at most {mesh} children", remedy="Move a bound to time or to the other axis."),
                    level=level.level, need=used[axis], capacity=mesh,
                )  # fmt: skip
    for var, extent in einsum.extents:
        if mapping.bound(var) != extent:
            raise MappingError(
                describe(f"mapping of {einsum.name}", f"bounds of {var} do not multiply to its extent",
                         got=mapping.bound(var), expected=extent, remedy=f"Correct the bounds of {var}.")
            )  # fmt: skip
    for tensor in sorted(tensors):
        if not any(tensor in level.keep for level in mapping.levels):
            raise MappingError(f"mapping of {einsum.name}: no level keeps {tensor}. Keep it at one level at least.")
