"""Schedulers: which trials are stopped early.

asha: ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in Ray's stopping variant: at each rung a
    trial goes on when it is among the best 1/reduction_factor of those that came there before it.
median: the median stopping rule (Golovin et al., "Google Vizier", KDD 2017): at each epoch a trial
    goes on when its best value so far is no worse than the median of the others' running means.
    Three others must have come as far; those that ended earlier no longer count.

Both compare finite numbers only: a trial that diverged reports the worst value in the place of NaN.
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

from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.trial_names import replicate_of
from tune_bio.space.settings import SearchSettings, rungs
from tune_bio.space.trial_config import LENGTH_BOUND_SCHEDULES

TIME = "epoch"
MEDIAN_OF = 3  # trials at the least, beside the one that is judged


def build_scheduler(settings: SearchSettings, past: Sequence[RecordedTrial] = ()) -> TrialScheduler:
    """The scheduler that `settings` names; `past` are the trials of a study that is resumed."""
    if settings.scheduler == "none":
        return FIFOScheduler()
    return PerLengthScheduler(settings, past)


class PerLengthScheduler(FIFOScheduler):
    """Early stopping that compares like with like.

    A cosine schedule of 10 epochs is annealed where one of 60 has hardly begun, so under a
    schedule that depends on the trial's length only trials of one length meet: each length has a
    bracket of its own. Schedules that do not depend on the length share one.

    Replicates, which confirm what was found, are trained to the end and compared with nothing.

    In a resumed study the rungs are filled first with what past trials had there. One that is
    continued has passed its rungs already, and is not judged there again.
    """

    def __init__(self, settings: SearchSettings, past: Sequence[RecordedTrial] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._brackets: dict[int, TrialScheduler] = {}
        self._told: dict[str, int] = {}  # the last epoch of each trial that its bracket knows
        self._interrupted = {trial.trial: trial for trial in past if not trial.ended}
        for trial in past:
            if trial.ended:
                self._refill(_EndedTrial(trial), trial)

    @property
    def metric(self) -> str:
        return self._settings.metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Tune hands over what the settings say already."""
        return metric in (None, self.metric) and mode in (None, self._settings.mode)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if _is_replicate(trial):
            return
        self._bracket(trial).on_trial_add(tune_controller, trial)
        past = self._interrupted.pop(trial.config["trial"], None)
        if past is not None:
            self._pass_rungs(trial, past)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if _is_replicate(trial):
            return str(TrialScheduler.CONTINUE)
        self._told[trial.trial_id] = result[TIME]
        compared = self._compared(result)
        return str(self._bracket(trial).on_trial_result(tune_controller, trial, compared))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # Tune repeats the last result of a trial that was stopped, which would weigh twice in a
        # mean, and gives an empty one for a trial that was interrupted before its first.
        if _is_replicate(trial):
            return
        if result.get(TIME) not in (None, self._told.get(trial.trial_id)):
            compared = self._compared(result)
            self._bracket(trial).on_trial_complete(tune_controller, trial, compared)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        if not _is_replicate(trial):
            self._bracket(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        if not _is_replicate(trial):
            self._bracket(trial).on_trial_remove(tune_controller, trial)

    def _refill(self, trial: "_EndedTrial", past: RecordedTrial) -> None:
        bracket = self._bracket(trial)
        bracket.on_trial_add(None, trial)  # type: ignore[arg-type]
        self._pass_rungs(trial, past)
        if past.steps and past.steps[-1][0] not in rungs(self._settings):
            self._tell(bracket, trial, past.steps[-1])

    def _pass_rungs(self, trial: Any, past: RecordedTrial) -> None:
        """Tell what a trial had at its rungs; what would be decided now does not count."""
        for step in past.at(rungs(self._settings)):
            self._tell(self._bracket(trial), trial, step)

    def _tell(self, bracket: TrialScheduler, trial: Any, step: tuple[int, float]) -> None:
        result = {TIME: step[0], self.metric: step[1]}
        # Asked for a decision, Ray's median would take a trial that it would stop for stopped.
        median = isinstance(bracket, MedianStoppingRule)
        tell = bracket.on_trial_complete if median else bracket.on_trial_result
        tell(None, trial, result)  # type: ignore[arg-type]

    def _compared(self, result: dict[str, Any]) -> dict[str, Any]:
        """What a bracket needs; Ray's median keeps every result, and ours carry predictions."""
        return {name: result[name] for name in (TIME, self.metric)}

    def _bracket(self, trial: Any) -> TrialScheduler:
        params = trial.config["params"]
        length_bound = params.get("lr_schedule") in LENGTH_BOUND_SCHEDULES
        horizon = params["epochs"] if length_bound else 0
        if horizon not in self._brackets:
            self._brackets[horizon] = _bracket(self._settings)
        return self._brackets[horizon]


def _is_replicate(trial: Any) -> bool:
    return replicate_of(trial.config["trial"]) > 0


class _EndedTrial:
    """Stands for a past trial: a name and hyperparameters are all that brackets ask for."""

    def __init__(self, past: RecordedTrial) -> None:
        self.trial_id = past.trial
        self.config = {"trial": past.trial, "params": past.params}

    def __str__(self) -> str:
        return self.trial_id


def _bracket(settings: SearchSettings) -> TrialScheduler:
    shared: dict[str, Any] = {
        "time_attr": TIME,
        "metric": settings.metric,
        "mode": settings.mode,
        "grace_period": settings.grace_period,
    }
    if settings.scheduler == "median":
        # For ever, or Ray would pause a trial whenever there are too few others to judge it by.
        shared["min_time_slice"] = math.inf
        return MedianStoppingRule(**shared, min_samples_required=MEDIAN_OF)
    return ASHAScheduler(
        **shared, max_t=settings.max_epochs, reduction_factor=settings.reduction_factor
    )
