"""What the matrices of a SuperNet may become: formats and modes at their largest ranks, and draws of smaller ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, floor

import numpy as np

from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.formats import FORMATS
from heat_sim.tensorize.tensorization import Tensorization

Options = Mapping[str, Sequence[Factorization]]
"""By name of the matrix its options, each at the largest ranks."""


def largest_factorization(format_name: str, tensorization: Tensorization, *, share: float = 1.0) -> Factorization:
    """Return the factorization of the largest common rank that has fewer parameters than the dense matrix.

    A mode of Tucker or block-term that would keep its whole extent gets one rank less, so that it has a factor, which
    smaller ranks need. A dense matrix is returned as such.

    Args:
        format_name: In `FORMATS`.
        tensorization: Modes that the format takes.
        share: Parameters at most, as a share of the dense matrix's; rank 1 is returned if that is too many.

    >>> modes = Tensorization(out_modes=(384,), in_modes=(384,))
    >>> largest_factorization("low-rank", modes).ranks, largest_factorization("low-rank", modes, share=0.5).ranks
    ((191,), (95,))
    """
    limits = FORMATS[format_name].max_ranks(tensorization)
    most = share * tensorization.out_features * tensorization.in_features

    def common(rank: int) -> Factorization:
        ranks = tuple(min(rank, limit) for limit in limits)
        return Factorization(format=format_name, tensorization=tensorization, ranks=ranks)

    low, high = 1, max(limits, default=1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if common(middle).parameters < most else (low, middle - 1)
    return _with_factors(common(low))


def supernet_options(
    sizes: Mapping[str, tuple[int, int]],
    *,
    formats: Sequence[str] = ("low-rank",),
    tensorizations: int = 1,
    share: float = 1.0,
) -> dict[str, tuple[Factorization, ...]]:
    """Return the options of every matrix: each format in its most uniform modes, at the largest ranks.

    Args:
        sizes: (out_features, in_features) by name.
        formats: Names in `FORMATS`.
        tensorizations: Kept per format and number of modes, as in a design space.
        share: As `largest_factorization` takes it.

    Raises:
        SpecError: An unknown format, or a matrix that none of them takes.

    >>> supernet_options({"query": (8, 8)})["query"][0].ranks
    (3,)
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise SpecError(
            describe("SuperNet, formats", "unknown", got=", ".join(unknown), expected=f"some of {', '.join(FORMATS)}",
                     remedy="Correct the names.")
        )  # fmt: skip
    options = {
        name: tuple(
            largest_factorization(each, modes, share=share)
            for each in formats
            for modes in FORMATS[each].tensorizations(*size, keep=tensorizations)
        )
        for name, size in sizes.items()
    }
    if empty := [name for name, each in options.items() if not each]:
        raise SpecError(
            describe(f"SuperNet, matrix {empty[0]}", "no format takes it", got=", ".join(formats) or "none",
                     expected="at least one that does", remedy="Add low-rank.")
        )  # fmt: skip
    return options


def at_share(largest: Factorization, share: float) -> Factorization:
    """Return the factorization with every rank cut to a share of the largest, rounded, at least 1.

    >>> modes = Tensorization(out_modes=(8,), in_modes=(8,))
    >>> at_share(Factorization(format="low-rank", tensorization=modes, ranks=(6,)), 0.5).ranks
    (3,)
    """
    return replace(largest, ranks=tuple(max(1, round(share * rank)) for rank in largest.ranks))


def draw_ranks(options: Options, *, steps: int, spread: float, rng: np.random.Generator) -> dict[str, Factorization]:
    """Return a random factorization of every matrix, given one common centre independent of the others.

    The centre is uniform over the range of rank steps; every rank is uniform over the steps within `spread` times the
    range of it. Options are drawn with weights that are themselves drawn, uniform over the simplex, so that networks
    with nearly all matrices in one format occur too.

    Args:
        options: Of every matrix.
        steps: Values of a rank, evenly spaced up to the largest.
        spread: 0 to 1; with 1 every rank is uniform over all steps.
        rng: Draws everything.

    >>> modes = Tensorization(out_modes=(64,), in_modes=(64,))
    >>> big = Factorization(format="low-rank", tensorization=modes, ranks=(24,))
    >>> drawn = draw_ranks({"a": [big], "b": [big]}, steps=4, spread=0.0, rng=np.random.default_rng(0))
    >>> drawn["a"].ranks == drawn["b"].ranks, drawn["a"].ranks[0] in (6, 12, 18, 24)
    (True, True)
    """
    centre = rng.uniform(0, steps - 1)
    low, high = (centre + sign * spread * (steps - 1) for sign in (-1, 1))
    first, last = max(0, ceil(low)), min(steps - 1, floor(high))
    if first > last:  # the window holds no whole number
        first = last = round(centre)
    drawn = {}
    for name, largest in _draw_options(options, rng).items():
        shares = (rng.integers(first, last, size=len(largest.ranks), endpoint=True) + 1) / steps
        ranks = tuple(
            max(1, round(float(share) * rank)) for share, rank in zip(shares, largest.ranks, strict=True)
        )  # fmt: skip
        drawn[name] = replace(largest, ranks=ranks)
    return drawn


def draw_end(options: Options, *, share: float, rng: np.random.Generator) -> dict[str, Factorization]:
    """Return every matrix at the same share of its ranks, in a random option; dense only where there is no other.

    >>> modes = Tensorization(out_modes=(64,), in_modes=(64,))
    >>> big = Factorization(format="low-rank", tensorization=modes, ranks=(24,))
    >>> draw_end({"a": [big]}, share=0.25, rng=np.random.default_rng(0))["a"].ranks
    (6,)
    """
    compressing = {name: [each for each in some if each.ranks] or some for name, some in options.items()}
    return {name: at_share(each, share) for name, each in _draw_options(compressing, rng).items()}


def _draw_options(options: Options, rng: np.random.Generator) -> dict[str, Factorization]:
    weights = rng.dirichlet(np.ones(max(map(len, options.values()))))
    drawn = {}
    for name, some in options.items():
        own = weights[: len(some)]
        drawn[name] = some[int(rng.choice(len(some), p=own / own.sum()))]
    return drawn


def _with_factors(factorization: Factorization) -> Factorization:
    """Return it with one rank less wherever that gives the mode a factor."""
    for k, rank in enumerate(factorization.ranks):
        if rank > 1:
            ranks = (*factorization.ranks[:k], rank - 1, *factorization.ranks[k + 1 :])
            less = replace(factorization, ranks=ranks)
            if len(less.core_names) > len(factorization.core_names):
                factorization = less
    return factorization
