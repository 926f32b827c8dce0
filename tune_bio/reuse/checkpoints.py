"""Checkpoints on disk: safetensors and JSON, never a pickle.

A checkpoint is a folder that is written whole: `state.json` with values, curve and the hashes of
the other files; `last` (the trained part of the weights), `optimizer`, and `best` (the best epoch's
weights and validation probabilities). Where the last epoch is the best one there is no `last`.
Without its optimizer a checkpoint cannot be continued, and still holds the best epoch.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from tune_bio.common.files import making_folder
from tune_bio.common.hashing import file_sha256
from tune_bio.errors import ResultsError
from tune_bio.training.state import Best, Tensors, TrainingState

STATE = "state.json"
LAST, OPTIMIZER, BEST = "last.safetensors", "optimizer.safetensors", "best.safetensors"
_PROBABILITIES = "validation_probabilities"


@dataclass(frozen=True)
class History:
    """How a state came about.

    rows: one of epochs.parquet an epoch, without the trial.
    trial: whoever trained the last of them, as STUDY/TRIAL.
    reused_from: whoever trained `reused_epochs` of them, the last ones where they were several; not
        this trial. Without the study, where it was the same.
    train_accuracy: by epoch: in evaluation mode, with the weights of that epoch, for the best
        epochs that have been scored so.
    """

    rows: Sequence[dict[str, Any]]
    trial: str
    reused_from: str | None = None
    reused_epochs: int = 0
    train_accuracy: Mapping[str, float] = field(default_factory=dict)


def save(folder: Path, state: TrainingState, history: History, before: Path | None = None) -> None:
    """Write `state` to `folder`, whole; a complete checkpoint that is there already stays.

    `before` is an earlier checkpoint of the same training: its best epoch's file is linked where
    that is still the best.
    """
    if is_complete(folder):
        return  # the folder's name tells its content, so it is the same
    # What a cleaning has left of one may hold a best epoch: it goes when the new one is there.
    left = folder.with_name(f".{folder.name}.{os.getpid()}.left.tmp")
    try:
        with making_folder(folder) as temporary:
            _write_files(temporary, state, history, before)
            if folder.exists():
                folder.rename(left)
        shutil.rmtree(left, ignore_errors=True)
    except OSError:
        if left.exists() and not folder.exists():
            left.rename(folder)
        if not is_complete(folder):  # else another trial of the same content was faster
            raise


def load(folder: Path, state: TrainingState) -> History:
    """Bring a `state` of the same training to where `save` left it.

    Raises:
        ResultsError: a file is missing or damaged; `state` is as it was.
    """
    values = read_state(folder)
    best = load_best(folder)
    optimizer = _read(folder, OPTIMIZER, values)
    at_best = best is not None and best.epoch == values["epoch"]
    weights = best.weights if best is not None and at_best else _read(folder, LAST, values)
    state.load(weights, optimizer, values, best)
    return History(**values["history"])


def load_best(folder: Path) -> Best | None:
    """The best epoch of a checkpoint, or None where no epoch was scored."""
    values = read_state(folder)
    if "best" not in values:
        return None
    tensors = _read(folder, BEST, values)
    probabilities = tensors.pop(_PROBABILITIES).numpy().astype(np.float32)
    return Best(values["best"]["epoch"], values["best"]["value"], tensors, probabilities)


def is_complete(folder: Path) -> bool:
    """Whether there is a checkpoint that can be continued."""
    return (folder / STATE).is_file() and (folder / OPTIMIZER).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """state.json; raises ResultsError."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE).read_text())
    except (OSError, ValueError) as error:
        raise ResultsError(f"no checkpoint in {folder} ({error})", "run the trial again") from error
    return values


def drop_optimizer(folder: Path) -> None:
    """Remove what only a continued trial needs: the most of the bytes."""
    for name in (OPTIMIZER, LAST):
        (folder / name).unlink(missing_ok=True)


def _write_files(folder: Path, state: TrainingState, history: History, before: Path | None) -> None:
    weights, optimizer, values = state.save()
    best = state.best
    _write(folder / OPTIMIZER, optimizer)
    if best is None or best.epoch != state.epoch:
        _write(folder / LAST, weights)
    if best is not None:
        values["best"] = {"epoch": best.epoch, "value": best.value}
        if not _link_best(folder, best, before):
            probabilities = torch.from_numpy(best.probabilities)
            _write(folder / BEST, {**best.weights, _PROBABILITIES: probabilities})
    values["history"] = asdict(history)
    values["sha256"] = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    (folder / STATE).write_text(json.dumps(values, indent=1))


def _link_best(folder: Path, best: Best, before: Path | None) -> bool:
    try:
        if before is None or read_state(before).get("best", {}).get("epoch") != best.epoch:
            return False
        os.link(before / BEST, folder / BEST)
    except (OSError, ResultsError):  # a file system without links, or cleaned in the meantime
        return False
    return True


def _write(path: Path, tensors: Tensors) -> None:
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def _read(folder: Path, name: str, values: dict[str, Any]) -> Tensors:
    path = folder / name
    try:
        if file_sha256(path) != values["sha256"][name]:
            raise ValueError("its content has changed")
        return dict(safetensors.torch.load_file(path))
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise ResultsError(f"{path} is damaged ({error})", "run the trial again") from error
