"""What leaves a folder of the cache, and what stays."""

import os
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tune_bio.datasets.cache import arrays, eviction
from tune_bio.datasets.cache.eviction import RECENT, keep_fresh

ROWS, ITEM = (64, 64), np.dtype(np.uint8)
SIZE = 64 * 64 + 128  # with the header


def _write(folder: Path, name: str, age: float = 0.0) -> Path:
    path = folder / f"{sha256(name.encode()).hexdigest()}.npy"
    with arrays.writing_array(path, ROWS, ITEM) as write:
        write(np.zeros(ROWS, dtype=ITEM))
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def test_decoded_images_leave_the_least_recently_used_first(
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
    assert {*tmp_path.iterdir()} == {now, another, last}  # a running study may use the others


def test_what_somebody_else_keeps_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "fold0.npy"
    theirs.write_bytes(bytes(2 * SIZE))
    os.utime(theirs, (0, 0))
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    _write(tmp_path, "new")
    assert theirs.exists()


def test_what_cannot_be_removed_keeps_nobody_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = _write(tmp_path, "old", 2 * RECENT)

    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path == old:
            raise PermissionError(path)  # another user's
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    assert {old, _write(tmp_path, "new")} == {*tmp_path.iterdir()}


def test_reading_is_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, read = _write(tmp_path, "old", 2 * RECENT), _write(tmp_path, "read", 3 * RECENT)
    assert arrays.load_cached(read, ROWS, ITEM) is not None
    monkeypatch.setattr(eviction, "LARGEST", SIZE)
    _write(tmp_path, "new")
    assert read.exists()
    assert not old.exists()


def test_what_a_long_study_uses_stays_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, gone = _write(tmp_path, "used", 2 * RECENT), tmp_path / "gone.npy"
    monkeypatch.setattr(eviction, "RECENT", 0.4)
    with keep_fresh([gone, used]):
        deadline = time.monotonic() + 30
        while time.time() - used.stat().st_mtime > RECENT and time.monotonic() < deadline:
            time.sleep(0.05)
    noted = used.stat().st_mtime
    assert time.time() - noted < RECENT
    assert not gone.exists()
    time.sleep(0.3)
    assert used.stat().st_mtime == noted  # the study has ended
