"""The visits of a child: what it is handed when the loops above it advance, and from where it could come.

A child can get its words from a neighbour if the neighbour was handed the same box in the visit just
before. Which neighbour that is depends only on how the box has moved, so visits are summed by move.
"""

from __future__ import annotations

from dataclasses import dataclass

from heat_sim.model.nest import Nest
from heat_sim.model.traffic import moving_bounds, walk_moves


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Visits of one kind.

    Attributes:
        words: Words one child needs in all of them.
        behind: The child's corner less that of the neighbour that had the words in the visit before; None
            if there can be none.
    """

    words: int
    behind: tuple[int, ...] | None = None


def visits_of(nest: Nest, t: int, level: int, *, delta: int) -> list[Visits]:
    """Return the visits of a child of the level, by kind.

    Args:
        nest: The loop nest.
        t: Index of the tensor.
        level: Index of the level.
        delta: Words one child needs in all visits.
    """
    ranks = nest.coefficient.shape[1]
    innermost = level == len(nest.keep[t]) - 1
    if nest.plain[t]:
        if not innermost:
            # A tile that moves jumps clear of all that the neighbours hold.
            return [Visits(words=delta)]
        moving = int(moving_bounds(nest.coefficient[t], level, nest.loop_var, nest.loop_bound))
        # In the other cycles each unit needs the word it had, and so do its neighbours.
        return [Visits(words=moving), Visits(words=delta - moving, behind=(0,) * ranks)]
    kinds, behind, words = walk_moves(nest.coefficient[t], level, nest.loop_var, nest.loop_bound, nest.mesh, innermost)
    return [
        Visits(words=int(words[k]), behind=None if k == 0 else tuple(int(side) for side in behind[k]))
        for k in range(kinds)
    ]
