"""Searchers around an Optuna study: `tpe`, `random` and `gp`.

Ray's own OptunaSearch cannot redraw, tells Optuna that a stopped trial is a complete one, and
pickles the space; so this is a small `Searcher` that asks and tells an Optuna study directly.
"""

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tune_bio.common.seeding import derive
from tune_bio.errors import SpaceError
from tune_bio.ray_tune.driver_only import StudySearcher
from tune_bio.ray_tune.jobs import job
from tune_bio.ray_tune.schedulers import TIME
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.trial_names import position_of, trial_name
from tune_bio.space.search_space import Distribution, SearchSpace, UnavailableBranch
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params
from tune_bio.space.value_sources import OptunaSource, RecordedSource

REDRAWS = 1000
Finish = Callable[[Params], Params]


class OptunaSearcher(StudySearcher):
    """Draws from an Optuna study: `tpe` or `random`.

    In a resumed study it is told first what the trials before came to, and gives those that were
    interrupted once more.

    A trial that was stopped early is told as pruned, with its value at each step: TPE ranks it
    behind the complete ones, by how far it came (Bergstra et al., NeurIPS 2011; Optuna's
    multivariate form, Falkner et al., ICML 2018).
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        finish: Finish,
        past: Sequence[RecordedTrial] = (),
    ) -> None:
        super().__init__()
        self._settings = settings
        self._space = space
        self._finish = finish
        # Not how many there are: of those that began side by side one may be missing.
        self._given = max((position_of(trial.trial) + 1 for trial in past), default=0)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        self._study = optuna.create_study(
            direction=maximize if settings.mode == "max" else minimize,
            sampler=self._sampler(_seed(settings, past)),
        )
        self._open: dict[str, optuna.Trial] = {}
        self._names: dict[str, list[Distribution]] = {}
        self._interrupted = deque(trial for trial in past if not trial.ended)
        for trial in past:
            if trial.ended:
                self._recall(trial)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        while self._interrupted:
            past = self._interrupted.popleft()
            params = self._draw_again(trial_id, past)
            if params is not None:
                return job([(past.trial, self._finish(params))], skip_to=past.reached)
        for attempt in range(REDRAWS):
            params = self._draw(trial_id, redraw=attempt > 0)
            if params is not None:
                self._given += 1
                return job([(trial_name(self._given - 1), self._finish(params))])
        raise SpaceError(
            f"{REDRAWS} draws in a row ended where the weights are missing",
            "suggest `model` before `weights`, or give --weights-dir",
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._open[trial_id].report(result[self._settings.metric], result[TIME])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self._open.pop(trial_id, None)
        if trial is None:
            return
        if error or not result or "finished" not in result:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._tell(trial, result)

    def _draw(self, trial_id: str, *, redraw: bool) -> Params | None:
        """A configuration, or None where the draw ended where nothing is available."""
        trial = self._ask(redraw=redraw)
        try:
            params = self._space.run(OptunaSource(trial, self._names))
        except UnavailableBranch:
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        self._open[trial_id] = trial
        return params

    def _draw_again(self, trial_id: str, past: RecordedTrial) -> Params | None:
        """The configuration of a past trial, drawn as if for the first time."""
        source = RecordedSource(past.params, self._names)
        try:
            self._space.run(source)
        except UnavailableBranch:  # its weights have gone
            return None
        self._study.enqueue_trial(source.drawn)
        return self._draw(trial_id, redraw=False)

    def _recall(self, past: RecordedTrial) -> None:
        """Draw a past trial again, and tell what it came to."""
        if self._draw_again(past.trial, past) is None:
            return
        finished = past.status in ("completed", "diverged")
        result: dict[str, Any] = {"finished": finished, "best": past.best}
        result["diverged"] = past.status == "diverged"
        if past.steps:
            result[TIME], result[self._settings.metric] = past.steps[-1]
        error = past.status == "failed" or not past.steps
        self.on_trial_complete(past.trial, result, error=error)

    def _sampler(self, seed: int) -> BaseSampler:
        if self._settings.searcher == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # Optuna marks these three arguments as experimental; a conditional space and trials
            # that run side by side need them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)

    def _ask(self, *, redraw: bool) -> optuna.Trial:
        return self._study.ask()

    def _tell(self, trial: optuna.Trial, result: dict[str, Any]) -> None:
        if result["finished"]:
            self._study.tell(trial, result["best"])
        else:
            # Tune does not pass on the result at which a trial is stopped.
            trial.report(result[self._settings.metric], result[TIME])
            self._study.tell(trial, state=TrialState.PRUNED)


class GaussianProcessSearcher(OptunaSearcher):
    """Bayesian optimisation: `gp`.

    Optuna's Gaussian process with a Matern 5/2 kernel and log expected improvement (Ament et al.,
    NeurIPS 2023, arXiv:2310.20708), after ten random trials; trials that still run count as points
    whose outcome is open. It covers the hyperparameters that every trial told so far has, with one
    range or one list of choices. Those that exist on some branches only are drawn at random: where
    these matter most, TPE is the better choice.

    Optuna's process overlooks pruned trials, and so would go back to where they were stopped. A
    stopped trial is therefore told as complete, with the best value that it reached: no better than
    it might have become, and the scheduler saw no promise in it.
    """

    def _sampler(self, seed: int) -> BaseSampler:
        # Optuna tells that a package would make this faster; a trial takes far longer.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._random = RandomSampler(seed=seed)
        self._process = GPSampler(
            seed=seed, independent_sampler=self._random, warn_independent_sampling=False
        )
        return self._process

    def _ask(self, *, redraw: bool) -> optuna.Trial:
        # What cannot run is never told, so the process would propose it again, for ever.
        self._study.sampler = self._random if redraw else self._process
        return super()._ask(redraw=redraw)

    def _tell(self, trial: optuna.Trial, result: dict[str, Any]) -> None:
        if not result.get("diverged"):
            self._study.tell(trial, result["best"])
            return
        # The value that stands for NaN would press all others together in the process's scale.
        told = self._study.get_trials(states=[TrialState.COMPLETE])
        known = [other.value for other in told if other.value is not None]
        if known:
            self._study.tell(trial, min(known) if self._settings.mode == "max" else max(known))
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def _seed(settings: SearchSettings, past: Sequence[RecordedTrial]) -> int:
    """With the same random numbers again, a resumed study would repeat its first draws."""
    return derive(settings.seed, "searcher", len(past)) % 2**32 if past else settings.seed
