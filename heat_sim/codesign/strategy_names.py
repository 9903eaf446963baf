"""Names of the strategies, for a command line that does not import pymoo to print its help."""

from __future__ import annotations

from collections.abc import Collection

from heat_sim.errors import SpecError, describe

EVOLUTIONARY = ("nsga2", "nsga3", "age-moea", "sms-emoa")
"""Multi-objective algorithms of pymoo."""
BASELINES = ("heat", "uniform", "tensorly", "random")
"""HEAT's own procedure, and what does not search."""


def check_heat_objectives(objectives: Collection[str]) -> None:
    """Raise SpecError unless HEAT's procedure has what it minimises: EDP and loss."""
    if not {"edp", "loss"} <= set(objectives):
        raise SpecError(
            describe("strategy heat", "other objectives", got=", ".join(objectives), expected="edp, loss",
                     remedy="Search for these two.")
        )  # fmt: skip
