"""Fixtures that run whole studies of tiny images and tiny models."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tune_bio.records.manifest_file import read_manifest
from tune_bio.records.tables import read_epochs, read_trials
from tune_bio.search import main

SPACE = """
from tune_bio import SearchSettings, Trial

SETTINGS = SearchSettings(data={data!r}, num_trials=6, max_epochs=4, finalists=0, controls=False)


def search_space(trial: Trial) -> None:
    trial.suggest_categorical("model", ["ann", "cnn", "cnn_gap"])
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    trial.suggest_categorical("batch_size", [16, 32])
"""


@dataclass(frozen=True)
class Finished:
    """A study that was run: its exit status and its folder."""

    status: int
    folder: Path

    @property
    def trials(self) -> Any:
        return read_trials(self.folder).set_index("trial_id")

    @property
    def epochs(self) -> Any:
        return read_epochs(self.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.folder)


@pytest.fixture
def space(tmp_path: Path, tiny_npz: Path) -> Path:
    """Write a search-space file whose data are `tiny_npz`."""
    path = tmp_path / "space.py"
    path.write_text(SPACE.format(data=str(tiny_npz)))
    return path


@pytest.fixture
def study(tmp_path: Path, space: Path, cluster: None) -> Callable[..., Finished]:
    """Return a function that runs a study with flags; `configs` becomes `--configs`.

    The study runs one trial at a time unless a flag says otherwise: a second process would take
    longer to import what it needs than these trials take.
    """

    def run(
        *flags: str, name: str = "study", configs: list[dict[str, Any]] | None = None
    ) -> Finished:
        arguments = [str(space), "--name", name, "--results", str(tmp_path / "results"), *flags]
        if configs is not None:
            (tmp_path / f"{name}.json").write_text(json.dumps(configs))
            arguments += ["--configs", str(tmp_path / f"{name}.json")]
        if "--max-concurrent" not in flags:
            arguments += ["--max-concurrent", "1"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = main([*arguments, "--quiet"])
        return Finished(status, tmp_path / "results" / name)

    return run
