"""`heat-sim table` and `heat-sim plot`: the front of a run, again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from heat_sim.cli.console import out
from heat_sim.cli.options import RunFolder
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
    target: Annotated[Path, typer.Option("--out", help="A .png or .pdf file.")] = Path("front.png"),
) -> None:
    """Draw the front of a run.

    Example: heat-sim plot results/minilm-l6-simba_l-s128-seed0 --out front.pdf
    """
    from heat_sim.report.plots import plot_front  # matplotlib takes a second to import

    plot_front(read_front(run), target)
    out.print(f"plot written to {target}", markup=False)


def print_run(folder: Path) -> None:
    """Print the front of a run and where its files are."""
    sys.stdout.write(f"{to_markdown(read_front(folder), FRONT_COLUMNS)}\nwritten to {folder}:\n")
    for name in (*RESULT_FILES, "designs", "students"):
        if (folder / name).exists():
            sys.stdout.write(f"  {folder / name}\n")
