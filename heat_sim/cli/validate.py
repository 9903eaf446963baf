"""`heat-sim validate`: what was measured of a run, as a table with confidence intervals and as figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from heat_sim.cli.console import err
from heat_sim.cli.options import RunFolder


def validate_command(
    run: RunFolder,
    form: Annotated[
        Literal["markdown", "latex", "csv"], typer.Option("--format", help="For reading, or for a paper.")
    ] = "markdown",
    again: Annotated[
        bool, typer.Option("--again", help="Measure every kept student anew, and compare with what distill measured.")
    ] = False,
    per_seed: Annotated[
        bool, typer.Option("--per-seed", help="Print every training by itself, not their means.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of tables and figures; the run's own if left out.")
    ] = None,
) -> None:
    """Print the measured accuracy of the designs of a run, and draw it beside the estimate.

    Per design: as projected, after stage 1, after both (means over seeds, with their standard deviation), and the
    change against the dense model on the same test rows with its 95 % confidence interval; with --per-seed the same
    of every single training. Writes accuracy.* and seeds.* (.md, .tex, .csv), accuracy.png and .pdf (EDP gain against
    measured accuracy) and estimate.png and .pdf (estimated against measured loss).

    Example: heat-sim validate results/minilm-l6-simba_l-s128-seed0
    """
    from heat_sim.errors import SpecError, describe
    from heat_sim.report.accuracy_table import ACCURACY_COLUMNS, accuracy_rows
    from heat_sim.report.figures.accuracy import accuracy_figure, estimate_figure
    from heat_sim.report.figures.style import save_figure
    from heat_sim.report.files import write_text
    from heat_sim.report.measured import read_measured
    from heat_sim.report.run_folder import read_baselines, read_front
    from heat_sim.report.seed_table import SEED_COLUMNS, seed_rows
    from heat_sim.report.tables import to_csv, to_latex, to_markdown

    front, records = (*read_front(run), *read_baselines(run)), read_measured(run)
    if not records:
        raise SpecError(
            describe(str(run), "nothing measured", got="no measured.jsonl", expected="a run that was distilled",
                     remedy=f"heat-sim distill {run}")
        )  # fmt: skip
    if again:
        _measure_again(run)
    rows, seeds = accuracy_rows(front, records), seed_rows(front, records)
    folder = run if out is None else out
    writers = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}
    for ending, name in (("md", "markdown"), ("tex", "latex"), ("csv", "csv")):
        write_text(folder / f"accuracy.{ending}", writers[name](rows, ACCURACY_COLUMNS))
        write_text(folder / f"seeds.{ending}", writers[name](seeds, SEED_COLUMNS))
    for name, figure in (("accuracy", accuracy_figure(rows)), ("estimate", estimate_figure(rows))):
        for ending in ("png", "pdf"):
            save_figure(figure, folder / f"{name}.{ending}")
    sys.stdout.write(writers[form](seeds, SEED_COLUMNS) if per_seed else writers[form](rows, ACCURACY_COLUMNS))
    written = "accuracy.md, .tex, .csv, .png, .pdf; seeds.md, .tex, .csv; estimate.png, .pdf"
    err.print(f"written to {folder}: {written}", markup=False)


def _measure_again(run: Path) -> None:
    """Measure the kept students anew; HeatError if one is not what distill measured."""
    from heat_sim.cli.bench import bench_of_run
    from heat_sim.cli.console import bars
    from heat_sim.cli.distill_plan import read_plan
    from heat_sim.distill.convert import load_student
    from heat_sim.distill.measure import measure_scores
    from heat_sim.errors import HeatError, describe
    from heat_sim.report.measured import read_measured

    plan = read_plan(run)
    found = {}
    with bars() as add_bar:
        bench = bench_of_run(run, add_bar=add_bar)
        folders = sorted((run / "students").glob("*"))
        tick = add_bar("measure students", len(folders))
        for done, folder in enumerate(folders, start=1):
            student, design = load_student(folder)
            found[design.id] = measure_scores(
                student, bench.task, bench.teacher.tokenizer, max_length=plan.settings.max_length,
                batch_size=plan.settings.batch_size, precision=plan.settings.precision,
            ).value  # fmt: skip
            tick(done, design.id)
    values = {(each.design, each.value) for each in read_measured(run) if each.stage == "both"}
    for name, value in found.items():
        of_design = sorted(each for design, each in values if design == name)
        if value not in of_design:
            raise HeatError(
                describe(f"{run}/students/{name}", "not the student that was measured", got=f"{value:.4f}",
                         expected=" or ".join(f"{each:.4f}" for each in of_design) or "a measurement",
                         remedy=f"heat-sim distill {run} --designs {name}")
            )  # fmt: skip
    err.print(f"{len(found)} students measured again: all as before", markup=False)
