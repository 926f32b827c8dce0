"""The stages of torchvision's networks, as lists of parameter names.

A stage is what the network's paper calls a stage, or a run of layers of one resolution. What
follows the last stage (a final convolution or normalisation) belongs to it.
"""

import itertools
import re
from collections.abc import Callable

from torch import nn
from torchvision import models

STEM = 0
# Maps the name of a parameter to its stage; None means the last stage.
StageOf = Callable[[str], int | None]


def stages(backbone: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Return the parameter names by stage, the stem first; empty for a family without stages."""
    stage_of = _stage_of(backbone)
    if stage_of is None:
        return ()
    numbers = {name: stage_of(name) for name, _ in backbone.named_parameters()}
    last = max(number for number in numbers.values() if number is not None)
    by_stage: list[list[str]] = [[] for _ in range(last + 1)]
    for name, number in numbers.items():
        by_stage[last if number is None else number].append(name)
    return tuple(map(tuple, by_stage))


def _stage_of(backbone: nn.Module) -> StageOf | None:
    for family, stem, stage, offset in _NUMBERED:
        if isinstance(backbone, family):
            return _by_number(stem, stage, offset)
    if isinstance(backbone, models.ConvNeXt | models.SwinTransformer):
        return _alternating
    if isinstance(backbone, models.GoogLeNet | models.Inception3):
        return _inception
    if isinstance(backbone, models.MobileNetV2 | models.MobileNetV3):
        return _by_position(backbone.features, _begins_without_shortcut)
    if isinstance(backbone, models.EfficientNet):
        return _by_position(backbone.features, _is_block_sequence)
    if isinstance(backbone, models.AlexNet | models.VGG):
        return _by_position(backbone.features, _is_after_pooling, hidden=True)
    if isinstance(backbone, nn.Sequential):  # SqueezeNet, whose backbone is its `features`
        return _by_position(backbone, _is_after_pooling)
    return None  # a vision transformer: equal blocks, no stages


# Families that number their stages in parameter names: the prefixes of the stem's names, the
# expression that matches the number, and the offset to subtract from it.
_NUMBERED: tuple[tuple[type[nn.Module], tuple[str, ...], str, int], ...] = (
    (models.ResNet, ("conv1", "bn1"), r"layer(\d)\.", 0),
    (models.RegNet, ("stem",), r"trunk_output\.block(\d)\.", 0),
    (
        models.DenseNet,
        ("features.conv0", "features.norm0"),
        r"features\.(?:denseblock|transition)(\d)\.",
        0,
    ),
    (models.ShuffleNetV2, ("conv1",), r"stage(\d)\.", 1),
    (models.MNASNet, tuple(f"layers.{i}." for i in range(8)), r"layers\.(8|9|1[0-3])\.", 7),
    (models.MaxVit, ("stem",), r"blocks\.(\d)\.", -1),
)


def _by_number(stem: tuple[str, ...], stage: str, offset: int) -> StageOf:
    def number(name: str) -> int | None:
        if name.startswith(stem):
            return STEM
        match = re.match(stage, name)
        return int(match.group(1)) - offset if match else None

    return number


def _alternating(name: str) -> int | None:
    """Return the stage where `features` alternates stages and downsampling after the stem."""
    match = re.match(r"features\.(\d)\.", name)
    if match is None:
        return None
    position = int(match.group(1))
    return position // 2 + 1 if position else STEM


def _inception(name: str) -> int | None:
    if name.lower().startswith("conv"):
        return STEM
    match = re.match(r"inception(\d)|Mixed_(\d)", name)
    if match is None:
        return None
    offset = 2 if match.group(1) else 4  # GoogLeNet starts at inception3, Inception at Mixed_5
    return int(match.group(1) or match.group(2)) - offset


def _by_position(
    features: nn.Module, begins: Callable[[nn.Module, nn.Module], bool], *, hidden: bool = False
) -> StageOf:
    """Number the layers of a chain; a stage begins where `begins(previous layer, layer)` is True.

    With `hidden`, the layers after the chain form one more stage.
    """
    layers = list(features.children())
    numbers = [STEM]
    for before, layer in itertools.pairwise(layers):
        numbers.append(numbers[-1] + begins(before, layer))

    def stage(name: str) -> int | None:
        match = re.match(r"(?:features\.)?(\d+)\.", name)
        if match is None:
            return numbers[-1] + 1 if hidden else None
        return numbers[int(match.group(1))]

    return stage


def _begins_without_shortcut(before: nn.Module, layer: nn.Module) -> bool:
    """Return True at the first block of a stage: it changes the shape and has no shortcut."""
    return getattr(layer, "use_res_connect", True) is False


def _is_after_pooling(before: nn.Module, layer: nn.Module) -> bool:
    return isinstance(before, nn.MaxPool2d)


def _is_block_sequence(before: nn.Module, layer: nn.Module) -> bool:
    """Return True for a stage of EfficientNet, a sequence of blocks; not for a convolution."""
    return type(layer) is nn.Sequential
