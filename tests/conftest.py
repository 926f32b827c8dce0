"""What every test finds: one thread, no look-ups in the user's caches, small data."""

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch

REAL_DATA = "TUNE_BIO_REAL_DATA"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of real data where there is none."""
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
    """The folder of real images and weights."""
    return Path(os.environ[REAL_DATA])


@pytest.fixture(autouse=True)
def _own_torch_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that happen to lie in a developer's cache would change what a test finds."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch_home")))


@pytest.fixture(autouse=True, scope="session")
def _caches_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test; fonts stay where Matplotlib has found them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache_of_session")))
        yield


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for every test; images that another test decoded would hide a fault."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "tune_bio"
