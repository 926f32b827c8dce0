"""Small data sets, comparisons and Hypothesis settings that several tests share."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from hypothesis import settings
from torch import nn

from tune_bio.datasets.cache.arrays import default_folder
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.pixels import PixelFormat, Pixels
from tune_bio.datasets.sources.array_source import ArraySource
from tune_bio.datasets.trial_data import PreparedSplit, TrialData
from tune_bio.errors import InputError
from tune_bio.models.build import build_model, input_transform
from tune_bio.reuse.frozen_features import compute_features, frozen_model, verified_cut
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import EpochResult
from tune_bio.training.state import CPU, Tensors

PRETRAINED = (
    "resnet18", "squeezenet1_0", "mobilenet_v3_small", "timm:tf_efficientnet_lite0",
    "timm:convnext_atto",
)  # fmt: skip
MODELS = ("ann", "cnn", "cnn_gap", *PRETRAINED)
CLOCK = ("seconds", "images_per_second")
T = TypeVar("T")

# Everything else comes from the profile that conftest.py loads.
examples = settings(max_examples=300)
few_examples = settings(max_examples=25)


def config(model: str = "cnn_gap", **params: Any) -> TrialConfig:
    """Return a configuration that trains in milliseconds."""
    small = {"width": 8} if model in ("ann", "cnn", "cnn_gap") else {}
    size = 16 if small else 32
    return TrialConfig.of(
        {"model": model, "image_size": size, "epochs": 2, "batch_size": 8} | small | params
    )


def prepared(n: int, size: int, channels: int, classes: int, seed: int) -> PreparedSplit:
    """Return noise with a class cue that is easy to learn: a quadrant brighter by class."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % classes).astype(np.int64)
    pixels = rng.integers(0, 200, (n, size, size, channels))
    pixels[:, : size // 2, : size // 2] += (50 * labels // (classes - 1))[:, None, None, None]
    return PreparedSplit(pixels.astype(np.uint8), labels)


def trial_data(
    config: TrialConfig, *, train: int = 24, val: int = 12, classes: int = 2, channels: int = 1
) -> TrialData:
    """Return train and validation splits for a configuration."""
    size = config.image_size
    names = tuple(f"class{k}" for k in range(classes))
    return TrialData(
        prepared(train, size, channels, classes, seed=1),
        prepared(val, size, channels, classes, seed=2),
        names,
        classes - 1,
        PixelFormat(channels),
    )


def as_images(pixels: Pixels, labels: Any, patients: Any, names: Any) -> Images:
    """Return all images of an array, (n, H, W, C), as a split."""
    source = ArraySource([pixels], ["made"], default_folder())
    return Images(source, np.arange(len(labels)), labels, patients, names)


def dataset(n: int = 30, size: int = 20, channels: int = 1, classes: int = 2) -> Dataset:
    """Return a data set of three splits with known patients."""

    def images(name: str, seed: int) -> Images:
        split = prepared(n, size, channels, classes, seed)
        names = np.array([f"{name}-{i}" for i in range(n)])
        return as_images(split.pixels, split.labels, names, names)

    return Dataset(
        source="made",
        classes=tuple(f"class{k}" for k in range(classes)),
        positive=classes - 1,
        train=images("train", 1),
        val=images("val", 2),
        test=images("test", 3),
        split="made",
        patients_known=True,
    )


def foreign_backbone(config: TrialConfig, channels: int = 1) -> Tensors:
    """Return a backbone drawn with another seed than that of `config`, to act as pretrained."""
    reseeded = config.model_copy(update={"seed": 987})
    return build_model(reseeded, 2, channels).backbone.state_dict()


def lively_backbone(config: TrialConfig) -> Tensors:
    """Return such weights with BatchNorm adjusted to noise.

    Without the adjustment, the output of a deep untrained network is constant.
    """
    model = build_model(config.model_copy(update={"seed": 987}), 2, 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # mean over all batches (here, one)
    with torch.no_grad():  # gradients of 64 large images would not fit in memory
        model.train()(torch.randn(64, 3, config.image_size, config.image_size))
    return {name: tensor.detach() for name, tensor in model.backbone.state_dict().items()}


def featured(
    config: TrialConfig, data: TrialData, backbone: Tensors, dtype: str = "float32"
) -> TrialData:
    """Return `data` with the features of the configuration's frozen part."""
    model = frozen_model(config, backbone, data.format.channels)
    transform = input_transform(config, data.format)
    cut = verified_cut(model, transform, data.train.pixels)
    train, val = (
        compute_features(model, cut, transform, split.pixels, dtype, CPU)
        for split in (data.train, data.val)
    )
    return data.with_features(cut, train, val)


def timeless(results: list[EpochResult]) -> list[dict[str, Any]]:
    """Return epoch results without the columns that depend on the clock."""
    rows = [dataclasses.asdict(result) for result in results]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def same(a: Tensors, b: Tensors) -> bool:
    """Return True if two sets of tensors have the same names and the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def is_one_line(error: BaseException) -> bool:
    """Return True if an error is one line: a fault, a colon and a remedy."""
    fault, _, remedy = str(error).partition(": ")
    return "\n" not in str(error) and bool(fault) and bool(remedy)


def outcome(call: Callable[[], T]) -> T | InputError:
    """Return the result of a call, or the one-line error with which it refuses its input."""
    try:
        return call()
    except InputError as error:
        refusal = error
    assert is_one_line(refusal)
    return refusal
