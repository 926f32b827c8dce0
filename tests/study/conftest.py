"""Studies for tests: tiny images, tiny models, Ray started once a module."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from tune_bio.ray_tune.ray_internals import without_helpers
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
    """A study that ran: its exit status and its folder."""

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


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MedMNIST-layout file of 16 px whose positive images have a brighter corner."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, n in (("train", 96), ("val", 48), ("test", 48)):
        labels = np.arange(n) % 2
        images = rng.integers(0, 200, (n, 16, 16))
        images[:, :6, :6] += 40 * labels[:, None, None]
        arrays[f"{name}_images"] = images.astype(np.uint8)
        arrays[f"{name}_labels"] = labels.reshape(-1, 1)
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def space(tmp_path: Path, tiny_npz: Path) -> Path:
    """A search-space file over `tiny_npz`."""
    path = tmp_path / "space.py"
    path.write_text(SPACE.format(data=str(tiny_npz)))
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray in this process, with two GPUs that exist only as resources."""
    with warnings.catch_warnings():
        # Ray's own start leaves sockets and uses deprecated calls; neither is ours to mend.
        warnings.simplefilter("ignore")
        with without_helpers():
            ray.init(
                address="local",
                num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False,
                logging_level="ERROR",
            )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture
def study(tmp_path: Path, space: Path, cluster: None) -> Callable[..., Finished]:
    """Run a study with flags; `configs` becomes `--configs`.

    One trial at a time, unless a flag says otherwise: a second process would take longer to import
    what it needs than these trials take.
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
