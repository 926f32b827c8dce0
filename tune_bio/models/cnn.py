"""`cnn` and `cnn_gap`: the small convolutional networks of the course reports.

Both begin with one block [Conv 3x3 'same', ReLU, Dropout, MaxPool 2] per width. Then `cnn`
flattens, and `cnn_gap` averages each channel over the image (global average pooling). The head is
[Linear, ReLU,] Dropout, Linear; it has the hidden layer only if `head_width` is not 0.
"""

from torch import nn

from tune_bio.models.classifier import Classifier
from tune_bio.models.dropout import Dropout


def cnn(
    channels: int,
    size: int,
    outputs: int,
    widths: tuple[int, ...],
    dropouts: tuple[float, ...],
    head_width: int,
    *,
    averaged: bool,
) -> Classifier:
    """Build `cnn`, or `cnn_gap` if `averaged`, for images of `size` px.

    `dropouts` holds one probability per convolution and one for the layer before the output.
    Raises ValueError if the images are too small.
    """
    side = _last_side(size, widths)
    if averaged:
        flatten: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        features = widths[-1]
    else:
        flatten, features = nn.Flatten(), widths[-1] * side * side
    head = _head(flatten, features, head_width, outputs, dropouts[-1])
    return Classifier(_convolutions(channels, widths, dropouts), head)


def _last_side(size: int, widths: tuple[int, ...]) -> int:
    side = size >> len(widths)  # each pooling halves it
    if side < 1:
        raise ValueError(f"{len(widths)} poolings leave nothing of {size} px")
    return side


def _convolutions(
    channels: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, dropout in zip(widths, dropouts, strict=False):  # the last dropout is the head's
        layers += [nn.Conv2d(channels, width, 3, padding="same"), nn.ReLU()]
        layers += [Dropout(dropout)] if dropout else []
        layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.Sequential(*layers)


def _head(
    flatten: nn.Module, features: int, hidden: int, outputs: int, dropout: float
) -> nn.Sequential:
    layers: list[nn.Module] = [flatten]
    if hidden:
        layers += [nn.Linear(features, hidden), nn.ReLU()]
        features = hidden
    return nn.Sequential(*layers, Dropout(dropout), nn.Linear(features, outputs))
