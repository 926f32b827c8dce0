"""Build the model of a configuration; `build_model` is the entry point."""

import difflib
import functools

import torch
from torch import nn

from tune_bio.common.seeding import global_seed
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.errors import ConfigError
from tune_bio.models.ann import ann
from tune_bio.models.classifier import Classifier
from tune_bio.models.cnn import cnn
from tune_bio.models.freezing import refuse_missing_stages
from tune_bio.models.meta_device import META, on_meta_device
from tune_bio.models.zoo import registry
from tune_bio.space.trial_config import SMALL_MODELS, TrialConfig

__all__ = [
    "Classifier",
    "build_model",
    "build_probe",
    "input_transform",
    "refuse_impossible_freeze",
    "refuse_unknown_model",
]


def build_model(config: TrialConfig, classes: int, channels: int) -> Classifier:
    """Build the untrained model of a configuration, with random weights from `config.seed`.

    Args:
        config: names the model and its hyperparameters.
        classes: number of classes; two with `bce` give one logit, otherwise one logit per class.
        channels: number of image channels, 1 or 3.

    Raises:
        ConfigError: the model is unknown, cannot take images of this size, or does not have the
            stages that `config.freeze` needs.
    """
    refuse_unknown_model(config.model, config.image_size)
    outputs = 1 if config.loss == "bce" and classes == 2 else classes
    with global_seed(config.seed, "weights"):
        model = _build(config, outputs, channels)
    refuse_missing_stages(model, config)
    return model.to(memory_format=torch.channels_last)


def build_probe(config: TrialConfig, classes: int, channels: int) -> Classifier:
    """Build the same model with the same head weights, but with its backbone on the meta device.

    A head that trains on features needs no backbone, so none is initialized or kept in memory.
    """
    with on_meta_device():
        model = build_model(config, classes, channels)
    model.backbone.to(META)  # buffers with computed values
    model.head.to_empty(device="cpu")
    _draw_head(model.head, config.seed)
    return model


def refuse_unknown_model(name: str, image_size: int | None = None) -> None:
    """Raise ConfigError if the model is unknown or cannot take images of `image_size` px."""
    if name not in SMALL_MODELS and not registry.knows(name):
        matches = difflib.get_close_matches(name, SMALL_MODELS, n=1)
        nearest = matches[0] if matches else registry.nearest(name)
        hint = f"did you mean {nearest!r}? " if nearest else ""
        raise ConfigError(
            f"unknown model {name!r}",
            f"{hint}known: {', '.join(SMALL_MODELS)}, torchvision's classification models, and "
            "timm's as timm:NAME",
        )
    if image_size is not None and name not in SMALL_MODELS:
        registry.refuse_unfit(name, image_size)


def refuse_impossible_freeze(config: TrialConfig) -> None:
    """Raise ConfigError if the strategy needs stages that the model does not have."""
    if config.frozen_stages or config.freeze == "gradual":
        _check_stages(config.model, config.image_size, config.freeze)


def input_transform(config: TrialConfig, pixel_format: PixelFormat) -> Transform:
    """Return the transform from images of this format to the input of the model."""
    geometry, channels = Geometry.of(config), pixel_format.channels
    if config.model in SMALL_MODELS:
        return Transform(geometry, pixel_format, channels, (0.5,) * channels, (0.5,) * channels)
    return Transform(geometry, pixel_format, 3, *registry.statistics(config.model))


@functools.cache
def _check_stages(model: str, image_size: int, freeze: str) -> None:
    params = {"model": model, "weights": "imagenet", "freeze": freeze, "image_size": image_size}
    with on_meta_device():
        build_model(TrialConfig.of(params), classes=2, channels=1)


def _build(config: TrialConfig, outputs: int, channels: int) -> Classifier:
    name, size = config.model, config.image_size
    if name == "ann":
        return ann(channels * size * size, outputs, config.widths, config.dropouts)
    if name not in SMALL_MODELS:
        model = registry.replace_head(
            name, registry.build(name, size), size, outputs, config.dropouts[-1]
        )
        model.stages = registry.stages(name, model.backbone)
        _draw_head(model.head, config.seed)
        return model
    layers = (config.widths, config.dropouts, config.head_width)
    try:
        return cnn(channels, size, outputs, *layers, averaged=name == "cnn_gap")
    except ValueError as error:
        raise ConfigError(
            f"{name} does not fit: {error}", "set a larger image_size or fewer widths"
        ) from error


def _draw_head(head: nn.Module, seed: int) -> None:
    """Initialize the head again, independent of the random draws for the backbone."""
    with global_seed(seed, "head"):
        for module in head.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()
