"""`heat-sim distill`: measured accuracy of the designs of a run."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from heat_sim.cli.bench import bench_of_run
from heat_sim.cli.console import bars, out
from heat_sim.cli.options import LayerEpochs, LogitEpochs, Projection, RunFolder


def distill_command(
    run: RunFolder,
    designs: Annotated[
        str,
        typer.Option(
            help="best:N, the N of largest EDP gain that are good as projected; all; or ids with commas, baselines "
            "among them."
        ),
    ] = "best:1",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every design, with seeds from --seed on.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed of the training. Default: the run's.")] = None,
    stages: Annotated[
        Literal["both", "layers", "logits", "all"],
        typer.Option(help="Both stages, the first or the second alone, or all for comparison: both, and logits alone."),
    ] = "both",
    projection: Projection = "sequential",
    layer_epochs: LayerEpochs = 1,
    layer_rate: Annotated[float, typer.Option(help="Peak learning rate of layer-wise distillation.")] = 5e-4,
    layer_mode: Annotated[
        Literal["model", "blocks"],
        typer.Option(help="Layer-wise on the whole student, or one layer at a time on the teacher's activations."),
    ] = "model",
    logit_epochs: LogitEpochs = 1,
    logit_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of logit distillation. Default: 2e-5 after stage 1, 2.5e-4 without it."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Softens the logits of teacher and student.")] = 2.0,
    soft_weight: Annotated[
        float, typer.Option(help="Share of the teacher's logits in the loss; the labels have the rest.")
    ] = 0.5,
    schedule: Annotated[Literal["linear", "cosine", "constant"], typer.Option(help="How the rates fall.")] = "linear",
    warm_up: Annotated[float, typer.Option(help="Share of the steps in which they rise.")] = 0.1,
    core_rates: Annotated[
        Literal["equal", "fan-in"], typer.Option(help="Rates of the cores: all alike, or by their fan-in.")
    ] = "equal",
    core_scales: Annotated[
        Literal["projected", "fan-in"],
        typer.Option(
            help="How the size of a matrix is shared among its cores at the start; their product is the same."
        ),
    ] = "projected",
    dropout: Annotated[
        Literal["both", "layers", "logits", "none"], typer.Option(help="Stages in which the student drops out.")
    ] = "both",
    train_embeddings: Annotated[
        bool, typer.Option("--train-embeddings/--keep-embeddings", help="Whether the embeddings are trained too.")
    ] = False,
    validation_rows: Annotated[
        int, typer.Option(min=0, help="Dev rows that watch the training; its best weights are kept. 0: the last.")
    ] = 1000,
    validate_every: Annotated[int, typer.Option(min=0, help="Steps between two looks; 0: after each epoch.")] = 0,
    patience: Annotated[int | None, typer.Option(min=1, help="Looks without a new best that end a stage.")] = None,
    execution: Annotated[
        Literal["cascade", "fastest"],
        typer.Option(
            help="Train factorised layers as the design runs them, or as rebuilt matrices where that is less work."
        ),
    ] = "cascade",
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per step.")] = 32,
    max_length: Annotated[
        int | None, typer.Option(min=4, help="Tokens a row is cut to. Default: what is usual for the kind of task.")
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Training rows, the first so many.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Number format of the matrix products.")
    ] = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Trainings at a time, each with its share of the cores; another share may round otherwise."
        ),
    ] = 1,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 200,
    teacher_states: Annotated[
        Literal["auto", "ask", "store"],
        typer.Option(
            help="Stage 1 compares with the dense model's hidden states and attention maps: ask it at every step, or "
            "store them in RUN once (float16, while distill runs). auto: store up to 8 GB, if half of the disk stays."
        ),
    ] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last distill of this run; all other options are its own.")
    ] = False,
) -> None:
    """Measure the designs of a run on held-out data: as projected, and some of them after distillation.

    The factorised layers execute the contraction order the simulator chose. Distillation has two stages:
    layer-wise (hidden states and attention maps of the dense model), then logits. Every measurement is kept in
    RUN/measured.jsonl, the course of every training in RUN/training, the best student of a design in
    RUN/students/<design>; the run's tables and plot are written anew. heat-sim validate sums up.

    Example: heat-sim distill results/minilm-l6-simba_l-s128-seed0 --designs best:3 --seeds 3
    """
    # The run is read first: a wrong folder is refused before torch is loaded.
    from heat_sim.report.run_folder import read_manifest

    recorded = read_manifest(run)
    from heat_sim.distill.requirements import require_torch

    require_torch()
    from heat_sim.cli.distill_plan import DistillPlan, read_plan
    from heat_sim.cli.measure import measure
    from heat_sim.cli.pick import check_designs
    from heat_sim.cli.show import print_run
    from heat_sim.distill.settings import DistillSettings

    if resume:
        plan = read_plan(run)
    else:
        first = int(recorded["seed"]) if seed is None else seed
        settings = DistillSettings(
            layerwise_epochs=layer_epochs, layerwise_learning_rate=layer_rate, layerwise_mode=layer_mode,
            logit_epochs=logit_epochs, logit_learning_rate=logit_rate, temperature=temperature,
            soft_weight=soft_weight, schedule=schedule, warm_up=warm_up, rates=core_rates, scales=core_scales,
            dropout=dropout, train_embeddings=train_embeddings, validation_rows=validation_rows,
            validate_every=validate_every, patience=patience, execution=execution, batch_size=batch_size,
            max_length=max_length, max_rows=max_rows, precision=precision, seed=first,
        )  # fmt: skip
        plan = DistillPlan(
            designs=designs, seeds=tuple(range(first, first + seeds)), stages=stages, projection=projection,
            settings=settings, save_every=save_every, teacher_states=teacher_states,
        )  # fmt: skip
    check_designs(run, plan.designs)  # before the minutes of fine-tuning
    with bars() as add_bar:
        bench = bench_of_run(run, add_bar=add_bar)
        measure(run, bench, plan=plan, add_bar=add_bar, resume=resume, jobs=jobs)
    print_run(run)
    out.print(f"\nwith confidence intervals: heat-sim validate {run}", markup=False)
