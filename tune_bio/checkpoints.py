"""Checkpoints on disk: safetensors and JSON, never a pickle.

A folder holds `state.json`, which names the other files and is written last: `last-N` (the
trained part of the weights after epoch N), `optimizer-N`, and `best-N`. Where the last epoch is
the best one, both names stand for one file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from tune_bio.errors import ResultsError
from tune_bio.files import replacing, write_text
from tune_bio.training import Best, Tensors, TrainingState

STATE = "state.json"
_PROBABILITIES = "validation_probabilities"


def save(folder: Path, state: TrainingState) -> None:
    """Write `state` whole, then remove the files that it replaces."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, optimizer, values = state.save()
    best, epoch = state.best, state.epoch
    names = {"optimizer": f"optimizer-{epoch}.safetensors"}
    _write(folder / names["optimizer"], optimizer)
    if best is not None:
        names["best"] = f"best-{best.epoch}.safetensors"
        if not (folder / names["best"]).exists():
            probabilities = torch.from_numpy(best.probabilities)
            _write(folder / names["best"], {**best.weights, _PROBABILITIES: probabilities})
    if best is None or best.epoch != epoch:
        names["last"] = f"last-{epoch}.safetensors"
        _write(folder / names["last"], weights)
    values |= {"files": names, "metric": state.metric}
    if best is not None:
        values["best"] = {"epoch": best.epoch, "value": best.value}
    write_text(folder / STATE, json.dumps(values, indent=1))
    _remove_all_but(folder, {STATE, *names.values()})


def load(folder: Path, state: TrainingState) -> None:
    """Bring a fresh `state` of the same configuration to where `save` left it."""
    values = read_state(folder)
    best = load_best(folder)
    optimizer = _read(folder / values["files"]["optimizer"])
    last = values["files"].get("last")
    weights = _read(folder / last) if last or best is None else best.weights
    state.load(weights, optimizer, values, best)


def load_best(folder: Path) -> Best | None:
    """The best epoch of a checkpoint, or None where no epoch was scored."""
    values = read_state(folder)
    if "best" not in values:
        return None
    tensors = _read(folder / values["files"]["best"])
    probabilities = tensors.pop(_PROBABILITIES).numpy().astype(np.float32)
    return Best(values["best"]["epoch"], values["best"]["value"], tensors, probabilities)


def exists(folder: Path) -> bool:
    """Whether a checkpoint was ever saved there."""
    return (folder / STATE).is_file()


def read_state(folder: Path) -> dict[str, Any]:
    """state.json; raises ResultsError."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE).read_text())
    except (OSError, ValueError) as error:
        raise ResultsError(f"no checkpoint in {folder} ({error})", "run the trial again") from error
    return values


def drop_optimizer(folder: Path) -> None:
    """Remove what only a continued trial needs: two thirds of the bytes."""
    for path in folder.glob("optimizer-*.safetensors"):
        path.unlink(missing_ok=True)


def _write(path: Path, tensors: Tensors) -> None:
    with replacing(path) as temporary:
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, temporary)


def _read(path: Path) -> Tensors:
    try:
        return dict(safetensors.torch.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise ResultsError(f"{path} is damaged ({error})", "run the trial again") from error


def _remove_all_but(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink()
