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
        out_modes: Their product is out_features.
        in_modes: Their product is in_features.
    """

    out_modes: tuple[int, ...]
    in_modes: tuple[int, ...]

    def __post_init__(self) -> None:
        problems = [
            describe(f"tensorization {side}", "not the modes of a matrix", got=modes,
                     expected="at least one integer, each at least 1", remedy="Give the sizes the rank is split into.")
            for side, modes in (("out_modes", self.out_modes), ("in_modes", self.in_modes))
            if not modes or any(type(mode) is not int or mode < 1 for mode in modes)
        ]  # fmt: skip
        if problems:
            raise SpecError(problems)

    @property
    def out_features(self) -> int:
        """Rows of the matrix."""
        return math.prod(self.out_modes)

    @property
    def in_features(self) -> int:
        """Columns of the matrix."""
        return math.prod(self.in_modes)

    @property
    def ndim(self) -> int:
        """Number of modes of the longer side."""
        return max(len(self.out_modes), len(self.in_modes))

    def __str__(self) -> str:
        return f"({'*'.join(map(str, self.out_modes))})x({'*'.join(map(str, self.in_modes))})"


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
    out_features: int, in_features: int, *, ndim: int, keep: int | None = None
) -> tuple[Tensorization, ...]:
    """Return the tensorizations with `ndim` modes on either side, the most uniform first.

    Modes are ordered and above 1. They are ranked by the sum of the entropies of both sides; among
    equals first come those whose products ``o_k * i_k`` are the most uniform, then lexicographically.

    Args:
        out_features: Rows of the weight matrix.
        in_features: Columns of the weight matrix.
        ndim: Modes on either side, at least 1.
        keep: How many to return; None for all.

    Raises:
        SpecError: An argument is not a positive integer.

    >>> [str(t) for t in enumerate_tensorizations(384, 1536, ndim=2, keep=3)]
    ['(16*24)x(48*32)', '(24*16)x(32*48)', '(16*24)x(32*48)']
    """
    numbers = {
        "out_features": out_features,
        "in_features": in_features,
        "ndim": ndim,
        "keep": 1 if keep is None else keep,
    }
    problems = [
        describe(f"enumerate_tensorizations {name}", "not a count", got=number, expected="an integer of at least 1",
                 remedy="Correct the argument.")
        for name, number in numbers.items()
        if number < 1
    ]  # fmt: skip
    if problems:
        raise SpecError(problems)
    candidates = _pairs(ordered_factorizations(out_features, ndim), ordered_factorizations(in_features, ndim))
    best = sorted(candidates) if keep is None else heapq.nsmallest(keep, candidates)
    return tuple(Tensorization(out_modes=out, in_modes=in_) for _, _, out, in_ in best)


_Candidate = tuple[float, float, tuple[int, ...], tuple[int, ...]]


def _pairs(outs: tuple[tuple[int, ...], ...], ins: tuple[tuple[int, ...], ...]) -> Iterator[_Candidate]:
    out_entropies = [(entropy(out), out) for out in outs]
    in_entropies = [(entropy(in_), in_) for in_ in ins]
    for (out_entropy, out), (in_entropy, in_) in itertools.product(out_entropies, in_entropies):
        products = tuple(o * i for o, i in zip(out, in_, strict=True))
        yield -(out_entropy + in_entropy), -entropy(products), out, in_
