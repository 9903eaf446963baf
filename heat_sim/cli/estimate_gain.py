"""How much better one estimate orders designs than another: the difference of two correlations, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.report.correlation import spearman

_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Spearman's rho of one estimate less that of another, against the same measured losses.

    Attributes:
        estimate: The one.
        over: The other.
        against: What was measured, for example "as projected".
        designs: How many.
        difference: Of both rhos; above 0 the first one orders better.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    estimate: str
    over: str
    against: str
    designs: int
    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.estimate} over {self.over}, {self.against}: rho {self.difference:+.3f} "
            f"(95 % from {self.low:+.3f} to {self.high:+.3f}, {self.designs} designs)"
        )


def rank_gain(
    names: tuple[str, str],
    values: tuple[Sequence[float], Sequence[float]],
    losses: Sequence[float],
    *,
    against: str,
    rng: np.random.Generator,
) -> Gain | None:
    """Return the gain of the first estimate over the second; None if anything is constant.

    The interval is the paired percentile bootstrap over designs: both correlations of one resample are of the same
    designs, so what the designs have in common cancels.

    Args:
        names: Of both estimates.
        values: One number per design, of both.
        losses: Measured, of the same designs.
        against: What was measured.
        rng: Draws the resamples.

    >>> gain = rank_gain(("good", "bad"), ([0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.2, 0.3]), [1.0, 2.0, 3.0, 4.0],
    ...                  against="as projected", rng=np.random.default_rng(0))
    >>> round(gain.difference, 6)
    1.2
    """
    own, other = (spearman(each, losses) for each in values)
    if own is None or other is None:
        return None
    drawn = rng.integers(len(losses), size=(_RESAMPLES, len(losses)))
    measured = _places(np.asarray(losses)[drawn])
    first, second = (_correlations(_places(np.asarray(each)[drawn]), measured) for each in values)
    differences = first - second
    low, high = np.percentile(differences[np.isfinite(differences)], [2.5, 97.5])
    return Gain(
        estimate=names[0], over=names[1], against=against, designs=len(losses), difference=own - other,
        low=float(low), high=float(high),
    )  # fmt: skip


def _places(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return centred ranks along the rows, (resamples, designs)."""
    from scipy.stats import rankdata  # takes a second to import

    places = np.asarray(rankdata(values, axis=1), dtype=np.float64)
    centred: NDArray[np.float64] = places - places.mean(axis=1, keepdims=True)
    return centred


def _correlations(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of every row, (resamples,); nan where a row is constant."""
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found = np.full(len(scale), np.nan)
    np.divide((one * other).sum(axis=1), scale, out=found, where=scale > 0)
    return found
