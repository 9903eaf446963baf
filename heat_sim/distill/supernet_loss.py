"""The estimated loss of a search with a SuperNet: its table, scaled as the other estimates are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heat_sim.distill.supernet_table import SuperNetTable
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuperNetLoss:
    """Root of the sum over the matrices of what each one alone costs, over that of all at their worst.

    What a matrix costs is a divergence: like the summand of the Fisher norm it is quadratic in a small error, so the
    root of the ratio is on the same scale: 0 is the dense network, 1 is every matrix in the option and at the ranks
    that lose the most in the table.

    Attributes:
        table: Of a trained SuperNet.

    Raises:
        SpecError: Nothing is lost anywhere in the table.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> modes = Tensorization(out_modes=(4,), in_modes=(4,))
    >>> table = SuperNetTable(curves={"query": {("low-rank", modes): ((8, 16), (0.4, 0.0))}})
    >>> loss = SuperNetLoss(table=table)
    >>> [loss({"query": Factorization(format="low-rank", tensorization=modes, ranks=(r,))}) for r in (1, 2)]
    [1.0, 0.0]
    """

    table: SuperNetTable

    def __post_init__(self) -> None:
        if not self.table.most > 0:
            raise SpecError(
                describe("estimate supernet", "the SuperNet loses nothing at any ranks, so it orders no designs",
                         got=f"a divergence of {self.table.most}", expected="more than 0",
                         remedy="Train it longer, on more rows, or choose fisher.")
            )  # fmt: skip

    def squared(self, name: str, factorization: Factorization, /) -> float:
        """Return the divergence that one matrix adds to the sum, in nats.

        Raises:
            SpecError: The table has no such matrix or option.
        """
        return self.table.squared(name, factorization)

    def __call__(self, design: Mapping[str, Factorization], /) -> float:
        """Return the root of the ratio of both sums.

        Raises:
            SpecError: The table has no such matrix or option.
        """
        return float(np.sqrt(self.table(design) / self.table.most))
