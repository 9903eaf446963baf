"""How well estimates order designs: Spearman's rho against what was measured, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heat_sim.report.tables import Column

SMALL_LOSS = 0.1
"""Below it, in fractions of 1, a design is one that a search should still tell from others."""
FEWEST_DESIGNS = 8
"""With fewer designs of small loss, their rho says nothing."""
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationRow:
    """One estimate.

    Attributes:
        estimate: Its name.
        rho: Spearman's, over all designs; None if either side is constant.
        low: Lower end of its 95 % interval.
        high: Upper end.
        rho_small: Over the designs that lose less than `SMALL_LOSS`; None if there are fewer than `FEWEST_DESIGNS`.
        milliseconds: Per design; None if not known.
    """

    estimate: str
    rho: float | None
    low: float | None
    high: float | None
    rho_small: float | None
    milliseconds: float | None


CORRELATION_COLUMNS = (
    Column(field="estimate", heading="estimate", is_text=True),
    Column(field="rho", heading="Spearman's rho", show="{:.3f}".format),
    Column(field="low", heading="95 % from", show="{:.3f}".format),
    Column(field="high", heading="to", show="{:.3f}".format),
    Column(field="rho_small", heading="rho, loss < 10 points", show="{:.3f}".format),
    Column(field="milliseconds", heading="ms per design", show="{:,.1f}".format),
)


def correlation_rows(
    estimates: Mapping[str, Sequence[float]],
    losses: Sequence[float],
    *,
    milliseconds: Mapping[str, float | None],
    rng: np.random.Generator,
) -> tuple[CorrelationRow, ...]:
    """Return one row per estimate, the highest rho first.

    The interval is the percentile bootstrap over designs (Efron 1979): the middle 95 % of rho over 2,000 resamples,
    the same ones for every estimate.

    Args:
        estimates: By name, one number per design.
        losses: Measured loss of accuracy of the same designs, fractions of 1.
        milliseconds: By name.
        rng: Draws the resamples.

    >>> row, _ = correlation_rows(
    ...     {"bad": [1.0, 2.0, 0.0], "good": [0.1, 0.3, 0.2]}, [0.0, 0.4, 0.2], milliseconds={"bad": 1.0, "good": 2.0},
    ...     rng=np.random.default_rng(0))
    >>> row.estimate, row.rho
    ('good', 1.0)
    """
    drawn = rng.integers(len(losses), size=(_RESAMPLES, len(losses)))
    measured = np.asarray(losses)
    small = [place for place, loss in enumerate(losses) if loss < SMALL_LOSS]
    rows = []
    for name, values in estimates.items():
        low, high = _interval(np.asarray(values)[drawn], measured[drawn])
        rows.append(
            CorrelationRow(
                estimate=name,
                rho=spearman(values, losses),
                low=low,
                high=high,
                rho_small=spearman([values[i] for i in small], [losses[i] for i in small])
                if len(small) >= FEWEST_DESIGNS
                else None,
                milliseconds=milliseconds[name],
            )
        )
    return tuple(sorted(rows, key=lambda row: -np.inf if row.rho is None else row.rho, reverse=True))


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rho of two rows of equal length; None if one of them is constant.

    >>> spearman([1.0, 2.0, 3.0], [0.3, 0.5, 0.4])
    0.5
    >>> spearman([1.0, 1.0, 1.0], [0.3, 0.5, 0.4])
    """
    from scipy.stats import spearmanr  # takes a second to import

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(spearmanr(one, other).statistic)


def _interval(values: NDArray[np.floating], measured: NDArray[np.floating]) -> tuple[float | None, float | None]:
    """Return the 2.5th and 97.5th percentile of rho over the rows, (resamples, designs) each, that are not constant."""
    from scipy.stats import rankdata

    one, other = (
        places - places.mean(axis=1, keepdims=True)
        for places in (rankdata(values, axis=1), rankdata(measured, axis=1))
    )  # fmt: skip
    scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    rhos = (one * other).sum(axis=1)[scale > 0] / scale[scale > 0]
    if not len(rhos):
        return None, None
    low, high = np.percentile(rhos, [2.5, 97.5])
    return float(low), float(high)
