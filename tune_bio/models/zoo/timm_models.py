"""timm's networks, named `timm:NAME`: how each is built, cut and adapted to a size."""

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
    """Whether `timm:NAME` names a network (with or without the tag of its weights)."""
    return name.startswith(PREFIX) and bool(_timm().is_model(_plain(name)))


@functools.cache
def names() -> tuple[str, ...]:
    """Every network of timm, as `timm:NAME`."""
    return tuple(PREFIX + name for name in _timm().list_models())


def published(name: str) -> Any:
    """timm's description of the default weights (`timm.models.PretrainedCfg`), or None."""
    return _timm().get_pretrained_cfg(_plain(name))


def native_size(name: str) -> int:
    """The side in pixels for which the default weights were made."""
    config = published(name)
    return int(config.input_size[1]) if config is not None else 224


def statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, by channel, of the inputs that the weights expect."""
    config = published(name)
    if config is None:
        return (0.5,) * 3, (0.5,) * 3
    return tuple(config.mean), tuple(config.std)


def build(name: str, size: int) -> nn.Module:
    """The network with its published head, for images of `size` px; raises what timm raises."""
    config = published(name)
    arguments: dict[str, Any] = {"num_classes": config.num_classes if config is not None else 1000}
    if _takes_size(name):
        arguments["img_size"] = size
    network: nn.Module = _timm().create_model(_plain(name), **arguments)
    return network


def replace_head(
    name: str, network: nn.Module, size: int, outputs: int, dropout: float
) -> Classifier:
    """Make a `Classifier` of a network: its classifier is replaced, the pooling stays."""
    network.reset_classifier(0)  # type: ignore[operator]
    features = _features(name, size)
    return Classifier(network, nn.Sequential(Dropout(dropout), nn.Linear(features, outputs)))


def adapt(network: nn.Module, state: State) -> State:
    """Published weights, or those of a backbone, brought to the network's names and image size."""
    wanted = network.state_dict()
    if all(name in wanted and wanted[name].shape == tensor.shape for name, tensor in state.items()):
        return state
    # timm's own conversion, which `pretrained=True` runs: each file of networks has one, or none.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return state if convert is None else dict(convert(dict(state), network))


def stages(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The parameters' names by stage, the stem first; empty for a family without stages."""
    reductions = {level["reduction"] for level in getattr(network, "feature_info", ())}
    if len(reductions) < 3:  # a transformer of equal blocks, say
        return ()
    try:
        matcher = network.group_matcher(coarse=True)  # type: ignore[operator]
        groups = _timm().models.group_parameters(network, matcher)
    except (AssertionError, AttributeError):  # not every family of timm tells its groups
        return ()
    found = [tuple(groups[number]) for number in sorted(groups)]
    weights = dict(network.named_parameters())
    if all(weights[name].ndim < 2 for name in found[-1]):  # a last normalisation is no stage
        found[-2:] = [found[-2] + found[-1]]
    return tuple(found)


@functools.cache
def _takes_size(name: str) -> bool:
    """Transformers are built for one image size, other networks take any."""
    with on_meta_device():
        network = _timm().create_model(_plain(name))
    return "img_size" in inspect.signature(type(network).__init__).parameters


@functools.cache
def _features(name: str, size: int) -> int:
    """How many features the network gives; what it tells of itself is not always that."""
    with on_meta_device():
        network = build(name, size)
    network.reset_classifier(0)  # type: ignore[operator]
    return output_shape(network, size)[1]


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX)


def _timm() -> Any:
    """The library, imported when it is first asked for: many studies never do."""
    import timm

    return timm
