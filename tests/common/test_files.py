"""Files are written completely or not at all."""

import os
import time
from pathlib import Path

import pytest

from tune_bio.common import files
from tune_bio.common.files import replacing, write_text


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("ne")
        assert path.read_text() == "old"
        temporary.write_text("new ü")
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_text(path, "old")

    def fill_the_disk() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_file_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    previous = os.umask(mask)
    try:
        with replacing(tmp_path / "table") as temporary:
            temporary.touch(mode=0o600)
        assert os.umask(mask) == mask
    finally:
        os.umask(previous)
    assert (tmp_path / "table").stat().st_mode & 0o777 == 0o666 & ~mask


def test_temporary_files_are_removed_after_a_day(tmp_path: Path) -> None:
    old, new, finished = tmp_path / ".a.npy.1.tmp", tmp_path / ".b.npy.2.tmp", tmp_path / "c.npy"
    for path in (old, new, finished):
        path.write_bytes(b"x")
    past = time.time() - files.ABANDONED - 60
    for path in (old, finished):
        os.utime(path, (past, past))
    files.remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, finished.name]
