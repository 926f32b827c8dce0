"""Losses, and log-probabilities from logits, as a configuration selects them."""

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
    """Convert logits to log-probabilities, (n, classes) float64: one scale for all losses.

    A single logit is that of the positive class; several go through softmax. (For several classes
    under `bce`, see `sigmoid_log_probabilities`.)
    """
    logits = logits.double()
    if logits.shape[1] == 1:
        return functional.logsigmoid(torch.cat([-logits, logits], dim=1))
    return functional.log_softmax(logits, dim=1)


def sigmoid_log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Convert logits to log-probabilities by one sigmoid per class, normalised to sum to 1.

    Returns (n, classes) float64.
    """
    if logits.shape[1] == 1:
        return log_probabilities(logits)
    return functional.log_softmax(functional.logsigmoid(logits.double()), dim=1)


def log_probability_function(config: TrialConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function that converts this configuration's logits to log-probabilities."""
    return sigmoid_log_probabilities if config.loss == "bce" else log_probabilities


def build_loss(
    config: TrialConfig, labels: npt.NDArray[np.int64], classes: int, device: torch.device
) -> Loss:
    """Build the training loss, a mean over the batch; class weights come from `labels`."""
    weight = None
    if config.class_weights == "balanced":  # n / (classes * n of the class)
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
        image_weights = weight[labels]
        # The weighted mean of CrossEntropyLoss, so that "balanced" means the same for both losses.
        return (per_image * image_weights).sum() / image_weights.sum()

    return loss
