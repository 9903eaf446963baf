"""An estimate per matrix from a SuperNet: what it loses with one matrix at a time at few ranks, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heat_sim.distill.progress import Progress, ProgressEvent, ignore_progress
from heat_sim.distill.supernet_estimate import SuperNetEstimate
from heat_sim.distill.supernet_options import Options, at_share
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.tensorization import Tensorization

_Kind = tuple[str, Tensorization]
Curve = tuple[tuple[int, ...], tuple[float, ...]]
"""Parameters in rising order, and what is lost at each."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuperNetTable:
    """A sum over the matrices of what each one alone costs; it can be worked out for any budget.

    Between the measured ranks of an option it is linear in the parameters, and it never falls as parameters do: a
    smaller matrix that happened to measure better counts like the next larger one. Beyond the largest ranks it is what
    it is there.

    Attributes:
        curves: By matrix, then by format and modes.
    """

    curves: Mapping[str, Mapping[_Kind, Curve]]

    @property
    def most(self) -> float:
        """What is lost with every matrix in the option and at the ranks that lose the most."""
        return sum(
            max((max(lost) for _, lost in curves.values()), default=0.0) for curves in self.curves.values()
        )  # fmt: skip

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return what one matrix adds to the sum; 0 for a dense one.

        Raises:
            SpecError: The table has no such matrix or option.
        """
        if factorization.format == "dense":
            return 0.0
        curve = self.curves.get(name, {}).get((factorization.format, factorization.tensorization))
        if curve is None:
            known = ", ".join(f"{form} {modes}" for form, modes in self.curves.get(name, {}))
            raise SpecError(
                describe(f"SuperNet table, matrix {name}", "no such option",
                         got=f"{factorization.format} {factorization.tensorization}", expected=known or "its name",
                         remedy="Make the table of a SuperNet with this option, or leave it out.")
            )  # fmt: skip
        return float(np.interp(factorization.parameters, *curve))

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the sum over the matrices of a design."""
        return sum(self.squared(name, factorization) for name, factorization in design.items())


def supernet_table(
    estimate: SuperNetEstimate, options: Options, *, steps: int = 6, progress: Progress = ignore_progress
) -> SuperNetTable:
    """Return the table: per matrix and option the estimate at some ranks, all other matrices at their largest.

    That is (steps + 1) x all options runs over the rows of the estimate: give it few rows. The estimate with all
    matrices at their largest ranks is subtracted.

    Args:
        estimate: Of a trained SuperNet.
        options: Of that SuperNet.
        steps: Shares of the largest ranks that are measured: 1/steps, 2/steps, .., 1, and rank 1.
        progress: Told about the stage `SuperNet table` after each matrix.

    >>> table = supernet_table(SuperNetEstimate(student, batches, teacher=teacher.model), options)  # doctest: +SKIP
    >>> table.squared("encoder.layer.0.output.dense", factorization)  # doctest: +SKIP
    0.0031
    """
    base = estimate({})
    curves: dict[str, dict[_Kind, Curve]] = {}
    for place, (name, some) in enumerate(options.items(), start=1):
        curves[name] = {}
        for largest in (each for each in some if each.ranks):
            at = {part.parameters: part for part in (at_share(largest, k / steps) for k in range(steps + 1))}
            sizes = tuple(sorted(at))
            lost = [max(0.0, estimate({name: at[size]}) - base) for size in sizes]
            falling = np.maximum.accumulate(lost[::-1])[::-1]
            curves[name][largest.format, largest.tensorization] = (sizes, tuple(map(float, falling)))
        progress(ProgressEvent(stage="SuperNet table", step=place, steps=len(options)))
    return SuperNetTable(curves=curves)
