"""Searchers: which configuration is tried next.

Ray's own OptunaSearch cannot redraw, tells Optuna that a stopped trial is a complete one, and
pickles the space; so this is a small `Searcher` around an Optuna study, asked and told directly.
"""

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from tune_bio.config import Params, Value
from tune_bio.driver_only import DriverOnly
from tune_bio.errors import SpaceError
from tune_bio.schedulers import TIME
from tune_bio.settings import SearchSettings
from tune_bio.space import Choices, DeadEnd, Distribution, SearchSpace

REDRAWS = 1000
Finish = Callable[[Params], Params]


class _NumberedSearcher(DriverOnly, Searcher):
    """Gives each configuration a trial number, and Tune the dictionary that actors expect."""

    def __init__(self, finish: Finish) -> None:
        super().__init__()
        self._finish = finish
        self._given = 0

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records are the truth, and Ray's state is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a study is resumed from its records")

    def _number(self, params: Params) -> dict[str, Any]:
        self._given += 1
        return {"trial": f"t{self._given - 1:04d}", "params": self._finish(params)}


class ListSearcher(_NumberedSearcher):
    """Runs the configurations of a list, in order: a grid, or `--configs`."""

    def __init__(self, configurations: Sequence[Params], finish: Finish) -> None:
        super().__init__(finish)
        self._left = deque(configurations)

    def suggest(self, trial_id: str) -> Any:
        return self._number(self._left.popleft()) if self._left else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A list does not learn."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A list does not learn."""


class OptunaSearcher(_NumberedSearcher):
    """Draws from an Optuna study: `tpe` or `random`.

    A trial that was stopped early is told as pruned, with its value at each step: TPE ranks it
    behind the complete ones, by how far it came (Bergstra et al., NeurIPS 2011; Optuna's
    multivariate form, Falkner et al., ICML 2018).
    """

    def __init__(self, space: SearchSpace, settings: SearchSettings, finish: Finish) -> None:
        super().__init__(finish)
        self._settings = settings
        self._space = space
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
        self._study = optuna.create_study(
            direction=maximize if settings.mode == "max" else minimize,
            sampler=self._sampler(),
        )
        self._open: dict[str, optuna.Trial] = {}
        self._names: dict[str, list[Distribution]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        for attempt in range(REDRAWS):
            trial = self._ask(redraw=attempt > 0)
            try:
                params = self._space.run(_OptunaSource(trial, self._names))
            except DeadEnd:
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            self._open[trial_id] = trial
            return self._number(params)
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

    def _sampler(self) -> BaseSampler:
        seed = self._settings.seed
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

    def _sampler(self) -> BaseSampler:
        # Optuna tells that a package would make this faster; a trial takes far longer.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        seed = self._settings.seed
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


class _OptunaSource:
    """Draws values from an Optuna trial.

    Optuna knows one distribution a name; a space may have another on another branch (or fewer
    choices, where weights are missing), so each further one gets a name of its own.
    """

    def __init__(self, trial: optuna.Trial, names: dict[str, list[Distribution]]) -> None:
        self._trial = trial
        self._names = names

    def draw(self, name: str, distribution: Distribution) -> Value:
        if isinstance(distribution, Choices) and len(distribution.values) == 1:
            return distribution.values[0]
        known = self._names.setdefault(name, [])
        if distribution not in known:
            known.append(distribution)
        at = known.index(distribution)
        own_name = name if at == 0 else f"{name}#{at + 1}"
        return _suggest(self._trial, own_name, distribution)


def build_searcher(
    space: SearchSpace,
    settings: SearchSettings,
    listed: Sequence[Params] | None,
    finish: Finish,
) -> Searcher:
    """The searcher of a study.

    Args:
        space: drawn from, unless configurations are listed.
        settings: name the searcher, its seed and the metric.
        listed: the configurations of a grid or of `--configs`, or None.
        finish: completes what was drawn (defaults of the study, caps).
    """
    if listed is not None:
        return ListSearcher(listed, finish)
    kind = GaussianProcessSearcher if settings.searcher == "gp" else OptunaSearcher
    return kind(space, settings, finish)


def _suggest(trial: optuna.Trial, name: str, wanted: Distribution) -> Value:
    if isinstance(wanted, Choices):
        value: Value = trial.suggest_categorical(name, wanted.values)  # type: ignore[assignment]
        return value
    low, high, log = wanted.low, wanted.high, wanted.log
    if wanted.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(wanted.step or 1), log=log)
    return trial.suggest_float(name, low, high, step=wanted.step, log=log)
