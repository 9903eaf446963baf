"""Image classification: one class an image, the images read only when their batch is made."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from heat_sim.cache_folder import file_sha256
from heat_sim.distill.tasks.class_scores import class_scores
from heat_sim.distill.tasks.splits import drawn_splits, first_few, given_splits, ordered_classes, refuse_small
from heat_sim.distill.tasks.task import Kind, Scores, Split
from heat_sim.errors import SpecError, describe

if TYPE_CHECKING:
    from heat_sim.distill.batches import Batch

Picture: TypeAlias = Path | bytes | NDArray[np.uint8]
"""An image file, the content of one, or pixels: (height, width) or (height, width, 3)."""

PictureRow = tuple[Picture, str]
"""Image and class name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageTask:
    """Labelled images in three disjoint sets of rows.

    Attributes:
        name: What tables and the cache call it.
        images: One per row.
        labels: Index into `class_names`, one per row.
        class_names: One per class.
        train: Row numbers that training sees.
        dev: Row numbers for choosing settings.
        test: Row numbers for the reported accuracy.
    """

    name: str
    images: tuple[Picture, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    train: tuple[int, ...]
    dev: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """Images."""
        return "image"

    @property
    def chance(self) -> float:
        """What guessing scores: one over the classes."""
        return 1 / len(self.class_names)

    @property
    def default_max_length(self) -> int:
        """Without meaning: the model says how many tokens an image is."""
        return 1

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of images, labels and splits; reads every file."""
        content = ["images", self.labels, self.class_names, self.train, self.dev, self.test]
        digest = hashlib.sha256(json.dumps(content).encode())
        for image in self.images:
            digest.update(_image_sha256(image).encode())
        return digest.hexdigest()

    def encode(
        self, reader: Any, *, split: Split, max_length: int | None = None, max_rows: int | None = None
    ) -> ImageRows:
        """Return the first rows of a split; `max_length` has no meaning here."""
        del max_length
        places = {"train": self.train, "dev": self.dev, "test": self.test}[split][:max_rows]
        return ImageRows(
            images=tuple(self.images[place] for place in places),
            labels=tuple(self.labels[place] for place in places),
            reader=reader,
        )

    def scores(self, rows: Any, logits: Sequence[NDArray[np.float32]]) -> Scores:
        """Return accuracy and macro F1; per row 1 if the class is right."""
        return class_scores(rows.labels, logits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRows:
    """Images that are read and prepared when their batch is asked for.

    Attributes:
        images: One per row.
        labels: Class of each row.
        reader: An `heat_sim.distill.image_reader.ImageReader`.
    """

    images: tuple[Picture, ...]
    labels: tuple[int, ...]
    reader: Any

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each image: equal."""
        return (int(self.reader.tokens),) * len(self.labels)

    def batch(self, places: Sequence[int]) -> Batch:
        """Return some of the images as `pixel_values`, (rows, 3, height, width) float32; no token is padding.

        Raises:
            SpecError: A file is no image.
        """
        import torch

        from heat_sim.distill.batches import Batch

        return Batch(
            inputs={"pixel_values": self.reader([open_image(self.images[place]) for place in places])},
            labels=torch.tensor([self.labels[place] for place in places], dtype=torch.int64),
            attention_mask=torch.ones(len(places), int(self.reader.tokens), dtype=torch.int64),
        )


def make_image_task(
    name: str,
    rows: Mapping[Split, Sequence[PictureRow]] | Sequence[PictureRow],
    *,
    class_names: tuple[str, ...] | None = None,
) -> ImageTask:
    """Return the task of labelled images: with the splits given, or split at random.

    Args:
        name: What tables and the cache call it.
        rows: Images and class names, all together or by split (see `given_splits` for one that is left out).
        class_names: In the order of the labels; None for those that occur, in order.

    Raises:
        SpecError: Fewer than 10 images or 2 classes.

    >>> black = np.zeros((4, 4), np.uint8)
    >>> make_image_task("tiny", [(black + n, "dark" if n < 5 else "light") for n in range(10)]).class_names
    ('dark', 'light')
    """
    if isinstance(rows, Mapping):
        together = [row for split in ("train", "dev", "test") for row in rows.get(split, ())]
        splits = given_splits({split: len(each) for split, each in rows.items()}, where=f"task {name}")
    else:
        together = list(rows)
        splits = drawn_splits(len(together))
    names = class_names or ordered_classes({label for _, label in together})
    if problems := refuse_small(f"task {name}", splits, what="images", classes=len(names)):
        raise SpecError(first_few(problems))
    number = {label: place for place, label in enumerate(names)}
    return ImageTask(
        name=name,
        images=tuple(image for image, _ in together),
        labels=tuple(number[label] for _, label in together),
        class_names=names,
        train=splits.train,
        dev=splits.dev,
        test=splits.test,
    )


def open_image(picture: Picture) -> Image.Image:
    """Return the picture in red, green and blue.

    Raises:
        SpecError: It is no image that Pillow reads.

    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    try:
        if isinstance(picture, np.ndarray):
            return Image.fromarray(picture).convert("RGB")
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
            return opened.convert("RGB")
    except (OSError, UnidentifiedImageError, TypeError, ValueError) as problem:
        where = str(picture) if isinstance(picture, Path) else "an image of the task"
        raise SpecError(
            describe(where, "cannot be read", got=problem, expected="an image", remedy="Correct or remove it.")
        ) from None


def _image_sha256(picture: Picture) -> str:
    if isinstance(picture, Path):
        return file_sha256(picture)
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    return hashlib.sha256(f"{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()
