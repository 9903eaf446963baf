"""The distilling half of the main job: measured accuracies for the designs of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from joblib import Parallel, cpu_count, delayed
from torch import Tensor

from heat_sim.cli.bench import AddBar, Bench, bench_of_run, stage_bars
from heat_sim.cli.console import Tick, err
from heat_sim.cli.distill_plan import DistillPlan
from heat_sim.cli.pick import check_designs, choose
from heat_sim.cli.start import Start
from heat_sim.cli.state_folder import StateFolder
from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.workers import renewing_quietly
from heat_sim.distill.checkpoint import Checkpoints, TrainingState
from heat_sim.distill.convert import save_student
from heat_sim.distill.measure import measure_scores
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.targets import PackedTargets, teacher_logits
from heat_sim.distill.train import DistillResult, distill, layers_only, training_key
from heat_sim.report.curves import write_curve
from heat_sim.report.measured import Measured, Stage, read_measured, write_measured
from heat_sim.report.run_folder import design_path, read_baselines, read_front, write_front
from heat_sim.tensorize.design import dump_design, load_design


def measure(
    folder: Path, bench: Bench, *, plan: DistillPlan, add_bar: AddBar, resume: bool = False, jobs: int = 1
) -> None:  # fmt: skip
    """Measure the designs of a run as projected, train those that are asked for, and measure them after each stage.

    Everything is written when it is known, so that a stop loses no more than the steps since the last checkpoint.

    Args:
        folder: Of the run.
        bench: Model, task and calibration of the run.
        plan: What to train.
        add_bar: Adds a progress bar.
        resume: Whether what was trained with this plan is kept, and a training begun is gone on with.
        jobs: Trainings at a time, each in a process with its share of the cores.

    Raises:
        SpecError: The run has no such design.
        HeatError: A training diverged, or a checkpoint cannot be read or written.
    """
    check_designs(folder, plan.designs)
    states = StateFolder(folder, bench, plan.settings)
    plan = replace(plan, teacher_states=states.settle(plan.teacher_states, needed=plan.has_stage_1))
    work = _Work(folder=folder, bench=bench, plan=plan, add_bar=add_bar)
    plan.write(folder)
    work.measure_projected()
    chosen = choose(plan.designs, work.rows, chance=bench.task.chance)
    trainings = [
        (name, stage, settings)
        for name in chosen
        for stage, settings in plan.trainings()
        if not (resume and work.is_done(name, stage, settings))
    ]
    if plan.teacher_states == "store" and any(
        settings.layerwise_epochs and not work.stage_1(name, settings).load_own() for name, _, settings in trainings
    ):
        states.fill(stage_bars(add_bar))
    _train_all(work, trainings, resume=resume, jobs=jobs)
    states.clear()


def _train_all(
    work: _Work, trainings: Sequence[tuple[str, Stage, DistillSettings]], *, resume: bool, jobs: int
) -> None:  # fmt: skip
    plan, folder, add_bar = work.plan, work.folder, work.add_bar
    if jobs == 1 or not trainings:
        for name, stage, settings in trainings:
            work.train(name, stage, settings, resume=resume)
        return
    threads = max(1, cpu_count() // jobs)
    asks = any(settings.logit_epochs for _, _, settings in trainings)
    targets = PackedTargets.of(work.targets) if asks else None
    tick = add_bar("trainings", len(trainings))
    tasks = (
        delayed(_train_apart)(folder, plan, *each, targets=targets, resume=resume, threads=threads)
        for each in trainings
    )  # fmt: skip
    with renewing_quietly():
        for done, name in enumerate(Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks), start=1):
            tick(done, name)


def _train_apart(
    folder: Path, plan: DistillPlan, name: str, stage: Stage, settings: DistillSettings, *,
    targets: PackedTargets | None, resume: bool, threads: int,
) -> str:  # fmt: skip
    """Train one design with one seed in a process of its own, and return the design."""
    torch.set_num_threads(threads)
    bench = bench_of_run(folder, add_bar=_no_bar)  # from the cache, which the calling process has filled
    work = _Work(folder=folder, bench=bench, plan=plan, add_bar=_no_bar)
    work.known_targets = None if targets is None else targets.unpack()
    work.train(name, stage, settings, resume=resume)
    return name


def _no_bar(_name: str, _steps: int) -> Tick:
    return lambda *_: None


@dataclass(slots=True, kw_only=True)
class _Work:
    folder: Path
    bench: Bench
    plan: DistillPlan
    add_bar: AddBar
    start: Start = field(init=False)
    rows: list[FrontRow] = field(init=False)
    front: int = field(init=False)
    records: list[Measured] = field(init=False)
    lock: FileLock = field(init=False)
    known_targets: Sequence[Tensor] | None = None

    def __post_init__(self) -> None:
        front = read_front(self.folder)
        self.front = len(front)
        self.rows = [*front, *read_baselines(self.folder)]
        self.records = read_measured(self.folder)
        self.lock = FileLock(self.folder / ".measured.lock")
        self.start = Start(bench=self.bench, projection=self.plan.projection)

    def measure_projected(self) -> None:
        """Measure the dense model and every design without training, if that was not done."""
        tick = self.add_bar("measure projected", len(self.rows))
        if not any(record.stage == "dense" for record in self.records):
            self.record(DENSE, "dense", None, self.bench.teacher.model)
        known = {r.design for r in self.records if r.stage == "projected" and r.settings == self.plan.projection}
        for done, row in enumerate(self.rows, start=1):
            if row.design not in {DENSE, *known}:
                self.record(row.design, "projected", None, self.project(row.design), settings=self.plan.projection)
            tick(done, "")

    def project(self, name: str) -> Any:
        """Return the student of a design without training."""
        return self.start(load_design(design_path(self.folder, name)))

    def train(self, name: str, stage: Stage, settings: DistillSettings, *, resume: bool) -> None:
        """Train one design with one seed, and measure it after each stage."""
        design = load_design(design_path(self.folder, name))
        key = self.key(name, settings)
        err.print(f"distilling {name}, seed {settings.seed}" + ("" if stage == "both" else f", {stage} alone"))
        place = f"{name}-{stage}-seed{settings.seed}"
        checkpoints = Checkpoints(self.folder / "checkpoints" / place, key=key, every=self.plan.save_every)
        if not resume:
            checkpoints.clear()
        stage_1 = self.stage_1(name, settings)
        layers = stage_1.load_own()

        def after_layers(student: Any, states: Sequence[TrainingState]) -> None:
            if not layers:
                stage_1.save(list(states))
            if stage == "both":
                seconds = sum(state.seconds for state in states)
                self.record(name, "layers", settings.seed, student, settings=key, seconds=seconds)

        stored = self.plan.teacher_states == "store" and not layers
        trained = distill(
            self.bench.teacher, self.project(name), self.bench.task, settings=settings, checkpoints=checkpoints,
            after_layers=after_layers, layers=layers, targets=self.targets if settings.logit_epochs else None,
            teacher_states=StateFolder(self.folder, self.bench, self.plan.settings).open() if stored else None,
            progress=stage_bars(self.add_bar),
        )  # fmt: skip
        write_curve(self.folder / "training" / f"{place}.csv", (*trained.layers, *trained.logits))
        self.record(
            name, stage, settings.seed, trained.student, settings=key, dev_value=_kept_accuracy(trained),
            seconds=trained.seconds,
        )  # fmt: skip
        with self.lock:
            if stage == "both" and self.is_best(name, settings.seed):
                target = self.folder / "students" / name
                if target.exists():
                    shutil.rmtree(target)
                save_student(trained.student, design, target)
        shutil.rmtree(checkpoints.folder, ignore_errors=True)

    def is_done(self, name: str, stage: Stage, settings: DistillSettings) -> bool:
        """Return whether the outcome of a training is known."""
        key = self.key(name, settings)
        return any(r.what == (name, stage, settings.seed) and r.settings == key for r in self.records)

    def key(self, name: str, settings: DistillSettings) -> str:
        """Return what tells a training from others."""
        return training_key(
            settings, design=dump_design(load_design(design_path(self.folder, name))),
            teacher=self.bench.teacher.folder.name, projection=self.plan.projection, data=self.bench.task.sha256,
            teacher_states=self.plan.teacher_states,
        )  # fmt: skip

    def stage_1(self, name: str, settings: DistillSettings) -> Checkpoints:
        """Return where the run keeps what stage 1 came to: a training that differs in stage 2 alone begins there."""
        place = self.folder / "stage-1" / f"{name}-seed{settings.seed}"
        return Checkpoints(place, key=self.key(name, layers_only(settings)))

    @property
    def targets(self) -> Sequence[Tensor]:
        """The teacher's logits of the training rows, asked once."""
        if self.known_targets is None:
            from heat_sim.distill.batches import encode

            settings = self.plan.settings
            rows = encode(self.bench.teacher.tokenizer, self.bench.task, split="train",
                          max_length=settings.max_length, max_rows=settings.max_rows)  # fmt: skip
            self.known_targets = teacher_logits(
                self.bench.teacher.model, rows, batch_size=settings.batch_size, precision=settings.precision,
                progress=stage_bars(self.add_bar),
            )  # fmt: skip
        return self.known_targets

    def is_best(self, name: str, seed: int) -> bool:
        """Return whether a seed is the best of a design on the dev rows; without dev rows, whether it is the first."""
        found = {r.seed: r.dev_value for r in read_measured(self.folder) if r.design == name and r.stage == "both"}
        watched = {each: value for each, value in found.items() if value is not None}
        return seed == (max(watched, key=lambda each: watched[each]) if watched else min(self.plan.seeds))

    def record(self, name: str, stage: Stage, seed: int | None, model: Any, **more: Any) -> None:
        """Measure a model on the test rows, and write what is known."""
        settings = self.plan.settings
        scores = measure_scores(
            model, self.bench.task, self.bench.teacher.tokenizer, max_length=settings.max_length,
            batch_size=settings.batch_size, precision=settings.precision,
        )  # fmt: skip
        new = Measured(
            design=name, stage=stage, seed=seed, metric=scores.metric, value=scores.value,
            per_row=tuple(map(float, scores.per_row)), **more,
        )  # fmt: skip
        with self.lock:  # another process may have measured something else meanwhile
            write_measured(self.folder, [*read_measured(self.folder), new])
            self.records = read_measured(self.folder)
            self.rows = [with_metrics(row, self.records) for row in self.rows]
            write_front(self.folder, tuple(self.rows[: self.front]))


def with_metrics(row: FrontRow, records: Sequence[Measured]) -> FrontRow:
    """Return a row of the front with the metrics that were measured: means over seeds."""

    def mean(*stages: Stage) -> float | None:
        for stage in stages:
            found = [r.value for r in records if r.design == row.design and r.stage == stage]
            if found:
                return float(np.mean(found))
        return None

    return replace(
        row, projected_accuracy=mean("projected", "dense"), distilled_accuracy=mean("both", "logits", "layers")
    )


def _kept_accuracy(trained: DistillResult) -> float | None:
    """Return the accuracy on the dev rows of the weights that were kept, if they were watched."""
    states = trained.logits or trained.layers
    found = [accuracy for step, _, accuracy in states[-1].checks if step == states[-1].best_step] if states else []
    return found[0] if found and np.isfinite(found[0]) else None
