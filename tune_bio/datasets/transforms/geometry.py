"""The deterministic part of a transform: resizing and cropping.

It runs once per data set and geometry, for all trials.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from tune_bio.datasets.pixels import CHUNK, Pixels
from tune_bio.space.trial_config import TrialConfig


@dataclass(frozen=True)
class Geometry:
    """Resize to a square of `resize` px, crop the central `crop` px, resize to `image_size` px.

    A step that is 0, or that would change nothing, is skipped. Resizing is antialiased and
    bilinear, and ignores the aspect ratio of the image.
    """

    image_size: int
    resize: int = 0
    crop: int = 0

    @classmethod
    def of(cls, config: TrialConfig) -> "Geometry":
        """Return the geometry of a configuration."""
        return cls(config.image_size, config.resize, config.crop)

    def apply(self, pixels: Pixels) -> Pixels:
        """Transform (n, H, W, C) to (n, image_size, image_size, C) of the same dtype, in chunks."""
        side = self.image_size
        if pixels.shape[1:3] == (side, side) and not self.resize:
            return pixels
        result = np.empty((len(pixels), side, side, pixels.shape[3]), dtype=pixels.dtype)
        for start in range(0, len(pixels), CHUNK):
            result[start : start + CHUNK] = self._apply(pixels[start : start + CHUNK])
        return result

    def _apply(self, pixels: Pixels) -> Pixels:
        # Writable, since PyTorch warns about read-only arrays, such as memory-mapped files.
        images = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(0, 3, 1, 2)
        if self.resize:
            images = _resized(images, self.resize)
        if self.crop:
            images = functional.center_crop(images, [self.crop, self.crop])
        images = _resized(images, self.image_size)
        return images.permute(0, 2, 3, 1).numpy()


def _resized(images: torch.Tensor, side: int) -> torch.Tensor:
    if images.shape[2:] == (side, side):
        return images
    resized: torch.Tensor = functional.resize(images, [side, side], antialias=True)
    return resized
