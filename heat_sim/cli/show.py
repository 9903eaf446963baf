"""`heat-sim table` and `heat-sim plot`: the front of a run, again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from heat_sim.cli.console import out
from heat_sim.cli.options import RunFolder
from heat_sim.cli.plot_figures import FIGURES, chosen_figures, read_subject, targets
from heat_sim.report.front_table import FRONT_COLUMNS
from heat_sim.report.run_folder import RESULT_FILES, read_front
from heat_sim.report.tables import to_csv, to_latex, to_markdown


def table_command(
    run: RunFolder,
    form: Annotated[
        Literal["markdown", "latex", "csv"], typer.Option("--format", help="For reading, or for a paper.")
    ] = "markdown",
) -> None:
    """Print the front of a run as a table.

    Example: heat-sim table results/minilm-l6-simba_l-s128-seed0 --format latex
    """
    text = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}[form](read_front(run), FRONT_COLUMNS)
    sys.stdout.write(text)


def plot_command(
    run: RunFolder,
    others: Annotated[
        list[Path] | None, typer.Argument(metavar="[OTHER_RUN]...", help="Runs to draw beside it, as baselines.")
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option(
            help="front, points, hypervolume, formats, breakdown, training, with commas. If left out, all whose data "
            "are in the folder; breakdown, which costs the designs anew, only by name."
        ),
    ] = None,
    target: Annotated[
        Path,
        typer.Option(
            "--out",
            help="A .png or .pdf file for the front, the other figures beside it; or a folder, for all as both.",
        ),
    ] = Path("front.png"),
) -> None:
    """Draw the front of a run, and the other figures of its search.

    front: EDP gain against estimated loss and measured accuracy. points: every costed design, with the fronts of other
    runs. hypervolume: of all runs, after each batch of designs. formats: format, rank and share of the parameters kept
    of every matrix. breakdown: energy and cycles by storage level and part of the network.
    training: loss and accuracy over the steps of every distillation.

    Example: heat-sim plot results/minilm-l6-simba_l-s128-seed0 --out front.pdf
    """
    from heat_sim.report.figures.style import check_picture, save_figure  # matplotlib takes a second to import

    subject = read_subject(run, others or ())
    names, left_out = chosen_figures(figures, subject)
    files = {name: targets(target, name) for name in names}
    for each in files.values():
        check_picture(each[0])
    drawn = {name: FIGURES[name](subject) for name in names}  # all of them before the first is written
    for name, figure in drawn.items():
        for file in files[name]:
            save_figure(figure, file)
            out.print(f"plot written to {file}", markup=False, soft_wrap=True)
    for line in left_out:
        out.print(line, markup=False, soft_wrap=True)


def print_run(folder: Path) -> None:
    """Print the front of a run and where its files are."""
    sys.stdout.write(f"{to_markdown(read_front(folder), FRONT_COLUMNS)}\nwritten to {folder}:\n")
    for name in (*RESULT_FILES, "designs", "students"):
        if (folder / name).exists():
            sys.stdout.write(f"  {folder / name}\n")
