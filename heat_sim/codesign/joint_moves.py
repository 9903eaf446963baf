"""What the operators of an evolutionary search do where being joint is a choice: designs near those they came from.

The genes of slots without use are 0. So a child that takes a stacked slot from one parent needs the slots of the
members of the same parent, and a mutant that parts or joins needs ranks like those that it had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heat_sim.codesign.encoding import Encoding, Rows
from heat_sim.codesign.space import RANK_STEPS


def linked(code: Encoding, swapped: NDArray[np.bool_], *, parents: tuple[Rows, Rows]) -> NDArray[np.bool_]:
    """Return which slots parents exchange: where one is joint and the other apart, the members with the stacked one.

    Args:
        code: The genes.
        swapped: (matings, slots).
        parents: Both, (matings, genes).
    """
    result = swapped.copy()
    for stacked in code.space.optional:
        differ = code.is_joint(parents[0], stacked) != code.is_joint(parents[1], stacked)
        for slot in _idle_with(code, stacked):
            result[differ, slot] = swapped[differ, stacked]
    return result


def carried(code: Encoding, rows: Rows, *, mutants: Rows) -> Rows:
    """Return the mutants, those that part or join with the ranks that they had.

    What parts keeps format and ranks; what joins gets the ranks of its first member, all if that was dense.

    Args:
        code: The genes.
        rows: Before the mutation, (genomes, genes).
        mutants: After it, likewise.
    """
    result = mutants.copy()
    space = code.space
    for stacked in space.optional:
        slot, start = space.slots[stacked], code.starts[stacked]
        was, now = code.is_joint(rows, stacked), code.is_joint(mutants, stacked)
        first = next(i for i, each in enumerate(space.slots) if slot.stacked[0][0] in each.matrices)
        known = min(slot.ranks, space.slots[first].ranks)
        joins = (~was & now).nonzero()[0]
        dense = rows[joins, code.starts[first]] == space.slots[first].dense
        result[joins, start + 1 : start + 1 + slot.ranks] = RANK_STEPS - 1
        ranks = rows[joins[~dense], code.starts[first] + 1 : code.starts[first] + 1 + known]
        result[joins[~dense], start + 1 : start + 1 + known] = ranks
        parts = (was & ~now).nonzero()[0]
        for member in _idle_with(code, stacked):
            own, place = space.slots[member], code.starts[member]
            names = [name for name, _ in own.options]
            alike = np.array([names.index(name) if name in names else 0 for name, _ in slot.options])
            result[parts, place] = alike[rows[parts, start]]
            kept = min(slot.ranks, own.ranks)
            result[parts, place + 1 : place + 1 + kept] = rows[parts, start + 1 : start + 1 + kept]
    return result


def _idle_with(code: Encoding, stacked: int) -> list[int]:
    """Return the slots that are without use while a stacked one is joint."""
    return [slot for slot, owners in enumerate(code.space.owners) if stacked in owners]
