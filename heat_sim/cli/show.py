"""`heat-sim table` and `heat-sim plot`: the front of a run, again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from heat_sim.cli.console import out
from heat_sim.cli.options import RunFolder
from heat_sim.report.front_table import FRONT_COLUMNS
from heat_sim.report.run_folder import RESULT_FILES, read_front
from heat_sim.report.tables import format_cell, to_csv, to_latex, to_markdown


def table_command(
    run: RunFolder,
    form: Annotated[
        Literal["screen", "markdown", "latex", "csv"], typer.Option("--format", help="For a screen, or for a paper.")
    ] = "screen",
) -> None:
    """Print the front of a run as a table.

    Example: heat-sim table results/minilm-l6-simba_l-s128-seed0 --format latex
    """
    rows = read_front(run)
    if form == "screen":
        _print_table(run)
    else:
        text = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}[form](rows, FRONT_COLUMNS)
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
    _print_table(folder)
    out.print(f"\nwritten to {folder}:", markup=False)
    for name in (*RESULT_FILES, "designs"):
        if (folder / name).exists():
            out.print(f"  {folder / name}", markup=False)


def _print_table(folder: Path) -> None:
    table = Table(box=None, pad_edge=False, title=None)
    for column in FRONT_COLUMNS:
        table.add_column(column.heading, justify="left" if column.field == "design" else "right")
    for row in read_front(folder):
        table.add_row(*(format_cell(row, column) for column in FRONT_COLUMNS))
    out.print(table)
