"""Schedulers: which trials are stopped early.

asha: ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in Ray's stopping variant: at each rung a
    trial goes on when it is among the best 1/reduction_factor of those that came there before it.
median: the median stopping rule (Golovin et al., "Google Vizier", KDD 2017): at each epoch a trial
    goes on when its best value so far is no worse than the median of the others' running means.
    Three others must have come as far; those that ended earlier no longer count.

Both compare finite numbers only: a trial that diverged reports the worst value in the place of NaN.
"""

import math
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from tune_bio.config import LENGTH_BOUND_SCHEDULES
from tune_bio.settings import SearchSettings

TIME = "epoch"
MEDIAN_OF = 3  # trials at the least, beside the one that is judged


def build_scheduler(settings: SearchSettings) -> TrialScheduler:
    """The scheduler that `settings` names."""
    if settings.scheduler == "none":
        return FIFOScheduler()
    return LikeWithLike(settings)


def rungs(settings: SearchSettings) -> tuple[int, ...]:
    """The epochs at which trials are compared, ascending; none without a scheduler."""
    if settings.scheduler == "none":
        return ()
    if settings.scheduler == "median":
        return tuple(range(settings.grace_period, settings.max_epochs))
    found: list[int] = []
    rung = settings.grace_period
    while rung < settings.max_epochs:
        found.append(rung)
        rung *= settings.reduction_factor
    return tuple(found)


class LikeWithLike(FIFOScheduler):
    """Early stopping that compares like with like.

    A cosine schedule of 10 epochs is annealed where one of 60 has hardly begun, so under a
    schedule that depends on the trial's length only trials of one length meet: each length has a
    bracket of its own. Schedules that do not depend on the length share one.
    """

    def __init__(self, settings: SearchSettings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._brackets: dict[int, TrialScheduler] = {}
        self._told: dict[str, int] = {}  # the last epoch of each trial that its bracket knows

    @property
    def metric(self) -> str:
        return self._settings.metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Tune hands over what the settings say already."""
        return metric in (None, self.metric) and mode in (None, self._settings.mode)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self._told[trial.trial_id] = result[TIME]
        compared = self._compared(result)
        return str(self._bracket(trial).on_trial_result(tune_controller, trial, compared))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        # Tune repeats the last result of a trial that was stopped, which would weigh twice in a
        # mean, and gives an empty one for a trial that was interrupted before its first.
        if result.get(TIME) not in (None, self._told.get(trial.trial_id)):
            compared = self._compared(result)
            self._bracket(trial).on_trial_complete(tune_controller, trial, compared)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_remove(tune_controller, trial)

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
