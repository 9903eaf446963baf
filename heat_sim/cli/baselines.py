"""`heat-sim baselines`: what one would choose by hand, beside a design that was searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.bench import AddBar
from heat_sim.cli.console import bars, err
from heat_sim.cli.options import RunFolder
from heat_sim.codesign.front import FrontRow

_FORMATS = "low-rank,cp,tucker,tt-matrix"


def baselines_command(
    run: RunFolder,
    designs: Annotated[str, typer.Option(help="Ids of designs, with commas: each gets baselines of its size.")],
    formats: Annotated[str, typer.Option(help="Formats, with commas: one baseline each.")] = _FORMATS,
) -> None:
    """Add to a run, for designs of it, the designs of the same number of parameters that one would choose by hand.

    One format and one rank for the whole encoder, the tensorization with the fewest and most even modes; the same
    machine, mapper and estimate. Parameters are counted in the cores; where a product of cores is stored instead, the
    table says how much that is. Kept as RUN/designs/<design>-<format>.yaml and in RUN/baselines.csv; heat-sim distill
    takes them like any design.

    Example: heat-sim baselines results/minilm-l6-simba_l-s128-seed0 --designs d03
    """
    from heat_sim.cli.console import out
    from heat_sim.report.front_table import FRONT_COLUMNS
    from heat_sim.report.run_folder import read_front
    from heat_sim.report.tables import to_markdown

    read_front(run)  # a wrong folder is refused first
    with bars() as add_bar:
        rows = _add(run, tuple(name.strip() for name in designs.split(",")), formats, add_bar=add_bar)
    out.print(to_markdown(rows, FRONT_COLUMNS), markup=False, soft_wrap=True)
    err.print(f"train them with: heat-sim distill {run} --designs {','.join(row.design for row in rows)}", markup=False)


def _add(run: Path, names: tuple[str, ...], formats: str, *, add_bar: AddBar) -> tuple[FrontRow, ...]:
    from dataclasses import replace

    from heat_sim.cli.inputs import searched_formats
    from heat_sim.cli.open_loss import open_loss
    from heat_sim.cli.plan import recorded_plan
    from heat_sim.cli.search import open_machines
    from heat_sim.cli.subject import prepare_subject
    from heat_sim.codesign.chosen import DENSE, chosen_designs, front_rows
    from heat_sim.codesign.space import dense_genome, design_space
    from heat_sim.codesign.uniform_size import uniform_design
    from heat_sim.errors import SpecError, describe
    from heat_sim.report.run_folder import read_baselines, read_front, write_baselines, write_designs

    front = {row.design: row for row in read_front(run)}
    if unknown := [name for name in names if name not in front or name == DENSE]:
        raise SpecError(
            describe("--designs", "not in the run", got=", ".join(unknown),
                     expected=f"some of {', '.join(each for each in front if each != DENSE)}",
                     remedy="Choose of its designs.")
        )  # fmt: skip
    forms = [form for form in searched_formats(formats) if form != "dense"]
    plan = recorded_plan(run)
    subject = prepare_subject(plan, add_bar=add_bar)
    network = subject.network
    loss = open_loss(subject, estimate=plan.estimate).estimate
    machines = open_machines(subject, plan, loss=loss)
    space = design_space(network, formats=("dense",), per="shape", joint="apart")
    evaluator = machines.at(machines.base_choice)
    dense = evaluator.cost(space.per_matrix(dense_genome(space)))
    tick = add_bar("cost baselines", len(names) * len(forms))
    rows, files = [], []
    for name in names:
        for form in forms:
            found = uniform_design(network, form, parameters=float(front[name].parameters))
            cost = evaluator.cost(found.factorizations)
            label = f"{name}-{form}"
            _, row = front_rows(dense, [cost], network=network)
            (design,) = chosen_designs([cost], network=network)
            rows.append(replace(row, design=label))
            files.append(replace(design, id=label))
            tick(len(rows), label)
    kept = {row.design: row for row in (*read_baselines(run), *rows)}
    write_designs(run, files)
    write_baselines(run, tuple(kept.values()))
    return tuple(rows)
