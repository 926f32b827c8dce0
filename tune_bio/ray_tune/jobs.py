"""Jobs: the configuration that Ray Tune gets for a trial, or for several that share a prefix.

Trials that differ only in their length are one training: the longest is trained, and each member
has the rows up to its own end. Tune, its searcher and its scheduler see one trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.records.trial_names import TrialName
from tune_bio.reuse.prefixes import group_by_prefix
from tune_bio.space.trial_config import TrialConfig

Job = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A trial of the study, and the epoch at which it ends."""

    trial: str
    epochs: int


def job(members: Sequence[tuple[str, TrialConfig]], *, skip_to: int = 0) -> Job:
    """Return Tune's dictionary for the trials of one training.

    Args:
        members: name and configuration of each trial, the shortest first.
        skip_to: where a training was interrupted, the epoch up to which its rungs have decided;
            every member that ends before it is on record. Checkpoints may be further on: a
            kill can keep the last epochs out of the records.
    """
    trial, longest = members[-1]
    single: Job = {"trial": trial, "params": longest.all_params(), "skip_to": skip_to}
    if len(members) == 1:
        return single
    return {**single, "members": [(name, config.epochs) for name, config in members]}


def members_of(job: Mapping[str, Any]) -> tuple[Member, ...]:
    """Return the trials of a job, the shortest first."""
    if "members" in job:
        return tuple(Member(*member) for member in job["members"])
    return (Member(job["trial"], config_of_job(job).epochs),)


def config_of_job(job: Mapping[str, Any]) -> TrialConfig:
    """Return the configuration of a job's longest trial."""
    return TrialConfig.of(job["params"])


def name_of_job(job: Mapping[str, Any]) -> TrialName:
    """Return the name of a job's longest trial."""
    return TrialName.parse(job["trial"])


def jobs_for(
    trials: Sequence[tuple[str, TrialConfig]], past: Sequence[RecordedTrial] = ()
) -> list[Job]:
    """Return one job for each set of trials that share a prefix and have not all ended."""
    on_record = {trial.trial: trial for trial in past}
    jobs = []
    for positions in group_by_prefix([config for _, config in trials]):
        members = [trials[position] for position in positions]
        open_ends = [
            config.epochs
            for name, config in members
            if name not in on_record or not on_record[name].ended
        ]
        if open_ends:
            longest = on_record.get(members[-1][0])
            reached = longest.reached if longest else 0
            jobs.append(job(members, skip_to=min(open_ends[0], reached)))
    return jobs


def longest_of_each_training(past: Sequence[RecordedTrial]) -> list[RecordedTrial]:
    """Return, of recorded trials that were one training, the one that got farthest.

    It is the only one that Tune saw.
    """
    groups = group_by_prefix([trial.config for trial in past])
    return [max((past[i] for i in group), key=lambda trial: trial.reached) for group in groups]
