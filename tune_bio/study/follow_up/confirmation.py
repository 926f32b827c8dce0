"""Confirmation: the best configurations are trained again under fresh seeds.

The best of many trials has been lucky, and its own score cannot show how much. The replicates were
not chosen by their scores, so their mean is an honest estimate.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_bio.ray_tune.jobs import Job, jobs_for
from tune_bio.records.ranking import rank, score
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import TrialName
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.planning.plan import Plan

ENDED_WELL = ("completed", "stopped_early")


@dataclass(frozen=True)
class Finalist:
    """A configuration to confirm.

    trial: the search's best trial with this configuration.
    replicates: the trials that count: those under fresh seeds, and, where nothing is selected, the
        search's own trial.
    """

    config_id: str
    trial: str
    replicates: tuple[str, ...]


@dataclass(frozen=True)
class ConfirmedFinalist:
    """A finalist whose replicates have all ended, with the metric of each at its best epoch."""

    finalist: Finalist
    scores: Mapping[str, float]
    mode: str

    @property
    def mean(self) -> float:
        """The mean of the metric over the replicates."""
        return statistics.fmean(self.scores.values())

    @property
    def median(self) -> str:
        """The median replicate; of an even number, the worse of the two in the middle."""
        worst_first = sorted(self.scores, key=self.scores.__getitem__, reverse=self.mode == "min")
        return worst_first[(len(worst_first) - 1) // 2]


def choose_finalists(plan: Plan, records: Records) -> list[Finalist]:
    """Return the configurations to confirm, the best first; none if the settings say so."""
    limit, replicates = plan.settings.finalists, plan.settings.replicates
    best: dict[str, Row] = {}
    for _, row in rank(list(records.trials.values()), records, plan.settings):
        if row["replicate"] == 0 and row["status"] in ENDED_WELL:
            best.setdefault(row["config_id"], row)
    numbers = range(replicates) if plan.selects_nothing else range(1, replicates + 1)
    chosen = list(best.items())[: None if limit == "all" else limit]
    return [
        Finalist(config_id, row["trial_id"], tuple(_replicate(row["trial_id"], k) for k in numbers))
        for config_id, row in chosen
    ]


def replicate_jobs(records: Records, finalists: Sequence[Finalist]) -> list[Job]:
    """Return the jobs of replicates that have not ended; trials with one prefix are one job."""
    trials = []
    for finalist in finalists:
        for name in finalist.replicates:
            replicate = TrialName.parse(name).replicate
            if replicate == 0:
                continue
            config = reseeded(records, finalist, replicate)
            if not has_ended(records, name, config):
                trials.append((name, config))
    return jobs_for(trials)


def confirmed_finalists(
    plan: Plan, records: Records, finalists: Sequence[Finalist]
) -> list[ConfirmedFinalist]:
    """Return the finalists whose replicates have all ended well, the best mean first."""
    confirmed = []
    for finalist in finalists:
        rows = [records.trials.get(name, {}) for name in finalist.replicates]
        if all(row.get("status") in ENDED_WELL for row in rows):
            values = {row["trial_id"]: score(row, records, plan.settings) for row in rows}
            scores = {name: value for name, value in values.items() if value is not None}
            confirmed.append(ConfirmedFinalist(finalist, scores, plan.settings.mode))
    sign = -1 if plan.settings.mode == "max" else 1
    return sorted(confirmed, key=lambda candidate: sign * candidate.mean)


def _replicate(trial: str, number: int) -> str:
    return str(TrialName.parse(trial).under_seed(number))


def reseeded(records: Records, finalist: Finalist, replicate: int) -> TrialConfig:
    """Return the finalist's configuration under a seed that the search has not used for it."""
    seeds = defaultdict(list)
    for row in records.trials.values():
        if row["replicate"] == 0:
            seeds[row["config_id"]].append(row["seed"])
    config = config_of_row(records.trials[finalist.trial])
    return config.with_seed(max(seeds[finalist.config_id]) + replicate)


def has_ended(records: Records, trial: str, config: TrialConfig) -> bool:
    """Return True if a replicate has ended; if it must become longer, mark it as interrupted."""
    row = records.trials.get(trial)
    if row is None or row["status"] == "interrupted":
        return False
    if config_of_row(row).all_params() == config.all_params():
        return True
    row["status"] = "interrupted"
    return False
