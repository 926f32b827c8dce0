"""Models; `build_model` is the face."""

import difflib

import torch
from torch.utils.flop_counter import FlopCounterMode

from tune_bio.config import SMALL_MODELS, TrialConfig
from tune_bio.datasets.transforms import Transform
from tune_bio.errors import ConfigError
from tune_bio.models.ann import ann
from tune_bio.models.classifier import Classifier
from tune_bio.models.cnn import cnn, cnn_gap
from tune_bio.models.zoo import ZOO
from tune_bio.seeding import global_seed

__all__ = ["Classifier", "build_model", "check_model", "input_transform", "multiply_adds"]

KNOWN_MODELS = (*SMALL_MODELS, *ZOO)
SMALLEST_SIZE = 8


def build_model(config: TrialConfig, classes: int, channels: int) -> Classifier:
    """The untrained model of a configuration, its random weights drawn from `config.seed`.

    Args:
        config: names the model and its hyperparameters.
        classes: number of classes; two under `bce` make one logit, otherwise one logit a class.
        channels: of the images, 1 or 3.

    Raises:
        ConfigError: unknown model, or images too small for it.
    """
    check_model(config.model, config.image_size)
    outputs = 1 if config.loss == "bce" and classes == 2 else classes
    with global_seed(config.seed, "weights"):
        model = _build(config, outputs, channels)
    return model.to(memory_format=torch.channels_last)


def check_model(name: str, image_size: int) -> None:
    """Raise ConfigError for an unknown model, or images too small for it."""
    if name not in KNOWN_MODELS:
        near = difflib.get_close_matches(name, KNOWN_MODELS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown model {name!r}", f"{hint}known: {', '.join(KNOWN_MODELS)}")
    smallest = ZOO[name].smallest_size if name in ZOO else SMALLEST_SIZE
    if image_size < smallest:
        raise ConfigError(
            f"image_size={image_size} is too small for {name}",
            f"it needs {smallest} px or more; set image_size",
        )


def input_transform(config: TrialConfig, channels: int) -> Transform:
    """How images of `channels` become the input of the configuration's model."""
    if config.model in ZOO:
        zoo = ZOO[config.model]
        return Transform(config.image_size, 3, zoo.mean, zoo.std)
    return Transform(config.image_size, channels, (0.5,) * channels, (0.5,) * channels)


def multiply_adds(config: TrialConfig, classes: int, channels: int) -> int:
    """Multiply-adds of one forward pass over one image, by PyTorch's own counter."""
    with torch.device("meta"):
        model = build_model(config, classes, channels).eval()
        image = torch.empty(
            1, input_transform(config, channels).channels, config.image_size, config.image_size
        )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops()) // 2


def _build(config: TrialConfig, outputs: int, channels: int) -> Classifier:
    size = config.image_size
    if config.model in ZOO:
        zoo = ZOO[config.model]
        return zoo.cut(zoo.build(), outputs, config.dropouts[-1])
    if config.model == "ann":
        return ann(channels * size * size, outputs, config.widths, config.dropouts)
    build = cnn if config.model == "cnn" else cnn_gap
    try:
        return build(channels, size, outputs, config.widths, config.dropouts)
    except ValueError as error:
        raise ConfigError(
            f"{config.model} does not fit: {error}", "set a larger image_size or fewer widths"
        ) from error
