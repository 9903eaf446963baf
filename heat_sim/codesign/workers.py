"""Who works out the parts of designs beside this process: nobody, processes of this host, a Dask cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from joblib import Parallel, delayed

from heat_sim.codesign.sites import ErrorsTask, WaysTask, run_task
from heat_sim.errors import HeatError, MissingDependencyError, describe

Task = WaysTask | ErrorsTask


@contextmanager
def renewing_quietly() -> Iterator[None]:
    """Keep joblib from telling the user that it replaces a process whose memory has grown: nothing is lost.

    >>> with renewing_quietly():
    ...     warnings.warn("A worker stopped while some jobs were given to the executor.", stacklevel=1)
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)
        yield


class Workers(Protocol):
    """Runs tasks somewhere else."""

    def run(self, tasks: Sequence[Task], /) -> list[object]:
        """Return the outcome of each task in order, None for one that failed or was not taken."""


class Nobody:
    """Takes no task: all is worked out where it is asked for."""

    def run(self, tasks: Sequence[Task], /) -> list[object]:
        """Return None for each."""
        return [None] * len(tasks)


class Processes:
    """Processes of this host, started when there is enough to do and kept for the next time."""

    def __init__(self, jobs: int, *, least: int = 8) -> None:
        """Say how many.

        Args:
            jobs: Processes.
            least: Fewer tasks than this are not worth their start.
        """
        self._jobs = jobs
        self._least = least

    def run(self, tasks: Sequence[Task], /) -> list[object]:
        """Return the outcomes."""
        if len(tasks) < self._least:
            return [None] * len(tasks)
        with renewing_quietly():
            run = Parallel(n_jobs=self._jobs, batch_size="auto")
            found: list[object] = run(delayed(run_task)(task) for task in tasks)
        return found


class DaskCluster:
    """The workers of a Dask scheduler; each needs this version of heat_sim, and the files of the run at one path."""

    def __init__(self, address: str, *, patience_s: float = 10.0) -> None:
        """Connect.

        Args:
            address: Of the scheduler.
            patience_s: How long to try.

        Raises:
            MissingDependencyError: Without the package `distributed`.
            HeatError: Nobody answers at the address.
        """
        try:
            from distributed import Client
        except ImportError:
            raise MissingDependencyError(
                describe("--dask", "distributed is not installed", got="no such package", expected="distributed",
                         remedy='Install it: pip install "heat_sim[dask]".')
            ) from None  # fmt: skip
        try:
            self._client: Any = Client(address, timeout=patience_s)
        except (OSError, ValueError) as problem:
            raise HeatError(
                describe(f"--dask {address}", "no scheduler answers", got=problem, expected="tcp://HOST:PORT",
                         remedy="Start one with `dask scheduler`, workers with `dask worker`.")
            ) from None  # fmt: skip

    def run(self, tasks: Sequence[Task], /) -> list[object]:
        """Return the outcomes."""
        found: list[object] = self._client.gather(self._client.map(run_task, tasks, pure=False))
        return found

    def close(self) -> None:
        """Disconnect; the cluster goes on."""
        self._client.close()


def workers_of(*, jobs: int | None, dask: str | None) -> Workers:
    """Return what the options ask for: a cluster, or so many processes; None is one per core."""
    if dask is not None:
        return DaskCluster(dask)
    jobs = jobs or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    return Processes(jobs) if jobs > 1 else Nobody()
