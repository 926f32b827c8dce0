"""What one trial of Tune is asked to do: one trial of the study, or several that share a prefix.

Trials that differ in their length alone are one training: the longest is trained, and each member
has the rows up to its own end. So Tune, its searcher and its scheduler see one trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_bio.config import Params, TrialConfig

Job = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A trial of the study, and the epoch at which it ends."""

    trial: str
    epochs: int


def trial_name(position: int, replicate: int = 0) -> str:
    """Of the configuration at this place of the study: t0007, and t0007r2 under its second seed."""
    return f"t{position:04d}" + (f"r{replicate}" if replicate else "")


def ablation_name(winner: str, number: int, replicate: int) -> str:
    """Of a winner's change under a seed: t0007a1r2, the replicate r2 of its first change."""
    return f"{winner}a{number}r{replicate}"


def is_ablation(trial: str) -> bool:
    """Whether a trial is a winner with one change."""
    return "a" in trial


def resplit_name(trial: str, number: int) -> str:
    """Of a configuration under a re-split and its seed: t0007s2r2 on the second one."""
    return f"{trial}s{number}r{number}"


def confirms(trial: str) -> bool:
    """Whether a trial is a finalist's replicate, of which one is exported."""
    return replicate_of(trial) > 0 and not is_ablation(trial) and not is_resplit(trial)


def is_resplit(trial: str) -> bool:
    """Whether a trial is trained and scored on another split than the study's."""
    return "s" in trial


def position_of(trial: str) -> int:
    """The place in the study of a trial of the search: 7 of t0007."""
    return int(trial[1:])


def replicate_of(trial: str) -> int:
    """0 for the search's own trial, else which of its replicates this is."""
    return int(trial.partition("r")[2] or 0)


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
