"""`heat-sim codesign`: search designs that trade EDP against estimated loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL
from heat_sim.cli.console import bars, err
from heat_sim.cli.inputs import check_before_training, read_architecture
from heat_sim.cli.options import (
    ALL_FORMATS,
    ArchOrPreset,
    Constraints,
    ContractionOrder,
    Cores,
    Dask,
    Data,
    Designs,
    ErtFile,
    EstimateOrDefault,
    Formats,
    Fuse,
    Generations,
    Hardware,
    Jobs,
    Joint,
    Model,
    Objectives,
    Out,
    PerSlot,
    Population,
    Seed,
    Seeding,
    StrategyName,
    TeacherEpochs,
    Tokens,
)
from heat_sim.cli.show import print_run
from heat_sim.cli.supernet import SuperNetEpochs, SuperNetRows


def codesign_command(
    model: Model = EMBEDDED_MODEL,
    arch: ArchOrPreset = Path("simba_l"),
    ert: ErtFile = None,
    data: Data = EMBEDDED_DATA,
    tokens: Tokens = 128,
    formats: Formats = ALL_FORMATS,
    per: PerSlot = "matrix",
    joint: Joint = "search",
    hardware: Hardware = None,
    fuse: Fuse = False,
    population: Population = 200,
    generations: Generations = 100,
    designs: Designs = 8,
    estimate: EstimateOrDefault = None,
    supernet_epochs: SuperNetEpochs = 2,
    supernet_rows: SuperNetRows = None,
    cores: Cores = "activation",
    order: ContractionOrder = "edp",
    strategy: StrategyName = "nsga2",
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
    jobs: Jobs = None,
    dask: Dask = None,
    out: Out = None,
) -> None:
    """Search format, tensorization shape and ranks of the weight matrices with NSGA-II.

    Objectives: EDP of the encoder (every contraction order, every step under its best mapping) and the
    estimated loss of accuracy (`--estimate`, see docs/decompositions.md; with `supernet` a network that runs at any
    ranks is trained first, once, see docs/supernet.md). Of a model that is known by its configuration
    alone (bert-base and others by name, a config.json, a hub id) stand-ins with the spectra of trained matrices are
    searched, see docs/codesign.md. Writes a run folder with the front as table and plot, one file per chosen design,
    and a manifest; every costed point is kept, so that `--resume` goes on after Ctrl-C or a kill and ends in the same
    front.

    Example: heat-sim codesign --model minilm-l6 --arch simba_l --tokens 128
    """
    # Imported here: numpy, pymoo and matplotlib take seconds that the other commands do not need.
    from heat_sim.cli.plan import SearchPlan, recorded_plan
    from heat_sim.cli.search import search
    from heat_sim.cli.subject import has_weights, prepare_subject
    from heat_sim.codesign.workers import workers_of
    from heat_sim.report.run_folder import new_run_folder

    if resume is not None:
        plan, folder = recorded_plan(resume), resume
        read_architecture(Path(plan.arch), None if plan.ert is None else Path(plan.ert))
    else:
        machine = check_before_training(arch, ert, formats=formats, out=out)
        plan = SearchPlan(
            model=model, data=data, teacher_epochs=teacher_epochs,
            calibration=None if calibration is None else str(calibration), arch=str(arch),
            ert=None if ert is None else str(ert), tokens=tokens, formats=formats, per=per, joint=joint,
            estimate=estimate or ("fisher" if calibration is not None or has_weights(model) else "weight"),
            cores=cores, order=order, strategy=strategy, seeding=seeding, objectives=objectives,
            constraints=constraints or [], hardware=None if hardware is None else str(hardware), fuse=fuse,
            population=population, generations=generations, designs=designs, seed=seed,
            supernet_epochs=supernet_epochs, supernet_rows=supernet_rows,
        )  # fmt: skip
    workers = workers_of(jobs=jobs, dask=dask)
    with bars() as add_bar:
        subject = prepare_subject(plan, add_bar=add_bar)
        if resume is None:
            folder = new_run_folder(out, name=f"{subject.network.name}-{machine}-s{tokens}-seed{seed}")
        result = search(subject, plan=plan, folder=folder, add_bar=add_bar, workers=workers)
    print_run(folder)
    if result.interrupted:
        err.print(f"heat-sim: interrupted; go on with: heat-sim codesign --resume {folder}", style="red", markup=False)
        raise typer.Exit(130)
