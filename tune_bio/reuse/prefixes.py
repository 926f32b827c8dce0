"""Shared prefixes: trainings with identical first epochs train these epochs only once.

A checkpoint is stored as `checkpoints/KEY/EPOCH` in the folder of its study. KEY is a hash of
everything that its content depends on, so any training with the same key may continue from it, in
this study or in another one of the same results folder. On a CPU, the continued training is
bit-identical to an uninterrupted one. An empty file `KEY/of-TRIAL` marks the trials of a key.
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
KEY_DIGITS = 24  # of 64; enough to keep a billion trainings apart
_OWNER = "of-"
LIBRARIES = ("timm", "numpy", "scikit-learn")  # networks, and metrics


@dataclass(frozen=True)
class KeyContext:
    """Everything that a training's bits depend on, besides its configuration.

    data: hash of training and validation images, labels and classes.
    weights: SHA-256 of the published weight files.
    threads: number of PyTorch threads per trial.
    """

    metric: str
    data: str
    weights: Mapping[ModelWeights, str]
    threads: int


@dataclass(frozen=True)
class PrefixStore:
    """The checkpoints of a study and of the other studies in its results folder.

    `folder` is the absolute path of the study.
    """

    folder: Path
    context: KeyContext

    def key(self, config: TrialConfig, reuse_tag: str = "", device: str = "cpu") -> str:
        """Return the key of a training.

        `reuse_tag` is that of its `TrialData`; `device` is "cpu" or the name of the GPU.
        """
        context = self.context
        content = [
            prefix_identity(config),
            config.seed,
            reuse_tag,
            context.metric,
            context.data,
            context.weights.get((config.model, config.weights), ""),
            context.threads,
            device,
            code_version(),
            *pixel_versions(),
            *_versions(),
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return digest[:KEY_DIGITS]

    def at(self, key: str, epoch: int) -> Path:
        """Return the path of the checkpoint after `epoch`."""
        return self.folder / CHECKPOINTS / key / str(epoch)

    def claim(self, key: str, trials: Sequence[str]) -> None:
        """Mark these trials as owners of a key."""
        folder = self.folder / CHECKPOINTS / key
        folder.mkdir(parents=True, exist_ok=True)
        for trial in trials:
            (folder / f"{_OWNER}{trial}").touch()

    def find(self, key: str, after: int, until: int) -> Iterator[Path]:
        """Yield complete checkpoints of epochs in (after, until], the latest epoch first.

        For the same epoch, the checkpoint of this study comes first.
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
    """Return the hyperparameters that determine the first epochs of a training.

    These are all hyperparameters, without the number of epochs if it has no effect. It has one
    under a schedule that is stretched to it, and if it would cut a warm-up short.
    """
    identity: dict[str, Any] = dict(config.params())
    phases = {phase(config, epoch) for epoch in (1, config.epochs)}
    cut_short = any(config.warmup_epochs >= length for _, length in phases)
    if config.lr_schedule not in LENGTH_BOUND_SCHEDULES and not cut_short:
        del identity["epochs"]
    return identity


def group_by_prefix(configs: Sequence[TrialConfig]) -> list[list[int]]:
    """Return the positions of configurations that share a prefix, each group sorted by length."""
    groups: dict[str, list[int]] = {}
    for position, config in enumerate(configs):
        identity = json.dumps([prefix_identity(config), config.seed], sort_keys=True)
        groups.setdefault(identity, []).append(position)
    return [
        sorted(group, key=lambda position: configs[position].epochs) for group in groups.values()
    ]


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in the folder of a key, sorted by epoch."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.name.isdigit()]
    return sorted(paths, key=lambda path: int(path.name))


def owners(folder: Path) -> set[str]:
    """Return the trials marked as owners of a key's folder."""
    return {path.name.removeprefix(_OWNER) for path in folder.glob(f"{_OWNER}*")}


def folders_of(study: Path, trial: str) -> list[Path]:
    """Return the folders of a trial's checkpoints, the newest first.

    There are several if the trial was resumed under another key, such as with another PyTorch.
    """
    marks = (study / CHECKPOINTS).glob(f"*/{_OWNER}{trial}")
    return [mark.parent for mark in sorted(marks, key=lambda m: m.stat().st_mtime, reverse=True)]
