"""Files that are either written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the target that takes its place when the block ends without an error.

    The target keeps its old content until then; missing folders are made.

    Args:
        target: The file to write.

    Raises:
        OSError: The folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        # mkstemp makes the file private; give it the mode an ordinary new file would have.
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        os.replace(draft, target)  # noqa: PTH105 - Path.replace is the same call; this one says it is atomic
    finally:
        draft.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write the text as UTF-8, whole or not at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "new" / "note.txt", "done")
    ...     (Path(folder) / "new" / "note.txt").read_text()
    'done'
    """
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8")
