"""Requirements of every model, tested on every model, and the networks that are built."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.data_factory import MODELS, config, is_one_line, same, trial_data
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.errors import ConfigError
from tune_bio.models.build import build_model, input_transform
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import predict, train_epoch
from tune_bio.training.losses import log_probability_function
from tune_bio.training.state import TrainingState


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_built_trained_for_one_epoch_and_evaluated(
    model: str, loss: str, classes: int, channels: int
) -> None:
    chosen = config(model, loss=loss, batch_size=4)
    data = trial_data(chosen, train=4, val=6, classes=classes, channels=channels)
    state = TrainingState(chosen, data)
    before = state.trained_weights()

    images = state.transform.normalize(torch.from_numpy(data.val.pixels))
    for values in (images, *(p for p in state.model.parameters() if p.ndim == 4)):
        assert values.is_contiguous(memory_format=torch.channels_last)
    logits = state.model.eval()(images)
    assert logits.shape == (6, 1 if loss == "bce" and classes == 2 else classes)
    log_probs = log_probability_function(chosen)(logits.detach())
    assert log_probs.dtype == torch.float64
    np.testing.assert_allclose(log_probs.exp().sum(dim=1), 1)

    result = train_epoch(state, data)
    assert np.isfinite([result.train_loss, *result.val.values()]).all()
    parameters = {name for name, _ in state.model.named_parameters()}
    after = state.trained_weights()
    changed = {name for name in parameters if not torch.equal(before[name], after[name])}
    assert {"head." in name for name in changed} == {True, False}
    p = predict(state.model, state.transform, chosen, data.val.pixels)
    assert p.shape == (6, classes)


@pytest.mark.parametrize("model", MODELS)
def test_the_weights_depend_only_on_the_seed(model: str) -> None:
    torch.manual_seed(1)
    first = build_model(config(model, seed=5), 2, 1).state_dict()
    global_seed = torch.initial_seed()
    torch.manual_seed(2)
    assert global_seed == 1
    assert same(build_model(config(model, seed=5), 2, 1).state_dict(), first)
    assert not same(build_model(config(model, seed=6), 2, 1).state_dict(), first)


@pytest.mark.parametrize("model", MODELS)
def test_an_image_has_the_same_score_alone_and_in_a_batch(model: str) -> None:
    chosen = config(model)
    pixels = trial_data(chosen, val=5).val.pixels
    network, transform = build_model(chosen, 3, 1), input_transform(chosen, PixelFormat(1))
    together = predict(network, transform, chosen, pixels)
    alone = np.concatenate([predict(network, transform, chosen, image[None]) for image in pixels])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)


def _attributes(module: nn.Module, kind: type[nn.Module], name: str) -> list[Any]:
    return [getattr(layer, name) for layer in module.modules() if isinstance(layer, kind)]


def test_the_ann_has_the_configured_widths_and_dropouts() -> None:
    chosen = TrialConfig.of(
        {"model": "ann", "width": "32-16-8", "dropout": "0.9-0.5-0.1", "image_size": 10}
    )
    network = build_model(chosen, 3, 3)
    assert _attributes(network, nn.Linear, "in_features") == [300, 32, 16, 8]
    assert _attributes(network, nn.Linear, "out_features") == [32, 16, 8, 3]
    assert _attributes(network, nn.Dropout, "p") == [0.9, 0.5, 0.1]
    assert _attributes(network, nn.BatchNorm1d, "num_features") == [32, 16, 8]
    deep = TrialConfig.of({"model": "ann", "depth": 5, "width": 7})
    assert _attributes(build_model(deep, 2, 1), nn.Linear, "out_features") == [7] * 5 + [2]


@pytest.mark.parametrize("model", ["cnn", "cnn_gap"])
def test_the_cnns_have_the_configured_channels_and_dropouts(model: str) -> None:
    params = {"model": model, "width": "4-8-12", "dropout": "0.1-0.2-0.3-0.4", "image_size": 16}
    network = build_model(TrialConfig.of(params), 2, 3)
    assert _attributes(network, nn.Conv2d, "out_channels") == [4, 8, 12]
    assert _attributes(network, nn.Dropout, "p") == [0.1, 0.2, 0.3, 0.4]


def _layers(network: nn.Module) -> list[str]:
    """Return the kind of each layer, with the number of its outputs if it has one."""
    leaves = [module for module in network.modules() if not list(module.children())]
    outputs = [getattr(m, "out_channels", getattr(m, "out_features", "")) for m in leaves]
    return [f"{type(m).__name__} {n}".strip() for m, n in zip(leaves, outputs, strict=True)]


BLOCK = ["Conv2d 32", "ReLU", "MaxPool2d"]


def test_the_networks_match_those_of_the_course_report() -> None:
    cnn = TrialConfig.of({"model": "cnn", "dropout": 0.0, "image_size": 64, "loss": "bce"})
    plain = [*BLOCK * 3, "Flatten", "Linear 32", "ReLU", "Dropout", "Linear 1"]
    assert _layers(build_model(cnn, 2, 1)) == plain
    dropped = cnn.model_copy(update={"dropout": 0.6})
    last = ["Conv2d 32", "ReLU", "Dropout", "MaxPool2d"]
    assert _layers(build_model(dropped, 2, 1)) == [*BLOCK * 2, *last, *plain[9:]]
    gap = TrialConfig.of({"model": "cnn_gap", "dropout": 0.0, "image_size": 64, "loss": "bce"})
    pooled = ["AdaptiveAvgPool2d", "Flatten"]
    assert _layers(build_model(gap, 2, 1)) == [*BLOCK * 3, *pooled, "Dropout", "Linear 1"]
    wide = TrialConfig.of(
        {"model": "cnn_gap", "width": "32-32-128", "head_width": 128, "dropout": 0.0,
         "image_size": 64, "loss": "bce"}
    )  # fmt: skip
    widest = ["Conv2d 128", "ReLU", "MaxPool2d"]
    hidden = ["Linear 128", "ReLU", "Dropout", "Linear 1"]
    assert _layers(build_model(wide, 2, 1)) == [*BLOCK * 2, *widest, *pooled, *hidden]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "cnn", "width": "4-4-4-4-4", "image_size": 16}, "5 poolings.*image_size"),
        ({"model": "cnn_gap", "width": "4-4-4-4-4", "image_size": 16}, "5 poolings.*image_size"),
    ],
)
def test_an_impossible_network_is_refused_in_one_line(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_model(TrialConfig.of(params), 2, 1)
    assert is_one_line(caught.value)
