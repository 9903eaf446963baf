"""One text for any data: the embedded task, a file, a folder, or a data set on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from heat_sim.distill.tasks.embedded import EMBEDDED, load_embedded_task
from heat_sim.distill.tasks.from_tables import task_of_tables
from heat_sim.distill.tasks.hub import PREFIX, hub_tables
from heat_sim.distill.tasks.images import ImageTask, PictureRow, make_image_task
from heat_sim.distill.tasks.splits import first_few
from heat_sim.distill.tasks.tables import SUFFIXES, read_table
from heat_sim.distill.tasks.task import Split, Task
from heat_sim.distill.tasks.text import TextTask
from heat_sim.errors import SpecError, describe

_SPLIT_FILE = re.compile(r"(train|dev|validation|valid|val|test)(?:[-_.].*)?", re.IGNORECASE)
_SPLIT_OF: Mapping[str, Split] = {
    "train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test",
}  # fmt: skip


def load_task(source: str) -> Task:
    """Return the task that a text names; docs/tasks.md has every form.

    Args:
        source: `movie-snippets`; a file (`.csv`, `.tsv`, `.jsonl`, `.parquet`, SQuAD's `.json`); a folder with files
            for train, dev and test, or with a folder of images for each class; `hf:NAME` or `hf:NAME/CONFIG`.

    Raises:
        SpecError: The data is not there or is not what it should be.
        HeatError: A package is missing, or the hub cannot be asked.

    >>> load_task("movie-snippets").kind  # doctest: +SKIP
    'text'
    """
    if source == EMBEDDED:
        return load_embedded_task()
    if source.startswith(PREFIX):
        return task_of_tables(source.removeprefix(PREFIX).replace("/", "-"), hub_tables(source))
    path = Path(source)
    if not path.is_dir():
        return task_of_tables(path.stem, read_table(path))
    name = path.resolve().name
    files = sorted(each for each in path.iterdir() if each.is_file() and each.suffix.lower() in SUFFIXES)
    by_split = _split_files(path, files)
    if by_split:
        return task_of_tables(name, {split: read_table(file) for split, file in by_split.items()})
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise SpecError(
            describe(source, "no data in the folder", got=", ".join(file.name for file in files) or "no such files",
                     expected="train.* and dev.* or test.*, or a folder of images for each class",
                     remedy="Name one file, or rename the files.")
        )  # fmt: skip
    return _image_folder(name, path, folders)


def load_text_task(path: Path) -> TextTask:
    r"""Return the text classification task of a local file, with the columns `text` and `label`; see `load_task`.

    The split is drawn with seed 0: a fifth of the rows, at most 2,000, is the test split, a tenth, at most 1,000, the
    dev split.

    Raises:
        SpecError: Not such a file; a text stands there twice with different labels; fewer than 10 rows or 2 classes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "weather.csv"
    ...     _ = path.write_text("text,label\n" + "".join(f"day {n},{'wet' if n % 2 else 'dry'}\n" for n in range(20)))
    ...     task = load_text_task(path)
    >>> task.class_names, len(task.train), len(task.dev), len(task.test)
    (('dry', 'wet'), 14, 2, 4)
    """
    task = task_of_tables(path.stem, read_table(path))
    if not isinstance(task, TextTask):
        raise SpecError(
            describe(str(path), "another kind of task", got=task.kind, expected="text with a label",
                     remedy="Load it with load_task.")
        )  # fmt: skip
    return task


def _split_files(folder: Path, files: list[Path]) -> dict[Split, Path]:
    found: dict[Split, Path] = {}
    problems = []
    for file in files:
        match = _SPLIT_FILE.fullmatch(file.stem)
        if match is None:
            continue
        split = _SPLIT_OF[match[1].lower()]
        if split in found:
            problems.append(
                describe(str(folder), f"two files for {split}", got=f"{found[split].name}, {file.name}",
                         expected="one", remedy="Keep one, or join them.")
            )  # fmt: skip
        found.setdefault(split, file)
    if found and "train" not in found:
        problems.append(
            describe(str(folder), "no file to train on", got=", ".join(file.name for file in files),
                     expected="train.*", remedy="Rename the file.")
        )  # fmt: skip
    if problems:
        raise SpecError(problems)
    return {split: found[split] for split in ("train", "dev", "test") if split in found}


def _image_folder(name: str, path: Path, folders: list[Path]) -> ImageTask:
    """Return the task of a folder for each class, or of such folders below one for each split."""
    by_split: dict[Split, list[Path]] = {}
    for folder in folders:
        if folder.name.lower() in _SPLIT_OF:
            by_split.setdefault(_SPLIT_OF[folder.name.lower()], []).append(folder)
    if "train" not in by_split:
        return make_image_task(name, _class_folders(folders))
    if twice := [split for split, each in by_split.items() if len(each) > 1]:
        raise SpecError(
            describe(str(path), f"two folders for {twice[0]}", got=", ".join(map(str, by_split[twice[0]])),
                     expected="one", remedy="Keep one.")
        )  # fmt: skip
    return make_image_task(
        name,
        {
            split: _class_folders(sorted(each for each in folder.iterdir() if each.is_dir()))
            for split, (folder,) in by_split.items()
        },
    )


def _class_folders(folders: list[Path]) -> list[PictureRow]:
    known = Image.registered_extensions()
    rows: list[PictureRow] = []
    problems = []
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() not in known:
                continue
            try:
                with Image.open(file):  # reads the header only
                    rows.append((file, folder.name))
            except OSError as problem:
                problems.append(
                    describe(str(file), "cannot be read", got=problem, expected="an image",
                             remedy="Correct or remove it.")
                )  # fmt: skip
    if problems:
        raise SpecError(first_few(problems))
    return rows
