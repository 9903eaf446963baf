"""Many mappings of one space as arrays of the choices that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.errors import InfeasibleError
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping
from heat_sim.model import BatchResult, MappingBatch, evaluate, evaluate_batch

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

KINDS: tuple[Dimension, ...] = ("temporal", "x", "y")
"""Order of the kinds of loops in the arrays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """N mappings: L levels, V rank variables in the order of `Einsum.rank_vars`.

    Attributes:
        bounds: (N, 3, L, V) in time, along x and along y.
        order: (N, L, V) rank variables of the loops in time, outermost first; those of bound 1 stand anywhere.
        keep: (N, L) which of `MapSpace.keep_options` of the level.
    """

    bounds: Ints
    order: Ints
    keep: Ints

    def __len__(self) -> int:
        """Return the number of mappings."""
        return len(self.bounds)

    def take(self, rows: Ints | Flags | slice) -> Candidates:
        """Return some of the mappings."""
        return Candidates(bounds=self.bounds[rows], order=self.order[rows], keep=self.keep[rows])


def join(parts: Sequence[Candidates]) -> Candidates:
    """Return the mappings of all parts, of which there is at least one."""
    return Candidates(
        bounds=np.concatenate([part.bounds for part in parts]),
        order=np.concatenate([part.order for part in parts]),
        keep=np.concatenate([part.keep for part in parts]),
    )


def mapping_of(space: MapSpace, candidates: Candidates, row: int) -> Mapping:
    """Return one of the mappings as a loop nest; what is laid along x stands outside of what is laid along y.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=2),))
    >>> space = MapSpace(einsum=parse_einsum("z[m] = a[m]", extents={"m": 6}), architecture=machine)
    >>> one = Candidates(bounds=np.array([[[[3]], [[2]], [[1]]]]), order=np.array([[[0]]]), keep=np.array([[0]]))
    >>> print(mapping_of(space, one, 0))
    DRAM [a, z]
    | for m in 0..2
      | parallel-for-x m in 0..1
    """
    variables = space.einsum.rank_vars
    levels: list[LevelMapping] = []
    for place, storage in enumerate(space.architecture.levels):
        bounds = candidates.bounds[row, :, place].tolist()  # (3, V)
        order = candidates.order[row, place].tolist()
        levels.append(
            LevelMapping(
                level=storage.name,
                keep=space.keep_options(place)[int(candidates.keep[row, place])],
                temporal=tuple(Loop(rank_var=variables[v], bound=bounds[0][v]) for v in order if bounds[0][v] > 1),
                spatial=tuple(
                    Loop(rank_var=var, bound=bound, dimension=kind)
                    for kind, along in zip(KINDS[1:], bounds[1:], strict=True)
                    for var, bound in zip(variables, along, strict=True)
                    if bound > 1
                ),
            )
        )
    return Mapping(levels=tuple(levels))


def fit_meshes(space: MapSpace, candidates: Candidates) -> Flags:
    """Return (N,) whether the bounds of all rank variables together fit every mesh and use enough compute units."""
    along = candidates.bounds[:, 1:].prod(axis=3)  # (N, 2, L)
    size = np.array([[level.fanout_x, level.fanout_y] for level in space.architecture.levels]).T
    fits: Flags = along <= size
    enough: Flags = along.prod(axis=(1, 2)) >= space.min_parallelism * space.architecture.peak_ops_per_cycle
    return fits.all(axis=(1, 2)) & enough


def cost(space: MapSpace, candidates: Candidates) -> BatchResult:
    """Return energy, cycles and validity of every mapping; networks that cost energy take them one at a time."""
    einsum, architecture = space.einsum, space.architecture
    fit = fit_meshes(space, candidates)
    energy_pj, cycles = np.full(len(candidates), np.nan), np.zeros(len(candidates), dtype=np.int64)
    if any(level.hop_energy_pj or level.router_energy_pj for level in architecture.levels):
        kept: Flags = np.logical_or.reduce(_keep_flags(space, candidates), axis=2)  # (N, T)
        for row in np.flatnonzero(fit & np.logical_and.reduce(kept, axis=1)).tolist():
            try:
                report = evaluate(einsum, architecture, mapping_of(space, candidates, row), link_transfers=False)
            except InfeasibleError:
                continue
            energy_pj[row], cycles[row] = report.energy_pj, report.cycles
    elif fit.any():
        chosen = candidates.take(fit)
        result = evaluate_batch(
            einsum,
            architecture,
            MappingBatch(
                loop_var=chosen.order,
                loop_bound=np.take_along_axis(chosen.bounds[:, 0], chosen.order, axis=2),
                mesh_x=np.ascontiguousarray(chosen.bounds[:, 1]),
                mesh_y=np.ascontiguousarray(chosen.bounds[:, 2]),
                keep=_keep_flags(space, chosen),
            ),
        )
        energy_pj[fit], cycles[fit] = result.energy_pj, result.cycles
    return BatchResult(energy_pj=energy_pj, cycles=cycles, valid=cycles > 0)


def _keep_flags(space: MapSpace, candidates: Candidates) -> Flags:
    """Return (N, T, L) whether the level keeps the tensor."""
    names = [tensor.name for tensor in space.einsum.tensors]
    kept = np.zeros((len(candidates), len(names), len(space.architecture.levels)), dtype=np.bool_)
    for level in range(len(space.architecture.levels)):
        table = np.array([[name in option for name in names] for option in space.keep_options(level)], dtype=np.bool_)
        kept[:, :, level] = table[candidates.keep[:, level]]
    return kept
