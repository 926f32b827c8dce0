"""Layer summaries: the steps of the small networks."""

from typing import Any

import pytest

from tune_bio.models.cost import cost
from tune_bio.models.layer_summary import layer_summary
from tune_bio.space.trial_config import TrialConfig

NETWORKS: list[dict[str, Any]] = [
    {"model": "ann", "width": "32-16", "dropout": 0.5},
    {"model": "cnn", "width": "8-16", "head_width": 12, "dropout": "0.1-0.2-0.3"},
    {"model": "cnn", "width": 8, "head_width": 0},
    {"model": "cnn_gap", "width": "8-16", "dropout": 0.0},
]


@pytest.mark.parametrize("params", NETWORKS)
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (5, 3)])
def test_every_parameter_belongs_to_one_step(
    params: dict[str, Any], classes: int, channels: int
) -> None:
    config = TrialConfig.of({**params, "image_size": 16})
    layers = layer_summary(config, classes, channels)
    assert layers[0].shape == (channels, 16, 16)
    assert layers[-1].shape == (classes,)
    counted = cost(config, classes, channels).parameters
    assert sum(layer.parameters for layer in layers) == counted


def test_layers_that_keep_the_shape_are_merged_into_the_step_before() -> None:
    config = TrialConfig.of(
        {"model": "cnn_gap", "width": "8-16", "dropout": 0.25, "image_size": 16, "loss": "bce"}
    )
    assert [(layer.name, layer.kind, layer.shape) for layer in layer_summary(config, 2, 1)] == [
        ("Input", "input", (1, 16, 16)),
        ("Convolution 3x3, ReLU", "convolution", (8, 16, 16)),
        ("Max pooling 2x2", "pooling", (8, 8, 8)),
        ("Convolution 3x3, ReLU, Dropout 0.25", "convolution", (16, 8, 8)),
        ("Max pooling 2x2", "pooling", (16, 4, 4)),
        ("Global average pooling", "pooling", (16, 1, 1)),
        ("Flatten, Dropout 0.25", "other", (16,)),
        ("Linear", "linear", (1,)),
    ]


def test_a_large_network_has_no_summary() -> None:
    assert layer_summary(TrialConfig.of({"model": "resnet18"}), 2, 3) == ()
