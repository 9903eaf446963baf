"""`heat-sim finetune`: the dense model fine-tuned on a task, and its metric."""

from __future__ import annotations

from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, stage_bars
from heat_sim.cli.console import bars, out
from heat_sim.cli.options import Model, Seed

Source = Annotated[
    str,
    typer.Option(
        "--data",
        help="movie-snippets (fetched once), a file (csv, tsv, jsonl, parquet, SQuAD json), a folder with train, dev "
        "and test files or with images, or hf:NAME/CONFIG; docs/tasks.md has the forms.",
    ),
]


def finetune_command(
    model: Model = EMBEDDED_MODEL,
    data: Source = EMBEDDED_DATA,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 2,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak of the schedule.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per step.")] = 32,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=8, help="Tokens a row is cut to. Default: 64 of a text, 128 of a pair or of words, 384 of a question."
        ),
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="Training rows used, the first so many; else all.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Fine-tune a pretrained model on labelled data, measure it on held-out rows, and keep it in the cache.

    The data decides the head: classes of a text, of a pair of texts, of an image, of every word, or the span that
    answers a question. A second call with the same model, data and settings takes the model from the cache; so do
    **run** and **codesign** with the same epochs and seed and the other settings left as they are.

    Example: heat-sim finetune --model minilm-l6 --data reviews.csv --epochs 3
    """
    from heat_sim.distill.requirements import require_torch

    require_torch()
    from heat_sim.distill.settings import FineTuneSettings
    from heat_sim.distill.tasks import load_task
    from heat_sim.distill.teacher import prepare_teacher

    settings = FineTuneSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
        max_rows=max_rows,
        seed=seed,
    )
    name, folder = model_folder(model)
    task = load_task(data)
    with bars() as add_bar:
        teacher = prepare_teacher(folder, task, settings=settings, progress=stage_bars(add_bar))
    sizes = f"{len(task.train)} train, {len(task.dev)} dev, {len(task.test)} test"
    out.print(f"{name} on {task.name} ({task.kind}; rows: {sizes})", markup=False)
    out.print(f"{teacher.metric}: dev {teacher.dev_accuracy:.4f}, test {teacher.test_accuracy:.4f}")
    for metric, value in teacher.further.items():
        out.print(f"{metric}: test {value:.4f}")
    out.print(f"folder: {teacher.folder}", markup=False)
