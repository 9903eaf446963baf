"""The measuring half of an estimate check: accuracy, every estimate and its time, for one design after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from heat_sim.cli.bench import AddBar, Bench
from heat_sim.cli.estimate_samples import Check, Sample
from heat_sim.codesign.estimate import ESTIMATES, LossEstimate
from heat_sim.codesign.forest import FEWEST_SAMPLES, ForestEstimate
from heat_sim.codesign.matrix_errors import MatrixErrors
from heat_sim.codesign.space import DesignSpace
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.calibrate import calibration_batches
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.output_error import BlockOutputError, LogitError, replaced_weights
from heat_sim.distill.settings import DistillSettings
from heat_sim.errors import SpecError, describe
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.project_all import Task, project_all
from heat_sim.tensorize.projection import reconstruct
from heat_sim.tensorize.projection_cache import ProjectionCache

Result = TypeVar("Result")
Matrices = dict[str, NDArray[np.float64]]

SLOW: Mapping[str, Callable[..., LossEstimate]] = {"block-output": BlockOutputError, "logit": LogitError}
"""Name to estimate, for those that run the model with projected matrices."""
FOREST = "forest"
"""Name of the estimate that is fitted on the other samples."""
SUPERNET = "supernet"
"""Name of the estimate that `estimate_supernet` adds later, to none, some or all samples."""


def measure_designs(
    bench: Bench,
    space: DesignSpace,
    designs: Sequence[tuple[Factorization, ...]],
    *,
    arguments: Mapping[str, object],
    known: Check | None,
    save: Callable[[Check], None],
    add_bar: AddBar,
) -> Check:
    """Return the check with all designs measured and, of 8 or more, what forests fitted without them expect.

    Every matrix is projected by itself, activation-aware; nothing is trained. Accuracy is measured as in the main job:
    on the test split, in its number format.

    Args:
        bench: Model, task and calibration.
        space: Whose slots the designs fill.
        designs: One factorization per slot.
        arguments: Of the check.
        known: What an earlier call with the same arguments measured.
        save: Called after every design, so that a stop loses one at the most.
        add_bar: Adds a progress bar.

    Raises:
        SpecError: The earlier call had another teacher or other designs.
    """
    settings = DistillSettings()
    texts = encode(bench.teacher.tokenizer, bench.task, split="test", max_length=settings.max_length)
    batches = sorted_batches(texts, batch_size=settings.batch_size)

    def accuracy(weights: Matrices) -> float:
        with replaced_weights(bench.teacher.model, weights) if weights else nullcontext():
            return measure_accuracy(bench.teacher.model, batches, precision=settings.precision)

    if known is None:
        known = Check(
            arguments=arguments, teacher=bench.teacher.folder.name, dense_accuracy=accuracy({}), samples=()
        )  # fmt: skip
    _refuse_others(known, bench, designs)
    todo = designs[len(known.samples) :]
    project = _Timed(cache=ProjectionCache())
    calibration = bench.calibration
    errors = MatrixErrors(
        weights=calibration.weights, second_moments=calibration.second_moments,
        gradient_moments=calibration.gradient_moments, project=project,
    )  # fmt: skip
    tick = add_bar("measure designs", len(designs))
    if todo:
        estimates = _Estimates(bench, errors, project)
        for design in todo:
            matrices = space.by_name(design)
            values, milliseconds = estimates(matrices)
            found = accuracy(estimates.rebuilt)
            sample = Sample(
                factorizations=design, accuracy=found, estimates=values, milliseconds=milliseconds
            )  # fmt: skip
            known = replace(known, samples=(*known.samples, sample))
            save(known)
            tick(len(known.samples), f"accuracy {100 * found:.1f} %")
    if len(designs) >= FEWEST_SAMPLES and FOREST not in known.samples[0].estimates:
        known = _with_forest(known, space, errors, seed=int(str(arguments["seed"])))
        save(known)
    return known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """A cache of projections that notes the seconds of each call: those its thread computed, not those it waited."""

    cache: ProjectionCache
    seconds: list[float] = field(default_factory=list)

    def __call__(
        self,
        weight: NDArray[np.floating],
        factorization: Factorization,
        /,
        *,
        second_moment: NDArray[np.floating] | None = None,
        gradient_moment: NDArray[np.floating] | None = None,
    ) -> tuple[NDArray[np.float64], ...]:
        started = time.thread_time()
        cores = self.cache(weight, factorization, second_moment=second_moment, gradient_moment=gradient_moment)
        self.seconds.append(time.thread_time() - started)
        return cores


class _Estimates:
    """Every estimate but the forest, of one design after the other; `rebuilt` has the weights of the last one."""

    def __init__(self, bench: Bench, errors: MatrixErrors, project: _Timed) -> None:
        self.rebuilt: Matrices = {}
        self._errors, self._project = errors, project
        self._quick: dict[str, LossEstimate] = {name: make(errors=errors) for name, make in ESTIMATES.items()}
        text = calibration_batches(bench.teacher, bench.task)

        def rebuild(name: str, _factorization: Factorization) -> NDArray[np.float64]:
            return self.rebuilt[name]

        self._slow: dict[str, LossEstimate] = {
            name: make(bench.teacher.model, text, rebuild=rebuild) for name, make in SLOW.items()
        }

    def __call__(self, design: Mapping[str, Factorization]) -> tuple[dict[str, float], dict[str, float | None]]:
        """Return estimates, and milliseconds as each would take them alone.

        The quick estimates share the errors of the matrices, in all three norms; the others the projection: its time is
        that of one thread, as in the search, and unknown if nothing had to be projected.
        """
        made = self._project.cache.made
        self._project.seconds.clear()
        with threadpool_limits(limits=1, user_api="blas"):
            _, shared = _timed(partial(_look_up, self._errors, design))
            cores = self._cores(design)
            self.rebuilt, rebuilding = _timed(partial(_reconstruct, cores, design))
        projecting = sum(self._project.seconds) + rebuilding
        values: dict[str, float] = {}
        seconds: dict[str, float | None] = {}
        for name, estimate in self._quick.items():
            values[name], own = _timed(partial(estimate, design))
            seconds[name] = shared + own
        for name, estimate in self._slow.items():
            values[name], own = _timed(partial(estimate, design))
            seconds[name] = projecting + own if self._project.cache.made > made else None
        return values, {name: None if each is None else 1e3 * each for name, each in seconds.items()}

    def _cores(self, design: Mapping[str, Factorization]) -> dict[str, tuple[NDArray[np.float64], ...]]:
        tasks = {
            name: Task(
                weight=self._errors.weights[name], factorization=each, second_moment=self._errors.second_moments[name]
            )
            for name, each in design.items()
            if each.format != "dense"
        }
        return project_all(tasks, project=self._project)


def _look_up(errors: MatrixErrors, design: Mapping[str, Factorization]) -> None:
    for name, factorization in design.items():
        errors(name, factorization)
        errors.whole(name)


def _reconstruct(cores: Mapping[str, tuple[NDArray[np.float64], ...]], design: Mapping[str, Factorization]) -> Matrices:
    return {name: reconstruct(each, design[name]) for name, each in cores.items()}


def _timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result and the seconds it took."""
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def _with_forest(check: Check, space: DesignSpace, errors: MatrixErrors, *, seed: int) -> Check:
    """Return the check with one more estimate: for every design what a forest expects that was fitted without it."""
    designs = [space.by_name(sample.factorizations) for sample in check.samples]
    forest = ForestEstimate(errors=errors, designs=designs, losses=check.losses, seed=seed)
    with threadpool_limits(limits=1, user_api="blas"):
        expected = forest.out_of_fold()
        forest(designs[0])  # fits it
        times = [_timed(partial(forest, design))[1] for design in designs]
    samples = []
    for sample, value, seconds in zip(check.samples, expected, times, strict=True):
        errors_ms = sample.milliseconds["activation"]
        milliseconds = None if errors_ms is None else errors_ms + 1e3 * seconds
        samples.append(
            replace(
                sample,
                estimates={**sample.estimates, FOREST: float(value)},
                milliseconds={**sample.milliseconds, FOREST: milliseconds},
            )
        )
    return replace(check, samples=tuple(samples))


def _refuse_others(known: Check, bench: Bench, designs: Sequence[tuple[Factorization, ...]]) -> None:
    """Refuse samples of another teacher, other designs or other estimates: another version of heat_sim made them."""
    wanted = {*ESTIMATES, *SLOW}
    problems = []
    if known.teacher != bench.teacher.folder.name:
        problems.append(("another teacher", known.teacher, bench.teacher.folder.name))
    if tuple(sample.factorizations for sample in known.samples) != tuple(designs[: len(known.samples)]):
        problems.append(("other designs", "some", "those that the seed draws"))
    kinds = {frozenset(keys) - {SUPERNET} for each in known.samples for keys in (each.estimates, each.milliseconds)}
    if not kinds <= {frozenset(wanted)} and not kinds <= {frozenset({*wanted, FOREST})}:
        names = ", ".join(sorted(frozenset.union(*kinds)))
        problems.append(("other estimates", names, ", ".join(sorted(wanted))))
    if problems:
        raise SpecError([
            describe("estimate check", f"the folder is of a check with {what}", got=got, expected=expected,
                     remedy="Give another --out.")
            for what, got, expected in problems
        ])  # fmt: skip
