"""Frozen features: what a network's frozen part makes of the images, computed once.

They serve every trial whose configuration has the same frozen part on the same images, whatever
it trains behind it, in all of its epochs. Not where images are augmented, since they differ from
epoch to epoch; and not under `backbone_bn`, whose BatchNorm changes.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import torch

from tune_bio.datasets.decoding.versions import pixel_versions
from tune_bio.datasets.feature_arrays import FeatureCut, Features
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.models.build import build_model, input_transform
from tune_bio.models.classifier import Classifier
from tune_bio.models.feature_cut import before_cut, find_cut, verify
from tune_bio.models.freezing import freeze
from tune_bio.models.weights.pretrained import fit_backbone
from tune_bio.reuse.code_version import code_version
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.devices import as_tensor, gather, precision
from tune_bio.training.fit import evaluation_batch
from tune_bio.training.state import Tensors

CLASSES = 2  # of the head that a frozen part is built with; features do not depend on it
VERIFY_IMAGES = 4  # images on which a network is tried out
BLOCK_BYTES = 2**23  # features that a process hands over at once


@dataclass(frozen=True)
class FrozenPart:
    """A frozen part, and what it sees.

    `stages` counts the frozen stages behind the stem; 0 stands for the whole backbone.
    """

    model: str
    weights: str
    stages: int
    geometry: Geometry

    @classmethod
    def of(cls, config: TrialConfig) -> "FrozenPart | None":
        """The part that is frozen in the first epoch; None where its output is not fixed."""
        if config.freeze in ("none", "backbone_bn") or config.augment != "none":
            return None
        return cls(config.model, config.weights, config.frozen_stages, Geometry.of(config))

    def __str__(self) -> str:
        what = f"stages_{self.stages}" if self.stages else "backbone"
        return f"{self.model} ({self.weights}), {what}, {self.geometry.image_size} px"


@dataclass(frozen=True)
class FeatureMaker:
    """What computes features: on "cpu" or "gpu", with how many threads; and their dtype."""

    device: str
    threads: int
    dtype: str


@dataclass(frozen=True)
class Block:
    """Rows of a split that are computed together, from `start` to before `stop`."""

    split: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """One part's features of both splits; `key` tells it from others.

    config: one of those that share the part.
    rows: how many images each split has.
    """

    part: FrozenPart
    config: TrialConfig
    key: str
    cut: FeatureCut
    rows: Mapping[str, int]
    maker: FeatureMaker

    @property
    def images(self) -> int:
        """How many images it is of."""
        return sum(self.rows.values())

    @property
    def nbytes(self) -> int:
        """What it takes on disk."""
        return self.images * row_bytes(self.cut, self.maker.dtype)

    @property
    def blocks(self) -> list[Block]:
        """Both splits in blocks of whole batches, so that who computes them changes no byte."""
        kind = "cuda" if self.maker.device == "gpu" else "cpu"
        batch = feature_batch(self.part.geometry.image_size, kind)
        step = batch * max(1, BLOCK_BYTES // (batch * row_bytes(self.cut, self.maker.dtype)))
        return [
            Block(split, start, min(start + step, n))
            for split, n in self.rows.items()
            for start in range(0, n, step)
        ]


def feature_key(config: TrialConfig, weights: str, dataset: Dataset, maker: FeatureMaker) -> str:
    """The SHA-256, in hex, of everything that a feature set's bytes depend on.

    `weights` is the SHA-256 of the published file.
    """
    geometry = Geometry.of(config)
    content = [
        weights,
        config.model,
        config.frozen_stages,
        input_transform(config, dataset.pixel_format(geometry)).to_json(),
        [dataset.train.pixel_digest, dataset.val.pixel_digest],
        asdict(maker),
        [*pixel_versions(), version("timm")],
        code_version(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def frozen_model(config: TrialConfig, backbone: Tensors, channels: int) -> Classifier:
    """The model of a configuration, with pretrained weights, frozen as in its first epoch."""
    model = build_model(config, CLASSES, channels)
    fit_backbone(config.model, model.backbone, backbone)
    freeze(model, config, 1)
    return model


def verified_cut(model: Classifier, transform: Transform, pixels: Pixels) -> FeatureCut:
    """Where the model is cut; tried out on a few of these images, in both modes.

    Raises:
        NoCutError: it cannot be.
    """
    few = np.linspace(0, len(pixels) - 1, num=min(VERIFY_IMAGES, len(pixels))).astype(np.intp)
    images = transform.normalize(as_tensor(pixels[few]))
    cut = find_cut(model, images)
    verify(model, cut, images)
    return cut


def compute_features(
    model: Classifier,
    cut: FeatureCut,
    transform: Transform,
    pixels: Pixels,
    dtype: str,
    device: torch.device,
) -> Features:
    """Features (n, *cut.row) of resized pixels (n, S, S, C), in batches of a fixed size.

    Raises:
        ArithmeticError: a feature is not finite, or beyond what `dtype` can hold.
    """
    kind = torch.float16 if dtype == "float16" else torch.float32
    made, at_once = [], feature_batch(transform.geometry.image_size, device.type)
    for batch in torch.arange(len(pixels)).split(at_once):
        images = transform.normalize(gather(as_tensor(pixels), batch, device))
        with precision(device, training=False):
            made.append(before_cut(model, cut, images).to("cpu", kind))
    features: Features = torch.cat(made).numpy()
    if not np.isfinite(features).all():
        raise ArithmeticError(f"features that {dtype} cannot hold")
    return features


def feature_batch(size: int, device: str = "cpu") -> int:
    """How many images of `size` px go through the frozen part at once."""
    return evaluation_batch(size, device)


def row_bytes(cut: FeatureCut, dtype: str) -> int:
    """The size of one image's features."""
    return int(np.prod(cut.row)) * np.dtype(dtype).itemsize


def frozen_parts(configs: Iterable[TrialConfig]) -> dict[FrozenPart, list[TrialConfig]]:
    """The parts that configurations can share, each with those that do; the most shared first."""
    found: dict[FrozenPart, list[TrialConfig]] = {}
    for config in configs:
        part = FrozenPart.of(config)
        if part is not None:
            found.setdefault(part, []).append(config)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
