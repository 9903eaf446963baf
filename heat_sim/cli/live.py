"""What a search shows while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from heat_sim.cli.console import Tick
from heat_sim.codesign.aims import Aims
from heat_sim.codesign.pareto import hypervolume
from heat_sim.codesign.strategy import Generation

_LOSS = 0.2
"""Bound of the estimated loss at which the best EDP gain is shown, unless a constraint sets one."""


@dataclass(slots=True, kw_only=True)
class Live:
    """Called after each generation: moves the bar and says how far the search has come.

    Attributes:
        aims: Of the search.
        tick: Moves the bar.
    """

    aims: Aims
    tick: Tick
    _started: float = field(default_factory=time.perf_counter)
    _evaluations: int = 0

    @property
    def rate(self) -> float:
        """Designs evaluated per second so far."""
        return self._evaluations / max(1e-9, time.perf_counter() - self._started)

    def __call__(self, generation: Generation) -> None:
        """Show a generation."""
        self._evaluations = generation.evaluations
        self.tick(generation.index, ", ".join([f"{generation.evaluations} designs", *self._progress(generation)]))

    def _progress(self, generation: Generation) -> list[str]:
        notes = [f"front {len(generation.front)}"]
        names = self.aims.objectives
        if "edp" in names and "loss" in names:
            pairs = [(values[names.index("edp")], values[names.index("loss")]) for values in generation.front]
            bound = min((each.bound for each in self.aims.constraints if each.measure == "loss"), default=_LOSS)
            gain = max((1 / edp for edp, lost in pairs if lost <= bound), default=1.0)
            notes.append(f"hypervolume {hypervolume(pairs, worst=(1.0, 1.0)):.3f}")
            notes.append(f"EDP gain {gain:.1f}x at loss {bound:g}")
        elif "edp" in names:
            notes.append(f"EDP gain to {1 / min(values[names.index('edp')] for values in generation.front):.1f}x")
        return [*notes, f"{self.rate:.0f} designs/s"]
