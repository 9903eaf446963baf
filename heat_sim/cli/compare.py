"""`heat-sim compare`: what the searches of several runs are worth, at equal estimated loss."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from heat_sim.cli.console import write_json
from heat_sim.cli.options import JsonFile
from heat_sim.codesign.comparison import DEFAULT_LOSSES, compare
from heat_sim.errors import SpecError, describe
from heat_sim.report.comparison_table import comparison_table
from heat_sim.report.run_folder import read_searched
from heat_sim.report.tables import to_csv, to_latex, to_markdown


def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that codesign or run wrote.")],
    losses: Annotated[
        str, typer.Option(help="Estimated losses at which the EDP gains are compared, with commas.")
    ] = ",".join(map(str, DEFAULT_LOSSES)),
    form: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
    json: JsonFile = None,
) -> None:
    """Print the best EDP gain of each run at each estimated loss, and the hypervolume, from all points it costed.

    Runs that differ in one option say what that option is worth: --no-seeding, --no-fuse, --formats low-rank,
    --per shape, --population and so on. Losses of different estimates cannot be compared and are refused.

    Example: heat-sim compare results/with results/without --losses 0.1,0.2,0.3
    """
    writers = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv}
    if form not in writers:
        raise SpecError(describe("--format", "unknown", got=form, expected=", ".join(writers), remedy="Choose one."))
    bounds = loss_bounds(losses)
    rows = compare([read_searched(run) for run in runs], losses=bounds)
    if json is not None:
        write_json([row.as_json(bounds) for row in rows], json)
    if json != "-":
        sys.stdout.write(comparison_table(rows, losses=bounds, write=writers[form]))


def loss_bounds(text: str) -> tuple[float, ...]:
    """Return numbers with commas.

    Raises:
        SpecError: They are none.

    >>> loss_bounds("0.1,0.2")
    (0.1, 0.2)
    """
    try:
        bounds = tuple(float(part) for part in text.split(","))
    except ValueError:
        bounds = ()
    if not bounds or not all(0 <= bound < float("inf") for bound in bounds):
        raise SpecError(
            describe("--losses", "not numbers", got=text, expected="numbers of at least 0 with commas",
                     remedy="Write them like 0.1,0.2.")
        )  # fmt: skip
    return bounds
