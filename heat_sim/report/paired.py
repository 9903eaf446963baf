"""Paired comparison of a student with its teacher on the same rows, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How far a metric lies from the teacher's.

    Attributes:
        mean: Over rows and seeds; negative is a loss. Of 1, not of 100.
        low: Lower end of the 95 % confidence interval.
        high: Upper end.
        spread: Standard deviation of the seeds' means; None with one seed.
    """

    mean: float
    low: float
    high: float
    spread: float | None


def paired_change(teacher: Sequence[float], students: Sequence[Sequence[float]]) -> Change:
    """Return the mean change with its 95 % confidence interval.

    Rows and seeds are both samples: the squared standard error is that of the row-wise differences (averaged over
    seeds) over the rows, plus that of the seeds' means over the seeds. With one seed the second part is not known and
    left out. The interval is normal, of half width 1.96 standard errors; with the few seeds of a study it is somewhat
    too narrow if seeds dominate.

    Args:
        teacher: The teacher's metric on every row.
        students: The same of the student of every seed.

    Raises:
        ValueError: No student, or another number of rows.

    >>> change = paired_change([1.0, 1.0, 0.0, 1.0], [[1.0, 0.0, 0.0, 1.0]])
    >>> round(change.mean, 3), round(change.low, 3), round(change.high, 3), change.spread
    (-0.25, -0.74, 0.24, None)
    """
    differences = np.array([np.subtract(student, teacher) for student in students], dtype=np.float64)  # (seeds, rows)
    if differences.size == 0 or differences.ndim != 2:
        raise ValueError("paired_change: no rows")
    seeds, rows = differences.shape
    of_rows, of_seeds = differences.mean(axis=0), differences.mean(axis=1)
    variance = of_rows.var(ddof=1) / rows if rows > 1 else 0.0
    if seeds > 1:
        variance += of_seeds.var(ddof=1) / seeds
    half = float(stats.norm.ppf(0.975)) * float(np.sqrt(variance))
    mean = float(of_rows.mean())
    return Change(
        mean=mean, low=mean - half, high=mean + half, spread=float(of_seeds.std(ddof=1)) if seeds > 1 else None
    )
