"""From the bounds of a merged matmul back to a mapping of the einsum's own rank variables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heat_sim.architecture import Architecture
from heat_sim.mapper.matmul import Matmul, split_bounds
from heat_sim.mapper.spatial import axes
from heat_sim.mapping import Dimension, LevelMapping, Loop, Mapping

_CLASSES = range(4)


def build_mapping(
    matmul: Matmul,
    architecture: Architecture,
    *,
    keep: NDArray[np.bool_],
    spatial: NDArray[np.int64],
    temporal: NDArray[np.int64],
    innermost: NDArray[np.int64],
) -> Mapping:
    """Return the mapping that these bounds describe.

    Args:
        matmul: The workload.
        architecture: The hardware.
        keep: (3, L) which levels hold A, B and Z.
        spatial: (L, 4) bounds over the children of each level, per class.
        temporal: (L, 4) bounds in time at each level, per class.
        innermost: (L,) class of the innermost temporal loop, -1 where it does not matter.
    """
    levels = len(architecture.levels)
    # slots[c][2 * level] is the temporal bound, [2 * level + 1] the spatial one, split over the class's members.
    slots = [
        split_bounds(
            [int(b) for level in range(levels) for b in (temporal[level, c], spatial[level, c])],
            [matmul.einsum.extent(var) for var in matmul.members[c]],
        )
        for c in _CLASSES
    ]
    h, m, n, k = matmul.extents
    names = [tensor.name for tensor in matmul.einsum.tensors]
    result: list[LevelMapping] = []
    for level, storage in enumerate(architecture.levels):
        b0, b1, b2, b3 = (int(b) for b in spatial[level])
        _, along_y = axes((h, m, n, k), (b0, b1, b2, b3), storage.fanout_x, storage.fanout_y)
        order = sorted(_CLASSES, key=lambda c: c == innermost[level])
        spatial_loops: list[Loop] = []
        for c in _CLASSES:
            axis: Dimension = "y" if along_y[c] > 1 else "x"
            spatial_loops += _loops(matmul.members[c], slots[c][2 * level + 1], axis)
        result.append(
            LevelMapping(
                level=storage.name,
                temporal=tuple(
                    loop for c in order for loop in _loops(matmul.members[c], slots[c][2 * level], "temporal")
                ),
                spatial=tuple(spatial_loops),
                keep=frozenset(name for t, name in enumerate(names) if keep[t, level]),
            )
        )
    return Mapping(levels=tuple(result))


def _loops(members: tuple[str, ...], bounds: tuple[int, ...], dimension: Dimension) -> list[Loop]:
    return [
        Loop(rank_var=var, bound=bound, dimension=dimension)
        for var, bound in zip(members, bounds, strict=True)
        if bound > 1
    ]
