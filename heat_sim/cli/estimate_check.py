"""`heat-sim estimate-check`: how well every estimate of the loss orders random designs by their measured accuracy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, prepare_bench
from heat_sim.cli.console import bars, write_json
from heat_sim.cli.inputs import searched_formats
from heat_sim.cli.options import ALL_FORMATS, Data, Formats, JsonFile, Model, Seed, TeacherEpochs


def estimate_check_command(
    model: Model = EMBEDDED_MODEL,
    data: Data = EMBEDDED_DATA,
    formats: Formats = ALL_FORMATS,
    designs: Annotated[int, typer.Option(min=3, help="Random designs to measure; with 8 a forest is fitted.")] = 48,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the check, continued if it is there; below results/ if left out.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Measure random designs, as projected and without training, and print how well every estimate orders them.

    Spearman's rho is between an estimate and the measured loss of accuracy on the test split: 1 is the same order. Its
    95 % interval is a bootstrap over the designs. Writes estimates.csv, estimates.md, scatter.png and samples.json, the
    last after every design: the same call again continues where the first one stopped.

    Example: heat-sim estimate-check --designs 48
    """
    # Imported here: numpy and the rest take seconds that the other commands do not need.
    import numpy as np

    from heat_sim.cli.estimate_results import RESULT_FILES, as_json, results_text, write_results
    from heat_sim.cli.estimate_samples import SAMPLES_FILE, read_check, write_check
    from heat_sim.codesign.random_designs import random_genomes
    from heat_sim.codesign.space import design_space
    from heat_sim.networks import load_network
    from heat_sim.tensorize.projection_cache import RECIPE

    names = searched_formats(formats)
    arguments: dict[str, object] = {
        "model": model, "data": data, "formats": ",".join(names), "designs": designs, "seed": seed,
        "teacher_epochs": teacher_epochs, "projection_recipe": RECIPE,
    }  # fmt: skip
    name, pretrained = model_folder(model)
    network = load_network(pretrained, name=name)
    space = design_space(network, formats=names)
    drawn = [space.decode(genome) for genome in random_genomes(space, count=designs, rng=np.random.default_rng(seed))]
    folder = out or Path("results") / f"estimate-check-{name}-seed{seed}"
    known = read_check(folder, arguments=arguments)
    with bars() as add_bar:
        bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
        from heat_sim.cli.estimate_measure import measure_designs

        check = measure_designs(
            bench, space, drawn, arguments=arguments, known=known, save=lambda now: write_check(folder, now),
            add_bar=add_bar,
        )  # fmt: skip
    rows = write_results(folder, check, rng=np.random.default_rng(seed))
    if json is not None:
        write_json(as_json(check, rows), json)
    if json != "-":
        sys.stdout.write(f"{results_text(check, rows)}\nwritten to {folder}:\n")
        for file in (*RESULT_FILES, SAMPLES_FILE):
            sys.stdout.write(f"  {folder / file}\n")
