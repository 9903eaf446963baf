"""Results of mapping searches on disk: one SQLite file that processes share."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from heat_sim.cache_folder import cache_folder
from heat_sim.errors import HeatError, describe
from heat_sim.mapper.cache_key import MODEL_VERSION, cache_key, decode_mapping, encode_mapping

__all__ = ["MODEL_VERSION", "MappingCache", "cache_key", "cache_path", "decode_mapping", "encode_mapping"]

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 10.0
"""How long to wait for another process to finish its write."""
_DAMAGED = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB})
"""What SQLite says of a file that is no database or holds other tables than ours."""


def cache_path() -> Path:
    """Return the default file: `mappings.sqlite3` in `cache_folder()`.

    >>> cache_path().name
    'mappings.sqlite3'
    """
    return cache_folder() / "mappings.sqlite3"


class MappingCache:
    """A bounded store of JSON objects by key; the least recently used go first.

    Several processes and threads may use one file at once, on one host: hosts that share a folder each need their
    own file. A damaged file is moved aside to `.corrupt`; where the disk is full or cannot be written, nothing is
    stored. Either is logged as a warning; neither raises nor gives a wrong answer, for every entry carries a checksum.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, MappingCache(Path(folder) / "cache.sqlite3") as cache:
    ...     cache.put("key", {"cycles": 12})
    ...     cache.get("key"), cache.get("other")
    ({'cycles': 12}, None)
    """

    def __init__(self, path: Path | None = None, *, max_entries: int = 20_000) -> None:
        """Open the file, or make it.

        Args:
            path: The default is `cache_path()`.
            max_entries: How many results the file may hold.

        Raises:
            HeatError: `max_entries` is below 1.
        """
        if max_entries < 1:
            raise HeatError(
                describe("MappingCache", "bad max_entries", got=max_entries, expected="at least 1", remedy="Raise it.")
            )
        self.path = cache_path() if path is None else path
        self.max_entries = max_entries
        self._threads = threading.RLock()
        self._warned: set[str] = set()
        self._inherited: list[sqlite3.Connection | None] = []
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._process = os.getpid()
        self._open()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was put last under the key, or None."""
        row = self._run("SELECT value, checksum FROM mapping WHERE key = ?", key)
        if row is None:
            return None
        text, checksum = row
        if not isinstance(text, str) or checksum != _checksum(key, text):
            self._warn("an entry is damaged", "it is dropped")
            self._run("DELETE FROM mapping WHERE key = ?", key)
            return None
        self._run("UPDATE mapping SET used = ? WHERE key = ?", time.time_ns(), key)
        value: dict[str, Any] = json.loads(text)
        return value

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Store JSON values under the key, in place of what was there."""
        text = json.dumps(value)
        self._run("INSERT OR REPLACE INTO mapping VALUES (?, ?, ?, ?)", key, text, _checksum(key, text), time.time_ns())
        self._run(
            "DELETE FROM mapping WHERE key IN (SELECT key FROM mapping ORDER BY used DESC LIMIT -1 OFFSET ?)",
            self.max_entries,
        )

    def close(self) -> None:
        """Close the file; from now on nothing is found and nothing stored."""
        with self._threads:
            if self._connection is not None and self._process == os.getpid():
                with suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = None

    def __enter__(self) -> MappingCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        """Return the first row, or None; a damaged file is replaced, every other failure is a warning."""
        with self._threads:
            if self._process != os.getpid():
                # SQLite forbids a forked child to use its parent's connection, even to close it.
                self._inherited.append(self._connection)
                self._process = os.getpid()
                if self._connection is not None:
                    self._open()
            if self._connection is None:
                return None
            try:
                row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
            except sqlite3.Error as error:
                if _code(error) in _DAMAGED:
                    self._open(damaged=error)
                else:
                    self._warn(str(error), "results are not cached")
                return None
            return row

    def _open(self, *, damaged: sqlite3.Error | None = None) -> None:
        """Connect, after moving a damaged file aside: `damaged` says that the one connected to is."""
        if self._connection is not None and damaged is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path):
                # Another process may have replaced the file that this one found damaged.
                if damaged is not None and self._file == _identity(self.path):
                    self._move_aside(damaged)
                try:
                    self._connection = _connect(self.path)
                except sqlite3.Error as error:
                    if _code(error) not in _DAMAGED and _is_readable(self.path):
                        raise
                    self._move_aside(error)
                    self._connection = _connect(self.path)
                self._file = _identity(self.path)
        except (OSError, sqlite3.Error) as error:
            self._warn(str(error), "results are not cached")

    def _move_aside(self, error: sqlite3.Error) -> None:
        self._warn(str(error), f"it is moved to {self.path.name}.corrupt and a new one begun")
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{self.path}.corrupt{suffix}")

    def _warn(self, what: str, consequence: str) -> None:
        """Log once per consequence, not once per result."""
        if consequence not in self._warned:
            self._warned.add(consequence)
            _LOG.warning("mapping cache %s: %s; %s.", self.path, what, consequence)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # after a power cut the last results may be missing
        connection.execute(
            "CREATE TABLE IF NOT EXISTS mapping (key TEXT PRIMARY KEY, value TEXT, checksum BLOB, used INTEGER)"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS last_used ON mapping (used, key)")
        connection.execute("SELECT key, value, checksum, used FROM mapping LIMIT 1")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time open, or replace, the file: SQLite's own lock on an empty database beside it."""
    with closing(sqlite3.connect(f"{path}.lock", timeout=_PATIENCE_S, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without its extension; -1 if there is none."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else -1


def _checksum(key: str, text: str) -> bytes:
    return hashlib.sha256(f"{key}\n{text}".encode()).digest()
