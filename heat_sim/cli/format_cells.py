"""The cells of `heat-sim decompose` and their file, from which a stopped call continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from heat_sim.errors import SpecError, describe
from heat_sim.report.files import write_text

_FILE = "cells.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One format at one compression by one projection; without numbers if the format has nothing so small.

    Attributes:
        format: Name of the format.
        compression: What was asked.
        projection: How the matrices were projected.
        reason: Why nothing was measured; None if it was.
        parameters: Of all matrices together.
        weight_error: Root mean square over the matrices of ``||W - W'|| / ||W||``.
        activation_error: The same in the norm of C^(1/2), C the second moment of a matrix's input.
        right: Which test rows are classified as labelled, one 0 or 1 each; without training.
        seconds: Of the projection; little if it was in the cache.
        factorizations: By the shape of the matrices, as `Factorization.to_json` gives them.
    """

    format: str
    compression: float
    projection: str
    reason: str | None = None
    parameters: int = 0
    weight_error: float = 0.0
    activation_error: float = 0.0
    right: str = ""
    seconds: float = 0.0
    factorizations: Mapping[str, Mapping[str, object]] | None = None

    @property
    def key(self) -> tuple[str, float, str]:
        """What distinguishes the cell from others."""
        return (self.format, self.compression, self.projection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that was measured so far, and for what.

    Attributes:
        arguments: Everything that a cell depends on, plain JSON values.
        dense_parameters: Of all matrices together.
        dense_right: As `Cell.right`, of the dense model.
        cells: In the order in which they were measured.
    """

    arguments: Mapping[str, object]
    dense_parameters: int
    dense_right: str
    cells: tuple[Cell, ...] = ()

    def with_cell(self, cell: Cell) -> Record:
        """Return the record with one more cell."""
        return replace(self, cells=(*self.cells, cell))


def save_record(folder: Path, record: Record) -> None:
    """Write `cells.json` into a folder, whole or not at all.

    Args:
        folder: Made if it is not there.
        record: What was measured.
    """
    write_text(folder / _FILE, json.dumps(asdict(record)) + "\n")


def load_record(folder: Path, *, arguments: Mapping[str, object]) -> Record | None:
    """Return what a folder holds, or None if it is new or empty.

    Args:
        folder: Where an earlier call wrote, or will write.
        arguments: Those known already; they must be the record's.

    Raises:
        SpecError: The folder holds something else, or a record of other arguments.

    >>> load_record(Path("results/none-such"), arguments={}) is None
    True
    """
    path = folder / _FILE
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SpecError(
                describe("--out", "the folder holds something else", got=folder,
                         expected=f"a new or empty folder, or one with {_FILE}", remedy="Choose another one.")
            )  # fmt: skip
        return None
    record = _read(path)
    problems = [
        describe(str(folder), f"holds cells of another {name.replace('_', ' ')}", got=given,
                 expected=record.arguments.get(name), remedy="Give another --out, or the same arguments.")
        for name, given in arguments.items()
        if record.arguments.get(name) != given
    ]  # fmt: skip
    if problems:
        raise SpecError(problems)
    return record


def _read(path: Path) -> Record:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{**data, "cells": tuple(Cell(**cell) for cell in data["cells"])})
    except (ValueError, KeyError, TypeError) as problem:
        raise SpecError(
            describe(str(path), "not the cells of a table", got=problem, expected="a file that decompose wrote",
                     remedy="Delete it or choose another --out.")
        ) from None  # fmt: skip
