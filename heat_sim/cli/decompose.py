"""`heat-sim decompose`: what every format makes of a pretrained encoder, and what knowing the activations gains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, prepare_bench
from heat_sim.cli.console import bars, write_json
from heat_sim.cli.format_plan import COMPRESSING, PROJECTIONS, parse_plan
from heat_sim.cli.options import Data, JsonFile, Model, Seed, TeacherEpochs


def decompose_command(
    model: Model = EMBEDDED_MODEL,
    data: Data = EMBEDDED_DATA,
    formats: Annotated[str, typer.Option(help="Formats to measure, with commas.")] = ",".join(COMPRESSING),
    compressions: Annotated[
        str, typer.Option(help="Parameters of the encoder's matrices are divided by these, with commas.")
    ] = "2,3,5",
    projections: Annotated[
        str,
        typer.Option(
            help="With commas: frobenius knows the weights alone; activation the second moments of the inputs; fisher "
            "those of the outputs' gradients as well; sequential projects in forward order and corrects for what was "
            "lost before."
        ),
    ] = ",".join(PROJECTIONS),
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the table, new or of a call that was stopped; below results/ if left out."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Compress an encoder in every format by every projection, and measure errors and accuracy without training.

    At each compression all projections of a format have the same factorizations: of the sizes that fit, those with
    the least Frobenius error, so that the choice favours Frobenius projection. Each cell is written as soon as it is
    measured; the same call again continues after the last one.

    Example: heat-sim decompose --model minilm-l6 --compressions 2,3,5
    """
    # Imported here: what the other commands do not need.
    from heat_sim.cli.format_cells import load_record
    from heat_sim.cli.format_table import as_json, as_markdown, exact_csv
    from heat_sim.report.files import write_text
    from heat_sim.tensorize.projection_cache import RECIPE

    plan = parse_plan(formats=formats, compressions=compressions, projections=projections)
    folder = out or Path("results") / f"decompose-{model_folder(model)[0]}-seed{seed}"
    arguments = {
        "model": model, "data": data, "formats": list(plan.formats), "compressions": list(plan.compressions),
        "projections": list(plan.projections), "seed": seed, "teacher_epochs": teacher_epochs,
        "projection_recipe": RECIPE,
    }  # fmt: skip
    load_record(folder, arguments=arguments)  # refuses a folder of other arguments before the minutes of training
    with bars() as add_bar:
        bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
        from heat_sim.cli.format_run import measure_cells

        record = measure_cells(folder, bench, plan, arguments=arguments, add_bar=add_bar)
    text = as_markdown(record, plan)
    write_text(folder / "table.md", text)
    write_text(folder / "table.csv", exact_csv(record, plan))
    if json is not None:
        write_json(as_json(record, plan), json)
    if json != "-":
        sys.stdout.write(f"{text}\nwritten to {folder}: cells.json, table.md, table.csv\n")
