"""From pictures to what an image model takes, as its folder says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, ViTImageProcessorPil

from heat_sim.errors import HeatError, describe
from heat_sim.networks import load_network

_PROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageReader:
    """The image processor of a model, which resizes and scales, and how many tokens the model makes of an image.

    Attributes:
        processor: An image processor of transformers that works with Pillow.
        size: Height and width that the model takes.
        tokens: Patches and special tokens.
    """

    processor: Any
    size: tuple[int, int]
    tokens: int

    @property
    def model_max_length(self) -> int:
        """The tokens of an image, no more and no fewer."""
        return self.tokens

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the images as the model takes them, (images, 3, height, width) float32.

        Raises:
            HeatError: The processor makes another size than the model takes.
        """
        pixels = np.stack(self.processor(list(images), return_tensors="np")["pixel_values"])
        if pixels.shape[1:] != (3, *self.size):
            raise HeatError(
                describe(_PROCESSOR, "makes images that the model does not take", got=pixels.shape[1:],
                         expected=(3, *self.size), remedy="Correct its size or crop_size.")
            )  # fmt: skip
        return torch.from_numpy(pixels).to(torch.float32)

    def save_pretrained(self, folder: Path) -> None:
        """Write the processor beside a model."""
        self.processor.save_pretrained(folder)


def load_image_reader(folder: Path) -> ImageReader:
    """Return the image reader of a model's folder; without a processor there, ViT's own one for the model's size.

    Raises:
        HeatError: The model takes no images, or not three colours.

    >>> import tempfile
    >>> from transformers import ViTConfig
    >>> with tempfile.TemporaryDirectory() as name:
    ...     ViTConfig(image_size=8, patch_size=4).save_pretrained(name)
    ...     reader = load_image_reader(Path(name))
    >>> reader.tokens, reader([Image.new("RGB", (5, 7))]).shape
    (5, torch.Size([1, 3, 8, 8]))
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    side = getattr(config, "image_size", None)
    if side is None or getattr(config, "num_channels", 3) != 3:
        raise HeatError(
            describe(str(folder), "not a model of colour images", got=f"model_type {config.model_type}",
                     expected="image_size, and 3 channels", remedy="Give a ViT or DeiT.")
        )  # fmt: skip
    height, width = side if isinstance(side, list | tuple) else (side, side)
    if (folder / _PROCESSOR).is_file():
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    else:
        processor = ViTImageProcessorPil(size={"height": height, "width": width})
    return ImageReader(processor=processor, size=(height, width), tokens=load_network(folder).tokens)
