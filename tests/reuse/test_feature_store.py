"""Feature sets on disk: complete or absent, and within the limit on disk space."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tune_bio.datasets.cache import eviction
from tune_bio.datasets.cache.eviction import RECENT
from tune_bio.datasets.feature_arrays import FeatureCut
from tune_bio.errors import DataError
from tune_bio.reuse import feature_store
from tune_bio.reuse.feature_store import FeatureFiles, FeatureStore

CUT = FeatureCut(("backbone.a", "backbone.b"), ((4, 4), (8,)), (3, 32, 32), channels_last=False)
ROWS = {"train": 6, "val": 4}
FEATURES = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
SIZE = 10 * 8 * 4
KEY, IN_USE, NEEDED, NEWER, OLDER = (digit * 64 for digit in "01234")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def _write(store: FeatureStore, key: str = KEY, dtype: str = "float32") -> FeatureFiles:
    with store.writing(key, CUT, ROWS, dtype) as write:
        write("val", 0, FEATURES[6:])
        write("train", 4, FEATURES[4:6])  # rows may come in any order
        write("train", 0, FEATURES[:4])
    files = store.find(key, ROWS)
    assert files is not None
    return files


def _age(store: FeatureStore, key: str, seconds: float) -> None:
    last_used = time.time() - seconds
    os.utime(store.folder / key / "cut.json", (last_used, last_used))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_set_is_read_as_it_was_written_memory_mapped(store: FeatureStore, dtype: str) -> None:
    files = _write(store, dtype=dtype)
    assert files.cut == CUT
    train, val = files.read()
    assert isinstance(train, np.memmap)
    assert not train.flags.writeable
    np.testing.assert_array_equal(np.concatenate([train, val]), FEATURES.astype(dtype))


@pytest.mark.parametrize("name", ["train.npy", "val.npy", "cut.json"])
@pytest.mark.parametrize("damage", ["removed", "empty", "truncated", "changed"])
def test_a_damaged_set_is_not_found_and_can_be_written_again(
    store: FeatureStore, name: str, damage: str
) -> None:
    path = _write(store).folder / name
    content = path.read_bytes()
    match damage:
        case "removed":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[:-9])
        case "changed":
            position = 0 if name == "cut.json" else len(content) - 9
            path.write_bytes(content[:position] + b"7" + content[position + 1 :])
    assert store.find(KEY, ROWS) is None
    _write(store)


def test_a_set_of_other_images_is_not_found(store: FeatureStore) -> None:
    _write(store)
    assert store.find(KEY, {"train": 6, "val": 5}) is None
    assert store.find("other", ROWS) is None


def test_an_unfinished_set_is_not_found(store: FeatureStore) -> None:
    with pytest.raises(RuntimeError, match="killed"), store.writing(KEY, CUT, ROWS, "float32"):
        raise RuntimeError("killed")
    assert store.find(KEY, ROWS) is None
    assert not list((store.folder / KEY).iterdir())


def test_a_full_disk_is_reported(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(free=100)
    monkeypatch.setattr(feature_store.arrays.psutil, "disk_usage", lambda path: disk)
    with pytest.raises(DataError, match="--cache-dir"), store.writing("k", CUT, ROWS, "float32"):
        pass


def test_the_least_recently_used_are_removed_unless_needed_or_in_use(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, key in enumerate([IN_USE, NEEDED, NEWER, OLDER]):
        _write(store, key)
        _age(store, key, (age > 0) * RECENT + 100 * age)
    size = feature_store._size(store.folder / OLDER)
    assert size > SIZE
    monkeypatch.setattr(eviction, "LARGEST", 5 * size)
    assert store.available_bytes([NEEDED]) == 3 * size
    store.make_space(size, [NEEDED])
    assert (store.folder / OLDER).is_dir()  # everything fits
    store.make_space(2 * size, [NEEDED])
    assert not (store.folder / OLDER).exists()
    assert store.find(NEWER, ROWS) is not None
    _age(store, NEWER, RECENT + 200)  # undo the use by `find`
    store.make_space(6 * size, [NEEDED])
    assert store.find(NEWER, ROWS) is not None  # removing it would not free enough
    _age(store, NEWER, RECENT + 200)
    store.make_space(4 * size, [NEEDED])
    assert {folder.name for folder in store.folder.iterdir()} == {IN_USE, NEEDED}


def test_other_folders_are_not_removed(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_folder = store.folder / "not a set"
    other_folder.mkdir(parents=True)
    (other_folder / "cut.json").write_bytes(bytes(1000))
    _age(store, "not a set", 2 * RECENT)
    monkeypatch.setattr(eviction, "LARGEST", 100)
    store.make_space(90, [])
    assert other_folder.is_dir()


def test_finding_a_set_marks_it_as_in_use(store: FeatureStore) -> None:
    _write(store)
    _age(store, KEY, 2 * RECENT)
    before = store.available_bytes([])
    assert store.find(KEY, ROWS) is not None
    assert store.available_bytes([]) < before


def test_touching_a_set_marks_it_as_in_use(store: FeatureStore) -> None:
    files = _write(store)
    _age(store, KEY, 2 * RECENT)
    before = store.available_bytes([])
    files.touch()
    assert store.available_bytes([]) < before


def test_a_share_of_the_disk_stays_free(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction.psutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    assert store.available_bytes([]) == 5_000
    _write(store)
    used = feature_store._size(store.folder / KEY)
    assert store.available_bytes([KEY]) == (10_000 + used) // 2 - used
