"""`heat-sim codesign`: search designs that trade EDP against estimated loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, model_folder, prepare_bench
from heat_sim.cli.console import bars, err
from heat_sim.cli.inputs import check_before_training, read_architecture
from heat_sim.cli.options import (
    ALL_FORMATS,
    ArchOrPreset,
    Constraints,
    Data,
    Designs,
    ErtFile,
    Estimate,
    Formats,
    Fuse,
    Generations,
    Model,
    Objectives,
    Out,
    PerSlot,
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
    per: PerSlot = "shape",
    fuse: Fuse = False,
    population: Population = 32,
    generations: Generations = 12,
    designs: Designs = 8,
    estimate: Estimate = "fisher",
    seeding: Seeding = True,
    objectives: Objectives = "edp,loss",
    constraints: Constraints = None,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Weights and moments, as kept beside a cached teacher: then no torch is needed."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a run that was stopped or killed; all other options are its own.")
    ] = None,
    out: Out = None,
) -> None:
    """Search format, tensorization shape and ranks of the weight matrices with NSGA-II.

    Objectives: EDP of the encoder (every contraction order, every step under its best mapping) and the
    estimated loss of accuracy (`--estimate`, see docs/decompositions.md). Writes a run folder with the
    front as table and plot, one file per chosen design, and a manifest; every costed point is kept, so that
    `--resume` goes on after Ctrl-C or a kill and ends in the same front.

    Example: heat-sim codesign --model minilm-l6 --arch simba_l --tokens 128
    """
    # Imported here: numpy, pymoo and matplotlib take seconds that the other commands do not need.
    from heat_sim.cli.plan import SearchPlan, recorded_plan
    from heat_sim.cli.search import search
    from heat_sim.distill.calibration import load_calibration
    from heat_sim.networks import load_network
    from heat_sim.report.run_folder import new_run_folder

    if resume is not None:
        plan, folder = recorded_plan(resume), resume
        read_architecture(Path(plan.arch), None if plan.ert is None else Path(plan.ert))
    else:
        machine = check_before_training(arch, ert, formats=formats, out=out)
        plan = SearchPlan(
            model=model, data=data, teacher_epochs=teacher_epochs,
            calibration=None if calibration is None else str(calibration), arch=str(arch),
            ert=None if ert is None else str(ert), tokens=tokens, formats=formats, per=per, estimate=estimate,
            seeding=seeding, objectives=objectives, constraints=constraints or [], fuse=fuse,
            population=population, generations=generations, designs=designs, seed=seed,
        )  # fmt: skip
    with bars() as add_bar:
        if plan.calibration is None:
            bench = prepare_bench(plan.model, plan.data, epochs=plan.teacher_epochs, seed=plan.seed, add_bar=add_bar)
            name, model_at, known = bench.model, bench.teacher.folder, bench.calibration
        else:
            name, model_at = model_folder(plan.model)
            known = load_calibration(Path(plan.calibration))
        network = load_network(model_at, tokens=plan.tokens, name=name)
        if resume is None:
            folder = new_run_folder(out, name=f"{name}-{machine}-s{tokens}-seed{seed}")
        result = search(known, network, plan=plan, folder=folder, add_bar=add_bar)
    print_run(folder)
    if result.interrupted:
        err.print(f"heat-sim: interrupted; go on with: heat-sim codesign --resume {folder}", style="red", markup=False)
        raise typer.Exit(130)
