"""The cache folder: content-addressed, written atomically, safe to delete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for whatever is kept between runs: mappings, models, teachers, projections (it need not exist
    yet).

    `HEAT_SIM_CACHE` if it is set, else `heat_sim` in `XDG_CACHE_HOME`, else `~/.cache/heat_sim`.

    >>> cache_folder().is_absolute()
    True
    """
    if own := os.environ.get("HEAT_SIM_CACHE"):
        return Path(own).expanduser().absolute()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "heat_sim"
    return Path.home() / ".cache" / "heat_sim"


def content_key(parts: Mapping[str, object]) -> str:
    """Return 16 hexadecimal digits that change when any part changes; parts are plain JSON values.

    >>> content_key({"seed": 0, "epochs": 2}) == content_key({"epochs": 2, "seed": 0})
    True
    >>> content_key({"seed": 0}) == content_key({"seed": 1})
    False
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "empty"
    ...     path.touch()
    ...     file_sha256(path)[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well, and vanishes when it raises.

    The folder stands beside `target`, so that the last step is one rename: a killed run leaves no half
    of `target`. If another run has published the same target meanwhile, that one stays.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with published(Path(folder) / "done") as draft:
    ...         _ = (draft / "file").write_text("content")
    ...     (Path(folder) / "done" / "file").read_text()
    'content'
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp's 0700 would shut out others who share the cache
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
