"""Factorizations of a given size: what a format can make of a matrix with so many parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

_PER_MODE = ("tucker", "block-term")
"""Formats whose ranks belong to modes, not to edges. The others have one common rank."""

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
    budget; of block-low-rank for the fewest blocks that leave half of the parameters to the low-rank part; of tucker
    and block-term with all but the longest mode whole, and with all modes cut to the same share; of block-term for 2, 4
    and 8 blocks. At most four, those that use nine tenths of the budget first; none if nothing is so small.

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
        for cut in _cuts(form):
            for head in _heads(form, shape):
                best = _largest(form, shape, head, parameters, cut)
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


Cut = Callable[[tuple[int, ...], int], tuple[int, ...]]
"""From the largest ranks and a step, at most the largest of them, to ranks that grow with it."""


def _common(limits: tuple[int, ...], step: int) -> tuple[int, ...]:
    return tuple(min(step, limit) for limit in limits)


def _in_proportion(limits: tuple[int, ...], step: int) -> tuple[int, ...]:
    return tuple(max(1, round(limit * step / max(limits))) for limit in limits)


def _longest(limits: tuple[int, ...], step: int) -> tuple[int, ...]:
    place = limits.index(max(limits))
    return (*limits[:place], step, *limits[place + 1 :])


def _cuts(form: str) -> tuple[Cut, ...]:
    return (_longest, _in_proportion) if form in _PER_MODE else (_common,)


def _largest(
    form: str, shape: Tensorization, head: tuple[int, ...], parameters: int, cut: Cut
) -> Factorization | None:  # fmt: skip
    """Return the largest factorization within the budget; sizes grow with the step, but for removed factors."""
    limits = FORMATS[form].max_ranks(shape)[len(head) :]
    steps = max(limits, default=1)

    def at(step: int) -> Factorization:
        return Factorization(format=form, tensorization=shape, ranks=head + cut(limits, step))

    if at(1).parameters > parameters:
        return None
    low, high = 1, steps
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at(middle).parameters <= parameters else (low, middle - 1)
    return at(low)
