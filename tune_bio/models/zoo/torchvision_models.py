"""torchvision's classification networks: building, cutting and adapting them to an image size."""

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
# Networks whose weights expect mean and deviation 0.5. With published weights, torchvision sets
# `transform_input`, which converts ImageNet's normalisation to this one inside the network.
_INCEPTIONS = ("googlenet", "inception_v3")
_POSITIONS = "encoder.pos_embedding"

State = dict[str, torch.Tensor]


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all classification networks of torchvision."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def native_size(name: str) -> int:
    """Return the image side in pixels for which the default weights were made."""
    default = torchvision.models.get_model_weights(name)["DEFAULT"]
    return int(default.transforms().crop_size[0])


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation, per channel, that the weights expect of inputs."""
    if name in _INCEPTIONS:
        return (0.5,) * 3, (0.5,) * 3
    return IMAGENET_MEAN, IMAGENET_STD


def build(name: str, size: int) -> nn.Module:
    """Build the network with its ImageNet head, for images of `size` px.

    Raises AssertionError if the network cannot take images of this size.
    """
    kwargs: dict[str, Any] = {}
    if name.startswith("vit_"):
        kwargs["image_size"] = size
    if name in _INCEPTIONS:
        kwargs["init_weights"] = True
    network: nn.Module = torchvision.models.get_model(name, **kwargs)
    return network


def replace_head(network: nn.Module, outputs: int, dropout: float) -> Classifier:
    """Make a `Classifier` of a network: its last layer and the dropout before it are replaced."""
    if isinstance(network, torchvision.models.SqueezeNet):
        return _replace_squeezenet_head(network, outputs, dropout)
    _drop_auxiliary_heads(network)
    last = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
    features = network.get_submodule(last).in_features
    _replace(network, last, nn.Identity())
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Dropout) and name == _before(last, network):
            _replace(network, name, nn.Identity())  # the new head has its own
        elif isinstance(layer, nn.Dropout) and name.startswith("classifier."):
            layer.p = dropout  # the hidden layers of AlexNet and VGG
    assert isinstance(features, int)
    return Classifier(network, nn.Sequential(Dropout(dropout), nn.Linear(features, outputs)))


def size_of(name: str, state: Mapping[str, torch.Tensor]) -> int:
    """Return the image side in pixels for which weights were made, read from them if possible."""
    if not name.startswith("vit_") or _POSITIONS not in state:
        return native_size(name)
    patch = state["conv_proj.weight"].shape[-1]
    return patch * math.isqrt(state[_POSITIONS].shape[1] - 1)


def adapt(name: str, network: nn.Module, state: State) -> State:
    """Adapt weights, as published or of a backbone, to the network's image size."""
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
        # torchvision has a ReLU here. It would prevent negative logits, which a single logit with
        # BCE needs, and would leave dead outputs when a new head starts badly.
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    backbone = network.features
    assert isinstance(backbone, nn.Module)
    return Classifier(backbone, head)


def _drop_auxiliary_heads(network: nn.Module) -> None:
    """Remove the auxiliary ImageNet classifiers of GoogLeNet and Inception."""
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(network, name):
            setattr(network, name, None)
            setattr(network, "aux_logits", False)  # noqa: B010 - not a tensor, whatever the types say


def _before(last: str, network: nn.Module) -> str:
    """Return the name of the layer before the last one, by the layout of these networks."""
    parent, _, index = last.rpartition(".")
    if parent and index.isdigit():
        return f"{parent}.{int(index) - 1}"
    return "dropout" if hasattr(network, "dropout") else ""


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, layer)
