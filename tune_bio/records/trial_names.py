"""Trial names: position, replicate, ablation and re-split of a trial."""


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
