"""Fixtures of all tests: one thread, empty caches, small data, and one Ray per test worker."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import ray
import torch
from hypothesis import settings

from tune_bio.ray_tune.ray_internals import without_helpers

REAL_DATA = "TUNE_BIO_REAL_DATA"

# The same examples on every machine, and no time limit per example, so that a failure does not
# depend on where the tests run.
settings.register_profile("tune_bio", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("tune_bio")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of real data if it is unavailable."""
    if REAL_DATA not in os.environ:
        skip = pytest.mark.skip(reason=f"{REAL_DATA} is not set")
        for item in items:
            if item.get_closest_marker("real_data"):
                item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real images and weights."""
    return Path(os.environ[REAL_DATA])


@pytest.fixture(autouse=True)
def _own_torch_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use an empty folder for weights, so that a developer's cache cannot change a test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch_home")))


@pytest.fixture(autouse=True, scope="session")
def _caches_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use an empty cache for session fixtures, but keep Matplotlib's own cache of fonts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache_of_session")))
        yield


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache per test; images decoded by another test could hide a fault."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "tune_bio"


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file in MedMNIST's layout: images of 16 px, positive ones with a brighter corner."""
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


@pytest.fixture(scope="session")
def _ray_of_worker() -> Iterator[Callable[[], None]]:
    """Return the function that starts this test worker's Ray; it is shut down at the end."""

    def start() -> None:
        with without_helpers():
            ray.init(
                address="local",
                num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False,
                logging_level="ERROR",
            )  # fmt: skip

    with warnings.catch_warnings():
        # Ray itself leaves sockets open and uses deprecated calls.
        warnings.simplefilter("ignore")
        yield start
        ray.shutdown()


@pytest.fixture(scope="module")
def cluster(_ray_of_worker: Callable[[], None]) -> None:
    """The one Ray of this test worker, with two GPUs that exist only as resources."""
    if not ray.is_initialized():
        _ray_of_worker()


@pytest.fixture(scope="module")
def without_ray() -> None:
    """A process without Ray, for commands that must not start it."""
    ray.shutdown()
