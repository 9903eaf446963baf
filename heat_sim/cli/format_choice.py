"""Which factorization of a format stands in the table: the best of its size for the baseline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heat_sim.codesign.fixed_size import of_size
from heat_sim.tensorize.error import relative_error
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection import project as plain_project
from heat_sim.tensorize.projection import reconstruct
from heat_sim.tensorize.projection_cache import Project


def choose_factorizations(
    weights: Mapping[str, NDArray[np.floating]],
    form: str,
    *,
    compression: float,
    project: Project = plain_project,
) -> dict[str, Factorization]:
    """Return the factorization of every matrix in one format, by name; matrices of one shape have the same.

    Of the candidates of `of_size` with at most ``out_features * in_features / compression`` parameters it is the one
    with the least Frobenius error on the first matrix of the shape. So the choice favours the projection that knows
    no activations: what the others gain over it is not the choice's doing.

    Args:
        weights: W, (out_features, in_features), by name.
        form: Name of the format.
        compression: Dense parameters over the parameters that a matrix may have, above 1; not too high, see `why_none`.
        project: From a weight to cores, for example one that remembers.

    >>> chosen = choose_factorizations({"query": np.eye(8), "key": np.ones((8, 8))}, "low-rank", compression=2)
    >>> chosen["query"].ranks, chosen["key"].parameters
    ((2,), 32)
    """
    first = _first_of_shape(weights)
    tasks = {
        (name, place): Task(weight=weights[name], factorization=candidate)
        for (rows, columns), name in first.items()
        for place, candidate in enumerate(of_size(form, rows, columns, parameters=_budget(rows, columns, compression)))
    }
    cores = project_all(tasks, project=project)
    best: dict[str, tuple[float, Factorization]] = {}
    for (name, place), task in tasks.items():
        error = relative_error(task.weight, reconstruct(cores[name, place], task.factorization))
        if name not in best or error < best[name][0]:
            best[name] = (error, task.factorization)
    return {name: best[first[weight.shape[0], weight.shape[1]]][1] for name, weight in weights.items()}


def why_none(weights: Mapping[str, NDArray[np.floating]], form: str, *, compression: float) -> str | None:
    """Return for which shape a format has nothing of that size, or None if it has something for all of them.

    Args:
        weights: W, (out_features, in_features), by name.
        form: Name of the format.
        compression: As in `choose_factorizations`.

    >>> why_none({"query": np.eye(8)}, "low-rank", compression=5)
    'no factorization of 8 x 8 with at most 12 parameters'
    """
    for rows, columns in _first_of_shape(weights):
        budget = _budget(rows, columns, compression)
        if not of_size(form, rows, columns, parameters=budget):
            return f"no factorization of {rows} x {columns} with at most {budget:,} parameters"
    return None


def _budget(rows: int, columns: int, compression: float) -> int:
    return int(rows * columns / compression)


def _first_of_shape(weights: Mapping[str, NDArray[np.floating]]) -> dict[tuple[int, int], str]:
    first: dict[tuple[int, int], str] = {}
    for name, weight in weights.items():
        first.setdefault((weight.shape[0], weight.shape[1]), name)
    return first
