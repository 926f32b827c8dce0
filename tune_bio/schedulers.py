"""Schedulers: which trials are stopped early.

ASHA (Li et al., MLSys 2020, arXiv:1810.05934) in Ray's stopping variant: at each rung a trial
goes on when it is among the best 1/reduction_factor of those that came there before it.
"""

from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from tune_bio.config import SearchSettings

TIME = "epoch"


def build_scheduler(settings: SearchSettings) -> TrialScheduler:
    """The scheduler that `settings` names."""
    if settings.scheduler == "none":
        return FIFOScheduler()
    return HorizonASHA(settings)


def rungs(settings: SearchSettings) -> tuple[int, ...]:
    """The epochs at which trials are compared, ascending; none without a scheduler."""
    found: list[int] = []
    rung = settings.grace_period
    while settings.scheduler == "asha" and rung < settings.max_epochs:
        found.append(rung)
        rung *= settings.reduction_factor
    return tuple(found)


class HorizonASHA(FIFOScheduler):
    """ASHA that compares like with like.

    A cosine schedule of 10 epochs is annealed where one of 60 has hardly begun, so under it only
    trials of one length meet at a rung: each length has a bracket of its own. Schedules that do
    not depend on the length share one.
    """

    def __init__(self, settings: SearchSettings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._brackets: dict[int, ASHAScheduler] = {}

    @property
    def metric(self) -> str:
        return self._settings.metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Tune hands over what the settings say already."""
        return metric in (None, self.metric) and mode in (None, self._settings.mode)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(self._bracket(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._bracket(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._bracket(trial).on_trial_remove(tune_controller, trial)

    def _bracket(self, trial: Any) -> ASHAScheduler:
        params = trial.config["params"]
        horizon = params["epochs"] if params.get("lr_schedule") == "cosine" else 0
        if horizon not in self._brackets:
            self._brackets[horizon] = ASHAScheduler(
                time_attr=TIME,
                metric=self.metric,
                mode=self._settings.mode,
                max_t=self._settings.max_epochs,
                grace_period=self._settings.grace_period,
                reduction_factor=self._settings.reduction_factor,
            )
        return self._brackets[horizon]
