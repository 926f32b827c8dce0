"""Eviction from a cache folder: which entries are removed and which stay."""

import os
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tune_bio.datasets.cache import arrays, eviction
from tune_bio.datasets.cache.eviction import RECENT, keep_fresh

SHAPE, DTYPE = (64, 64), np.dtype(np.uint8)
SIZE = 64 * 64 + 128  # with the header


def _write(folder: Path, name: str, age: float = 0.0) -> Path:
    path = folder / f"{sha256(name.encode()).hexdigest()}.npy"
    with arrays.writing_array(path, SHAPE, DTYPE) as write:
        write(np.zeros(SHAPE, dtype=DTYPE))
    last_use = time.time() - age
    os.utime(path, (last_use, last_use))
    return path


def test_the_least_recently_used_images_are_evicted_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = _write(tmp_path, "newer", RECENT + 100)
    older = _write(tmp_path, "older", RECENT + 200)
    now = _write(tmp_path, "now")
    assert older.stat().st_size == SIZE
    monkeypatch.setattr(eviction, "LARGEST", 3 * SIZE)
    another = _write(tmp_path, "another")
    assert {*tmp_path.iterdir()} == {newer, now, another}
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    last = _write(tmp_path, "last")
    assert {*tmp_path.iterdir()} == {now, another, last}  # the others may be in use


def test_files_of_others_are_never_evicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "fold0.npy"
    foreign.write_bytes(bytes(2 * SIZE))
    os.utime(foreign, (0, 0))
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    _write(tmp_path, "new")
    assert foreign.exists()


def test_an_entry_that_cannot_be_removed_does_not_prevent_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _write(tmp_path, "old", 2 * RECENT)

    unlink = Path.unlink

    def refuse_old(path: Path, missing_ok: bool = False) -> None:
        if path == old:
            raise PermissionError(path)  # it belongs to another user
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse_old)
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    assert {old, _write(tmp_path, "new")} == {*tmp_path.iterdir()}


def test_reading_counts_as_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _write(tmp_path, "old", 2 * RECENT)
    recently_read = _write(tmp_path, "read", 3 * RECENT)
    assert arrays.load_cached(recently_read, SHAPE, DTYPE) is not None
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    _write(tmp_path, "new")
    assert recently_read.exists()
    assert not old.exists()


def test_files_used_by_a_long_study_stay_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, missing = _write(tmp_path, "used", 2 * RECENT), tmp_path / "missing.npy"
    monkeypatch.setattr(eviction, "RECENT", 0.4)
    with keep_fresh([missing, used]):
        deadline = time.monotonic() + 30
        while time.time() - used.stat().st_mtime > RECENT and time.monotonic() < deadline:
            time.sleep(0.05)
    last_use = used.stat().st_mtime
    assert time.time() - last_use < RECENT
    assert not missing.exists()
    time.sleep(0.3)
    assert used.stat().st_mtime == last_use  # the study has ended
