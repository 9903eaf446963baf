"""Parts that a generation needs, worked out by several processes at once before its designs are costed one by one.

What a process finds is what this one would: the designs, their figures and the front are those of a serial search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from heat_sim.codesign.evaluator import attention_cascades
from heat_sim.codesign.layer_ways import LayerWays, Way
from heat_sim.codesign.machines import Choice, Machines
from heat_sim.codesign.matrix_errors import SquaredErrors, Squares
from heat_sim.codesign.sites import ErrorsSite, ErrorsTask, WaysTask
from heat_sim.codesign.workers import Task, Workers
from heat_sim.einsum import Cascade
from heat_sim.tensorize.factorization import Factorization

Needed: TypeAlias = tuple[Choice, Mapping[str, Factorization]]
"""A machine, and a design that will be costed on it, per matrix name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefetch:
    """Fills the ways of machines, and errors, with what designs need.

    Attributes:
        workers: Who works it out.
        machines: Whose ways are filled.
        of_errors: What the errors depend on; None if the estimate needs none.
        errors: To be filled.
    """

    workers: Workers
    machines: Machines
    of_errors: ErrorsSite | None = None
    errors: SquaredErrors | None = None

    def __call__(self, needed: Sequence[Needed]) -> None:
        """Work out all parts of these designs that are not known."""
        ways = list(dict.fromkeys(self._ways(needed)))
        errors = list(self._errors(needed))
        tasks: list[Task] = [*(task for _, task in ways), *errors]
        found = self.workers.run(tasks)
        for (choice, task), hull in zip(ways, found, strict=False):
            if hull is not None:
                of: LayerWays = self.machines.at(choice).ways
                of.learn(task.part, cast("tuple[bool, tuple[Way, ...]]", hull))
        for asked, all_squares in zip(errors, found[len(ways) :], strict=True):
            if all_squares is not None and self.errors is not None:
                for name, squares in zip(asked.names, cast("tuple[Squares, ...]", all_squares), strict=True):
                    self.errors.learn(name, asked.factorization, squares)

    def _ways(self, needed: Sequence[Needed]) -> Iterator[tuple[Choice, WaysTask]]:
        for choice, design in needed:
            known, site = self.machines.at(choice).ways, self.machines.site(choice)
            parts: list[Factorization | Cascade] = [*dict.fromkeys(design.values())]
            for part in (*parts, *attention_cascades(self.machines.network)):
                if not known.knows(part):
                    yield choice, WaysTask(site=site, part=part)

    def _errors(self, needed: Sequence[Needed]) -> Iterator[ErrorsTask]:
        if self.of_errors is None or self.errors is None:
            return
        names: dict[Factorization, dict[str, None]] = {}
        for _, design in needed:
            for name, factorization in design.items():
                names.setdefault(factorization, {})[name] = None
        for factorization, matrices in names.items():
            missing = tuple(name for name in matrices if not self.errors.knows(name, factorization))
            if missing:
                yield ErrorsTask(site=self.of_errors, names=missing, factorization=factorization)
