"""The projection of many matrices, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.projection import project as plain_project
from heat_sim.tensorize.projection_cache import Project

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One matrix to project.

    Attributes:
        weight: W, (out_features, in_features).
        factorization: What it becomes.
        second_moment: As in `project`.
        gradient_moment: As in `project`.
    """

    weight: NDArray[np.floating]
    factorization: Factorization
    second_moment: NDArray[np.floating] | None = None
    gradient_moment: NDArray[np.floating] | None = None


def project_all(
    tasks: Mapping[Name, Task],
    *,
    project: Project = plain_project,
    workers: int | None = None,
    report: Callable[[int], None] = lambda _done: None,
) -> dict[Name, tuple[NDArray[np.float64], ...]]:
    """Return the cores of every task, by its name; the same whatever the number of workers.

    The decompositions leave Python's lock free, so the workers are threads. Each has one BLAS thread: with more, many
    small decompositions wait for each other.

    Args:
        tasks: By name.
        project: `heat_sim.tensorize.project`, or a `ProjectionCache`.
        workers: Threads; None is one per core that this process may use.
        report: Told how many are done, after each.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> shape = Tensorization(out_modes=(2,), in_modes=(2,))
    >>> rank_1 = Factorization(format="low-rank", tensorization=shape, ranks=(1,))
    >>> [core.shape for core in project_all({"query": Task(weight=np.ones((2, 2)), factorization=rank_1)})["query"]]
    [(2, 1), (1, 2)]
    """

    def one(task: Task) -> tuple[NDArray[np.float64], ...]:
        return project(
            task.weight, task.factorization, second_moment=task.second_moment, gradient_moment=task.gradient_moment
        )  # fmt: skip

    count = len(os.sched_getaffinity(0)) if workers is None else workers
    found: dict[Name, tuple[NDArray[np.float64], ...]] = {}
    with threadpool_limits(limits=1, user_api="blas"):
        results = joblib.Parallel(n_jobs=count, prefer="threads", return_as="generator")(
            joblib.delayed(one)(task) for task in tasks.values()
        )
        for name, cores in zip(tasks, results, strict=True):
            found[name] = cores
            report(len(found))
    return found
