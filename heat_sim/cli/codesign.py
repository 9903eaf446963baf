"""`heat-sim codesign`: search designs that trade EDP against estimated loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, prepare_bench
from heat_sim.cli.console import bars
from heat_sim.cli.inputs import check_before_training
from heat_sim.cli.options import (
    ALL_FORMATS,
    ArchOrPreset,
    Data,
    Designs,
    ErtFile,
    Estimate,
    Formats,
    Generations,
    Model,
    Out,
    Population,
    Seed,
    Seeding,
    TeacherEpochs,
    Tokens,
)
from heat_sim.cli.show import print_run


def codesign_command(
    model: Model = EMBEDDED_MODEL,
    arch: ArchOrPreset = Path("simba_l"),
    ert: ErtFile = None,
    data: Data = EMBEDDED_DATA,
    tokens: Tokens = 128,
    formats: Formats = ALL_FORMATS,
    population: Population = 32,
    generations: Generations = 12,
    designs: Designs = 8,
    estimate: Estimate = "activation",
    seeding: Seeding = True,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Weights and second moments, as kept beside a cached teacher: then no torch is needed."),
    ] = None,
    out: Out = None,
) -> None:
    """Search format, tensorization shape and ranks of every class of weight matrices with NSGA-II.

    Objectives: EDP of the encoder (every contraction order, every step under its best mapping) and the
    activation-weighted error of the projected matrices on calibration text. Writes a run folder with the
    front as table and plot, one file per chosen design, and a manifest.

    Example: heat-sim codesign --model minilm-l6 --arch simba_l --tokens 128
    """
    # Imported here: numpy, pymoo and matplotlib take seconds that the other commands do not need.
    from heat_sim.cli.search import search
    from heat_sim.codesign.search import SearchSettings
    from heat_sim.distill.calibration import load_calibration
    from heat_sim.networks import load_network

    check_before_training(arch, ert, formats=formats, out=out)
    with bars() as add_bar:
        if calibration is None:
            bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
            name, folder, known = bench.model, bench.teacher.folder, bench.calibration
        else:
            name, folder = model_folder(model)
            known = load_calibration(calibration)
        network = load_network(folder, tokens=tokens, name=name)
        folder = search(
            known, network, arch=arch, ert=ert, formats=formats, designs=designs, out=out, add_bar=add_bar,
            estimate=estimate, seeding=seeding,
            settings=SearchSettings(population=population, generations=generations, seed=seed),
            arguments={"model": model, "data": data, "teacher_epochs": teacher_epochs},
        )  # fmt: skip
    print_run(folder)
