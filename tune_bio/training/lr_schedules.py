"""Learning-rate schedules, as functions of the step: there is no state to save or restore.

PyTorch's schedulers carry state that must match the optimizer's groups, to which gradual
unfreezing adds. The tests compare these functions with PyTorch's schedulers.
"""

import math
from dataclasses import dataclass

import torch

from tune_bio.space.trial_config import TrialConfig

# OneCycleLR's defaults: the share of the steps in which the rate rises, the divisors of the rate at
# the start (from `lr`) and at the end (from the start), and the range of the momentum.
RISE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4
MOMENTUM = (0.85, 0.95)


@dataclass(frozen=True)
class Step:
    """The position of a step in its phase; `epoch` and `batch` are counted from 0."""

    epoch: int
    epochs: int
    batch: int = 0
    batches: int = 1


def apply_schedule(config: TrialConfig, optimizer: torch.optim.Optimizer, step: Step) -> float:
    """Set the learning rate (and under onecycle the momentum) for a step; return the rate."""
    rate = config.lr * lr_factor(config, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
        if config.lr_schedule == "onecycle":
            _set_momentum(group, onecycle_momentum(step))
    return rate


def lr_factor(config: TrialConfig, step: Step) -> float:
    """Return the learning rate as a fraction of `config.lr`.

    The rate rises linearly for `warmup_epochs`. Then `cosine` anneals it towards 0 over the
    remaining epochs (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts), and `step`
    multiplies it by `gamma` every `step_size` epochs. `onecycle` changes it with every batch
    (Smith & Topin 2018, arXiv:1708.07120), like PyTorch's OneCycleLR.
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
    """Rise from 1/25 to 1 in the first 30 % of the steps, then fall to 1/250,000, by cosines."""
    start = 1 / START_DIVISOR
    rising, share = _cycle(step)
    if rising:
        return _between(start, 1.0, share)
    return _between(1.0, start / END_DIVISOR, share)


def onecycle_momentum(step: Step) -> float:
    """Move against the learning rate: from 0.95 to 0.85 while it rises, then back."""
    low, high = MOMENTUM
    rising, share = _cycle(step)
    return _between(high, low, share) if rising else _between(low, high, share)


def _cycle(step: Step) -> tuple[bool, float]:
    """Return (True if the rate is rising, the share of the rise or fall that is done)."""
    total = step.epochs * step.batches
    number = step.epoch * step.batches + step.batch
    peak = RISE * total - 1
    if number <= peak:
        return True, number / peak
    return False, (number - peak) / (total - 1 - peak)


def _between(start: float, end: float, share: float) -> float:
    """Interpolate between two values along a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _set_momentum(group: dict[str, object], momentum: float) -> None:
    if "betas" in group:
        betas = group["betas"]
        assert isinstance(betas, tuple)
        group["betas"] = (momentum, *betas[1:])
    else:
        group["momentum"] = momentum
