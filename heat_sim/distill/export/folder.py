"""What both exports have in common: a new folder, complete or not there, with whatever prepares the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heat_sim.cache_folder import published
from heat_sim.distill.pretrained import quiet_transformers
from heat_sim.errors import SpecError, describe


def check_is_free(folder: Path) -> None:
    """Raise SpecError if there is anything by this name.

    >>> check_is_free(Path("no-such-folder"))
    >>> check_is_free(Path())
    Traceback (most recent call last):
    heat_sim.errors.SpecError: .: already there (got a folder, expected a new one). Delete it or choose another.
    """
    if folder.exists():
        raise SpecError(
            describe(str(folder), "already there", got="a folder" if folder.is_dir() else "a file",
                     expected="a new one", remedy="Delete it or choose another.")
        )  # fmt: skip


@contextmanager
def new_folder(folder: Path, *, processor: Any | None) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder`, with the processor's files, when the block ends well.

    Args:
        folder: Must not exist.
        processor: A tokenizer or image processor of transformers, or None.

    Raises:
        SpecError: The folder is there already.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as here:
    ...     with new_folder(Path(here) / "model", processor=None) as draft:
    ...         _ = (draft / "README.md").write_text("text")
    ...     [path.name for path in (Path(here) / "model").iterdir()]
    ['README.md']
    """
    check_is_free(folder)
    with published(folder) as draft:
        yield draft
        if processor is not None:
            with quiet_transformers():
                processor.save_pretrained(draft)
