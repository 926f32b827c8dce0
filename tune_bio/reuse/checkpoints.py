"""Checkpoints on disk: safetensors and JSON, never pickle.

A checkpoint is a folder that is written atomically: `state.json` with values, curve and the hashes
of the other files; `last` (the trained part of the weights), `optimizer`, and `best` (the best
epoch's weights and validation probabilities). There is no `last` if the last epoch is the best.
A checkpoint without its optimizer cannot be continued, but still holds the best epoch.
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
    """The origin of a training state.

    rows: one row of epochs.parquet per epoch, without the trial.
    trial: the trial that trained the last epoch, as STUDY/TRIAL.
    reused_from: the other trial whose epochs were reused (the last one if there are several),
        without the study if it is the same.
    reused_epochs: the number of epochs that other trials have trained.
    train_accuracy: training accuracy by epoch, in evaluation mode and with the weights of that
        epoch, for the best epochs that were scored.
    """

    rows: Sequence[dict[str, Any]]
    trial: str
    reused_from: str | None = None
    reused_epochs: int = 0
    train_accuracy: Mapping[str, float] = field(default_factory=dict)


def save(
    folder: Path, state: TrainingState, history: History, previous: Path | None = None
) -> None:
    """Write `state` to `folder` atomically; an existing complete checkpoint is kept.

    `previous` is an earlier checkpoint of the same training; its file of the best epoch is linked
    if that epoch is still the best.
    """
    if is_complete(folder):
        return  # the folder's name determines its content
    # A checkpoint that cleanup has reduced may still hold the best epoch: keep it until the new
    # one is written.
    leftover = folder.with_name(f".{folder.name}.{os.getpid()}.left.tmp")
    try:
        with making_folder(folder) as temporary:
            _write_files(temporary, state, history, previous)
            if folder.exists():
                folder.rename(leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    except OSError:
        if leftover.exists() and not folder.exists():
            leftover.rename(folder)
        if not is_complete(folder):  # otherwise another trial wrote the same content first
            raise


def load(folder: Path, state: TrainingState) -> History:
    """Restore a `state` of the same training from a checkpoint, and return its history.

    Raises:
        ResultsError: a file is missing or damaged; `state` is unchanged.
    """
    values = read_state(folder)
    best = load_best(folder)
    optimizer = _read(folder, OPTIMIZER, values)
    at_best = best is not None and best.epoch == values["epoch"]
    weights = best.weights if best is not None and at_best else _read(folder, LAST, values)
    state.load(weights, optimizer, values, best)
    return History(**values["history"])


def load_best(folder: Path) -> Best | None:
    """Return the best epoch of a checkpoint, or None if no epoch was scored."""
    values = read_state(folder)
    if "best" not in values:
        return None
    tensors = _read(folder, BEST, values)
    probabilities = tensors.pop(_PROBABILITIES).numpy().astype(np.float32)
    return Best(values["best"]["epoch"], values["best"]["value"], tensors, probabilities)


def is_complete(folder: Path) -> bool:
    """Return True if `folder` holds a checkpoint that can be continued."""
    return (folder / STATE).is_file() and (folder / OPTIMIZER).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """Return the content of state.json; raise ResultsError if it cannot be read."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE).read_text())
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"no readable checkpoint in {folder} ({error})", "run the trial again"
        ) from error
    return values


def _write_files(
    folder: Path, state: TrainingState, history: History, previous: Path | None
) -> None:
    weights, optimizer, values = state.save()
    best = state.best
    _write(folder / OPTIMIZER, optimizer)
    if best is None or best.epoch != state.epoch:
        _write(folder / LAST, weights)
    if best is not None:
        values["best"] = {"epoch": best.epoch, "value": best.value}
        if not _link_best(folder, best, previous):
            probabilities = torch.from_numpy(best.probabilities)
            _write(folder / BEST, {**best.weights, _PROBABILITIES: probabilities})
    values["history"] = asdict(history)
    values["sha256"] = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
    (folder / STATE).write_text(json.dumps(values, indent=1))


def _link_best(folder: Path, best: Best, previous: Path | None) -> bool:
    """Link the best epoch's file of the previous checkpoint; return False if that is impossible."""
    try:
        if previous is None or read_state(previous).get("best", {}).get("epoch") != best.epoch:
            return False
        os.link(previous / BEST, folder / BEST)
    except (OSError, ResultsError):  # no hard links here, or cleaned up in the meantime
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
