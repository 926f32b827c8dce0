"""Parameters, operations and memory of a configuration, counted from shapes only."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from tune_bio.datasets.pixels import PixelFormat
from tune_bio.errors import ResourceError
from tune_bio.models.build import build_model, input_transform
from tune_bio.models.classifier import Classifier
from tune_bio.models.freezing import freeze, trained_names
from tune_bio.models.meta_device import META, on_meta_device
from tune_bio.space.trial_config import TrialConfig


@dataclass(frozen=True)
class Cost:
    """Counts of one configuration.

    multiply_adds: in one forward pass over one image.
    saved_bytes: memory that one training image occupies until the backward pass.
    widest_bytes: size of the largest layer output, for one image.
    """

    parameters: int
    trainable_parameters: int
    multiply_adds: int
    saved_bytes: int
    widest_bytes: int


def cost(config: TrialConfig, classes: int, channels: int) -> Cost:
    """Count the cost of `config` for this number of classes and image channels.

    Raises:
        ConfigError: see `build_model`.
        ResourceError: the network is too large to be counted.
    """
    return _cost(_architecture(config), classes, channels)


def _architecture(config: TrialConfig) -> TrialConfig:
    """Return the same network with default training: what does not change the counts is dropped."""
    names = ["model", "depth", "width", "head_width", "loss", "image_size"]
    if config.freeze != "none":
        names += ["weights", "freeze"]
    if config.freeze in ("lp_ft", "gradual"):
        names += ["lp_epochs", "unfreeze_every", "epochs"]
    if isinstance(config.dropout, str):
        names.append("dropout")  # a list also sets the number of layers
    return TrialConfig.model_construct(**{name: getattr(config, name) for name in names})


@functools.lru_cache(maxsize=1024)
def _cost(config: TrialConfig, classes: int, channels: int) -> Cost:
    try:
        with on_meta_device():
            model = build_model(config, classes, channels)
    except RuntimeError as error:  # from PyTorch, when even the sizes overflow
        raise ResourceError(
            f"{config.model} with width={config.width} is too large for any memory", "lower width"
        ) from error
    model = model.to(META)
    trained = trained_names(model, config)
    parameters = {name: parameter.numel() for name, parameter in model.named_parameters()}
    inputs = input_transform(config, PixelFormat(channels)).channels
    multiply_adds, widest = _forward(model, inputs, config.image_size)
    freeze(model, config, config.epochs)
    saved = [_saved_bytes(model, inputs, config.image_size, batch) for batch in (2, 4)]
    return Cost(
        parameters=sum(parameters.values()),
        trainable_parameters=sum(n for name, n in parameters.items() if name in trained),
        multiply_adds=multiply_adds,
        # The difference between two batches excludes what does not grow with the batch.
        saved_bytes=(saved[1] - saved[0]) // 2,
        widest_bytes=widest,
    )


def _forward(model: Classifier, channels: int, size: int) -> tuple[int, int]:
    """Return (multiply-adds, bytes of the widest output) for one image, by PyTorch's counter."""
    widest = 0

    def update_widest(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal widest
        if isinstance(output, torch.Tensor):
            widest = max(widest, output.nbytes)

    hooks = [module.register_forward_hook(update_widest) for module in model.modules()]
    model.eval()
    with META, torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, channels, size, size))
    for hook in hooks:
        hook.remove()
    return int(counter.get_total_flops()) // 2, widest


def _saved_bytes(model: Classifier, channels: int, size: int, batch: int) -> int:
    model.train()
    with META, _saved() as saved:
        model(torch.empty(batch, channels, size, size))
    return sum(saved.bytes.values())


@dataclass
class _Saved:
    bytes: dict[int, int] = field(default_factory=dict)
    alive: list[torch.Tensor] = field(default_factory=list)


@contextmanager
def _saved() -> Iterator[_Saved]:
    """Record the storages that autograd saves inside the block, each of them once."""
    saved = _Saved()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved.bytes[storage._cdata] = storage.nbytes()
        saved.alive.append(tensor)  # so that its address is not reused
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
