"""Transforms: the geometry runs once per data set and size, the rest on whole batches.

Trials never see a `Dataset`: they get `TrialData`, which has no test split.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torchvision.transforms.v2 import functional

from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms.geometry import Geometry


@dataclass(frozen=True)
class Transform:
    """The conversion of an image's pixels to a model's input, saved with every exported model.

    Args:
        geometry: resizing and cropping.
        format: the meaning of the pixels' numbers.
        channels: number of input channels, 1 or 3; grey images are repeated to 3 channels.
        mean, std: one number per channel, for pixels scaled to 0 ... 1.
    """

    geometry: Geometry
    format: PixelFormat
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Convert (n, S, S, C) integers to (n, channels, S, S) float32 in channels_last format."""
        return self.standardize(self.scale(pixels))

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scale (n, S, S, C) integers to (n, C, S, S) float32, from 0 (black) to 1 (white)."""
        low, high = self.format.low, self.format.high
        return (pixels.permute(0, 3, 1, 2).to(torch.float32) - low) * (1 / (high - low))

    def standardize(self, images: torch.Tensor) -> torch.Tensor:
        """Standardize (n, C, S, S) from 0 to 1 to the model's input, (n, channels, S, S)."""
        if images.shape[1] != self.channels:
            images = _with_channels(images, self.channels)
        mean, std = (_by_channel(values, images.device) for values in (self.mean, self.std))
        # channels_last: up to 1.75 times as fast on a CPU (benchmarks/memory_format.py).
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Transform":
        """Build a transform from the output of `to_json`."""
        return cls(
            Geometry(**stored["geometry"]),
            PixelFormat(**stored["format"]),
            stored["channels"],
            tuple(stored["mean"]),
            tuple(stored["std"]),
        )


@lru_cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return the values as (channels, 1, 1); cached, because the GPU waits for every copy."""
    with torch.inference_mode(False):  # the cached tensor must work in every mode
        return torch.tensor(values, device=device).view(-1, 1, 1)


def _with_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    if channels == 1:
        grey: torch.Tensor = functional.rgb_to_grayscale(images)
        return grey
    return images.expand(-1, channels, -1, -1)
