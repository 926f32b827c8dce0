"""Feature sets on disk: whole or not at all, and no more than fits."""

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
def kept(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def _write(kept: FeatureStore, key: str = KEY, dtype: str = "float32") -> FeatureFiles:
    with kept.writing(key, CUT, ROWS, dtype) as write:
        write("val", 0, FEATURES[6:])
        write("train", 4, FEATURES[4:6])  # in whatever order they come
        write("train", 0, FEATURES[:4])
    found = kept.find(key, ROWS)
    assert found is not None
    return found


def _age(kept: FeatureStore, key: str, seconds: float) -> None:
    when = time.time() - seconds
    os.utime(kept.folder / key / "cut.json", (when, when))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_set_is_read_as_it_was_written_memory_mapped(kept: FeatureStore, dtype: str) -> None:
    files = _write(kept, dtype=dtype)
    assert files.cut == CUT
    train, val = files.read()
    assert isinstance(train, np.memmap)
    assert not train.flags.writeable
    np.testing.assert_array_equal(np.concatenate([train, val]), FEATURES.astype(dtype))


@pytest.mark.parametrize("name", ["train.npy", "val.npy", "cut.json"])
@pytest.mark.parametrize("damage", ["removed", "empty", "truncated", "changed"])
def test_a_damaged_set_is_not_found_and_can_be_written_again(
    kept: FeatureStore, name: str, damage: str
) -> None:
    path = _write(kept).folder / name
    content = path.read_bytes()
    match damage:
        case "removed":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(content[:-9])
        case "changed":
            at = 0 if name == "cut.json" else len(content) - 9
            path.write_bytes(content[:at] + b"7" + content[at + 1 :])
    assert kept.find(KEY, ROWS) is None
    _write(kept)


def test_a_set_of_other_images_is_not_found(kept: FeatureStore) -> None:
    _write(kept)
    assert kept.find(KEY, {"train": 6, "val": 5}) is None
    assert kept.find("other", ROWS) is None


def test_what_was_not_finished_is_not_there(kept: FeatureStore) -> None:
    with pytest.raises(RuntimeError, match="killed"), kept.writing(KEY, CUT, ROWS, "float32"):
        raise RuntimeError("killed")
    assert kept.find(KEY, ROWS) is None
    assert not list((kept.folder / KEY).iterdir())


def test_a_full_disk_is_told(kept: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(free=100)
    monkeypatch.setattr(feature_store.arrays.psutil, "disk_usage", lambda path: disk)
    with pytest.raises(DataError, match="--cache-dir"), kept.writing("k", CUT, ROWS, "float32"):
        pass


def test_the_least_recently_used_go_first_and_what_is_needed_or_in_use_stays(
    kept: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, key in enumerate([IN_USE, NEEDED, NEWER, OLDER]):
        _write(kept, key)
        _age(kept, key, (age > 0) * RECENT + 100 * age)
    size = feature_store._size(kept.folder / OLDER)
    assert size > SIZE
    monkeypatch.setattr(eviction, "LARGEST", 5 * size)
    assert kept.room([NEEDED]) == 3 * size
    kept.make_room(size, [NEEDED])
    assert (kept.folder / OLDER).is_dir()  # it fits as it is
    kept.make_room(2 * size, [NEEDED])
    assert not (kept.folder / OLDER).exists()
    assert kept.find(NEWER, ROWS) is not None
    _age(kept, NEWER, RECENT + 200)  # which finding it has made recent
    kept.make_room(6 * size, [NEEDED])
    assert kept.find(NEWER, ROWS) is not None  # it would not be enough
    _age(kept, NEWER, RECENT + 200)
    kept.make_room(4 * size, [NEEDED])
    assert {folder.name for folder in kept.folder.iterdir()} == {IN_USE, NEEDED}


def test_what_somebody_else_keeps_there_stays(
    kept: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kept.folder / "their own"
    theirs.mkdir(parents=True)
    (theirs / "cut.json").write_bytes(bytes(1000))
    _age(kept, "their own", 2 * RECENT)
    monkeypatch.setattr(eviction, "LARGEST", 100)
    kept.make_room(90, [])
    assert theirs.is_dir()


def test_a_set_that_was_found_is_in_use(kept: FeatureStore) -> None:
    _write(kept)
    _age(kept, KEY, 2 * RECENT)
    before = kept.room([])
    assert kept.find(KEY, ROWS) is not None
    assert kept.room([]) < before


def test_use_makes_a_set_recent(kept: FeatureStore) -> None:
    files = _write(kept)
    _age(kept, KEY, 2 * RECENT)
    before = kept.room([])
    files.touch()
    assert kept.room([]) < before


def test_a_share_of_the_disk_stays_free(
    kept: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction.psutil, "disk_usage", lambda path: SimpleNamespace(free=10_000))
    assert kept.room([]) == 5_000
    _write(kept)
    held = feature_store._size(kept.folder / KEY)
    assert kept.room([KEY]) == (10_000 + held) // 2 - held
