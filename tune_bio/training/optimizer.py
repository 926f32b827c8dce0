"""Optimizers and their parameter groups."""

from collections.abc import Sequence

import torch
from torch import nn

from tune_bio.space.trial_config import TrialConfig


def build_optimizer(
    config: TrialConfig, groups: Sequence[Sequence[nn.Parameter]]
) -> torch.optim.Optimizer:
    """Build the optimizer over groups of parameters; fused: one step is one pass over them."""
    parameters = [{"params": list(group)} for group in groups]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
