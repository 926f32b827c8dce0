"""Learning-rate schedules, as functions of the step: nothing to save, nothing to restore.

PyTorch's schedulers carry state that has to be kept in step with the optimizer's groups, which
gradual unfreezing adds to; the tests hold these functions against them.
"""

import math
from dataclasses import dataclass

import torch

from tune_bio.space.trial_config import TrialConfig

# OneCycleLR's defaults: the share of the steps that rise, how far below `lr` the cycle begins and
# ends, and between what the momentum moves.
RISE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4
MOMENTUM = (0.85, 0.95)


@dataclass(frozen=True)
class Step:
    """A step's place in its phase; all counted from 0."""

    epoch: int
    epochs: int
    batch: int = 0
    batches: int = 1


def apply_schedule(config: TrialConfig, optimizer: torch.optim.Optimizer, step: Step) -> float:
    """Set the learning rate (and under onecycle the momentum) for a step; returns the rate."""
    rate = config.lr * lr_factor(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if config.lr_schedule == "onecycle":
            _set_momentum(group, onecycle_momentum(step))
    return rate


def lr_factor(config: TrialConfig, step: Step) -> float:
    """The learning rate over `config.lr`.

    `warmup_epochs` rise linearly to it. Then `cosine` anneals towards 0 over what is left
    (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts), and `step` multiplies by
    `gamma` every `step_size` epochs. `onecycle` moves with every batch (Smith & Topin 2018,
    arXiv:1708.07120), as PyTorch's OneCycleLR.
    """
    if config.lr_schedule == "onecycle":
        return onecycle_factor(step)
    warmup = min(config.warmup_epochs, step.epochs - 1)
    if step.epoch < warmup:
        return (step.epoch + 1) / (warmup + 1)
    if config.lr_schedule == "step":
        return float(config.gamma ** ((step.epoch - warmup) // config.step_size))
    if config.lr_schedule == "cosine":
        return (1 + math.cos(math.pi * (step.epoch - warmup) / (step.epochs - warmup))) / 2
    return 1.0


def onecycle_factor(step: Step) -> float:
    """Up from 1/25 to 1 over the first 30 % of the steps, then down to 1/250,000; by cosines."""
    start = 1 / START_DIVISOR
    rising, share = _cycle(step)
    if rising:
        return _between(start, 1.0, share)
    return _between(1.0, start / END_DIVISOR, share)


def onecycle_momentum(step: Step) -> float:
    """Against the learning rate: down from 0.95 to 0.85 while it rises, and up again."""
    low, high = MOMENTUM
    rising, share = _cycle(step)
    return _between(high, low, share) if rising else _between(low, high, share)


def _cycle(step: Step) -> tuple[bool, float]:
    """(whether the rate is rising, the share of that half that is behind)."""
    total = step.epochs * step.batches
    at = step.epoch * step.batches + step.batch
    top = RISE * total - 1
    if at <= top:
        return True, at / top
    return False, (at - top) / (total - 1 - top)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _set_momentum(group: dict[str, object], momentum: float) -> None:
    if "betas" in group:
        betas = group["betas"]
        assert isinstance(betas, tuple)
        group["betas"] = (momentum, *betas[1:])
    else:
        group["momentum"] = momentum
