"""The commands put together, and what happens to errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from heat_sim import __version__
from heat_sim.cli.ablate import ablate_command
from heat_sim.cli.baselines import baselines_command
from heat_sim.cli.codesign import codesign_command
from heat_sim.cli.compare import compare_command
from heat_sim.cli.console import err
from heat_sim.cli.decompose import decompose_command
from heat_sim.cli.distill import distill_command
from heat_sim.cli.estimate_check import estimate_check_command
from heat_sim.cli.evaluate import evaluate_command
from heat_sim.cli.export import export_command
from heat_sim.cli.finetune import finetune_command
from heat_sim.cli.hardware import hardware_command
from heat_sim.cli.map import map_command
from heat_sim.cli.reproduce import reproduce_app
from heat_sim.cli.run import run_command
from heat_sim.cli.score import score_command
from heat_sim.cli.show import plot_command, table_command
from heat_sim.cli.supernet import supernet_command
from heat_sim.cli.timeloop import timeloop_app
from heat_sim.cli.validate import validate_command
from heat_sim.errors import HeatError

app = typer.Typer(
    name="heat-sim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Given an accelerator and a pretrained Transformer, find the tensor decompositions of its weight matrices
    with the best energy-delay product (EDP) at a stated accuracy.

    Architectures, problems, mappings and energy tables are Timeloop and Accelergy files. **run** does the whole job
    with embedded defaults; **codesign** and **distill** are its two halves; **evaluate** and **map** cost one einsum
    or a cascade, **score** a whole network; **timeloop** works with an installed Timeloop.

    Exit codes: 0 done, 2 the input is at fault (one message says what and how to mend it), 130 interrupted.""",
)

for name, command in (
    ("run", run_command),
    ("evaluate", evaluate_command),
    ("map", map_command),
    ("score", score_command),
    ("hardware", hardware_command),
    ("codesign", codesign_command),
    ("finetune", finetune_command),
    ("baselines", baselines_command),
    ("distill", distill_command),
    ("validate", validate_command),
    ("export", export_command),
    ("estimate-check", estimate_check_command),
    ("supernet", supernet_command),
    ("decompose", decompose_command),
    ("compare", compare_command),
    ("ablate", ablate_command),
    ("table", table_command),
    ("plot", plot_command),
):
    app.command(name)(command)
app.add_typer(timeloop_app, name="timeloop")
app.add_typer(reproduce_app, name="reproduce")


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"heat-sim {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line; errors of the input end with one message and exit code 2."""
    try:
        app()
    except HeatError as error:
        err.print(f"heat-sim: {error}", style="red", markup=False)
        sys.exit(2)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        err.print(f"heat-sim: {named}{error.strerror or error}", style="red", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("heat-sim: interrupted; what was written stays", style="red")
        sys.exit(130)
