"""Trainings that follow the search: replicates, re-splits, ablations, and shuffled labels."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.console import Console

from tune_bio.ray_tune.jobs import Job, members_of
from tune_bio.ray_tune.object_store import SharedInputs
from tune_bio.records.ranking import rank
from tune_bio.records.tables import Records, config_of_row
from tune_bio.study.console import print_ablation, print_finalists
from tune_bio.study.controls import (
    RunningShuffledControl,
    ShuffledControl,
    finish_shuffled_control,
    start_shuffled_control,
)
from tune_bio.study.follow_up.ablation import Ablation, ablation_jobs, plan_ablation
from tune_bio.study.follow_up.confirmation import (
    Finalist,
    choose_finalists,
    confirmed_finalists,
    replicate_jobs,
)
from tune_bio.study.follow_up.resplits import Resplit, resplit_jobs
from tune_bio.study.planning.plan import Plan


class FollowUp:
    """The jobs that follow from a search: `jobs` is called after its last trial has ended.

    The control on shuffled labels is trained next to the replicates.

    Attributes:
        finalists: None until the search has ended.
        ablation: None until the finalists have been confirmed.
        search_seconds: duration of the search.
        resplits: the re-splits on which finalists are trained as well, by their number.
    """

    def __init__(
        self,
        plan: Plan,
        shared: SharedInputs,
        records: Records,
        console: Console,
        resplits: Mapping[int, Resplit] = MappingProxyType({}),
    ) -> None:
        self.resplits = resplits
        self._plan = plan
        self._shared = shared
        self._records = records
        self._console = console
        self.finalists: list[Finalist] | None = None
        self.search_seconds = 0.0
        self.ablation: Ablation | None = None
        self._shuffled: RunningShuffledControl | ShuffledControl | None = None
        self._stages = iter((self._confirmation_jobs, self._ablation_jobs))

    def jobs(self) -> Sequence[Job]:
        """Return the jobs of the next stage that has any; none after the last stage."""
        return next((jobs for stage in self._stages if (jobs := stage())), [])

    @property
    def is_open(self) -> bool:
        """True if a trial that follows the search remains to be trained."""
        plan, records = self._plan, self._records
        if self.finalists is None:
            return plan.settings.finalists != 0
        if replicate_jobs(records, self.finalists):
            return True
        if resplit_jobs(records, self.finalists, list(self.resplits)):
            return True
        if self.ablation is None:
            confirmed = confirmed_finalists(plan, records, self.finalists)
            return plan.settings.ablate and bool(confirmed)
        return bool(ablation_jobs(records, self.ablation))

    def shuffled_control(self) -> ShuffledControl | None:
        """Wait for the control on shuffled labels; None if there is none."""
        running = self._shuffled
        return (
            None if running is None else finish_shuffled_control(self._plan, self._shared, running)
        )

    def _confirmation_jobs(self) -> list[Job]:
        """Choose the finalists; return their replicates and re-splits that have not ended."""
        plan, records = self._plan, self._records
        self.search_seconds = records.seconds_since_start()
        self.finalists = choose_finalists(plan, records)
        jobs = replicate_jobs(records, self.finalists)
        jobs += resplit_jobs(records, self.finalists, list(self.resplits))
        if jobs:
            names = [finalist.trial for finalist in self.finalists]
            print_finalists(names, plan.settings, self._console)
        best = best_searched_trial(plan, records)
        if plan.settings.controls and best is not None:
            config = config_of_row(records.trials[best])
            seed = plan.settings.seed
            self._shuffled = start_shuffled_control(plan, self._shared, config, seed)
        return jobs

    def _ablation_jobs(self) -> list[Job]:
        """Plan the ablation of the winner, which is known now; return its open jobs."""
        plan, records = self._plan, self._records
        assert self.finalists is not None
        confirmed = confirmed_finalists(plan, records, self.finalists)
        if not plan.settings.ablate or not confirmed:
            return []
        winner = confirmed[0]
        self.ablation = plan_ablation(plan, records, winner)
        jobs = ablation_jobs(records, self.ablation)
        if jobs:
            trials = sum(len(members_of(job)) for job in jobs)
            changes = len(self.ablation.changes)
            print_ablation(winner.finalist.trial, changes, trials, self._console)
        return jobs


def best_searched_trial(plan: Plan, records: Records) -> str | None:
    """Return the search's best trial; None if none has a score."""
    rows = [row for row in records.trials.values() if row["replicate"] == 0]
    return next((row["trial_id"] for _, row in rank(rows, records, plan.settings)), None)
