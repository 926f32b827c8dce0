"""torchvision's classification networks: how each is built, cut and adapted to a size."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

from tune_bio.models.classifier import Classifier
from tune_bio.models.dropout import Dropout

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_CLASSES = 1000
# Their published weights come with `transform_input`, which turns ImageNet's normalisation into
# this one inside the network.
_INCEPTIONS = ("googlenet", "inception_v3")
_POSITIONS = "encoder.pos_embedding"

State = dict[str, torch.Tensor]


@functools.cache
def names() -> tuple[str, ...]:
    """Every classification network of torchvision."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def native_size(name: str) -> int:
    """The side in pixels for which the default weights were made."""
    default = torchvision.models.get_model_weights(name)["DEFAULT"]
    return int(default.transforms().crop_size[0])


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, by channel, of the inputs that the weights expect."""
    if name in _INCEPTIONS:
        return (0.5,) * 3, (0.5,) * 3
    return IMAGENET_MEAN, IMAGENET_STD


def build(name: str, size: int) -> nn.Module:
    """The network with ImageNet's head, for images of `size` px; AssertionError where it cannot."""
    arguments: dict[str, Any] = {}
    if name.startswith("vit_"):
        arguments["image_size"] = size
    if name in _INCEPTIONS:
        arguments["init_weights"] = True
    network: nn.Module = torchvision.models.get_model(name, **arguments)
    return network


def replace_head(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    """Make a `Classifier` of a network: its last layer, and the dropout before it, are replaced."""
    if isinstance(network, torchvision.models.SqueezeNet):
        return _replace_squeezenet_head(network, outputs, dropout)
    _drop_auxiliary_heads(network)
    last = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
    features = network.get_submodule(last).in_features
    _replace(network, last, nn.Identity())
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Dropout) and name == _before(last, network):
            _replace(network, name, nn.Identity())  # the new head brings its own
        elif isinstance(layer, nn.Dropout) and name.startswith("classifier."):
            layer.p = dropout  # the hidden layers of AlexNet and VGG
    assert isinstance(features, int)
    return Classifier(network, nn.Sequential(Dropout(dropout), nn.Linear(features, outputs)))


def size_of(name: str, published: Mapping[str, torch.Tensor]) -> int:
    """The side in pixels for which published weights were made, where it shows in them."""
    if not name.startswith("vit_") or _POSITIONS not in published:
        return native_size(name)
    patch = published["conv_proj.weight"].shape[-1]
    return patch * math.isqrt(published[_POSITIONS].shape[1] - 1)


def adapt(name: str, network: nn.Module, state: State) -> State:
    """Published weights, or those of a backbone, brought to the network's image size."""
    if not name.startswith("vit_") or _POSITIONS not in state:
        return state
    size, patch = network.image_size, network.patch_size
    assert isinstance(size, int)
    assert isinstance(patch, int)
    return dict(interpolate_embeddings(size, patch, dict(state)))


def _replace_squeezenet_head(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    head = nn.Sequential(
        Dropout(dropout),
        nn.Conv2d(512, outputs, kernel_size=1),
        # torchvision has a ReLU here. It would keep logits from being negative, which a single
        # logit under BCE has to be, and would leave dead outputs where a new head starts badly.
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    backbone = network.features
    assert isinstance(backbone, nn.Module)
    return Classifier(backbone, head)


def _drop_auxiliary_heads(network: nn.Module) -> None:
    """GoogLeNet and Inception train two further classifiers of ImageNet's classes."""
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(network, name):
            setattr(network, name, None)
            setattr(network, "aux_logits", False)  # noqa: B010 - no tensor, whatever types say


def _before(last: str, network: nn.Module) -> str:
    """The name of the layer right before the last one, as the networks lay them out."""
    parent, _, index = last.rpartition(".")
    if parent and index.isdigit():
        return f"{parent}.{int(index) - 1}"
    return "dropout" if hasattr(network, "dropout") else ""


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)
