"""Schedulers, which stop trials early.

asha: ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in Ray's stopping variant: at each rung a
    trial goes on if it is among the best 1/reduction_factor of those that reached the rung before.
median: the median stopping rule (Golovin et al., "Google Vizier", KDD 2017): at each epoch a trial
    goes on if its best value so far is no worse than the median of the others' running means.
    Three others must have come as far; those that ended earlier no longer count.

Both compare finite numbers only: a trial that diverged reports the worst value instead of NaN.
"""

import math
from collections.abc import Sequence
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from tune_bio.ray_tune.jobs import config_of_job, job, name_of_job
from tune_bio.ray_tune.trial_report import EPOCH
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.space.settings import SearchSettings, rungs
from tune_bio.space.trial_config import LENGTH_BOUND_SCHEDULES

MIN_OTHERS = 3  # trials that the median rule needs besides the trial that it judges


def build_scheduler(settings: SearchSettings, past: Sequence[RecordedTrial] = ()) -> TrialScheduler:
    """Build the scheduler that `settings` names; `past` are the trials of a resumed study."""
    if settings.scheduler == "none":
        return FIFOScheduler()
    return PerLengthScheduler(settings, past)


class PerLengthScheduler(FIFOScheduler):
    """Early stopping that compares only trials whose learning-rate schedules are comparable.

    A cosine schedule of 10 epochs is annealed when one of 60 has hardly started. Under a schedule
    that depends on the trial's length, only trials of the same length are compared: each length
    has its own bracket. All other schedules share one bracket.

    Replicates, which confirm a configuration, are trained to the end and compared with nothing.

    In a resumed study the rungs are first filled with the values of recorded trials. A trial that
    is continued has passed its rungs already and is not judged there again.
    """

    def __init__(self, settings: SearchSettings, past: Sequence[RecordedTrial] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._brackets: dict[int, TrialScheduler] = {}
        self._last_epoch: dict[str, int] = {}  # of each trial, as far as its bracket knows
        self._interrupted = {trial.trial: trial for trial in past if not trial.ended}
        for recorded in past:
            if recorded.ended:
                self._refill(recorded)

    @property
    def metric(self) -> str:
        return self._settings.metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept Tune's metric and mode, which the settings have determined already."""
        return metric in (None, self.metric) and mode in (None, self._settings.mode)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if _is_replicate(trial):
            return
        self._bracket(trial).on_trial_add(tune_controller, trial)
        recorded = self._interrupted.pop(trial.config["trial"], None)
        if recorded is not None:
            self._pass_rungs(trial, recorded)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if _is_replicate(trial):
            return str(TrialScheduler.CONTINUE)
        self._last_epoch[trial.trial_id] = result[EPOCH]
        compared = self._compared(result)
        return str(self._bracket(trial).on_trial_result(tune_controller, trial, compared))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # Tune repeats the last result of a trial that was stopped, which would count twice in a
        # mean, and gives an empty one for a trial that was interrupted before its first.
        if _is_replicate(trial):
            return
        if result.get(EPOCH) not in (None, self._last_epoch.get(trial.trial_id)):
            compared = self._compared(result)
            self._bracket(trial).on_trial_complete(tune_controller, trial, compared)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        if not _is_replicate(trial):
            self._bracket(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        if not _is_replicate(trial):
            self._bracket(trial).on_trial_remove(tune_controller, trial)

    def _refill(self, recorded: RecordedTrial) -> None:
        """Fill the rungs of its bracket with a trial that has ended."""
        trial = _EndedTrial(recorded)
        bracket = self._bracket(trial)
        bracket.on_trial_add(None, trial)  # type: ignore[arg-type]
        self._pass_rungs(trial, recorded)
        if recorded.steps and recorded.steps[-1][0] not in rungs(self._settings):
            self._report_step(bracket, trial, recorded.steps[-1])

    def _pass_rungs(self, trial: Any, recorded: RecordedTrial) -> None:
        """Report a trial's values at its rungs, and ignore the decisions of the bracket."""
        for step in recorded.at(rungs(self._settings)):
            self._report_step(self._bracket(trial), trial, step)

    def _report_step(self, bracket: TrialScheduler, trial: Any, step: tuple[int, float]) -> None:
        result = {EPOCH: step[0], self.metric: step[1]}
        # If Ray's median rule decided to stop a trial here, it would count the trial as stopped.
        median = isinstance(bracket, MedianStoppingRule)
        report = bracket.on_trial_complete if median else bracket.on_trial_result
        report(None, trial, result)  # type: ignore[arg-type]

    def _compared(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the entries that a bracket needs: Ray's median rule keeps every result."""
        return {name: result[name] for name in (EPOCH, self.metric)}

    def _bracket(self, trial: Any) -> TrialScheduler:
        config = config_of_job(trial.config)
        length = config.epochs if config.lr_schedule in LENGTH_BOUND_SCHEDULES else 0
        if length not in self._brackets:
            self._brackets[length] = _new_bracket(self._settings)
        return self._brackets[length]


def _is_replicate(trial: Any) -> bool:
    return not name_of_job(trial.config).is_searched


class _EndedTrial:
    """A stand-in for a recorded trial: brackets use only its name and configuration."""

    def __init__(self, recorded: RecordedTrial) -> None:
        self.trial_id = recorded.trial
        self.config = job([(recorded.trial, recorded.config)])

    def __str__(self) -> str:
        return self.trial_id


def _new_bracket(settings: SearchSettings) -> TrialScheduler:
    shared: dict[str, Any] = {
        "time_attr": EPOCH,
        "metric": settings.metric,
        "mode": settings.mode,
        "grace_period": settings.grace_period,
    }
    if settings.scheduler == "median":
        # An infinite slice, or Ray would pause a trial as long as there are too few others.
        shared["min_time_slice"] = math.inf
        return MedianStoppingRule(**shared, min_samples_required=MIN_OTHERS)
    return ASHAScheduler(
        **shared, max_t=settings.max_epochs, reduction_factor=settings.reduction_factor
    )
