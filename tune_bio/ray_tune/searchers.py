"""Searchers, which choose the configuration that is tried next."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from tune_bio.ray_tune.driver_only import StudySearcher
from tune_bio.ray_tune.jobs import Job
from tune_bio.ray_tune.optuna_searcher import Complete, GaussianProcessSearcher, OptunaSearcher
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.space.search_space import SearchSpace
from tune_bio.space.settings import SearchSettings


class ListSearcher(StudySearcher):
    """Runs the jobs of a list in order: a grid, or `--configs`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._jobs = deque(jobs)

    def suggest(self, trial_id: str) -> Any:
        return self._jobs.popleft() if self._jobs else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: a list does not learn."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: a list does not learn."""


class FollowUpSearcher(StudySearcher):
    """A search, and after its last trial has ended, the jobs that follow from it.

    Both are one run of Tune, so that the worker processes of the search are used again.
    """

    def __init__(
        self, first: Searcher, trials: int, follow_up: Callable[[], Sequence[Job]]
    ) -> None:
        """Suggest `trials` trials of `first`, then the jobs of `follow_up`.

        `follow_up` is called when the last trial of the search has ended, and again when the last
        of its jobs has ended, until it returns no more jobs.
        """
        super().__init__()
        self._first = first
        self._remaining = trials
        self._follow_up = follow_up
        self._searching: set[str] = set()
        self._following: set[str] = set()
        self._jobs: deque[Job] = deque()

    def suggest(self, trial_id: str) -> Any:
        if self._remaining > 0:
            suggestion: Any = self._first.suggest(trial_id)
            if suggestion is not Searcher.FINISHED:
                if suggestion is not None:
                    self._remaining -= 1
                    self._searching.add(trial_id)
                return suggestion
            self._remaining = 0
        if not self._jobs:
            if self._searching or self._following:
                return None
            self._jobs.extend(self._follow_up())
        if not self._jobs:
            return Searcher.FINISHED
        self._following.add(trial_id)
        return self._jobs.popleft()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._searching:
            self._first.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._searching:
            self._searching.remove(trial_id)
            self._first.on_trial_complete(trial_id, result, error)
        self._following.discard(trial_id)


def build_searcher(
    space: SearchSpace,
    settings: SearchSettings,
    jobs: Sequence[Job] | None,
    complete: Complete,
    past: Sequence[RecordedTrial] = (),
) -> Searcher:
    """Build the searcher of a study.

    Args:
        space: the space to draw from, unless jobs are given.
        settings: the settings of the study, which name the searcher, its seed and the metric.
        jobs: the jobs of a grid or of `--configs`, or None.
        complete: turns drawn hyperparameters into a configuration (the study's defaults, caps).
        past: the recorded trials of a resumed study.
    """
    if jobs is not None:
        return ListSearcher(jobs)
    kind = GaussianProcessSearcher if settings.searcher == "gp" else OptunaSearcher
    return kind(space, settings, complete, past)
