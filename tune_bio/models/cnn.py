"""`cnn` and `cnn_gap`: the small convolutional networks of the course reports.

Both begin with a block [Conv 3x3 'same', ReLU, MaxPool 2] a layer. `cnn` flattens and ends in
[Linear, ReLU, Linear]; `cnn_gap` averages each channel over the image (GAP) and ends in one
Linear. Dropout stands between the last ReLU and its pool, and before the last Linear.
"""

from torch import nn

from tune_bio.models.classifier import Classifier


def cnn(
    channels: int, size: int, outputs: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> Classifier:
    """Build `cnn` for images of `size` pixels; raises ValueError where they are too small."""
    side = size // 2 ** len(widths)
    if side < 1:
        raise ValueError(f"{len(widths)} poolings leave nothing of {size} px")
    hidden = widths[-1]
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(hidden * side * side, hidden),
        nn.ReLU(),
        nn.Dropout(dropouts[-1]),
        nn.Linear(hidden, outputs),
    )
    return Classifier(_convolutions(channels, widths, dropouts), head)


def cnn_gap(
    channels: int, size: int, outputs: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> Classifier:
    """Build `cnn_gap` for images of `size` pixels; raises ValueError where they are too small."""
    if size // 2 ** len(widths) < 1:
        raise ValueError(f"{len(widths)} poolings leave nothing of {size} px")
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropouts[-1]),
        nn.Linear(widths[-1], outputs),
    )
    return Classifier(_convolutions(channels, widths, dropouts), head)


def _convolutions(
    channels: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer, width in enumerate(widths, start=1):
        layers += [nn.Conv2d(channels, width, 3, padding="same"), nn.ReLU()]
        if layer == len(widths):
            layers.append(nn.Dropout(dropouts[-1]))
        layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.Sequential(*layers)
