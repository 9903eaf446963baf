"""Tensorizations: reading a weight matrix as a tensor by splitting its two ranks into modes.

``weight[o, i]`` becomes ``tensor[o1, o2, .., i1, i2, ..]`` by ``reshape``: both ranks are split in
row-major order, so the first mode is the slowest.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensorization:
    """The modes of a weight matrix of shape (out_features, in_features).

    Attributes:
        out_modes: Their product is out_features, or more by the padding.
        in_modes: Their product is in_features, likewise.
        padding: Rows and columns of zeros that are appended, so that sizes such as a prime can be split.

    >>> Tensorization(out_modes=(8, 8), in_modes=(4, 4), padding=(3, 0)).out_features
    61
    """

    out_modes: tuple[int, ...]
    in_modes: tuple[int, ...]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        problems = [
            describe(f"tensorization {side}", "not the modes of a matrix", got=modes,
                     expected="at least one integer, each at least 1", remedy="Give the sizes the rank is split into.")
            for side, modes in (("out_modes", self.out_modes), ("in_modes", self.in_modes))
            if not modes or any(type(mode) is not int or mode < 1 for mode in modes)
        ]  # fmt: skip
        if not problems:
            problems = [
                describe(f"tensorization padding[{side}]", "not a padding", got=padding,
                         expected=f"an integer from 0 to {math.prod(modes) - 1}", remedy="Leave some of it.")
                for side, (modes, padding) in enumerate(zip((self.out_modes, self.in_modes), self.padding, strict=True))
                if type(padding) is not int or not 0 <= padding < math.prod(modes)
            ]  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def modes(self) -> tuple[int, ...]:
        """All modes, the outputs first."""
        return self.out_modes + self.in_modes

    @property
    def padded(self) -> Tensorization:
        """The same modes of the padded matrix, which needs no padding."""
        return Tensorization(out_modes=self.out_modes, in_modes=self.in_modes)

    @property
    def out_features(self) -> int:
        """Rows of the matrix."""
        return math.prod(self.out_modes) - self.padding[0]

    @property
    def in_features(self) -> int:
        """Columns of the matrix."""
        return math.prod(self.in_modes) - self.padding[1]

    @property
    def ndim(self) -> int:
        """Number of modes of the longer side."""
        return max(len(self.out_modes), len(self.in_modes))

    def __str__(self) -> str:
        padding = "" if self.padding == (0, 0) else f"-{self.padding[0]},{self.padding[1]}"
        return f"({'*'.join(map(str, self.out_modes))})x({'*'.join(map(str, self.in_modes))}){padding}"


def entropy(modes: tuple[int, ...]) -> float:
    """Return how uniform the modes are: the Shannon entropy (nats) of the modes divided by their sum.

    This is the criterion by which HEAT (Gu et al., 2022, section on shapes) keeps tensorizations;
    it is log(number of modes) when all are equal.

    >>> entropy((8, 8)) == math.log(2) and entropy((8, 8)) > entropy((16, 4))
    True
    """
    total = sum(modes)
    return -sum(mode / total * math.log(mode / total) for mode in sorted(modes))


@lru_cache(maxsize=1024)
def ordered_factorizations(number: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """Return every way to write the number as a product of `parts` integers above 1, in lexicographic order.

    With one part the number itself is returned, even if it is 1.

    >>> ordered_factorizations(12, 2)
    ((2, 6), (3, 4), (4, 3), (6, 2))
    """
    if parts == 1:
        return ((number,),)
    return tuple(
        (first, *rest)
        for first in range(2, number // 2 ** (parts - 1) + 1)
        if number % first == 0
        for rest in ordered_factorizations(number // first, parts - 1)
        if rest[-1] > 1
    )


def enumerate_tensorizations(
    out_features: int,
    in_features: int,
    *,
    ndim: int | tuple[int, int],
    keep: int | None = None,
    most_padding: int = 0,
) -> tuple[Tensorization, ...]:
    """Return the tensorizations with a number of modes, the most uniform first.

    Modes are ordered and above 1. They are ranked by the sum of the entropies of both sides; among equals first come
    those with the least padding, then those whose products ``o_k * i_k`` are the most uniform (where both sides have
    as many modes), then lexicographically.

    Args:
        out_features: Rows of the weight matrix.
        in_features: Columns of the weight matrix.
        ndim: Modes on either side, or of the output and the input side; at least 1.
        keep: How many to return; None for all.
        most_padding: Rows and columns of zeros that may be appended at the most: 30522 is 2 * 3 * 5087, but 30525 is
        33 * 37 * 25.

    Raises:
        SpecError: An argument is not a positive integer.

    >>> [str(t) for t in enumerate_tensorizations(384, 1536, ndim=2, keep=3)]
    ['(16*24)x(48*32)', '(24*16)x(32*48)', '(16*24)x(32*48)']
    >>> len(enumerate_tensorizations(384, 1536, ndim=(2, 1)))
    14
    >>> str(enumerate_tensorizations(13, 4, ndim=2, keep=1, most_padding=3)[0])
    '(4*4)x(2*2)-3,0'
    """
    sides = (ndim, ndim) if isinstance(ndim, int) else ndim
    numbers = {
        "out_features": out_features,
        "in_features": in_features,
        "ndim": min(sides),
        "keep": 1 if keep is None else keep,
        "most_padding": most_padding + 1,
    }
    problems = [
        describe(f"enumerate_tensorizations {name}", "not a count", got=number, expected="an integer of at least 1",
                 remedy="Correct the argument.")
        for name, number in numbers.items()
        if number < 1
    ]  # fmt: skip
    if problems:
        raise SpecError(problems)
    outs, ins = (
        [
            (padding, modes)
            for padding in range(most_padding + 1)
            for modes in ordered_factorizations(size + padding, parts)
        ]
        for size, parts in zip((out_features, in_features), sides, strict=True)
    )
    candidates = _pairs(outs, ins)
    best = sorted(candidates) if keep is None else heapq.nsmallest(keep, candidates)
    return tuple(
        Tensorization(out_modes=out, in_modes=in_, padding=padding) for *_, out, in_, padding in best
    )  # fmt: skip


def by_sides(
    out_features: int, in_features: int, *, sides: tuple[tuple[int, int], ...], keep: int | None
) -> tuple[Tensorization, ...]:
    """Return the tensorizations with these numbers of output and input modes, each the most uniform first.

    >>> [str(t) for t in by_sides(8, 6, sides=((2, 1), (2, 2)), keep=1)]
    ['(2*4)x(6)', '(2*4)x(3*2)']
    """
    return tuple(
        found for ndim in sides for found in enumerate_tensorizations(out_features, in_features, ndim=ndim, keep=keep)
    )


_Padded = tuple[int, tuple[int, ...]]
_Candidate = tuple[float, int, float, tuple[int, ...], tuple[int, ...], tuple[int, int]]


def _pairs(outs: list[_Padded], ins: list[_Padded]) -> Iterator[_Candidate]:
    out_entropies = [(entropy(out), padding, out) for padding, out in outs]
    in_entropies = [(entropy(in_), padding, in_) for padding, in_ in ins]
    for (out_entropy, above, out), (in_entropy, beside, in_) in itertools.product(out_entropies, in_entropies):
        alike = len(out) == len(in_)
        uniform = -entropy(tuple(o * i for o, i in zip(out, in_, strict=True))) if alike else 0.0
        yield -(out_entropy + in_entropy), above + beside, uniform, out, in_, (above, beside)
