"""Searchers around an Optuna study: `tpe`, `random` and `gp`.

Ray's own OptunaSearch cannot redraw, reports a stopped trial to Optuna as complete, and pickles
the space; this small `Searcher` calls `ask` and `tell` of an Optuna study directly instead.
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
from tune_bio.ray_tune.trial_report import TrialOutcome, TrialReport
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.trial_names import TrialName
from tune_bio.space.search_space import Distribution, SearchSpace, UnavailableBranch
from tune_bio.space.settings import SearchSettings
from tune_bio.space.trial_config import Params, TrialConfig
from tune_bio.space.value_sources import OptunaSource, RecordedSource

REDRAWS = 1000
Complete = Callable[[Params], TrialConfig]


class OptunaSearcher(StudySearcher):
    """A searcher that draws from an Optuna study: `tpe` or `random`.

    In a resumed study, the outcomes of the recorded trials are first reported to Optuna, and
    interrupted trials are suggested again.

    A trial that was stopped early is reported as pruned, with its value at each step: TPE ranks it
    after the complete ones, by its last step (Bergstra et al., NeurIPS 2011; Optuna's
    multivariate form, Falkner et al., ICML 2018).
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        complete: Complete,
        past: Sequence[RecordedTrial] = (),
    ) -> None:
        super().__init__()
        self._settings = settings
        self._space = space
        self._complete = complete
        # Not the number of trials: of those that ran in parallel, one may be missing.
        positions = [TrialName.parse(trial.trial).position for trial in past]
        self._next_position = max(positions, default=-1) + 1
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        self._study = optuna.create_study(
            direction=maximize if settings.mode == "max" else minimize,
            sampler=self._sampler(_sampler_seed(settings, past)),
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
                return job([(past.trial, self._complete(params))], skip_to=past.reached)
        for attempt in range(REDRAWS):
            params = self._draw(trial_id, redraw=attempt > 0)
            if params is not None:
                name = TrialName(self._next_position)
                self._next_position += 1
                return job([(str(name), self._complete(params))])
        raise SpaceError(
            f"{REDRAWS} draws in a row ended on branches whose weights are missing",
            "suggest `model` before `weights`, or give --weights-dir",
        )

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        report = TrialReport.of(result)
        assert report is not None
        self._open[trial_id].report(report.value, report.epoch)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial, report = self._open.pop(trial_id, None), TrialReport.of(result)
        if trial is None:
            return
        if error or report is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._tell(trial, report)

    def _draw(self, trial_id: str, *, redraw: bool) -> Params | None:
        """Draw hyperparameters; None if the draw ended on an unavailable branch."""
        trial = self._ask(redraw=redraw)
        try:
            params = self._space.run(OptunaSource(trial, self._names))
        except UnavailableBranch:
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        self._open[trial_id] = trial
        return params

    def _draw_again(self, trial_id: str, past: RecordedTrial) -> Params | None:
        """Draw the hyperparameters of a recorded trial as if for the first time."""
        source = RecordedSource(past.config.all_params(), self._names)
        try:
            self._space.run(source)
        except UnavailableBranch:  # its weights are gone
            return None
        self._study.enqueue_trial(source.drawn)
        return self._draw(trial_id, redraw=False)

    def _recall(self, past: RecordedTrial) -> None:
        """Draw a recorded trial again, and report its outcome to Optuna."""
        if self._draw_again(past.trial, past) is None:
            return
        trial = self._open.pop(past.trial)
        if past.status == "failed" or not past.steps:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        epoch, value = past.steps[-1]
        diverged = past.status == "diverged"
        finished = diverged or past.status == "completed"
        self._tell(trial, TrialOutcome(epoch, value, past.best, finished, diverged))

    def _sampler(self, seed: int) -> BaseSampler:
        if self._settings.searcher == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            # Optuna marks these three arguments as experimental; a conditional space and trials
            # that run in parallel need them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)

    def _ask(self, *, redraw: bool) -> optuna.Trial:
        return self._study.ask()

    def _tell(self, trial: optuna.Trial, outcome: TrialOutcome) -> None:
        if outcome.finished:
            self._study.tell(trial, outcome.best)
        else:
            # Tune does not pass on the result at which a trial is stopped.
            trial.report(outcome.value, outcome.epoch)
            self._study.tell(trial, state=TrialState.PRUNED)


class GaussianProcessSearcher(OptunaSearcher):
    """Bayesian optimisation: `gp`.

    Optuna's Gaussian process with a Matern 5/2 kernel and log expected improvement (Ament et al.,
    NeurIPS 2023, arXiv:2310.20708), after ten random trials; running trials count as points with an
    unknown outcome. It covers the hyperparameters that all reported trials have, with one range or
    one list of choices. Hyperparameters that exist only on some branches are drawn at random: where
    these matter most, TPE is the better choice.

    Optuna's process ignores pruned trials, and so would propose their values again. A stopped trial
    is therefore reported as complete, with the best value that it reached: no better than it might
    have become, and the scheduler saw no promise in it.
    """

    def _sampler(self, seed: int) -> BaseSampler:
        # Optuna recommends a package that makes this faster; a trial takes far longer anyway.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._random = RandomSampler(seed=seed)
        self._process = GPSampler(
            seed=seed, independent_sampler=self._random, warn_independent_sampling=False
        )
        return self._process

    def _ask(self, *, redraw: bool) -> optuna.Trial:
        # An unavailable branch has no outcome, so the process would propose it again and again.
        self._study.sampler = self._random if redraw else self._process
        return super()._ask(redraw=redraw)

    def _tell(self, trial: optuna.Trial, outcome: TrialOutcome) -> None:
        if not outcome.diverged:
            self._study.tell(trial, outcome.best)
            return
        # The value that stands for NaN would squeeze all others together on the process's scale.
        complete = self._study.get_trials(states=[TrialState.COMPLETE])
        values = [other.value for other in complete if other.value is not None]
        if values:
            self._study.tell(trial, min(values) if self._settings.mode == "max" else max(values))
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def _sampler_seed(settings: SearchSettings, past: Sequence[RecordedTrial]) -> int:
    """Return the sampler's seed: a new one for a resumed study, which would repeat draws."""
    return derive(settings.seed, "searcher", len(past)) % 2**32 if past else settings.seed
