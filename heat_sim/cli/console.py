"""What the commands print with: results on standard output, progress and refusals on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from heat_sim.report.files import write_text

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Tick = Callable[[int, str], None]
"""Called with the steps finished and a short text beside the bar."""


def write_json(data: Any, target: str) -> None:
    """Write the data to a file, or to standard output if the target is ``-``."""
    text = json.dumps(data, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(target), text)


@contextmanager
def bars() -> Iterator[Callable[[str, int], Tick]]:
    """Yield a function that adds a progress bar (text, total) and returns what moves it.

    Without a terminal the bars are replaced by one line when each begins.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        disable=not err.is_terminal,
    )

    def add(text: str, total: int) -> Tick:
        if progress.disable:
            err.print(text)
        task = progress.add_task(text, total=total, note="")

        def tick(done: int, note: str) -> None:
            progress.update(task, completed=done, note=note)

        return tick

    with progress:
        yield add
