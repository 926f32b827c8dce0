"""Frozen features: the output of a network's frozen part on the images, computed once.

They serve all epochs of every trial with the same frozen part and the same images, whatever is
trained after that part. They are not used for augmented images, which differ from epoch to epoch,
or under `backbone_bn`, whose BatchNorm changes.
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
VERIFY_IMAGES = 4  # images on which a network's cut is verified
BLOCK_BYTES = 2**23  # features that a process returns at once


@dataclass(frozen=True)
class FrozenPart:
    """The frozen part of a network, and the geometry of its input.

    `stages` is the number of frozen stages after the stem; 0 means the whole backbone.
    """

    model: str
    weights: str
    stages: int
    geometry: Geometry

    @classmethod
    def of(cls, config: TrialConfig) -> "FrozenPart | None":
        """Return the part that is frozen in the first epoch; None if its output can change."""
        if config.freeze in ("none", "backbone_bn") or config.augment != "none":
            return None
        return cls(config.model, config.weights, config.frozen_stages, Geometry.of(config))

    def __str__(self) -> str:
        part = f"stages_{self.stages}" if self.stages else "backbone"
        return f"{self.model} ({self.weights}), {part}, {self.geometry.image_size} px"


@dataclass(frozen=True)
class FeatureMaker:
    """The device ("cpu" or "gpu"), number of threads and dtype of computed features."""

    device: str
    threads: int
    dtype: str


@dataclass(frozen=True)
class Block:
    """The rows `start` to `stop` (exclusive) of a split, which are computed together."""

    split: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """The features of both splits for one frozen part, identified by `key`.

    config: one of the configurations that share the part.
    rows: number of images by split.
    """

    part: FrozenPart
    config: TrialConfig
    key: str
    cut: FeatureCut
    rows: Mapping[str, int]
    maker: FeatureMaker

    @property
    def images(self) -> int:
        """The number of images of both splits."""
        return sum(self.rows.values())

    @property
    def nbytes(self) -> int:
        """The size on disk."""
        return self.images * row_bytes(self.cut, self.maker.dtype)

    @property
    def blocks(self) -> list[Block]:
        """Blocks of whole batches, so that the bytes do not depend on the computing process."""
        kind = "cuda" if self.maker.device == "gpu" else "cpu"
        batch = feature_batch(self.part.geometry.image_size, kind)
        step = batch * max(1, BLOCK_BYTES // (batch * row_bytes(self.cut, self.maker.dtype)))
        return [
            Block(split, start, min(start + step, n))
            for split, n in self.rows.items()
            for start in range(0, n, step)
        ]


def feature_key(config: TrialConfig, weights: str, dataset: Dataset, maker: FeatureMaker) -> str:
    """Return the SHA-256, in hex, of everything that a feature set's bytes depend on.

    `weights` is the SHA-256 of the published weight file.
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
    """Return a configuration's model with pretrained weights, frozen as in its first epoch."""
    model = build_model(config, CLASSES, channels)
    fit_backbone(config.model, model.backbone, backbone)
    freeze(model, config, 1)
    return model


def verified_cut(model: Classifier, transform: Transform, pixels: Pixels) -> FeatureCut:
    """Return the feature cut of a model, verified on a few of these images in both modes.

    Raises:
        NoCutError: the model cannot be cut.
    """
    rows = np.linspace(0, len(pixels) - 1, num=min(VERIFY_IMAGES, len(pixels))).astype(np.intp)
    images = transform.normalize(as_tensor(pixels[rows]))
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
    """Return features (n, *cut.row) of resized pixels (n, S, S, C), in batches of a fixed size.

    Raises:
        ArithmeticError: a feature is not finite or exceeds the range of `dtype`.
    """
    torch_dtype = torch.float16 if dtype == "float16" else torch.float32
    batches, batch_size = [], feature_batch(transform.geometry.image_size, device.type)
    for rows in torch.arange(len(pixels)).split(batch_size):
        images = transform.normalize(gather(as_tensor(pixels), rows, device))
        with precision(device, training=False):
            batches.append(before_cut(model, cut, images).to("cpu", torch_dtype))
    features: Features = torch.cat(batches).numpy()
    if not np.isfinite(features).all():
        raise ArithmeticError(f"features that {dtype} cannot hold")
    return features


def feature_batch(size: int, device: str = "cpu") -> int:
    """Return the number of images of `size` px that go through the frozen part at once."""
    return evaluation_batch(size, device)


def row_bytes(cut: FeatureCut, dtype: str) -> int:
    """Return the size of one image's features, in bytes."""
    return int(np.prod(cut.row)) * np.dtype(dtype).itemsize


def frozen_parts(configs: Iterable[TrialConfig]) -> dict[FrozenPart, list[TrialConfig]]:
    """Return the shareable frozen parts with their configurations, the most shared part first."""
    configs_by_part: dict[FrozenPart, list[TrialConfig]] = {}
    for config in configs:
        part = FrozenPart.of(config)
        if part is not None:
            configs_by_part.setdefault(part, []).append(config)
    return dict(sorted(configs_by_part.items(), key=lambda item: -len(item[1])))
