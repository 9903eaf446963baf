"""Every costed point of a search, kept as it is found: a killed search goes on from them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from heat_sim.errors import SpecError, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a search knows of one design.

    Attributes:
        energy_pj: Of one forward pass.
        cycles: Likewise.
        matrix_parameters: Words of the encoder's weights as they are stored.
        estimated_loss: By the estimate of the search.
        area_mm2: Of the machine, where it is searched too; else 0.
        buffer_bits: Occupied on the chip at the peak.
        failure: Why the design could not be costed; its figures are then 0. None if it could.
    """

    energy_pj: float
    cycles: int
    matrix_parameters: int
    estimated_loss: float
    area_mm2: float = 0.0
    buffer_bits: int = 0
    failure: str | None = None

    @property
    def edp_pj_cycles(self) -> float:
        """Energy-delay product."""
        return self.energy_pj * self.cycles


class PointStore:
    """Points by the row of their genome, in a file of one JSON object per line that only grows.

    A process that is killed leaves at the most one line cut off, which the next one drops. What belongs together
    is told by `about`, the first line.

    >>> import tempfile
    >>> point = Point(energy_pj=2.0, cycles=3, matrix_parameters=4, estimated_loss=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with PointStore(Path(folder) / "points.jsonl", about={"seed": 0}) as store:
    ...         store.put((1, 0), point)
    ...     with PointStore(Path(folder) / "points.jsonl", about={"seed": 0}) as again:
    ...         again.get((1, 0)) == point, again.get((0, 0)), len(again)
    (True, None, 1)
    """

    def __init__(self, path: Path | None, *, about: Mapping[str, object]) -> None:
        """Read what is there, and open the file for more.

        Args:
            path: The file; None keeps the points in memory only.
            about: What the points depend on; JSON.

        Raises:
            SpecError: The file holds the points of something else, or no points.
        """
        self._points: dict[tuple[int, ...], Point] = {}
        self._file = None
        if path is None:
            return
        kept = _read(path, about, self._points) if path.exists() else 0
        self._file = path.open("r+b" if kept else "wb")
        self._file.truncate(kept)
        self._file.seek(kept)
        if not kept:
            self._write(dict(about))
            self.flush()

    def get(self, genome: Sequence[int]) -> Point | None:
        """Return the point of a genome, or None."""
        return self._points.get(tuple(genome))

    def put(self, genome: Sequence[int], point: Point) -> None:
        """Keep a point; it is on the disk after `flush`."""
        key = tuple(int(gene) for gene in genome)
        self._points[key] = point
        self._write({"genome": key, **asdict(point)})

    def points(self) -> tuple[Point, ...]:
        """Return all points in the order they were put."""
        return tuple(self._points.values())

    def flush(self) -> None:
        """Return when all that was put is on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def __len__(self) -> int:
        return len(self._points)

    def __enter__(self) -> PointStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self.flush()
            self._file.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(value).encode() + b"\n")


def read_points(path: Path) -> tuple[Point, ...]:
    """Return the points of a file, whatever search they are of.

    Raises:
        SpecError: There is no such file, or it holds no points.
    """
    points: dict[tuple[int, ...], Point] = {}
    try:
        about = json.loads(path.read_bytes().splitlines()[0])
    except (OSError, ValueError, IndexError) as problem:
        raise _no_points(path, problem) from None
    _read(path, about, points)
    return tuple(points.values())


def _no_points(path: Path, problem: object) -> SpecError:
    return SpecError(
        describe(str(path), "not the points of a search", got=problem, expected="a file that codesign wrote",
                 remedy="Begin a new run.")
    )  # fmt: skip


def _read(path: Path, about: Mapping[str, object], points: dict[tuple[int, ...], Point]) -> int:
    """Fill in the points of a file; return how many bytes of it are whole lines."""
    content = path.read_bytes()
    kept = content.rfind(b"\n") + 1
    lines = content[:kept].splitlines()
    if not lines:
        return 0
    try:
        first, *rest = map(json.loads, lines)
        for value in rest:
            genome = tuple(value.pop("genome"))
            points[genome] = Point(**value)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise _no_points(path, problem) from None
    if first != json.loads(json.dumps(about)):
        differing = sorted(key for key in {*first, *about} if first.get(key) != about.get(key))
        raise SpecError(
            describe(str(path), "points of another search", got=f"other {', '.join(differing)}",
                     expected="the arguments, files and version that it began with",
                     remedy="Restore them, or begin a new run.")
        )  # fmt: skip
    return kept
