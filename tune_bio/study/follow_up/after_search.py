"""Training that follows the search: replicates, re-splits, ablations, shuffled labels."""

import time
from collections.abc import Mapping
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
    """What follows when the search's last trial has ended: `jobs` is called at that moment.

    The shuffled control is trained beside the replicates. `finalists` is None until then,
    `ablation` until these have been confirmed.
    """

    def __init__(
        self,
        plan: Plan,
        shared: SharedInputs,
        records: Records,
        console: Console,
        splits: Mapping[int, Resplit] = MappingProxyType({}),
    ) -> None:
        """`splits` are the re-splits on which finalists are trained as well, by their number."""
        self.splits = splits
        self._plan = plan
        self._shared = shared
        self._records = records
        self._console = console
        self.finalists: list[Finalist] | None = None
        self.search_seconds = 0.0
        self.ablation: Ablation | None = None
        self._shuffled: RunningShuffledControl | ShuffledControl | None = None
        self._stages = iter((self._replicates, self._ablations))

    def jobs(self) -> list[Job]:
        """What is to be trained next: replicates, then the winner's changes; else nothing."""
        return next((found for stage in self._stages if (found := stage())), [])

    @property
    def is_open(self) -> bool:
        """Whether something that follows the search is still to be trained."""
        plan, records = self._plan, self._records
        if self.finalists is None:
            return plan.settings.finalists != 0
        if replicate_jobs(records, self.finalists):
            return True
        if resplit_jobs(plan, records, self.finalists, list(self.splits)):
            return True
        if self.ablation is None:
            winners = confirmed_finalists(plan, records, self.finalists)
            return plan.settings.ablate and bool(winners)
        return bool(ablation_jobs(records, self.ablation))

    def _replicates(self) -> list[Job]:
        """Those that are still to be trained."""
        plan, records = self._plan, self._records
        self.search_seconds = time.monotonic() - records.began
        self.finalists = choose_finalists(plan, records)
        found, top = replicate_jobs(records, self.finalists), best_searched_trial(plan, records)
        found += resplit_jobs(plan, records, self.finalists, list(self.splits))
        if found:
            print_finalists([one.trial for one in self.finalists], plan, self._console)
        if plan.settings.controls and top is not None:
            config = config_of_row(records.trials[top])
            self._shuffled = start_shuffled_control(plan, self._shared, config, plan.settings.seed)
        return found

    def _ablations(self) -> list[Job]:
        """Of the winner, which is known now that all replicates have ended."""
        plan, records = self._plan, self._records
        assert self.finalists is not None
        winners = confirmed_finalists(plan, records, self.finalists)
        if not plan.settings.ablate or not winners:
            return []
        self.ablation = plan_ablation(plan, records, winners[0])
        found = ablation_jobs(records, self.ablation)
        if found:
            trials = sum(len(members_of(one)) for one in found)
            winner, changes = winners[0].finalist.trial, len(self.ablation.changes)
            print_ablation(winner, changes, trials, self._console)
        return found

    def shuffled(self) -> ShuffledControl | None:
        """Wait for the control; None where there is none."""
        run = self._shuffled
        return None if run is None else finish_shuffled_control(self._plan, self._shared, run)


def best_searched_trial(plan: Plan, records: Records) -> str | None:
    """The search's best trial."""
    rows = [row for row in records.trials.values() if row["replicate"] == 0]
    return next((row["trial_id"] for _, row in rank(rows, records, plan.settings)), None)
