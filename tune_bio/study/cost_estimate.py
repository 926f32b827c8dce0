"""What a study will cost, estimated by timing one batch of each kind of trial."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from tune_bio.common.labels import format_duration
from tune_bio.datasets.row_view import base_array
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import PreparedSplit, TrialData, prepare_data
from tune_bio.models.build import build_model, input_transform
from tune_bio.reuse.frozen_features import FeatureSet, FrozenPart, compute_features, feature_batch
from tune_bio.reuse.prefixes import group_by_prefix
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.frozen_features import FeaturePlan
from tune_bio.study.planning.plan import Plan, follow_up_trials
from tune_bio.training.fit import run_epoch
from tune_bio.training.state import CPU, TrainingState

BATCHES = 2  # the first one warms up


@dataclass(frozen=True)
class CostEstimate:
    """Seconds on this machine.

    Of the search, if no trial is stopped early and if all are at the first rung; and of `trials`
    more behind it, at most, which are all trained to the end.
    """

    longest: float
    shortest: float
    afterwards: float
    trials: int

    @property
    def search(self) -> str:
        """The search's time, for people."""
        if self.shortest == self.longest:
            return f"about {format_duration(self.longest)}"
        return (
            f"{format_duration(self.shortest)} (every trial stopped at the first rung) to "
            f"{format_duration(self.longest)} (none stopped)"
        )


def estimate_cost(plan: Plan, frozen: FeaturePlan) -> CostEstimate:
    """Time one training and one evaluation batch a kind of epoch; multiply by what is planned.

    And one batch of each feature set that is still to be computed. Of a list, trials that share
    their first epochs are one training. What follows a search is taken to be as long as its trials.
    """
    trainings = _trainings(plan)
    kinds = {_kind(k): k for c in trainings for k, _ in _epochs(c, c.epochs)}
    with _threads(plan.allotment.cpus):
        seconds = {kind: _epoch_seconds(plan, frozen, config) for kind, config in kinds.items()}
    early = plan.settings.grace_period if plan.settings.scheduler != "none" else None

    def trial(config: TrialConfig, epochs: int) -> float:
        return sum(n * seconds[_kind(kind)] for kind, n in _epochs(config, epochs))

    trials = plan.trials if plan.listed is None else len(plan.listed)
    base_array = sum(trial(c, c.epochs) for c in trainings)
    cut = sum(trial(c, min(early or c.epochs, c.epochs)) for c in trainings)
    if plan.listed is None:  # then these are the kinds of trial, and not the trials
        base_array, cut = base_array / len(trainings) * trials, cut / len(trainings) * trials
    before = sum(feature_seconds(plan, frozen, wanted) for wanted in frozen.missing)
    at_once = plan.allotment.concurrent
    more = follow_up_trials(plan).trials
    afterwards = base_array / trials * more / at_once
    return CostEstimate(before + base_array / at_once, before + cut / at_once, afterwards, more)


def _trainings(plan: Plan) -> list[TrialConfig]:
    """The trainings of a list, or one of each kind that the search space has."""
    if plan.listed is None:
        return [TrialConfig.of(plan.finish(params)) for params in plan.branches.leaves]
    listed = [TrialConfig.of(plan.finish(params)) for params in plan.listed]
    return [listed[positions[-1]] for positions in group_by_prefix(listed)]


def feature_seconds(plan: Plan, frozen: FeaturePlan, wanted: FeatureSet) -> float:
    """How long it will take to compute a feature set."""
    size = wanted.part.geometry.image_size
    data = _few_images(plan, wanted.config, feature_batch(size))
    model = build_model(wanted.config, len(data.classes), data.format.channels)
    transform = input_transform(wanted.config, data.format)
    with _threads(wanted.maker.threads):
        times = []
        for _ in range(BATCHES):
            started = time.perf_counter()
            compute_features(
                model, wanted.cut, transform, base_array(data.train.pixels), "float32", CPU
            )
            times.append(time.perf_counter() - started)
    return min(times) / len(data.train) * wanted.images / frozen.at_once


def _epochs(config: TrialConfig, epochs: int) -> list[tuple[TrialConfig, int]]:
    """The first epochs of a trial by kind: while it is frozen, and when everything trains."""
    frozen = {"lp_ft": config.lp_epochs, "gradual": config.unfreeze_every}.get(
        config.freeze, epochs
    )
    later = config.model_copy(update={"freeze": "none"})
    kinds = [(config, min(frozen, epochs)), (later, epochs - frozen)]
    return [(kind, count) for kind, count in kinds if count > 0]


def _kind(config: TrialConfig) -> tuple[object, ...]:
    return config.model, config.freeze, config.augment, config.batch_size, Geometry.of(config)


def _epoch_seconds(plan: Plan, frozen: FeaturePlan, config: TrialConfig) -> float:
    """Seconds an epoch. The weights' values do not matter for the time, so none are loaded."""
    train, val = plan.dataset.train, plan.dataset.val
    data = _few_images(plan, config, BATCHES * config.batch_size)
    part = FrozenPart.of(config)
    if part in frozen.cuts:
        cut = frozen.cuts[part]
        zeros = np.zeros((len(data.train), *cut.row), dtype=plan.settings.feature_dtype)
        data = data.with_features(cut, zeros, zeros)
    state = _untrained(config, data)
    batches = torch.arange(len(data.train)).split(config.batch_size)
    learning = _seconds(state, data.train, batches[-1:], training=True)
    scoring = _seconds(state, data.train, batches[-1:], training=False)
    n = len(batches[-1])
    return learning / n * len(train) + scoring / n * len(val)


def _few_images(plan: Plan, config: TrialConfig, n: int) -> TrialData:
    sample = plan.dataset.train.take(np.arange(min(n, len(plan.dataset.train))))
    return prepare_data(replace(plan.dataset, train=sample, val=sample), Geometry.of(config))


def _untrained(config: TrialConfig, data: TrialData) -> TrainingState:
    plain = config.model_copy(update={"weights": "none"})
    return TrainingState(plain, data)


@contextmanager
def _threads(cpus: float) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(cpus)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
