"""Factorizations of a given size: what a format can make of a matrix with so many parameters."""

from __future__ import annotations

from collections.abc import Iterator

from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

_IN_PROPORTION = ("tucker", "block-term")
"""Formats whose ranks belong to modes: each takes the same share of its largest. The others have one common rank."""

_BLOCKS = (2, 4, 8)
"""Numbers of blocks of block-term."""

_SHAPES = {"block-low-rank": None, "btt": 16}
"""Shapes looked at, where one rank more or less changes the size by much; of all others one."""

_FULL = 0.9
"""Share of the budget that is used well."""

_MOST = 4
"""Factorizations that are returned at the most."""


def of_size(form: str, out_features: int, in_features: int, *, parameters: int) -> tuple[Factorization, ...]:
    """Return the factorizations of a format with the most uniform ranks that have at most so many parameters.

    One per number of modes, for the most uniform shape of each; of btt for the most uniform shapes that come near the
    budget; of block-low-rank for the fewest blocks that leave half of the parameters to the low-rank part; of
    block-term for 2, 4 and 8 blocks. At most four, those that use nine tenths of the budget first; none if nothing is
    so small.

    Args:
        form: Name of the format.
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.
        parameters: The budget.

    >>> [(str(f.tensorization), f.ranks, f.parameters) for f in of_size("low-rank", 384, 384, parameters=49152)]
    [('(384)x(384)', (64,), 49152)]
    """
    found = []
    keep = _SHAPES.get(form, 1)
    for shape in FORMATS[form].tensorizations(out_features, in_features, keep=keep):
        if form == "block-low-rank" and 2 * out_features * in_features > parameters * shape.out_modes[0]:
            continue
        for heads in _heads(form, shape):
            best = _largest(form, shape, heads, parameters)
            if best is not None:
                found.append(best)
    found = list(dict.fromkeys(found))
    return tuple(sorted(found, key=lambda each: each.parameters < _FULL * parameters)[:_MOST])


def _heads(form: str, shape: Tensorization) -> Iterator[tuple[int, ...]]:
    """Yield the ranks that are chosen beforehand."""
    if form == "block-term":
        yield from ((blocks,) for blocks in _BLOCKS if blocks <= FORMATS[form].max_ranks(shape)[0])
    else:
        yield ()


def _largest(form: str, shape: Tensorization, head: tuple[int, ...], parameters: int) -> Factorization | None:
    """Return the largest factorization within the budget; sizes grow with the step, but for removed factors."""
    limits = FORMATS[form].max_ranks(shape)[len(head) :]
    steps = max(limits, default=1)

    def at(step: int) -> Factorization:
        if form in _IN_PROPORTION:
            ranks = tuple(max(1, round(limit * step / steps)) for limit in limits)
        else:
            ranks = tuple(min(step, limit) for limit in limits)
        return Factorization(format=form, tensorization=shape, ranks=head + ranks)

    if at(1).parameters > parameters:
        return None
    low, high = 1, steps
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at(middle).parameters <= parameters else (low, middle - 1)
    return at(low)
