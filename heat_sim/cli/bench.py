"""What the distilling commands work on: a pretrained model, labelled data, a fine-tuned teacher.

torch and transformers are imported here only, and late, so that the other commands start without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heat_sim.cli.console import Tick

if TYPE_CHECKING:
    from heat_sim.distill.calibration import Calibration
    from heat_sim.distill.progress import Progress, ProgressEvent
    from heat_sim.distill.tasks import Task
    from heat_sim.distill.teacher import Teacher

EMBEDDED_MODEL = "minilm-l6"
EMBEDDED_DATA = "movie-snippets"

AddBar = Callable[[str, int], Tick]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The dense model on its task.

    Attributes:
        model: Name of the network, for tables and file names.
        task: Rows, labels, splits, of any kind.
        teacher: The fine-tuned dense model.
        calibration: Its weights and the second moments of their inputs.
    """

    model: str
    task: Task
    teacher: Teacher
    calibration: Calibration


def model_folder(model: str) -> tuple[str, Path]:
    """Return name and folder of a model given as a folder or as the embedded one's name; needs no torch."""
    if model == EMBEDDED_MODEL:
        from heat_sim.distill.sources import MINILM, fetch

        return EMBEDDED_MODEL, fetch(MINILM)
    return Path(model).resolve().name, Path(model)


def prepare_bench(model: str, data: str, *, epochs: int, seed: int, add_bar: AddBar) -> Bench:
    """Return model, task, teacher and calibration, fetching and fine-tuning what is not cached.

    Args:
        model: Folder, or the embedded one's name.
        data: File, folder, hub data set, or the embedded one's name, see `load_task`.
        epochs: Of fine-tuning.
        seed: Of fine-tuning.
        add_bar: Adds a progress bar.
    """
    from heat_sim.distill.requirements import require_torch

    require_torch()
    from heat_sim.distill.calibrate import prepare_calibration
    from heat_sim.distill.settings import FineTuneSettings
    from heat_sim.distill.tasks import load_task
    from heat_sim.distill.teacher import prepare_teacher

    progress = stage_bars(add_bar)
    name, folder = model_folder(model)
    task = load_task(data)
    teacher = prepare_teacher(folder, task, settings=FineTuneSettings(epochs=epochs, seed=seed), progress=progress)
    return Bench(
        model=name,
        task=task,
        teacher=teacher,
        calibration=prepare_calibration(teacher, task, progress=progress),
    )


def bench_of_run(run: Path, *, add_bar: AddBar) -> Bench:
    """Return what a run was about, as its manifest says.

    Args:
        run: Its folder.
        add_bar: Adds a progress bar.

    Raises:
        SpecError: The folder holds no run.
    """
    from heat_sim.report.run_folder import read_manifest

    recorded = read_manifest(run)
    arguments = recorded["arguments"]
    return prepare_bench(
        str(arguments["model"]), str(arguments["data"]), epochs=int(str(arguments["teacher_epochs"])),
        seed=recorded["seed"], add_bar=add_bar,
    )  # fmt: skip


def stage_bars(add_bar: AddBar) -> Progress:
    """Return a callback that draws one bar per stage."""
    ticks: dict[str, Tick] = {}

    def show(event: ProgressEvent) -> None:
        if event.stage not in ticks:
            ticks[event.stage] = add_bar(event.stage, event.steps)
        ticks[event.stage](event.step, "" if event.loss is None else f"loss {event.loss:.3f}")

    return show
