"""An estimate fitted on measured accuracies: a random forest over the errors of the single matrices, as in HEAT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heat_sim.codesign.estimate import ESTIMATES
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization

Design = Mapping[str, Factorization]

FEWEST_SAMPLES = 8
"""Fewer measured designs say nothing about others."""
TREES = 300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForestEstimate:
    """Loss of accuracy by a random forest fitted on designs whose accuracy was measured (Gu et al. 2022, section 3.2).

    Its inputs are the three estimates of the whole design and the activation error of every matrix.

    Attributes:
        errors: Of single matrices.
        designs: Those that were measured.
        losses: Accuracy of the dense model minus theirs, one each.
        seed: Of the forest.
    """

    errors: MatrixErrors
    designs: Sequence[Design]
    losses: Sequence[float]
    seed: int = 0
    _forest: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.designs) != len(self.losses) or len(self.losses) < FEWEST_SAMPLES:
            raise SpecError(
                describe("estimate forest", "too few measured designs", got=len(self.losses),
                         expected=f"at least {FEWEST_SAMPLES}, with one loss each", remedy="Measure more designs.")
            )  # fmt: skip

    def __call__(self, design: Design, /) -> float:
        """Return the loss that the forest expects."""
        if not self._forest:
            self._forest.append(_fitted(self._table(self.designs), np.asarray(self.losses), self.seed))
        return float(self._forest[0].predict(self._table([design]))[0])

    def out_of_fold(self, *, folds: int = 5) -> NDArray[np.float64]:
        """Return for every measured design what a forest expects that was fitted without it, or its fold.

        The folds are drawn with the seed.
        """
        from sklearn.model_selection import KFold

        table, losses = self._table(self.designs), np.asarray(self.losses)
        expected = np.empty(len(losses))
        split = KFold(n_splits=min(folds, len(losses)), shuffle=True, random_state=self.seed)
        for known, asked in split.split(table):
            expected[asked] = _fitted(table[known], losses[known], self.seed).predict(table[asked])
        return expected

    def _table(self, designs: Sequence[Design]) -> NDArray[np.float64]:
        """Return the inputs of the forest, (designs, features)."""
        names = list(self.designs[0])
        known = ["weight", "activation", *(["fisher"] if self.errors.gradient_moments else [])]
        estimates = [ESTIMATES[name](errors=self.errors) for name in known]
        return np.array(
            [
                [*(estimate(design) for estimate in estimates), *(self._relative(n, design[n]) for n in names)]
                for design in designs
            ]
        )

    def _relative(self, name: str, factorization: Factorization) -> float:
        whole = self.errors.whole(name).activation
        return float(np.sqrt(self.errors(name, factorization).activation / whole)) if whole > 0 else 0.0


def _fitted(table: NDArray[np.float64], losses: NDArray[np.float64], seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor  # imported where it is used: it takes a second

    return RandomForestRegressor(n_estimators=TREES, random_state=seed, n_jobs=1).fit(table, losses)
