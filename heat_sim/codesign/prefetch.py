"""Parts that a generation needs, worked out by several processes at once before its designs are costed one by one.

What a process finds is what this one would: the designs, their figures and the front are those of a serial search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from heat_sim.codesign.layer_ways import LayerWays, Way
from heat_sim.codesign.matrix_errors import SquaredErrors, Squares
from heat_sim.codesign.sites import ErrorsSite, ErrorsTask, MachineSite, WaysTask
from heat_sim.codesign.workers import Task, Workers
from heat_sim.tensorize.factorization import Factorization


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefetch:
    """Fills `ways` and `errors` with what designs need.

    Attributes:
        workers: Who works it out.
        machine: What the ways depend on.
        ways: To be filled.
        of_errors: What the errors depend on; None if the estimate needs none.
        errors: To be filled.
    """

    workers: Workers
    machine: MachineSite
    ways: LayerWays
    of_errors: ErrorsSite | None = None
    errors: SquaredErrors | None = None

    def __call__(self, designs: Sequence[Mapping[str, Factorization]]) -> None:
        """Work out all parts of these designs, given per matrix name, that are not known."""
        names: dict[Factorization, dict[str, None]] = {}
        for design in designs:
            for name, factorization in design.items():
                names.setdefault(factorization, {})[name] = None
        tasks: list[Task] = [
            WaysTask(site=self.machine, factorization=each) for each in names if not self.ways.knows(each)
        ]
        if self.of_errors is not None and self.errors is not None:
            for each, matrices in names.items():
                missing = tuple(name for name in matrices if not self.errors.knows(name, each))
                if missing:
                    tasks.append(ErrorsTask(site=self.of_errors, names=missing, factorization=each))
        for task, found in zip(tasks, self.workers.run(tasks), strict=True):
            if found is not None:
                self._learn(task, found)

    def _learn(self, task: Task, found: object) -> None:
        if isinstance(task, WaysTask):
            self.ways.learn(task.factorization, cast("tuple[bool, tuple[Way, ...]]", found))
        elif self.errors is not None:
            for name, squares in zip(task.names, cast("tuple[Squares, ...]", found), strict=True):
                self.errors.learn(name, task.factorization, squares)
