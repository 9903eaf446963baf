"""Searches beside each other: the best EDP gain that each found at equal estimated loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heat_sim.codesign.pareto import hypervolume
from heat_sim.codesign.points import Point
from heat_sim.errors import SpecError, describe

DEFAULT_LOSSES = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a run costed.

    Attributes:
        name: Of the run.
        arguments: As they stand in its manifest.
        dense_edp_pj_cycles: Of the dense network on the run's architecture.
        points: All of them, failures left out.
    """

    name: str
    arguments: dict[str, Any]
    dense_edp_pj_cycles: float
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One run of a comparison.

    Attributes:
        run: Its name.
        gains: Best EDP gain over the dense network at each loss; None if no design loses so little.
        hypervolume: Of (EDP over dense, estimated loss) towards (1, 1).
        designs: How many were costed.
        differs: Arguments in which the run differs from the first.
    """

    run: str
    gains: tuple[float | None, ...]
    hypervolume: float
    designs: int
    differs: str

    def as_json(self, losses: Sequence[float]) -> dict[str, Any]:
        """Return the row with its gains by loss."""
        gains = {str(loss): gain for loss, gain in zip(losses, self.gains, strict=True)}
        return {"run": self.run, "edp_gain_at_loss": gains, "hypervolume": self.hypervolume, "designs": self.designs,
                "differs": self.differs}  # fmt: skip


def compare(runs: Sequence[Searched], *, losses: Sequence[float]) -> tuple[ComparisonRow, ...]:
    """Return one row per run.

    Args:
        runs: At least one.
        losses: Bounds on the estimated loss.

    Raises:
        SpecError: The runs differ in what makes their figures comparable: model, text, architecture, tokens, estimate,
            and if that is a SuperNet, what it was trained on.

    >>> half = Point(energy_pj=1.0, cycles=2, matrix_parameters=1, estimated_loss=0.2)
    >>> run = Searched(name="a", arguments={"model": "m"}, dense_edp_pj_cycles=4.0, points=(half,))
    >>> compare([run], losses=(0.1, 0.2))[0].gains
    (None, 2.0)
    """
    first = runs[0]
    same: tuple[str, ...] = ("model", "data", "teacher_epochs", "calibration", "arch", "ert", "tokens", "estimate")
    if first.arguments.get("estimate") == "supernet":  # its losses are shares of the most that it can lose
        same += ("formats", "supernet_epochs", "supernet_rows")
    for run in runs[1:]:
        if other := [name for name in same if run.arguments.get(name) != first.arguments.get(name)]:
            raise SpecError(
                describe(f"run {run.name}", "cannot be compared", got=f"another {', '.join(other)}",
                         expected=f"that of {first.name}", remedy="Compare runs of one model, machine and estimate.")
            )  # fmt: skip
    return tuple(_row(run, first, losses) for run in runs)


def _row(run: Searched, first: Searched, losses: Sequence[float]) -> ComparisonRow:
    dense = run.dense_edp_pj_cycles
    found = [(point.edp_pj_cycles / dense, point.estimated_loss) for point in run.points]
    changed = [name for name in sorted(run.arguments) if run.arguments[name] != first.arguments.get(name)]
    return ComparisonRow(
        run=run.name,
        gains=tuple(max((1 / edp for edp, lost in found if lost <= loss), default=None) for loss in losses),
        hypervolume=hypervolume(found, worst=(1.0, 1.0)),
        designs=len(found),
        differs=", ".join(f"{name} {run.arguments[name]}" for name in changed),
    )
