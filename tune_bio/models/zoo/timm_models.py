"""timm's networks, named `timm:NAME`: building, cutting and adapting them to an image size."""

import functools
import inspect
import sys
from typing import Any

import torch
from torch import nn

from tune_bio.models.classifier import Classifier
from tune_bio.models.dropout import Dropout
from tune_bio.models.meta_device import on_meta_device, output_shape

PREFIX = "timm:"
State = dict[str, torch.Tensor]


def knows(name: str) -> bool:
    """Return True if `timm:NAME` names a network (with or without the tag of its weights)."""
    return name.startswith(PREFIX) and bool(_timm().is_model(_plain(name)))


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all networks of timm, as `timm:NAME`."""
    return tuple(PREFIX + name for name in _timm().list_models())


def published(name: str) -> Any:
    """Return timm's description of the default weights (`timm.models.PretrainedCfg`), or None."""
    return _timm().get_pretrained_cfg(_plain(name))


def native_size(name: str) -> int:
    """Return the image side in pixels for which the default weights were made."""
    config = published(name)
    return int(config.input_size[1]) if config is not None else 224


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation, per channel, that the weights expect of inputs."""
    config = published(name)
    if config is None:
        return (0.5,) * 3, (0.5,) * 3
    return tuple(config.mean), tuple(config.std)


def build(name: str, size: int) -> nn.Module:
    """Build the network with its published head, for images of `size` px.

    Raises whatever timm raises.
    """
    config = published(name)
    kwargs: dict[str, Any] = {"num_classes": config.num_classes if config is not None else 1000}
    if _takes_size(name):
        kwargs["img_size"] = size
    network: nn.Module = _timm().create_model(_plain(name), **kwargs)
    return network


def replace_head(
    name: str, network: nn.Module, size: int, outputs: int, dropout: float
) -> Classifier:
    """Make a `Classifier` of a network: its classifier is replaced, its pooling stays."""
    network.reset_classifier(0)  # type: ignore[operator]
    features = _features(name, size)
    return Classifier(network, nn.Sequential(Dropout(dropout), nn.Linear(features, outputs)))


def adapt(network: nn.Module, state: State) -> State:
    """Adapt weights, as published or of a backbone, to the network's names and image size."""
    target = network.state_dict()
    if all(name in target and target[name].shape == tensor.shape for name, tensor in state.items()):
        return state
    # timm's own conversion, as run by `pretrained=True`; each model file has one or none.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return state if convert is None else dict(convert(dict(state), network))


def stages(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Return the parameter names by stage, the stem first; empty for a family without stages."""
    reductions = {level["reduction"] for level in getattr(network, "feature_info", ())}
    if len(reductions) < 3:  # such as a transformer of equal blocks
        return ()
    try:
        matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
        groups = _timm().models.group_parameters(network, matcher)
    except (AssertionError, AttributeError):  # not every family of timm defines groups
        return ()
    by_stage = [tuple(groups[number]) for number in sorted(groups)]
    weights = dict(network.named_parameters())
    if all(weights[name].ndim < 2 for name in by_stage[-1]):  # a final normalisation, not a stage
        by_stage[-2:] = [by_stage[-2] + by_stage[-1]]
    return tuple(by_stage)


@functools.cache
def _takes_size(name: str) -> bool:
    """Return True if the network is built for one image size, as transformers are."""
    with on_meta_device():
        network = _timm().create_model(_plain(name))
    return "img_size" in inspect.signature(type(network).__init__).parameters


@functools.cache
def _features(name: str, size: int) -> int:
    """Measure the number of output features; what the network declares is not always right."""
    with on_meta_device():
        network = build(name, size)
    network.reset_classifier(0)  # type: ignore[operator]
    return output_shape(network, size)[1]


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX)


def _timm() -> Any:
    """Import timm on first use; many studies never need it."""
    import timm

    return timm
