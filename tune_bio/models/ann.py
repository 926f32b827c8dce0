"""`ann`: the fully connected network of the course reports.

Flatten, then a block [Linear, BatchNorm1d, ReLU, Dropout] a hidden layer, then Linear.
"""

from torch import nn

from tune_bio.models.classifier import Classifier
from tune_bio.models.dropout import Dropout


def ann(
    inputs: int, outputs: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> Classifier:
    """Build it for `inputs` numbers an image (channels x height x width)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width, dropout in zip(widths, dropouts, strict=True):
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout)]
        inputs = width
    return Classifier(nn.Sequential(*layers), nn.Linear(inputs, outputs))
