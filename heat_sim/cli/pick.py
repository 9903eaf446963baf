"""Which designs of a run `heat-sim distill` trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heat_sim.codesign.chosen import DENSE
from heat_sim.codesign.front import FrontRow
from heat_sim.errors import SpecError, describe
from heat_sim.report.run_folder import read_baselines, read_front

_KEPT = 0.9
"""Share of the dense metric above chance that a design must keep as projected to be worth training."""


def choose(wanted: str, rows: Sequence[FrontRow], *, chance: float) -> list[str]:
    """Return the designs that are asked for.

    `best:N` are the N largest EDP gains that as projected keep nine tenths of the way from chance to the dense metric;
    if these are fewer, those that keep most come next.

    Args:
        wanted: `best:N`, `all`, or ids with commas.
        rows: Of the run, with projected metrics.
        chance: The metric of guessing, 0 to 1.
    """
    designs = [row for row in rows if row.design != DENSE]
    if wanted == "all":
        return [row.design for row in designs]
    if not wanted.startswith("best:"):
        return [name.strip() for name in wanted.split(",")]
    dense = next(row.projected_accuracy for row in rows if row.design == DENSE) or 1.0
    kept = {row.design: row.projected_accuracy or 0.0 for row in designs if "-" not in row.design}
    if not any(kept.values()):
        return []
    bound = chance + _KEPT * (dense - chance)
    good = [row for row in designs if kept.get(row.design, 0.0) >= bound]
    rest = [row for row in designs if row.design in kept and row not in good]
    ordered = [
        *sorted(good, key=lambda row: -row.edp_gain), *sorted(rest, key=lambda row: -kept[row.design])
    ]  # fmt: skip
    return [row.design for row in ordered[: int(wanted.removeprefix("best:"))]]


def check_designs(folder: Path, wanted: str) -> None:
    """Refuse what `choose` cannot find in a run.

    Args:
        folder: Of the run.
        wanted: `best:N`, `all`, or ids with commas.

    Raises:
        SpecError: The folder holds no run, or the run has no such design.
    """
    names = [row.design for row in (*read_front(folder), *read_baselines(folder)) if row.design != DENSE]
    head, _, count = wanted.partition(":")
    if wanted == "all" or (head == "best" and count.isdigit() and int(count) > 0):
        return
    if unknown := [name.strip() for name in wanted.split(",") if name.strip() not in names]:
        raise SpecError(
            describe("--designs", "not in the run", got=", ".join(unknown) or repr(wanted),
                     expected=f"best:N, all, or some of {', '.join(names)}", remedy="Choose of its designs.")
        )  # fmt: skip
