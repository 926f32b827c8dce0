"""Confirmation: the best configurations are trained again under fresh seeds.

The best of many trials has been lucky, and its own score cannot tell how much. What is trained
again was not chosen by its score, so the mean over it is an honest one.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_bio.ray_tune.jobs import Job, jobs_for
from tune_bio.records.ranking import rank, score
from tune_bio.records.schema import Row
from tune_bio.records.tables import Records, config_of_row
from tune_bio.records.trial_names import position_of, replicate_of, trial_name
from tune_bio.space.trial_config import Params
from tune_bio.study.planning.plan import Plan

ENDED_WELL = ("completed", "stopped_early")


@dataclass(frozen=True)
class Finalist:
    """A configuration that is confirmed.

    trial: of the search, its best with this configuration.
    replicates: the trials that count: under fresh seeds alone, or, where nothing is selected, the
        search's own among them.
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
        """Of the metric over the replicates."""
        return statistics.fmean(self.scores.values())

    @property
    def median(self) -> str:
        """The replicate in the middle; of an even number, the worse of the two."""
        worst_first = sorted(self.scores, key=self.scores.__getitem__, reverse=self.mode == "min")
        return worst_first[(len(worst_first) - 1) // 2]


def choose_finalists(plan: Plan, records: Records) -> list[Finalist]:
    """The configurations to confirm, the best first; none where settings say so."""
    wanted, replicates = plan.settings.finalists, plan.settings.replicates
    first: dict[str, Row] = {}
    for _, row in rank(list(records.trials.values()), records, plan.settings):
        if row["replicate"] == 0 and row["status"] in ENDED_WELL:
            first.setdefault(row["config_id"], row)
    counted = range(replicates) if plan.selects_nothing else range(1, replicates + 1)
    chosen = list(first.items())[: None if wanted == "all" else wanted]
    return [
        Finalist(config_id, row["trial_id"], tuple(_named(row["trial_id"], k) for k in counted))
        for config_id, row in chosen
    ]


def replicate_jobs(records: Records, finalists: Sequence[Finalist]) -> list[Job]:
    """What is still to be trained; trials that share a prefix are one training."""
    named = []
    for finalist in finalists:
        for trial in finalist.replicates:
            if replicate_of(trial) == 0:
                continue
            params = reseeded(records, finalist, replicate_of(trial))
            if not has_ended(records, trial, params):
                named.append((trial, params))
    return jobs_for(named)


def confirmed_finalists(
    plan: Plan, records: Records, finalists: Sequence[Finalist]
) -> list[ConfirmedFinalist]:
    """The finalists all of whose replicates ended well, the best mean first."""
    found = []
    for finalist in finalists:
        rows = [records.trials.get(trial, {}) for trial in finalist.replicates]
        if all(row.get("status") in ENDED_WELL for row in rows):
            values = {row["trial_id"]: score(row, records, plan.settings) for row in rows}
            scores = {trial: value for trial, value in values.items() if value is not None}
            found.append(ConfirmedFinalist(finalist, scores, plan.settings.mode))
    sign = -1 if plan.settings.mode == "max" else 1
    return sorted(found, key=lambda one: sign * one.mean)


def _named(trial: str, replicate: int) -> str:
    return trial_name(position_of(trial), replicate)


def reseeded(records: Records, finalist: Finalist, replicate: int) -> Params:
    """The finalist's configuration under a seed that the search has not used for it."""
    seeds = defaultdict(list)
    for row in records.trials.values():
        if row["replicate"] == 0:
            seeds[row["config_id"]].append(row["seed"])
    config = config_of_row(records.trials[finalist.trial])
    return {**config.params(), "seed": max(seeds[finalist.config_id]) + replicate}


def has_ended(records: Records, trial: str, params: Params) -> bool:
    """Whether a replicate is on record; one that is to be longer now is trained on.

    `params` are all of its hyperparameters, with its seed.
    """
    row = records.trials.get(trial)
    if row is None or row["status"] == "interrupted":
        return False
    config = config_of_row(row)
    if {**config.params(), "seed": config.seed} == params:
        return True
    row["status"] = "interrupted"
    return False
