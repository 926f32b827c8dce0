"""Searchers: which configuration is tried next.

Ray's own OptunaSearch cannot redraw, tells Optuna that a stopped trial is a complete one, and
pickles the space; so this is a small `Searcher` around an Optuna study, asked and told directly.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from tune_bio.ray_tune.driver_only import StudySearcher
from tune_bio.ray_tune.jobs import Job
from tune_bio.ray_tune.optuna_searcher import Finish, GaussianProcessSearcher, OptunaSearcher
from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.space.search_space import SearchSpace
from tune_bio.space.settings import SearchSettings


class ListSearcher(StudySearcher):
    """Runs the jobs of a list, in order: a grid, or `--configs`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._left = deque(jobs)

    def suggest(self, trial_id: str) -> Any:
        return self._left.popleft() if self._left else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A list does not learn."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A list does not learn."""


class FollowUpSearcher(StudySearcher):
    """A search, and when all of its trials have ended, the jobs that follow from them.

    In one run of Tune, so that the processes of the search go on with them.
    """

    def __init__(self, first: Searcher, trials: int, then: Callable[[], Sequence[Job]]) -> None:
        """`first` gives so many trials; when the last of them has ended, `then` is called.

        And again when the last of its jobs has ended, until it has no more.
        """
        super().__init__()
        self._first = first
        self._left = trials
        self._then = then
        self._open: set[str] = set()
        self._following: set[str] = set()
        self._jobs: deque[Job] = deque()

    def suggest(self, trial_id: str) -> Any:
        if self._left > 0:
            suggested: Any = self._first.suggest(trial_id)
            if suggested is not Searcher.FINISHED:
                if suggested is not None:
                    self._left -= 1
                    self._open.add(trial_id)
                return suggested
            self._left = 0
        if not self._jobs:
            if self._open or self._following:
                return None
            self._jobs.extend(self._then())
        if not self._jobs:
            return Searcher.FINISHED
        self._following.add(trial_id)
        return self._jobs.popleft()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._open:
            self._first.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._open:
            self._open.remove(trial_id)
            self._first.on_trial_complete(trial_id, result, error)
        self._following.discard(trial_id)


def build_searcher(
    space: SearchSpace,
    settings: SearchSettings,
    jobs: Sequence[Job] | None,
    finish: Finish,
    past: Sequence[RecordedTrial] = (),
) -> Searcher:
    """The searcher of a study.

    Args:
        space: drawn from, unless jobs are given.
        settings: name the searcher, its seed and the metric.
        jobs: those of a grid or of `--configs`, or None.
        finish: completes what was drawn (defaults of the study, caps).
        past: the trials of a study that is resumed.
    """
    if jobs is not None:
        return ListSearcher(jobs)
    kind = GaussianProcessSearcher if settings.searcher == "gp" else OptunaSearcher
    return kind(space, settings, finish, past)
