"""The folder of a run: front as tables and plot, one file per design, manifest."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from heat_sim.codesign.chosen import DENSE, design_id
from heat_sim.codesign.comparison import Searched
from heat_sim.codesign.front import FrontRow
from heat_sim.codesign.points import read_points
from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text
from heat_sim.report.front_table import FRONT_COLUMNS
from heat_sim.report.tables import to_latex, to_markdown
from heat_sim.specs import ArchitectureSpec
from heat_sim.specs.architecture_writer import dump_architecture, dump_ert
from heat_sim.tensorize.design import Design, dump_design

RESULT_FILES = ("front.csv", "front.md", "front.tex", "front.png", "front.pdf", "manifest.json")


POINTS = "points.jsonl"
"""Every point that the search costed."""

BASELINES = "baselines.csv"
"""Designs that were not searched, beside the front."""


def new_run_folder(target: Path | None, *, name: str) -> Path:
    """Return a new, empty folder: the given one, or results/<name> with the first free number behind it.

    Raises:
        SpecError: The given folder holds something already.
    """
    if target is not None:
        check_is_new(target)
        target.mkdir(parents=True, exist_ok=True)
        return target
    for number in itertools.count(1):
        folder = Path("results") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def check_is_new(target: Path | None) -> None:
    """Raise SpecError if a folder is given that holds something already."""
    if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SpecError(
            describe("--out", "the folder is not empty", got=target, expected="a new or empty folder",
                     remedy="Choose another one; results are never overwritten.")
        )  # fmt: skip


def write_front(folder: Path, rows: Sequence[FrontRow]) -> None:
    """Write front.csv (every field, SI units and plain fractions), front.md, front.tex, front.png and front.pdf."""
    from heat_sim.report.plots import plot_front  # matplotlib takes a second to import; reading needs none of it

    _write_rows(folder / "front.csv", rows)
    write_text(folder / "front.md", to_markdown(rows, FRONT_COLUMNS))
    write_text(folder / "front.tex", to_latex(rows, FRONT_COLUMNS))
    plot_front(rows, folder / "front.png")
    plot_front(rows, folder / "front.pdf")


def write_baselines(folder: Path, rows: Sequence[FrontRow]) -> None:
    """Write baselines.csv, of the same fields as the front."""
    _write_rows(folder / BASELINES, rows)


def read_baselines(folder: Path) -> tuple[FrontRow, ...]:
    """Return the rows of baselines.csv; none if there is no such file.

    Raises:
        SpecError: It is not one of ours.
    """
    return _read_rows(folder / BASELINES) if (folder / BASELINES).exists() else ()


def read_front(folder: Path) -> tuple[FrontRow, ...]:
    """Return the rows of front.csv.

    Raises:
        SpecError: There is no such file, or it is not one of ours.
    """
    return _read_rows(folder / "front.csv")


def _write_rows(path: Path, rows: Sequence[FrontRow]) -> None:
    names = [field.name for field in fields(FrontRow)]
    lines = [",".join(names)]
    for row in rows:
        values = (getattr(row, name) for name in names)
        lines.append(",".join("" if value is None else str(value) for value in values))
    write_text(path, "\n".join(lines) + "\n")


def _read_rows(path: Path) -> tuple[FrontRow, ...]:
    readers: dict[str, Callable[[str], Any]] = {
        "design": str, "cycles": int, "parameters": int, "encoder_parameters": int
    }  # fmt: skip

    def row(record: dict[str, str]) -> FrontRow:
        values: dict[str, Any] = {name: readers.get(name, float)(text) for name, text in record.items() if text}
        return FrontRow(**values)

    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(row(record) for record in csv.DictReader(file))
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            describe(str(path), "not the front of a run", got=error, expected="a file that codesign wrote",
                     remedy="Give the folder of a run.")
        ) from None  # fmt: skip


def write_designs(folder: Path, designs: Sequence[Design]) -> None:
    """Write one file per design below designs/."""
    (folder / "designs").mkdir(exist_ok=True)
    for design in designs:
        write_text(design_path(folder, design.id), dump_design(design))


def write_machines(folder: Path, machines: Sequence[ArchitectureSpec]) -> None:
    """Write architecture and energy table of the machine of every chosen design below machines/."""
    for place, spec in enumerate(machines):
        target = folder / "machines" / design_id(place)
        target.mkdir(parents=True, exist_ok=True)
        write_text(target / "arch.yaml", dump_architecture(spec, version="0.4"))
        write_text(target / "ert.yaml", dump_ert(spec.architecture))


def design_path(folder: Path, design_id: str) -> Path:
    """Return where the file of a design is."""
    return folder / "designs" / f"{design_id}.yaml"


def read_searched(folder: Path) -> Searched:
    """Return what a run costed.

    Raises:
        SpecError: The folder holds no run, or one without its points.
    """
    arguments = {**read_manifest(folder)["arguments"]}
    dense = next(row for row in read_front(folder) if row.design == DENSE)
    return Searched(
        name=folder.name, arguments=arguments, dense_edp_pj_cycles=dense.edp_pj_cycles,
        points=tuple(point for point in read_points(folder / POINTS) if point.failure is None),
    )  # fmt: skip


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.json."""
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run.

    Raises:
        SpecError: There is none, or it is not one of ours.
    """
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data["arguments"], dict) or not isinstance(data["seed"], int):
            raise TypeError("no arguments or no seed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            describe(str(path), "not the manifest of a run", got=error, expected="a file that codesign wrote",
                     remedy="Give the folder of a run.")
        ) from None  # fmt: skip
    return dict(data)
