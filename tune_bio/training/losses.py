"""Losses, optimizers and learning-rate schedules, from a configuration."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from tune_bio.space.trial_config import TrialConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Logits to log-probabilities, (n, classes) float64: one scale, whatever the loss.

    One logit is the positive class's against the other; more are softmaxed. (The sigmoids of
    `bce` with several classes are normalised by `Bce.log_probabilities`.)
    """
    logits = logits.double()
    if logits.shape[1] == 1:
        return functional.logsigmoid(torch.cat([-logits, logits], dim=1))
    return functional.log_softmax(logits, dim=1)


def sigmoid_log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """One sigmoid a class, normalised to sum 1; (n, classes) float64 logs."""
    if logits.shape[1] == 1:
        return log_probabilities(logits)
    return functional.log_softmax(functional.logsigmoid(logits.double()), dim=1)


def log_probability_function(config: TrialConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """How this configuration's logits become log-probabilities."""
    return sigmoid_log_probabilities if config.loss == "bce" else log_probabilities


def build_loss(
    config: TrialConfig, labels: npt.NDArray[np.int64], classes: int, device: torch.device
) -> Loss:
    """The training objective, a mean over the batch; class weights come from `labels`."""
    weight = None
    if config.class_weights == "balanced":  # n / (classes x n of the class)
        balanced = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
        weight = torch.tensor(balanced, dtype=torch.float32, device=device)
    if config.loss == "cross_entropy":
        return nn.CrossEntropyLoss(weight=weight, label_smoothing=config.label_smoothing)
    return _binary_loss(weight, config.label_smoothing)


def _binary_loss(weight: torch.Tensor | None, smoothing: float) -> Loss:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 1:
            targets = labels.unsqueeze(1).to(logits.dtype)
        else:
            targets = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
        targets = targets * (1 - smoothing) + smoothing / 2
        per_image = functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="none"
        ).sum(dim=1)
        if weight is None:
            return per_image.mean()
        of_image = weight[labels]
        # The weighted mean that CrossEntropyLoss takes, so that both mean the same by "balanced".
        return (per_image * of_image).sum() / of_image.sum()

    return loss
