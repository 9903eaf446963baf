"""Models and tokenizers of transformers from a local folder, quietly and without a hub."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from heat_sim.cache_folder import file_sha256
from heat_sim.distill.image_reader import load_image_reader
from heat_sim.distill.tasks.task import Kind
from heat_sim.errors import HeatError, describe

_MADE_OF = ("*.json", "*.safetensors", "*.txt", "*.model")
_OF_BYTES = ("gpt2", "roberta")
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")
"""Families whose first position is the one behind the padding token's number."""

_SHOWN = 200
"""Characters shown of a reason: a checkpoint that does not fit names every tensor."""

AUTO_CLASSES: Mapping[Kind, Any] = {
    "text": AutoModelForSequenceClassification,
    "text-pair": AutoModelForSequenceClassification,
    "question-answering": AutoModelForQuestionAnswering,
    "token-classification": AutoModelForTokenClassification,
    "image": AutoModelForImageClassification,
}
"""The class of transformers that gives a model the head of each kind of task."""


def auto_class_of(architectures: Sequence[str] | None) -> Any:
    """Return the class of transformers that makes a model with the head that a configuration names.

    >>> auto_class_of(["BertForQuestionAnswering"]).__name__, auto_class_of(None).__name__
    ('AutoModelForQuestionAnswering', 'AutoModelForSequenceClassification')
    """
    for auto in AUTO_CLASSES.values():
        head = auto.__name__.removeprefix("AutoModel")
        if any(name.endswith(head) for name in architectures or ()):
            return auto
    return AutoModelForSequenceClassification


def load_model(folder: Path, *, kind: Kind, classes: tuple[str, ...], new_head: bool = False) -> Any:
    """Return the model of a local folder with the head of a kind of task: float32, eager attention.

    A missing head is drawn from torch's generator.

    Args:
        folder: As transformers saves it. No hub is asked.
        kind: Of the task.
        classes: Names of the classes, in order of the labels; none for question answering.
        new_head: Whether a head for other classes gives way to a new one; else it is refused.

    Raises:
        HeatError: The folder holds no model, or one that has no such head.
    """
    _model_files(folder)
    labels: dict[str, Any] = {
        "num_labels": len(classes),
        "id2label": dict(enumerate(classes)),
        "label2id": {name: label for label, name in enumerate(classes)},
    }
    with one_message(folder, "its model"):
        return AUTO_CLASSES[kind].from_pretrained(
            folder,
            **(labels if classes else {}),
            attn_implementation="eager",  # only this implementation returns the attention maps
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=new_head,
        )


def load_classifier(folder: Path, *, classes: tuple[str, ...]) -> Any:
    """Return the text classifier of a local folder, see `load_model`.

    Raises:
        HeatError: The folder holds no model.
    """
    return load_model(folder, kind="text", classes=classes)


def load_reader(folder: Path, *, kind: Kind) -> Any:
    """Return what turns the rows of a kind of task into a model's inputs: its tokenizer, or its image reader.

    Raises:
        HeatError: The folder has none.
    """
    if kind == "image":
        with one_message(folder, "its image processor"):
            return load_image_reader(folder)
    config = _config(folder)
    # Tokenizers of bytes take words that are apart only if told that a space goes before the first one.
    spaced = kind == "token-classification" and config.get("model_type") in _OF_BYTES
    with one_message(folder, "its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, **({"add_prefix_space": True} if spaced else {})
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, _positions(config))
    return tokenizer


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a local folder, which cuts texts to no more tokens than the model takes.

    Raises:
        HeatError: The folder holds no tokenizer.
    """
    return load_reader(folder, kind="text")


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


def _config(folder: Path) -> Mapping[str, Any]:
    """Return the configuration of a folder, an empty one if there is none that can be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _positions(config: Mapping[str, Any]) -> int:
    """Return how many tokens the model has positions for."""
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(positions, int):
        return sys.maxsize
    return positions - (config.get("pad_token_id", 1) + 1 if config.get("model_type") in _OFFSET_POSITIONS else 0)


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
