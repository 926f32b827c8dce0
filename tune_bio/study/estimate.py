"""What a study will cost, estimated by timing one batch of each kind of trial."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from tune_bio.config import TrialConfig
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.transforms import PreparedSplit, TrialData, prepare
from tune_bio.progress import duration
from tune_bio.study.preflight import Plan
from tune_bio.training import TrainingState, run_epoch

BATCHES = 2  # the first one warms up


@dataclass(frozen=True)
class Estimate:
    """Seconds on this machine: if no trial is stopped early, and if all are at the first rung."""

    longest: float
    shortest: float

    def __str__(self) -> str:
        if self.shortest == self.longest:
            return f"about {duration(self.longest)}"
        return (
            f"{duration(self.shortest)} (every trial stopped at the first rung) to "
            f"{duration(self.longest)} (none stopped)"
        )


def estimate(plan: Plan) -> Estimate:
    """Time one training and one evaluation batch a kind of trial; multiply by what is planned."""
    params = plan.listed if plan.listed is not None else plan.survey.leaves
    configs = [TrialConfig.of(plan.finish(p)) for p in params]
    kinds = {_kind(config): config for config in configs}
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(plan.allotment.cpus)))
    try:
        seconds = {kind: _epoch_seconds(plan, config) for kind, config in kinds.items()}
    finally:
        torch.set_num_threads(threads)
    whole = [seconds[_kind(c)] * c.epochs for c in configs]
    early = plan.settings.grace_period if plan.settings.scheduler != "none" else None
    cut = [seconds[_kind(c)] * min(early or c.epochs, c.epochs) for c in configs]
    share = plan.trials / len(configs) / plan.allotment.concurrent
    return Estimate(sum(whole) * share, sum(cut) * share)


def _kind(config: TrialConfig) -> tuple[object, ...]:
    return config.model, config.freeze, config.augment, config.batch_size, Geometry.of(config)


def _epoch_seconds(plan: Plan, config: TrialConfig) -> float:
    """Seconds an epoch. The weights' values do not matter for the time, so none are loaded."""
    few = min(BATCHES * config.batch_size, len(plan.dataset.train))
    train, val = plan.dataset.train, plan.dataset.val
    sample = train.take(np.arange(few))
    data = prepare(replace(plan.dataset, train=sample, val=sample), Geometry.of(config))
    state = _untrained(config, data)
    batches = torch.arange(few).split(config.batch_size)
    learning = _seconds(state, data.train, batches[-1:], training=True)
    scoring = _seconds(state, data.train, batches[-1:], training=False)
    n = len(batches[-1])
    return learning / n * len(train) + scoring / n * len(val)


def _untrained(config: TrialConfig, data: TrialData) -> TrainingState:
    plain = config.model_copy(update={"weights": "none"})
    return TrainingState(plain, data)


def _seconds(
    state: TrainingState,
    split: PreparedSplit,
    batches: tuple[torch.Tensor, ...],
    *,
    training: bool,
) -> float:
    run_epoch(state, split, batches, lambda: None, training=training)
    started = time.perf_counter()
    run_epoch(state, split, batches, lambda: None, training=training)
    return time.perf_counter() - started
