"""Jobs: the dictionary that Ray Tune gets for one trial of the study, or for several that share a
prefix.

Trials that differ only in their length are one training: the longest is trained, and each member
has the rows up to its own end. Tune, its searcher and its scheduler see one trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.records.recorded_trial import RecordedTrial
from tune_bio.reuse.prefixes import group_by_prefix
from tune_bio.space.trial_config import Params, TrialConfig

Job = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A trial of the study, and the epoch at which it ends."""

    trial: str
    epochs: int


def job(members: Sequence[tuple[str, Params]], *, skip_to: int = 0) -> Job:
    """Tune's dictionary for trials of one training.

    Args:
        members: name and complete hyperparameters of each, the shortest first.
        skip_to: the training was interrupted: up to this epoch its rungs have decided, and no
            member ends before it that is not on record. Checkpoints may be further, by what a
            kill has kept from the records.
    """
    trial, params = members[-1]
    of_one: Job = {"trial": trial, "params": params, "skip_to": skip_to}
    if len(members) == 1:
        return of_one
    return {**of_one, "members": [(name, own["epochs"]) for name, own in members]}


def members_of(config: Mapping[str, Any]) -> tuple[Member, ...]:
    """The trials of a job, the shortest first."""
    if "members" in config:
        return tuple(Member(*pair) for pair in config["members"])
    return (Member(config["trial"], TrialConfig.of(config["params"]).epochs),)


def jobs_for(named: Sequence[tuple[str, Params]], past: Sequence[RecordedTrial] = ()) -> list[Job]:
    """One job for each set of trials that share a prefix and have not all ended."""
    before = {trial.trial: trial for trial in past}
    jobs = []
    for positions in group_by_prefix([TrialConfig.of(params) for _, params in named]):
        members = [named[at] for at in positions]
        open_ends = [
            int(params["epochs"])
            for trial, params in members
            if trial not in before or not before[trial].ended
        ]
        if open_ends:
            longest = before.get(members[-1][0])
            reached = longest.reached if longest else 0
            jobs.append(job(members, skip_to=min(open_ends[0], reached)))
    return jobs


def longest_of_each_training(past: Sequence[RecordedTrial]) -> list[RecordedTrial]:
    """Of trials of a list that were one training, the one that came farthest: Tune saw no other."""
    groups = group_by_prefix([TrialConfig.of(trial.params) for trial in past])
    return [max((past[at] for at in members), key=lambda one: one.reached) for members in groups]
