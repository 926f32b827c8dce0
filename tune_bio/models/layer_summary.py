"""The steps of a small network, for a diagram."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tune_bio.models.build import build_model
from tune_bio.models.dropout import Dropout
from tune_bio.models.meta_device import META, on_meta_device
from tune_bio.space.trial_config import SMALL_MODELS, TrialConfig


@dataclass(frozen=True)
class Layer:
    """One step: its name, its kind, its output shape for one image, its number of parameters.

    `kind` is input, convolution, linear, pooling or other.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def layer_summary(config: TrialConfig, classes: int, channels: int) -> tuple[Layer, ...]:
    """Return the steps of a model of SMALL_MODELS, the input first; empty for other models.

    Layers that keep the shape (batch norm, ReLU, dropout) are merged into the step before them.

    Args:
        config: names the model and its hyperparameters.
        classes: number of classes.
        channels: number of image channels, 1 or 3.

    Raises:
        ConfigError: see `build_model`.
    """
    if config.model not in SMALL_MODELS:
        return ()
    with on_meta_device():
        model = build_model(config, classes, channels)
    model = model.to(META).eval()
    size = config.image_size
    steps = [Layer("Input", "input", (channels, size, size), 0)]

    def add(module: nn.Module, inputs: object, output: Any) -> None:
        shape = tuple(output.shape[1:])
        name, kind = _name_and_kind(module)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        last = steps[-1]
        if kind == "other" and shape == last.shape and len(steps) > 1:
            merged_name = f"{last.name}, {name}"
            steps[-1] = Layer(merged_name, last.kind, shape, last.parameters + parameters)
        else:
            steps.append(Layer(name, kind, shape, parameters))

    hooks = [
        module.register_forward_hook(add)
        for module in model.modules()
        if not any(True for _ in module.children())
    ]
    with META, torch.no_grad():
        model(torch.empty(1, channels, size, size))
    for hook in hooks:
        hook.remove()
    return tuple(steps)


def _name_and_kind(module: nn.Module) -> tuple[str, str]:
    """Return a module's readable name and its kind."""
    match module:
        case nn.Conv2d():
            return f"Convolution {'x'.join(map(str, module.kernel_size))}", "convolution"
        case nn.Linear():
            return "Linear", "linear"
        case nn.MaxPool2d():
            return f"Max pooling {module.kernel_size}x{module.kernel_size}", "pooling"
        case nn.AdaptiveAvgPool2d():
            return "Global average pooling", "pooling"
        case nn.Dropout() | Dropout():
            return f"Dropout {module.p:.3g}", "other"
        case nn.BatchNorm1d():
            return "BatchNorm", "other"
    return type(module).__name__, "other"
