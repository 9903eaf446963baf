"""Projections kept on disk, by the content of all that makes them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from heat_sim.cache_folder import cache_folder, content_key
from heat_sim.tensorize.factorization import Factorization
from heat_sim.tensorize.projection import project

RECIPE = 5
"""Raised when a projection gives other cores, so that no old ones are taken from the cache."""


class Project(Protocol):
    """From a weight to cores: `heat_sim.tensorize.project`, or the same with a memory."""

    def __call__(
        self,
        weight: NDArray[np.floating],
        factorization: Factorization,
        /,
        *,
        second_moment: NDArray[np.floating] | None = None,
        gradient_moment: NDArray[np.floating] | None = None,
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the cores that approximate the weight."""


class ProjectionCache:
    """`project` with a memory on disk, bounded: the files that were not read for longest go first.

    Files are written atomically, so processes may share a folder; one that cannot be read is made anew, and where
    nothing can be written nothing is kept.

    >>> from heat_sim.tensorize.tensorization import Tensorization
    >>> rank_1 = Factorization(
    ...     format="low-rank", tensorization=Tensorization(out_modes=(2,), in_modes=(2,)), ranks=(1,)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = ProjectionCache(Path(folder))
    ...     first, again = (kept(np.ones((2, 2)), rank_1) for _ in range(2))
    ...     kept.found, kept.made, bool(np.array_equal(first[0], again[0]))
    (1, 1, True)
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = 2_000_000_000) -> None:
        """Name the folder; it need not exist yet.

        Args:
            folder: The default is `projections` in `cache_folder()`.
            max_bytes: Size of all files together at the most.
        """
        self.folder = cache_folder() / "projections" if folder is None else folder
        self.max_bytes = max_bytes
        self.found = self.made = 0
        self._digests: dict[int, tuple[weakref.ref[NDArray[np.floating]], str]] = {}
        self._written = 0

    def __call__(
        self,
        weight: NDArray[np.floating],
        factorization: Factorization,
        /,
        *,
        second_moment: NDArray[np.floating] | None = None,
        gradient_moment: NDArray[np.floating] | None = None,
    ) -> tuple[NDArray[np.float64], ...]:
        """Return the cores, from the disk or by `project`."""
        key = content_key(
            {
                "recipe": RECIPE,
                "weight": self._digest(weight),
                "factorization": factorization.to_json(),
                "second_moment": None if second_moment is None else self._digest(second_moment),
                "gradient_moment": None if gradient_moment is None else self._digest(gradient_moment),
            }
        )
        path = self.folder / key[:2] / f"{key}.npz"
        cores = _read(path, factorization)
        if cores is not None:
            self.found += 1
            return cores
        self.made += 1
        cores = project(weight, factorization, second_moment=second_moment, gradient_moment=gradient_moment)
        with suppress(OSError):
            self._write(path, cores)
        return cores

    def _digest(self, array: NDArray[np.floating]) -> str:
        """Return the SHA-256 of an array, worked out once per object, as long as it lives."""
        known = self._digests.get(id(array))
        if known is None or known[0]() is not array:
            content = hashlib.sha256(f"{array.shape} {array.dtype.str} ".encode())
            content.update(np.ascontiguousarray(array).data)
            known = self._digests[id(array)] = (weakref.ref(array), content.hexdigest())
        return known[1]

    def _write(self, path: Path, cores: tuple[NDArray[np.float64], ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, *cores)
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
        self._written += path.stat().st_size
        if self._written > self.max_bytes // 20:
            self._written = 0
            self._make_room()

    def _make_room(self) -> None:
        files = sorted(self.folder.glob("*/*.npz"), key=lambda path: path.stat().st_mtime)
        size = sum(path.stat().st_size for path in files)
        for path in files:
            if size <= self.max_bytes:
                break
            size -= path.stat().st_size
            path.unlink(missing_ok=True)


def _read(path: Path, factorization: Factorization) -> tuple[NDArray[np.float64], ...] | None:
    """Return the cores of a file; None if there is none, or not one of such cores."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            cores = tuple(arrays[f"arr_{k}"] for k in range(len(arrays.files)))
        os.utime(path)  # was read: goes last
    except (OSError, EOFError, BadZipFile, KeyError, ValueError):
        return None
    shapes = tuple(core.shape for core in cores)
    return cores if shapes == factorization.core_shapes and all(core.dtype == np.float64 for core in cores) else None
