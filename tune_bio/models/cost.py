"""What a configuration costs, counted on shapes alone: numbers, operations, memory."""

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

    multiply_adds: of one forward pass over one image.
    saved_bytes: what one training image leaves in memory for the backward pass.
    widest_bytes: the largest output of a layer, for one image.
    """

    parameters: int
    trainable_parameters: int
    multiply_adds: int
    saved_bytes: int
    widest_bytes: int


def cost(config: TrialConfig, classes: int, channels: int) -> Cost:
    """Count what `config` costs on images of so many classes and channels; ConfigError as built."""
    return _cost(_architecture(config), classes, channels)


def _architecture(config: TrialConfig) -> TrialConfig:
    """The same network under default training: what does not change the counts is left out."""
    kept = ["model", "depth", "width", "head_width", "loss", "image_size"]
    if config.freeze != "none":
        kept += ["weights", "freeze"]
    if config.freeze in ("lp_ft", "gradual"):
        kept += ["lp_epochs", "unfreeze_every", "epochs"]
    if isinstance(config.dropout, str):
        kept.append("dropout")  # a list also tells how many layers there are
    return TrialConfig.model_construct(**{name: getattr(config, name) for name in kept})


@functools.lru_cache(maxsize=1024)
def _cost(config: TrialConfig, classes: int, channels: int) -> Cost:
    try:
        with on_meta_device():
            model = build_model(config, classes, channels)
    except RuntimeError as error:  # PyTorch's, where not even the sizes can be counted
        raise ResourceError(
            f"{config.model} with width={config.width} is beyond any memory", "lower width"
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
        # The difference between two batches leaves out what does not grow with the images.
        saved_bytes=(saved[1] - saved[0]) // 2,
        widest_bytes=widest,
    )


def _forward(model: Classifier, channels: int, size: int) -> tuple[int, int]:
    """(multiply-adds, bytes of the widest output) of one image, by PyTorch's own counter."""
    widest = 0

    def note(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal widest
        if isinstance(output, torch.Tensor):
            widest = max(widest, output.nbytes)

    hooks = [module.register_forward_hook(note) for module in model.modules()]
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
    """Count the storages that autograd keeps; one that is kept twice counts once."""
    saved = _Saved()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved.bytes[storage._cdata] = storage.nbytes()
        saved.alive.append(tensor)  # so that no other storage gets its address
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
