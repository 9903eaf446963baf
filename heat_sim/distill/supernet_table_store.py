"""Tables of trained SuperNets on disk: measured once, then read."""

from __future__ import annotations

import json
from pathlib import Path

from heat_sim.cache_folder import cache_folder, content_key, published
from heat_sim.distill.batches import encode, sorted_batches
from heat_sim.distill.calibration import Calibration
from heat_sim.distill.pretrained import one_message
from heat_sim.distill.progress import Progress, ignore_progress
from heat_sim.distill.supernet_estimate import SuperNetEstimate
from heat_sim.distill.supernet_options import Options
from heat_sim.distill.supernet_settings import SuperNetSettings
from heat_sim.distill.supernet_store import prepare_supernet, supernet_folder
from heat_sim.distill.supernet_table import Curve, SuperNetTable, supernet_table
from heat_sim.distill.tasks import Task
from heat_sim.distill.teacher import Teacher
from heat_sim.tensorize.tensorization import Tensorization

TABLE_ROWS = 256
"""Rows of the dev split, the first so many, that a table is measured on: it takes hundreds of runs over them."""

_TABLE = "table.json"

_RECIPE = 1
"""Raised when this code makes another table from the same SuperNet, so that no old one is taken from the cache."""


def prepare_supernet_table(
    teacher: Teacher,
    task: Task,
    options: Options,
    *,
    calibration: Calibration,
    settings: SuperNetSettings | None = None,
    steps: int = 6,
    rows: int = TABLE_ROWS,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> SuperNetTable:
    """Return the table of divergences on dev rows from the cache; train the SuperNet and measure what is not there.

    Args:
        teacher: The fine-tuned dense model.
        task: Its task.
        options: Of every encoder matrix, the dense one first: all others are so while one is measured.
        calibration: Of the teacher.
        settings: How to train; the defaults if left out.
        steps: As `supernet_table` takes it.
        rows: Of the dev split, the first so many.
        cache: The cache folder; `cache_folder()` if left out.
        progress: Told about the stages of `prepare_supernet` and of `supernet_table`.

    Raises:
        HeatError: Training diverged, or what is in the cache cannot be read.

    >>> prepare_supernet_table(teacher, task, options, calibration=calibration).most  # doctest: +SKIP
    1.84
    """
    settings = settings or SuperNetSettings()
    supernet = supernet_folder(teacher, task, options, calibration=calibration, settings=settings, cache=cache)
    key = content_key({"recipe": _RECIPE, "steps": steps, "rows": rows})
    folder = (cache or cache_folder()) / "supernet-tables" / f"{supernet.name}-{key}"
    if not folder.is_dir():
        student = prepare_supernet(
            teacher, task, options, calibration=calibration, settings=settings, cache=cache, progress=progress
        ).student
        held_out = encode(teacher.tokenizer, task, split="dev", max_length=settings.max_length, max_rows=rows)
        batches = sorted_batches(held_out, batch_size=settings.batch_size)
        estimate = SuperNetEstimate(student, batches, teacher=teacher.model)
        made = supernet_table(estimate, options, steps=steps, progress=progress)
        with published(folder) as draft:
            (draft / _TABLE).write_text(json.dumps(table_json(made), indent=1), encoding="utf-8")
    with one_message(folder, "its SuperNet table"):
        return _read(folder / _TABLE, options)


def table_json(table: SuperNetTable) -> dict[str, list[dict[str, object]]]:
    """Return the curves of every matrix as plain JSON values.

    >>> table_json(SuperNetTable(curves={"query": {}}))
    {'query': []}
    """
    return {
        name: [
            {"format": form, "modes": str(modes), "parameters": list(sizes), "divergence": list(lost)}
            for (form, modes), (sizes, lost) in curves.items()
        ]
        for name, curves in table.curves.items()
    }


def _read(path: Path, options: Options) -> SuperNetTable:
    """Return the table of these options; ValueError if the file is not what it should be."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    curves: dict[str, dict[tuple[str, Tensorization], Curve]] = {}
    try:
        for name, some in options.items():
            factorized = [each for each in some if each.ranks]
            curves[name] = {}
            for each, row in zip(factorized, stored[name], strict=True):
                if (row["format"], row["modes"]) != (each.format, str(each.tensorization)):
                    raise ValueError(f"{path.name}, {name}: {row['format']} {row['modes']} is not {each}")
                sizes, lost = tuple(map(int, row["parameters"])), tuple(map(float, row["divergence"]))
                if len(sizes) != len(lost) or not sizes:
                    raise ValueError(f"{path.name}, {name}: {len(sizes)} sizes and {len(lost)} divergences")
                curves[name][each.format, each.tensorization] = sizes, lost
    except (TypeError, AttributeError, KeyError) as problem:
        raise ValueError(f"{path.name}: {problem}") from None
    return SuperNetTable(curves=curves)
