"""Imperfect factors by padding: extents rounded up, so that a prime number of rows can fill a mesh.

The rule: a rank variable may be padded to the next multiple of any number that divides the children of the meshes
(all axes together) or is a power of two up to 64. The padded einsum is mapped perfectly and costs what it costs,
padding included. `trimmed` takes the padding out again: the same loops, the last pass of each cut short.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from heat_sim.einsum import Einsum
from heat_sim.mapper.mesh import divisors
from heat_sim.mapper.result import MappedEinsum
from heat_sim.mapper.space import MapSpace
from heat_sim.mapping import LevelMapping, Loop, Mapping
from heat_sim.model import evaluate

_POWERS = tuple(2**power for power in range(7))


def padded_extents(extent: int, *, children: int) -> tuple[int, ...]:
    """Return the extents that the rule allows in place of one, ascending.

    >>> padded_extents(127, children=12), padded_extents(64, children=12)
    ((127, 128, 129, 132), (64, 66, 72))
    """
    steps = {*_POWERS, *divisors(children)} if extent > 1 else {1}
    return tuple(sorted({-(-extent // step) * step for step in steps}))


def padded_spaces(space: MapSpace) -> Iterator[MapSpace]:
    """Yield the space for every choice of padded extents, fewest ops first; the first is the space itself.

    >>> from heat_sim.architecture import Architecture, StorageLevel
    >>> from heat_sim.einsum import parse_einsum
    >>> machine = Architecture(name="toy", compute_name="MAC", compute_energy_pj=1.0,
    ...                        levels=(StorageLevel(name="DRAM", fanout_x=4),))
    >>> einsum = parse_einsum("z[m] = a[m,k] * b[k]", extents=dict(m=7, k=1))
    >>> [dict(each.einsum.extents) for each in padded_spaces(MapSpace(einsum=einsum, architecture=machine))][:2]
    [{'m': 7, 'k': 1}, {'m': 8, 'k': 1}]
    """
    children = math.prod(level.fanout for level in space.architecture.levels)
    options = [padded_extents(extent, children=children) for _, extent in space.einsum.extents]
    for extents in sorted(itertools.product(*options), key=lambda chosen: (math.prod(chosen), chosen)):
        yield replace(space, einsum=_with_extents(space.einsum, extents))


def _with_extents(einsum: Einsum, extents: tuple[int, ...]) -> Einsum:
    return replace(einsum, extents=tuple(zip(einsum.rank_vars, extents, strict=True)))


def trimmed(mapped: MappedEinsum, einsum: Einsum) -> MappedEinsum:
    """Return the mapping of the einsum that runs the loops of a padded one as far as there is work.

    Loops keep their bounds where they can; the last pass of each is cut short, and loops that would run but once are
    left out. The model counts what is executed (model section 12), so this costs no more than the padded mapping.

    Args:
        mapped: Of an einsum with extents at least as large.
        einsum: The one that is wanted.
    """
    if mapped.einsum.extents == einsum.extents:
        return mapped
    rest = dict(einsum.extents)
    levels: list[LevelMapping] = []
    for level in reversed(mapped.mapping.levels):
        loops: list[Loop] = []
        for loop in reversed(level.loops):
            # From the inside out: what the loop leaves of its rank variable is for the next one.
            left = rest[loop.rank_var]
            bound = min(loop.bound, left)
            rest[loop.rank_var] = -(-left // bound)
            last = left - (rest[loop.rank_var] - 1) * bound
            if bound > 1:
                loops.insert(0, replace(loop, bound=bound, residual=last if last < bound else None))
        levels.insert(
            0,
            replace(
                level,
                temporal=tuple(loop for loop in loops if loop.dimension == "temporal"),
                spatial=tuple(loop for loop in loops if loop.dimension != "temporal"),
            ),
        )
    mapping = Mapping(levels=tuple(levels))
    report = evaluate(einsum, mapped.architecture, mapping, link_transfers=False)
    return MappedEinsum(
        einsum=einsum, architecture=mapped.architecture, mapping=mapping, energy_pj=report.energy_pj,
        cycles=report.cycles,
    )  # fmt: skip
