"""One cell of `heat-sim decompose`: project all matrices of an encoder, then classify the test rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heat_sim.cli.bench import Bench
from heat_sim.cli.format_cells import Cell
from heat_sim.cli.format_plan import FROBENIUS
from heat_sim.distill.batches import Batch
from heat_sim.distill.calibrate import calibration_batches
from heat_sim.distill.measure import correct_rows
from heat_sim.distill.output_error import replaced_weights
from heat_sim.distill.progress import ProgressEvent
from heat_sim.distill.sequential import project_sequentially
from heat_sim.tensorize.contraction import ContractionTree
from heat_sim.tensorize.design import Design, LayerDesign
from heat_sim.tensorize.error import relative_error
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection import reconstruct
from heat_sim.tensorize.projection_cache import Project

Array = NDArray[np.float64]
Report = Callable[[str], None]
"""Told how far a projection is."""


def measure_cell(
    cell: Cell,
    bench: Bench,
    factorizations: Mapping[str, Factorization],
    *,
    batches: Sequence[Batch],
    project: Project,
    report: Report,
) -> Cell:
    """Return the cell with its numbers.

    Args:
        cell: With the name of the projection.
        bench: The dense model on its task.
        factorizations: Of every encoder matrix, by name.
        batches: The test rows.
        project: From a weight to cores, for example one that remembers.
        report: Told how far the projection is.
    """
    started = time.perf_counter()
    if cell.projection == "sequential":
        replaced = _sequential(bench, factorizations, project=project, report=report)
    else:
        replaced = _one_by_one(bench, factorizations, cell.projection, project=project, report=report)
    seconds = time.perf_counter() - started
    weights, moments = bench.calibration.weights, bench.calibration.second_moments
    plain = [relative_error(weights[name], other) for name, other in replaced.items()]
    weighted = [relative_error(weights[name], other, second_moment=moments[name]) for name, other in replaced.items()]
    report(f"{len(batches)} batches")
    return replace(
        cell,
        parameters=sum(each.parameters for each in factorizations.values()),
        weight_error=_root_mean_square(plain),
        activation_error=_root_mean_square(weighted),
        right=right_rows(bench, replaced, batches),
        seconds=seconds,
        factorizations={f"{f.out_features}x{f.in_features}": f.to_json() for f in factorizations.values()},
    )


def right_rows(bench: Bench, replaced: Mapping[str, Array], batches: Sequence[Batch]) -> str:
    """Return which rows are classified as labelled with other encoder weights, one 0 or 1 each.

    The products are dense and in float32 whatever the weights come from, so that two results differ by the weights
    alone, and by nothing that a processor does or does not have.

    Args:
        bench: The dense model on its task.
        replaced: Weights by name, (out_features, in_features); all others are the model's own.
        batches: The rows.
    """
    with replaced_weights(bench.teacher.model, replaced):
        return "".join(str(int(right)) for right in correct_rows(bench.teacher.model, batches))


def _one_by_one(
    bench: Bench, factorizations: Mapping[str, Factorization], projection: str, *, project: Project, report: Report
) -> dict[str, Array]:
    """Return the approximations of all matrices, by name, each in the norm that the projection is named after."""
    known = bench.calibration
    tasks = {
        name: Task(
            weight=known.weights[name],
            factorization=factorization,
            second_moment=None if projection == FROBENIUS else known.second_moments[name],
            gradient_moment=known.gradient_moments[name] if projection == "fisher" else None,
        )
        for name, factorization in factorizations.items()
    }
    cores = project_all(tasks, project=project, report=lambda done: report(f"{done} of {len(tasks)} matrices"))
    return {name: reconstruct(cores[name], factorization) for name, factorization in factorizations.items()}


def _sequential(
    bench: Bench, factorizations: Mapping[str, Factorization], *, project: Project, report: Report
) -> dict[str, Array]:
    """Return the approximations by `project_sequentially`, corrected and weighted by the gradients, by name."""
    teacher = bench.teacher
    layers = tuple((name, LayerDesign(factorization=f, trees=_some_trees(f))) for name, f in factorizations.items())

    def show(event: ProgressEvent) -> None:
        report(f"{event.step} of {event.steps} inputs")

    student = project_sequentially(
        teacher.model,
        Design(id="sequential", model=bench.model, tokens=1, architecture="none", layers=layers),
        calibration_batches(teacher, bench.task),
        gradient_moments=bench.calibration.gradient_moments,
        project=project,
        progress=show,
    )
    modules = dict(student.base_model.named_modules())
    return {
        name: reconstruct([core.detach().numpy() for core in modules[name].cores.values()], factorization)
        for name, factorization in factorizations.items()
    }


def _some_trees(factorization: Factorization) -> tuple[ContractionTree, ...]:
    """Return contraction trees, which a design must have, though only the cores are read: from left to right."""
    trees = []
    for einsum in factorization.einsums(1):
        first, *others = (operand.name for operand in einsum.inputs)
        tree: ContractionTree = first
        for other in others:
            tree = (tree, other)
        trees.append(tree)
    return tuple(trees)


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))
