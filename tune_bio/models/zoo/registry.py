"""The model zoo: torchvision's and timm's networks, cut into a backbone and a new head.

All facts about a network come from the network itself, built on the meta device: the image sizes
that it takes, its number of features, its stages.
"""

import difflib
import functools
from collections.abc import Mapping

import torch
from torch import nn

from tune_bio.errors import ConfigError
from tune_bio.models.classifier import Classifier
from tune_bio.models.meta_device import on_meta_device, output_shape
from tune_bio.models.zoo import timm_models, torchvision_models, torchvision_stages

State = dict[str, torch.Tensor]

# Every network of the zoo halves its maps five times or cuts patches of 14 to 32 px: on smaller
# images, the last map would be smaller than one pixel.
SMALLEST = 32
# Sizes that are usual in data sets and published networks; suggested when a size is refused.
_USUAL_SIZES = (32, 48, 64, 75, 96, 112, 128, 160, 192, 224, 240, 256, 288, 299, 320, 384, 448, 512)


def knows(name: str) -> bool:
    """Return True if the zoo has this network."""
    return name in torchvision_models.names() or timm_models.knows(name)


def nearest(name: str) -> str | None:
    """Return the network name that is most similar to `name`, or None if none is similar."""
    names = (
        timm_models.names() if name.startswith(timm_models.PREFIX) else torchvision_models.names()
    )
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation, per channel, that the weights expect of inputs."""
    return timm_models.statistics(name) if _is_timm(name) else torchvision_models.statistics(name)


def build(name: str, size: int) -> nn.Module:
    """Build the network with its published head, for images of `size` px."""
    return timm_models.build(name, size) if _is_timm(name) else torchvision_models.build(name, size)


def replace_head(
    name: str, network: nn.Module, size: int, outputs: int, dropout: float
) -> Classifier:
    """Make a `Classifier` of `build(name, size)`, with a new head."""
    if _is_timm(name):
        return timm_models.replace_head(name, network, size, outputs, dropout)
    return torchvision_models.replace_head(network, outputs, dropout)


def stages(name: str, backbone: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Return the backbone's parameter names by stage, the stem first; empty without stages."""
    return timm_models.stages(backbone) if _is_timm(name) else torchvision_stages.stages(backbone)


def published_size(name: str, state: Mapping[str, torch.Tensor]) -> int:
    """Return the image side in pixels for which published weights were made."""
    return (
        timm_models.native_size(name) if _is_timm(name) else torchvision_models.size_of(name, state)
    )


def adapt(name: str, network: nn.Module, state: State) -> State:
    """Adapt weights, as published or of a backbone, to the network's image size."""
    if _is_timm(name):
        return timm_models.adapt(network, state)
    return torchvision_models.adapt(name, network, state)


@functools.cache
def refusal(name: str, size: int) -> str | None:
    """Return why the network cannot take images of `size` px, or None if it can."""
    if size < SMALLEST:
        return f"the zoo's networks need {SMALLEST} px or more"
    try:
        with on_meta_device():
            network = build(name, size)
        output_shape(network, size)
    except Exception as error:  # each network raises its own kind of error
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return first_line.rstrip(".")[:120]
    return None


def size_that_fits(name: str, size: int) -> int | None:
    """Return the smallest usual size above `size` that the network takes.

    If there is none, return its native size, or None if it does not take that either.
    """
    native = (
        timm_models.native_size(name) if _is_timm(name) else torchvision_models.native_size(name)
    )
    larger = [usual for usual in sorted({*_USUAL_SIZES, native}) if usual > size]
    return next((fitting for fitting in [*larger, native] if refusal(name, fitting) is None), None)


def refuse_unfit(name: str, size: int) -> None:
    """Raise ConfigError if the network cannot take images of `size` px."""
    reason = refusal(name, size)
    if reason is not None:
        fitting = size_that_fits(name, size)
        remedy = f"set image_size={fitting}" if fitting else "use another model"
        raise ConfigError(f"image_size={size} does not fit {name} ({reason})", remedy)


def _is_timm(name: str) -> bool:
    return name.startswith(timm_models.PREFIX)
