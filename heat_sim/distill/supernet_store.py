"""Trained SuperNets on disk, by the content of all that makes them: trained once, then read."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from heat_sim.cache_folder import cache_folder, content_key, published
from heat_sim.distill.calibration import Calibration
from heat_sim.distill.checkpoint import Checkpoints
from heat_sim.distill.precision import resolve_precision
from heat_sim.distill.pretrained import one_message
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.supernet import build_supernet, options_of, with_cores
from heat_sim.distill.supernet_options import Options
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_train import train_supernet
from heat_sim.distill.tasks import Task
from heat_sim.distill.teacher import Teacher
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.projection_cache import RECIPE as PROJECTION_RECIPE

_WEIGHTS, _RECORD = "supernet.safetensors", "supernet.json"

_RECIPE = 1
"""Raised when this code trains another SuperNet from the same settings, so that no old one is taken from the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SuperNet:
    """A trained SuperNet from the cache.

    Attributes:
        student: The model, in evaluation mode, see `build_supernet`.
        folder: Where it is cached; its name holds the hash of all that made it.
        losses: Of every training step.
        seconds: That projection and training took when it was made.
    """

    student: Any
    folder: Path
    losses: tuple[float, ...]
    seconds: float


def prepare_supernet(
    teacher: Teacher,
    task: Task,
    options: Options,
    *,
    calibration: Calibration,
    settings: SuperNetSettings | None = None,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> SuperNet:
    """Return the SuperNet of a teacher, from the cache or by projection and training (minutes).

    The projection is aware of the inputs and, where the calibration has gradient moments, of the loss. The cache key
    covers the teacher, the rows and their split, the options, the settings, the precision in force, the calibration's
    size and the versions of torch and transformers. The folder appears only when it is complete; training that was
    stopped goes on from its last checkpoint, bit for bit.

    Args:
        teacher: The fine-tuned dense model.
        task: Its task.
        options: Of every encoder matrix, see `supernet_options`.
        calibration: Of the teacher.
        settings: How to train; the defaults if left out.
        cache: The cache folder; `cache_folder()` if left out.
        progress: Told about the stages `project` and `train SuperNet`.

    Raises:
        HeatError: The options do not fit the model, training diverged, or the cached folder is damaged.

    >>> prepare_supernet(teacher, task, options, calibration=calibration).student  # doctest: +SKIP
    """
    settings = settings or SuperNetSettings()
    folder = supernet_folder(teacher, task, options, calibration=calibration, settings=settings, cache=cache)
    if not folder.is_dir():
        started = time.monotonic()
        start = projected_supernet(teacher, options, calibration=calibration, progress=progress)
        kept = Checkpoints(folder.parent / f".{folder.name}-checkpoint", key=folder.name)
        result = train_supernet(teacher, start, task, settings=settings, kept=kept, progress=progress)
        made: dict[str, object] = {
            "settings": asdict(settings), "teacher": teacher.folder.name, "losses": result.losses,
            "seconds": time.monotonic() - started,
        }  # fmt: skip
        with published(folder) as draft:
            save_supernet(result.student, draft, record=made)
        kept.clear()
    return load_supernet(teacher.model, folder)


def supernet_folder(
    teacher: Teacher,
    task: Task,
    options: Options,
    *,
    calibration: Calibration,
    settings: SuperNetSettings,
    cache: Path | None = None,
) -> Path:
    """Return where `prepare_supernet` keeps, or will keep, the SuperNet of these arguments.

    Args:
        teacher: The fine-tuned dense model.
        task: Its task.
        options: Of every encoder matrix.
        calibration: Of the teacher.
        settings: How to train.
        cache: The cache folder; `cache_folder()` if left out.

    >>> supernet_folder(teacher, task, options, calibration=calibration, settings=settings).name  # doctest: +SKIP
    'movie-snippets-0123456789abcdef'
    """
    plain = {name: [each.to_json() for each in some] for name, some in options.items()}
    key = content_key(
        {
            "recipe": [_RECIPE, PROJECTION_RECIPE],
            "teacher": teacher.folder.name,
            "task": task.sha256,
            "options": plain,
            "calibration": [calibration.tokens, bool(calibration.gradient_moments)],
            "settings": asdict(settings) | {"precision": resolve_precision(settings.precision)},
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
    )
    return (cache or cache_folder()) / "supernets" / f"{task.name}-{key}"


def projected_supernet(
    teacher: Teacher, options: Options, *, calibration: Calibration, progress: Progress = ignore_progress
) -> Any:
    """Return the SuperNet that training starts from, aware of the loss where the calibration knows its gradients.

    Args:
        teacher: The fine-tuned dense model.
        options: Of every encoder matrix.
        calibration: Of the teacher.
        progress: Told about the stage `project`.

    >>> projected_supernet(teacher, options, calibration=calibration)  # doctest: +SKIP
    """
    return build_supernet(
        teacher.model,
        options,
        second_moments=calibration.second_moments,
        gradient_moments=calibration.gradient_moments or None,
        progress=progress,
    ).eval()


def save_supernet(student: Any, folder: Path, *, record: Mapping[str, object]) -> None:
    """Write `supernet.safetensors` and `supernet.json` into a folder that is there.

    Args:
        student: A SuperNet.
        folder: To write into.
        record: What else the JSON file keeps.

    >>> save_supernet(student, folder, record={})  # doctest: +SKIP
    """
    save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, folder / _WEIGHTS)
    options = {name: [each.to_json() for each in some] for name, some in options_of(student).items()}
    (folder / _RECORD).write_text(json.dumps({**record, "options": options}, indent=1), encoding="utf-8")


def load_supernet(model: Any, folder: Path) -> SuperNet:
    """Return the SuperNet, in evaluation mode, as `prepare_supernet` left it in a folder.

    Args:
        model: The dense model it was made of.
        folder: That it was written to.

    Raises:
        HeatError: The folder holds no SuperNet, or that of another model.

    >>> load_supernet(teacher.model, folder).student  # doctest: +SKIP
    """
    with one_message(folder, "its SuperNet"):
        options, losses, seconds = _read(folder / _RECORD)
        student = with_cores(model, options, _zeros(options))
        student.load_state_dict(load_file(folder / _WEIGHTS))
    return SuperNet(student=student.eval(), folder=folder, losses=losses, seconds=seconds)


def _read(path: Path) -> tuple[dict[str, tuple[Factorization, ...]], tuple[float, ...], float]:
    """Return options, losses and seconds; ValueError if the file is not what it should be."""
    record = json.loads(path.read_text(encoding="utf-8"))
    try:
        options = {
            name: tuple(Factorization.from_json(each, where=f"{path}, {name}") for each in some)
            for name, some in record["options"].items()
        }
        return options, tuple(map(float, record["losses"])), float(record["seconds"])
    except (TypeError, AttributeError) as problem:
        raise ValueError(f"{path.name}: {problem}") from None


def _zeros(options: Options) -> dict[tuple[str, int], tuple[NDArray[np.floating], ...]]:
    return {
        (name, place): tuple(np.zeros(shape, dtype=np.float32) for shape in each.core_shapes)
        for name, some in options.items()
        for place, each in enumerate(some)
    }
