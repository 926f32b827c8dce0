"""`ann`: the fully connected network of the course reports.

Flatten, then one block [Linear, BatchNorm1d, ReLU, Dropout] per hidden layer, then Linear.
"""

from torch import nn

from tune_bio.models.classifier import Classifier
from tune_bio.models.dropout import Dropout


def ann(
    inputs: int, outputs: int, widths: tuple[int, ...], dropouts: tuple[float, ...]
) -> Classifier:
    """Build the network for images of `inputs` values (channels x height x width)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width, dropout in zip(widths, dropouts, strict=True):
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), Dropout(dropout)]
        inputs = width
    return Classifier(nn.Sequential(*layers), nn.Linear(inputs, outputs))
