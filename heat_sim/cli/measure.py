"""The distilling half of the main job: measured accuracies for the designs of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from heat_sim.cli.bench import AddBar, Bench, stage_bars
from heat_sim.cli.console import err
from heat_sim.cli.options import ProjectionName
from heat_sim.cli.start import Start
from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.convert import save_student
from heat_sim.distill.measure import measure_accuracy
from heat_sim.distill.settings import DistillSettings
from heat_sim.distill.train import distill
from heat_sim.errors import SpecError, describe
from heat_sim.report.run_folder import design_path, read_front, write_front
from heat_sim.tensorize.design import load_design

_KEPT = 0.9
"""Share of the dense accuracy above chance that a design must keep as projected to be worth training."""


def measure(
    folder: Path,
    bench: Bench,
    *,
    designs: Sequence[str] | None,
    projection: ProjectionName,
    layer_epochs: int,
    logit_epochs: int,
    seed: int,
    add_bar: AddBar,
) -> None:
    """Add measured accuracies to the rows of a run; written after each one, so that a stop loses one at the most.

    Args:
        folder: Of the run.
        bench: Model, task and calibration of the run.
        designs: Those to distil; None for the one that `pick` finds.
        projection: How a student is made from the weights, see `Start`.
        layer_epochs: Of layer-wise distillation.
        logit_epochs: Of logit distillation.
        seed: Of the distillation.
        add_bar: Adds a progress bar.
    """
    rows = {row.design: row for row in read_front(folder)}
    unknown = sorted(set(designs or ()) - (rows.keys() - {DENSE}))
    if unknown:
        raise SpecError(
            describe("--design", "not in the run", got=", ".join(unknown),
                     expected=", ".join(name for name in rows if name != DENSE), remedy="Choose one of its designs.")
        )  # fmt: skip
    settings = DistillSettings(layerwise_epochs=layer_epochs, logit_epochs=logit_epochs, seed=seed)
    texts = encode(bench.teacher.tokenizer, bench.task, split="test", max_length=settings.max_length)
    batches = sorted_batches(texts, batch_size=settings.batch_size)
    progress = stage_bars(add_bar)

    def update(name: str, **accuracy: float) -> None:
        rows[name] = replace(rows[name], **accuracy)  # type: ignore[arg-type]  # the keys are fields of the row
        write_front(folder, tuple(rows.values()))

    start = Start(bench=bench, projection=projection)

    def project(name: str) -> object:
        return start(load_design(design_path(folder, name)))

    tick = add_bar("measure projected", len(rows))
    update(DENSE, projected_accuracy=measure_accuracy(bench.teacher.model, batches, precision=settings.precision))
    for done, name in enumerate(rows, start=1):
        if name != DENSE and rows[name].projected_accuracy is None:
            update(name, projected_accuracy=measure_accuracy(project(name), batches, precision=settings.precision))
        tick(done, "")
    for name in designs or pick(tuple(rows.values()), chance=1 / len(bench.task.class_names)):
        err.print(f"distilling {name}")
        trained = distill(bench.teacher, project(name), bench.task, settings=settings, progress=progress)
        update(name, distilled_accuracy=measure_accuracy(trained.student, batches, precision=settings.precision))
        target = folder / "students" / name
        if target.exists():  # of an earlier call; the model kept is the one whose accuracy the row gives
            shutil.rmtree(target)
        save_student(trained.student, load_design(design_path(folder, name)), target)


def pick(rows: Sequence[FrontRow], *, chance: float) -> list[str]:
    """Return the design worth distilling first, as a list of one: the largest EDP gain that as projected keeps nine
    tenths of the way from chance to the dense accuracy, else the largest of all; none if nothing was measured.

    Args:
        rows: With projected accuracies.
        chance: Accuracy of guessing, 0 to 1.
    """
    dense = next(row.projected_accuracy for row in rows if row.design == DENSE)
    measured = {row.design: row.projected_accuracy for row in rows if row.projected_accuracy is not None}
    designs = [row for row in rows if row.design != DENSE and row.design in measured]
    if dense is None or not designs:
        return []
    good = [row for row in designs if measured[row.design] >= chance + _KEPT * (dense - chance)]
    return [max(good or designs, key=lambda row: row.edp_gain).design]
