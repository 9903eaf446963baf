"""Running timeloop-model where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from heat_sim.errors import HeatError, MissingDependencyError, describe
from heat_sim.timeloop.stats import parse_stats

STATS_FILE = "timeloop-model.stats.txt"

# pytimeloop has no command of its own that is installed: these lines stand for one.
_PYTIMELOOP = f"""\
import pathlib, sys
from pytimeloop.app import ModelApp
*files, _, out = sys.argv[1:]
app = ModelApp("\\n".join(pathlib.Path(file).read_text(encoding="utf-8") for file in files))
pathlib.Path(out, "{STATS_FILE}").write_text(app.run().pretty_print_stats(), encoding="utf-8")
"""


def run_timeloop(files: Sequence[Path], *, link_transfers: bool = True, limit_s: float = 600.0) -> dict[str, Any]:
    """Return what an installed Timeloop says of these input files, in the schema of `parse_stats`.

    A case that Timeloop refuses gives ``{"valid": False, "error": [its messages]}``.

    Args:
        files: What stands on the command line: architecture, problem, mapping, energy table (v0.3).
        link_transfers: Whether neighbours may hand words to each other.
        limit_s: Seconds after which the run is stopped.

    Raises:
        MissingDependencyError: Neither timeloop-model nor pytimeloop is installed.
        HeatError: It took too long, or ended without a result and without saying why.
    """
    with tempfile.TemporaryDirectory(prefix="heat-sim-timeloop-") as folder:
        command = [*_command(), *(str(file.resolve()) for file in files), "-o", folder]
        try:
            done = subprocess.run(  # noqa: S603 - the command is the user's own Timeloop, without a shell
                command, cwd=folder, env=_environment(link_transfers), capture_output=True, text=True,
                errors="replace", timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HeatError(
                describe("timeloop-model", "took too long", got=f"no result after {limit_s:g} s",
                         expected="a result", remedy="Give a longer limit.")
            ) from None  # fmt: skip
        stats = Path(folder) / STATS_FILE
        if done.returncode == 0 and stats.is_file():
            return parse_stats(stats.read_text(encoding="utf-8", errors="replace"))
        said = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
        if errors := [line for line in said if line.startswith("ERROR")]:
            return {"valid": False, "error": errors}
        raise HeatError(
            describe("timeloop-model", "ended without a result",
                     got=f"exit code {done.returncode}: {' | '.join(said[-3:]) or 'no output'}",
                     expected=STATS_FILE, remedy=f"Try by hand: {' '.join(command)}")
        )  # fmt: skip


def _command() -> list[str]:
    if found := shutil.which("timeloop-model"):
        return [found]
    if find_spec("pytimeloop") is not None:
        return [sys.executable, "-c", _PYTIMELOOP]
    raise MissingDependencyError(
        describe("comparing with Timeloop", "Timeloop is not installed",
                 got="no timeloop-model on PATH and no Python package pytimeloop", expected="one of them",
                 remedy="Build github.com/NVlabs/timeloop (scons) or use the Docker image of "
                 "github.com/Accelergy-Project/accelergy-timeloop-infrastructure and put timeloop-model on PATH; or "
                 "run it elsewhere on an exported folder and compare its stats text.")
    )  # fmt: skip


def _environment(link_transfers: bool) -> dict[str, str]:
    chosen = {"TIMELOOP_HIDE_INCONSEQUENTIAL_STATS": "0"}
    if not link_transfers:
        chosen["TIMELOOP_DISABLE_LINK_TRANSFERS"] = "1"
    kept = {name: value for name, value in os.environ.items() if name != "TIMELOOP_DISABLE_LINK_TRANSFERS"}
    return kept | chosen
