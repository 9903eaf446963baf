"""`heat-sim estimate-check`: how well every estimate of the loss orders random designs by their measured accuracy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, prepare_bench
from heat_sim.cli.console import bars, write_json
from heat_sim.cli.inputs import searched_formats
from heat_sim.cli.options import (
    ALL_FORMATS,
    Data,
    Formats,
    JsonFile,
    LayerEpochs,
    LogitEpochs,
    Model,
    Seed,
    TeacherEpochs,
)
from heat_sim.cli.supernet import SuperNetEpochs, SuperNetRows


def estimate_check_command(
    model: Model = EMBEDDED_MODEL,
    data: Data = EMBEDDED_DATA,
    formats: Formats = ALL_FORMATS,
    designs: Annotated[int, typer.Option(min=3, help="Random designs to measure; with 8 a forest is fitted.")] = 48,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    supernet: Annotated[
        bool,
        typer.Option(
            "--supernet/--no-supernet",
            help="Train a rank SuperNet on all options (once, cached) and check it as one more estimate.",
        ),
    ] = False,
    supernet_epochs: SuperNetEpochs = 2,
    supernet_rows: SuperNetRows = None,
    distilled: Annotated[
        int, typer.Option(min=0, help="Designs, the first so many, that are distilled and measured again.")
    ] = 0,
    layer_epochs: LayerEpochs = 1,
    logit_epochs: LogitEpochs = 1,
    distilled_rows: Annotated[
        int | None, typer.Option(min=1, help="Training rows of each distillation; all if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the check, continued if it is there; below results/ if left out.")
    ] = None,
    json: JsonFile = None,
) -> None:
    """Measure random designs, as projected and without training, and print how well every estimate orders them.

    Spearman's rho is between an estimate and the measured loss of accuracy on the test split: 1 is the same order. Its
    95 % interval is a bootstrap over the designs. Writes estimates.csv, estimates.md, scatter.png and samples.json, the
    last after every design: the same call again continues where the first one stopped.

    --supernet and --distilled add to a check, also to a finished one: the estimate of a SuperNet with its gain over the
    others, and a second table against the accuracy of the first designs after distillation (distilled.csv and .png).

    Example: heat-sim estimate-check --designs 48 --supernet --distilled 12
    """
    # Imported here: numpy and the rest take seconds that the other commands do not need.
    import numpy as np

    from heat_sim.cli.estimate_results import DISTILLED_FILES, RESULT_FILES, as_json, results_text, write_results
    from heat_sim.cli.estimate_samples import SAMPLES_FILE, Check, read_check, write_check
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

        def save(now: Check) -> None:
            write_check(folder, now)

        check = measure_designs(
            bench, space, drawn, arguments=arguments, known=known, save=save, add_bar=add_bar
        )  # fmt: skip
        if supernet:
            from heat_sim.cli.estimate_supernet import with_supernet
            from heat_sim.distill.supernet_settings import SuperNetSettings

            told = SuperNetSettings(epochs=supernet_epochs, max_rows=supernet_rows, seed=seed)
            check = with_supernet(check, bench, space, settings=told, save=save, add_bar=add_bar)
        if distilled:
            from heat_sim.cli.estimate_distilled import with_distilled
            from heat_sim.distill.settings import DistillSettings

            way = DistillSettings(
                layerwise_epochs=layer_epochs, logit_epochs=logit_epochs, max_rows=distilled_rows, seed=seed
            )
            check = with_distilled(check, bench, space, count=distilled, settings=way, save=save, add_bar=add_bar)
    results = write_results(folder, check, rng=np.random.default_rng(seed))
    if json is not None:
        write_json(as_json(check, results), json)
    if json != "-":
        sys.stdout.write(f"{results_text(check, results)}\nwritten to {folder}:\n")
        for file in (*RESULT_FILES, *(DISTILLED_FILES if results.distilled_rows else ()), SAMPLES_FILE):
            sys.stdout.write(f"  {folder / file}\n")
