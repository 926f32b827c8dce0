"""Transforms: the deterministic part once per data and size, the rest on whole batches.

Trials never see a `Dataset`: they get `TrialData`, which has no test member.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import functional

from tune_bio.datasets.images import Dataset, Images, Pixels

CHUNK = 512  # images resized at once: bounds the memory, changes no pixel


@dataclass(frozen=True)
class Transform:
    """From uint8 pixels to a model's input; recorded beside every exported model.

    Args:
        image_size: side of the square input, in pixels.
        channels: 1 or 3, of the input; grey images are repeated where 3 are wanted.
        mean, std: one number a channel, on pixels scaled to 0 ... 1.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def resize(self, pixels: Pixels) -> Pixels:
        """(n, H, W, C) to (n, image_size, image_size, C), antialiased bilinear."""
        return resize(pixels, self.image_size)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, S, S, C) uint8 to (n, channels, S, S) float32, in channels_last memory."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        if images.shape[1] != self.channels:
            images = _with_channels(images, self.channels)
        shape = (1, self.channels, 1, 1)
        scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
        shift = torch.tensor(
            [-mean / std for mean, std in zip(self.mean, self.std, strict=True)],
            device=pixels.device,
        )
        normal = images * scale.view(shape) + shift.view(shape)
        # channels_last: up to 1.75 times as fast on a CPU (benchmarks/memory_format.py).
        return normal.contiguous(memory_format=torch.channels_last)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Transform":
        """The inverse of `to_json`."""
        return cls(
            stored["image_size"], stored["channels"], tuple(stored["mean"]), tuple(stored["std"])
        )


@dataclass(frozen=True)
class PreparedSplit:
    """Resized pixels (n, S, S, C) uint8 and labels (n,) int64; arrays may be read-only."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrialData:
    """All that a trial may see: train and validation at one image size."""

    train: PreparedSplit
    val: PreparedSplit
    classes: tuple[str, ...]
    positive: int

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.train.pixels.shape[3])


def prepare(dataset: Dataset, image_size: int) -> TrialData:
    """Train and validation of `dataset` at `image_size`."""
    return TrialData(
        train=_prepare_split(dataset.train, image_size),
        val=_prepare_split(dataset.val, image_size),
        classes=dataset.classes,
        positive=dataset.positive,
    )


def resize(pixels: Pixels, size: int) -> Pixels:
    """(n, H, W, C) uint8 to (n, size, size, C) uint8, antialiased bilinear; in chunks."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    resized = np.empty((len(pixels), size, size, pixels.shape[3]), dtype=np.uint8)
    for start in range(0, len(pixels), CHUNK):
        chunk = torch.from_numpy(np.ascontiguousarray(pixels[start : start + CHUNK]))
        scaled = functional.resize(chunk.permute(0, 3, 1, 2), [size, size], antialias=True)
        resized[start : start + CHUNK] = scaled.permute(0, 2, 3, 1).numpy()
    return resized


def _prepare_split(images: Images, size: int) -> PreparedSplit:
    return PreparedSplit(resize(images.pixels, size), images.labels)


def _with_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    if channels == 1:
        grey: torch.Tensor = functional.rgb_to_grayscale(images)
        return grey
    return images.expand(-1, channels, -1, -1)
