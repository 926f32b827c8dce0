"""Transforms: the deterministic part once per data and size, the rest on whole batches.

Trials never see a `Dataset`: they get `TrialData`, which has no test member.
"""

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import functional

from tune_bio.datasets.features import Cut, Features
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import PixelFormat, Pixels, Rows
from tune_bio.datasets.regrouped import Regrouped, whole


@dataclass(frozen=True)
class Transform:
    """From an image's pixels to a model's input; recorded beside every exported model.

    Args:
        geometry: which pixels, at which size.
        format: what the pixels' numbers mean.
        channels: 1 or 3, of the input; grey images are repeated where 3 are wanted.
        mean, std: one number a channel, on pixels scaled to 0 ... 1.
    """

    geometry: Geometry
    format: PixelFormat
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, S, S, C) integers to (n, channels, S, S) float32, in channels_last memory."""
        return self.standardize(self.scale(pixels))

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, S, S, C) integers to (n, C, S, S) float32, from 0 (black) to 1 (white)."""
        low, high = self.format.low, self.format.high
        return (pixels.permute(0, 3, 1, 2).to(torch.float32) - low) * (1 / (high - low))

    def standardize(self, images: torch.Tensor) -> torch.Tensor:
        """(n, C, S, S) from 0 to 1, to (n, channels, S, S) as the model wants them."""
        if images.shape[1] != self.channels:
            images = _with_channels(images, self.channels)
        mean, std = (_by_channel(values, images.device) for values in (self.mean, self.std))
        # channels_last: up to 1.75 times as fast on a CPU (benchmarks/memory_format.py).
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Transform":
        """The inverse of `to_json`."""
        return cls(
            Geometry(**stored["geometry"]),
            PixelFormat(**stored["format"]),
            stored["channels"],
            tuple(stored["mean"]),
            tuple(stored["std"]),
        )


@dataclass(frozen=True)
class PreparedSplit:
    """Resized pixels (n, S, S, C) and labels (n,) int64; arrays may be read-only.

    `features` are those of the images where they are kept, (n, *cut.row).
    """

    pixels: Pixels | Regrouped[Pixels]
    labels: npt.NDArray[np.int64]
    features: Features | Regrouped[Features] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrialData:
    """All that a trial may see: train and validation at one geometry.

    Where both splits have features, `cut` tells which part of the network has made them, and
    `features_key` names their bytes.
    """

    train: PreparedSplit
    val: PreparedSplit
    classes: tuple[str, ...]
    positive: int
    format: PixelFormat
    cut: Cut | None = None
    features_key: str = ""
    split_key: str = ""

    @property
    def reuse_tag(self) -> str:
        """Names what the pixels' numbers mean, the features and the re-split.

        The same files have other numbers beside files of another depth or colour. A trial on
        features is not that on images, bit by bit, and on another split it is another.
        """
        pixels = self.format
        parts = [f"{self.train.pixels.dtype.name} {pixels.channels} {pixels.low} {pixels.high}"]
        if self.train.features is not None:
            parts += [self.train.features.dtype.name, self.features_key]
        if self.split_key:
            parts.append(f"split {self.split_key}")
        return " ".join(parts)

    def with_features(self, cut: Cut, train: Features, val: Features, key: str = "") -> "TrialData":
        """The same images with features of theirs."""
        return replace(
            self,
            train=replace(self.train, features=train),
            val=replace(self.val, features=val),
            cut=cut,
            features_key=key,
        )


def regroup(data: TrialData, train: Rows, val: Rows, key: str) -> TrialData:
    """The same images and features in another split, in place.

    Args:
        data: as the study has split it.
        train, val: positions in its train followed by its validation.
        key: tells this split from others.
    """
    first, second = data.train, data.val
    labels = np.concatenate([first.labels, second.labels])

    def part(rows: Rows) -> PreparedSplit:
        pixels = Regrouped(whole(first.pixels), whole(second.pixels), rows)
        if first.features is None or second.features is None:
            return PreparedSplit(pixels, labels[rows])
        features = Regrouped(whole(first.features), whole(second.features), rows)
        return PreparedSplit(pixels, labels[rows], features)

    return replace(data, train=part(train), val=part(val), split_key=key)


def prepare(dataset: Dataset, geometry: Geometry) -> TrialData:
    """Train and validation of `dataset` at one geometry."""
    train, val = dataset.train.at(geometry), dataset.val.at(geometry)
    return TrialData(
        train=PreparedSplit(train, dataset.train.labels),
        val=PreparedSplit(val, dataset.val.labels),
        classes=dataset.classes,
        positive=dataset.positive,
        format=PixelFormat.of(train),
    )


@lru_cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """(channels, 1, 1); copied to a GPU once, since it waits for each such copy."""
    with torch.inference_mode(False):  # whichever mode asks first
        return torch.tensor(values, device=device).view(-1, 1, 1)


def _with_channels(images: torch.Tensor, channels: int) -> torch.Tensor:
    if channels == 1:
        grey: torch.Tensor = functional.rgb_to_grayscale(images)
        return grey
    return images.expand(-1, channels, -1, -1)
