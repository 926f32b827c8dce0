"""The cost of a study, estimated by timing one batch of each kind of trial."""

import time
from collections.abc import Iterator, Mapping
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

BATCHES = 2  # the first batch warms up


@dataclass(frozen=True)
class CostEstimate:
    """Times of a study in seconds, on this machine.

    longest, shortest: the search, if no trial is stopped early, and if all are stopped at the first
        rung.
    afterwards: the trials that follow the search, at most; all are trained to the end.
    feature_seconds: each feature set that must be computed; included in the search.
    """

    longest: float
    shortest: float
    afterwards: float
    feature_seconds: Mapping[FeatureSet, float]

    @property
    def search(self) -> str:
        """The search's time as text."""
        if self.shortest == self.longest:
            return f"about {format_duration(self.longest)}"
        return (
            f"{format_duration(self.shortest)} (every trial stopped at the first rung) to "
            f"{format_duration(self.longest)} (none stopped)"
        )


def estimate_cost(plan: Plan, features: FeaturePlan) -> CostEstimate:
    """Estimate a study's cost by timing one training and one evaluation batch per kind of epoch.

    One batch of each feature set that is still to be computed is timed too. Trials of a list
    that share their first epochs are one training. Trials that follow the search are assumed to be
    as long as its own.
    """
    trainings = _trainings(plan)
    kinds = {
        _kind(kind): kind for config in trainings for kind, _ in _epochs(config, config.epochs)
    }
    with _threads(plan.allotment.cpus):
        seconds = {key: _epoch_seconds(plan, features, kind) for key, kind in kinds.items()}
    first_rung = plan.settings.grace_period if plan.settings.scheduler != "none" else None

    def trial_seconds(config: TrialConfig, epochs: int) -> float:
        return sum(count * seconds[_kind(kind)] for kind, count in _epochs(config, epochs))

    complete = sum(trial_seconds(config, config.epochs) for config in trainings)
    stopped = sum(
        trial_seconds(config, min(first_rung or config.epochs, config.epochs))
        for config in trainings
    )
    if plan.listed is None:  # then the trainings are the kinds of trial, not the trials
        complete *= plan.trials / len(trainings)
        stopped *= plan.trials / len(trainings)
    feature_seconds = {
        feature_set: _feature_seconds(plan, features, feature_set)
        for feature_set in features.missing
    }
    before, concurrent = sum(feature_seconds.values()), plan.allotment.concurrent
    return CostEstimate(
        longest=before + complete / concurrent,
        shortest=before + stopped / concurrent,
        afterwards=complete / plan.trials * follow_up_trials(plan).trials / concurrent,
        feature_seconds=feature_seconds,
    )


def _trainings(plan: Plan) -> list[TrialConfig]:
    """Return the trainings of a list, or one of each kind that the search space has."""
    if plan.listed is None:
        return list(plan.configs)
    return [plan.configs[positions[-1]] for positions in group_by_prefix(plan.configs)]


def _feature_seconds(plan: Plan, features: FeaturePlan, feature_set: FeatureSet) -> float:
    """Estimate the time to compute a feature set."""
    size = feature_set.part.geometry.image_size
    data = _few_images(plan, feature_set.config, feature_batch(size))
    model = build_model(feature_set.config, len(data.classes), data.format.channels)
    transform = input_transform(feature_set.config, data.format)
    pixels = base_array(data.train.pixels)
    with _threads(feature_set.maker.threads):
        times = []
        for _ in range(BATCHES):
            started = time.perf_counter()
            compute_features(model, feature_set.cut, transform, pixels, "float32", CPU)
            times.append(time.perf_counter() - started)
    return min(times) / len(data.train) * feature_set.images / features.at_once


def _epochs(config: TrialConfig, epochs: int) -> list[tuple[TrialConfig, int]]:
    """Return the numbers of a trial's first epochs while it is frozen, and after."""
    frozen = {"lp_ft": config.lp_epochs, "gradual": config.unfreeze_every}.get(
        config.freeze, epochs
    )
    later = config.model_copy(update={"freeze": "none"})
    kinds = [(config, min(frozen, epochs)), (later, epochs - frozen)]
    return [(kind, count) for kind, count in kinds if count > 0]


def _kind(config: TrialConfig) -> tuple[object, ...]:
    return config.model, config.freeze, config.augment, config.batch_size, Geometry.of(config)


def _epoch_seconds(plan: Plan, features: FeaturePlan, config: TrialConfig) -> float:
    """Measure an epoch. The weights' values do not matter for the time, so none are loaded."""
    train, val = plan.dataset.train, plan.dataset.val
    data = _few_images(plan, config, BATCHES * config.batch_size)
    part = FrozenPart.of(config)
    if part in features.cuts:
        cut = features.cuts[part]
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
