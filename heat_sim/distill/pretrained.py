"""Models and tokenizers of transformers from a local folder, quietly and without a hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from heat_sim.cache_folder import file_sha256
from heat_sim.errors import HeatError, describe

_MADE_OF = ("*.json", "*.safetensors", "*.txt", "*.model")
_SHOWN = 200
"""Characters shown of a reason: a checkpoint that does not fit names every tensor."""


def load_classifier(folder: Path, *, classes: tuple[str, ...]) -> Any:
    """Return the classifier of a local folder: float32, eager attention, a missing head drawn from torch's generator.

    Args:
        folder: As transformers saves it. No hub is asked.
        classes: Names of the classes, in order of the labels.

    Raises:
        HeatError: The folder holds no model.
    """
    _model_files(folder)
    with one_message(folder, "its model"):
        return AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(classes),
            id2label=dict(enumerate(classes)),
            label2id={name: label for label, name in enumerate(classes)},
            attn_implementation="eager",  # only this implementation returns the attention maps
            dtype=torch.float32,
            local_files_only=True,
        )


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a local folder. No hub is asked.

    Raises:
        HeatError: The folder holds no tokenizer.
    """
    with one_message(folder, "its tokenizer"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def content_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a loaded model depends on, by file name.

    Raises:
        HeatError: The folder holds no model.
    """
    return {path.name: file_sha256(path) for path in _model_files(folder)}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the bars and load reports of transformers inside the block; errors still show.

    >>> with quiet_transformers():
    ...     transformers.utils.logging.is_progress_bar_enabled()
    False
    """
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def one_message(folder: Path, what: str) -> Iterator[None]:
    """Silence transformers inside the block, and turn what it raises on a broken folder into one message.

    Raises:
        HeatError: Folder and part of it, with the beginning of the reason.

    >>> with one_message(Path("d03"), "its student"):
    ...     raise OSError("no config.json")
    Traceback (most recent call last):
    heat_sim.errors.HeatError: d03: cannot load its student (got no config.json, expected ...
    """
    try:
        with quiet_transformers():  # it would report a missing head, which is the intention
            yield
    except HeatError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as problem:
        raise HeatError(
            describe(
                str(folder),
                f"cannot load {what}",
                got=" ".join(str(problem).split())[:_SHOWN] or type(problem).__name__,
                expected="a folder as save_pretrained or save_student writes it",
                remedy="Write it again.",
            )
        ) from None


def _model_files(folder: Path) -> list[Path]:
    files = sorted(path for pattern in _MADE_OF for path in folder.glob(pattern))
    names = [path.name for path in files]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise HeatError(
            describe(
                str(folder),
                "not a pretrained model",
                got=", ".join(names) or "no model files",
                expected="config.json, *.safetensors and a tokenizer",
                remedy="Name a folder written by save_pretrained.",
            )
        )
    return files
