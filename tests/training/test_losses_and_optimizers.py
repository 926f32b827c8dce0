"""Losses and optimizers against their definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.data_factory import config
from tune_bio.training.losses import build_loss, log_probability_function
from tune_bio.training.optimizer import build_optimizer

CPU = torch.device("cpu")
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 2])


def _loss(classes: int, **params: Any) -> Any:
    labels = np.minimum(LABELS, classes - 1)
    return build_loss(config(**params), labels, classes, CPU)


def _batch(outputs: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(16, outputs, generator=generator)
    return logits, torch.randint(classes, (16,), generator=generator)


@pytest.mark.parametrize("params", [{}, {"class_weights": "balanced"}, {"label_smoothing": 0.2}])
def test_one_logit_with_bce_equals_two_logits_with_cross_entropy(params: dict[str, Any]) -> None:
    logits, labels = _batch(1, 2)
    two_logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    binary, entropy = _loss(2, loss="bce", **params), _loss(2, **params)
    torch.testing.assert_close(binary(logits, labels), entropy(two_logits, labels))
    torch.testing.assert_close(
        log_probability_function(config(loss="bce"))(logits),
        log_probability_function(config())(two_logits),
    )


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
@pytest.mark.parametrize("classes", [2, 3])
def test_log_probabilities_of_huge_logits_are_finite_and_sum_to_one(
    loss: str, classes: int
) -> None:
    outputs = 1 if (loss, classes) == ("bce", 2) else classes
    logits = torch.cat([_batch(outputs, classes)[0], torch.full((1, outputs), 1e4)])
    log_probs = log_probability_function(config(loss=loss))(torch.cat([logits, -logits]))
    assert log_probs.dtype == torch.float64
    assert log_probs.shape == (34, classes)
    assert torch.isfinite(log_probs).all()
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(34, dtype=torch.float64))


def test_bce_of_several_classes_gives_normalised_sigmoids() -> None:
    logits, _ = _batch(3, 3)
    sigmoids = logits.double().sigmoid()
    expected = sigmoids / sigmoids.sum(dim=1, keepdim=True)
    torch.testing.assert_close(log_probability_function(config(loss="bce"))(logits).exp(), expected)


def test_bce_of_several_classes_is_a_sum_over_binary_tasks() -> None:
    logits, labels = _batch(3, 3)
    targets = functional.one_hot(labels, 3).double()
    p = logits.double().sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum(dim=1).mean()
    torch.testing.assert_close(_loss(3, loss="bce")(logits, labels).double(), expected)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_balanced_weights_are_the_inverse_shares_of_the_classes(loss: str) -> None:
    logits, labels = _batch(3, 3)
    weights = torch.tensor([8 / (3 * 5), 8 / (3 * 2), 8 / (3 * 1)])[labels]
    plain = _loss(3, loss=loss)
    losses = torch.stack([plain(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])
    expected = (losses * weights).sum() / weights.sum()
    balanced = _loss(3, loss=loss, class_weights="balanced")(logits, labels)
    torch.testing.assert_close(balanced, expected)


def test_smoothing_spreads_its_share_of_the_target_over_the_classes() -> None:
    logits, labels = _batch(3, 3)
    targets = 0.7 * functional.one_hot(labels, 3) + 0.3 / 3
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(_loss(3, label_smoothing=0.3)(logits, labels), expected)


@pytest.mark.parametrize(
    ("params", "kind", "options"),
    [
        ({"optimizer": "adam", "weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
        ({"optimizer": "adamw"}, torch.optim.AdamW, {"weight_decay": 0.0}),
        ({"optimizer": "sgd", "momentum": 0.5}, torch.optim.SGD, {"momentum": 0.5}),
    ],
)
def test_an_optimizer_has_its_hyperparameters(
    params: dict[str, Any], kind: type, options: dict[str, float]
) -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer(config(lr=0.03, **params), [[parameter]])
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["params"] == [parameter]
    assert {**group, "lr": 0.03, **options} == group
    assert group["fused"]  # one step is one pass over the parameters
