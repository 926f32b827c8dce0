"""Shared prefixes: two trainings that are the same for their first epochs are trained once.

A checkpoint lies under `checkpoints/KEY/EPOCH` of its study. KEY is a hash of everything that
its content depends on, so whatever training has the same key may continue from it, in this study
or in another of the same results folder; continued so, it gives the bits of the uninterrupted
one (on a CPU). An empty file `KEY/of-TRIAL` tells whose key it is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tune_bio.datasets.decoding.versions import pixel_versions
from tune_bio.models.freezing import phase
from tune_bio.reuse import checkpoints
from tune_bio.reuse.code_version import code_version
from tune_bio.space.search_space import ModelWeights
from tune_bio.space.trial_config import LENGTH_BOUND_SCHEDULES, TrialConfig

CHECKPOINTS = "checkpoints"
KEY_DIGITS = 24  # of 64: no two of a billion trainings share them
_OWNER = "of-"
LIBRARIES = ("timm", "numpy", "scikit-learn")  # networks, and metrics


@dataclass(frozen=True)
class KeyContext:
    """What a training's bits depend on, beside its configuration.

    data: a hash of training and validation images, labels and classes.
    weights: the SHA-256 of the published files.
    threads: of PyTorch, in a trial.
    """

    metric: str
    data: str
    weights: Mapping[ModelWeights, str]
    threads: int


@dataclass(frozen=True)
class PrefixStore:
    """The checkpoints of a study, and those of its neighbours.

    `folder` is that of the study, absolute.
    """

    folder: Path
    context: KeyContext

    def key(self, config: TrialConfig, features: str = "", device: str = "cpu") -> str:
        """The key of a training.

        `features` tells the dtype of cached features where it trains on those, `device` is "cpu"
        or the GPU's name.
        """
        about = self.context
        content = [
            prefix_identity(config),
            config.seed,
            features,
            about.metric,
            about.data,
            about.weights.get((config.model, config.weights), ""),
            about.threads,
            device,
            code_version(),
            *pixel_versions(),
            *_versions(),
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return digest[:KEY_DIGITS]

    def at(self, key: str, epoch: int) -> Path:
        """Where the checkpoint after `epoch` lies."""
        return self.folder / CHECKPOINTS / key / str(epoch)

    def claim(self, key: str, trials: Sequence[str]) -> None:
        """Leave a mark that these trials have this key."""
        folder = self.folder / CHECKPOINTS / key
        folder.mkdir(parents=True, exist_ok=True)
        for trial in trials:
            (folder / f"{_OWNER}{trial}").touch()

    def found(self, key: str, after: int, until: int) -> Iterator[Path]:
        """Checkpoints that can be continued, of epochs in (after, until], the longest first.

        Of the same epoch, this study's own come first.
        """
        own = self.folder / CHECKPOINTS / key
        others = sorted(self.folder.parent.glob(f"*/{CHECKPOINTS}/{key}"))
        folders = [own, *(folder for folder in others if folder != own)]
        paths = [path for folder in folders for path in numbered_checkpoints(folder)]
        for path in sorted(paths, key=lambda path: -int(path.name)):
            if after < int(path.name) <= until and checkpoints.is_complete(path):
                yield path


@cache
def _versions() -> tuple[str, ...]:
    return tuple(map(version, LIBRARIES))


def prefix_identity(config: TrialConfig) -> dict[str, Any]:
    """What tells a training's first epochs from another's: all but its length, if that does not.

    The length matters under a schedule that is stretched to it, and where a warm-up would be
    cut short by it.
    """
    identity: dict[str, Any] = dict(config.params())
    phases = {phase(config, epoch) for epoch in (1, config.epochs)}
    cut_short = any(config.warmup_epochs >= length for _, length in phases)
    if config.lr_schedule not in LENGTH_BOUND_SCHEDULES and not cut_short:
        del identity["epochs"]
    return identity


def group_by_prefix(configs: Sequence[TrialConfig]) -> list[list[int]]:
    """Positions of configurations that share a prefix, each group from the shortest on."""
    groups: dict[str, list[int]] = {}
    for position, config in enumerate(configs):
        identity = json.dumps([prefix_identity(config), config.seed], sort_keys=True)
        groups.setdefault(identity, []).append(position)
    return [
        sorted(group_by_prefix, key=lambda at: configs[at].epochs)
        for group_by_prefix in groups.values()
    ]


def numbered_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of one key, by epoch."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.name.isdigit()]
    return sorted(paths, key=lambda path: int(path.name))


def owners(folder: Path) -> set[str]:
    """The trials that have this key."""
    return {path.name.removeprefix(_OWNER) for path in folder.glob(f"{_OWNER}*")}


def folders_of(study: Path, trial: str) -> list[Path]:
    """The folders of a trial's checkpoints, the newest first.

    There are several where it was resumed under another key, as with another PyTorch.
    """
    marks = (study / CHECKPOINTS).glob(f"*/{_OWNER}{trial}")
    return [mark.parent for mark in sorted(marks, key=lambda m: m.stat().st_mtime, reverse=True)]
