"""Atomic writes: a file or folder is written completely or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED = 24 * 3600.0  # seconds


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success, fsync it and rename it to `path`.

    A reader sees the old bytes or the new ones, never a mixture; a crash leaves the old ones.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some writers create files only their owner can read
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder next to `folder`; on success, fsync its files and rename it to `folder`.

    So `folder` exists with all its files or not at all.

    Raises:
        OSError: `folder` was created by another process in the meantime (FileExistsError, or what
            the system raises instead).
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.iterdir():
            _fsync(path)
        _fsync(temporary)
        temporary.rename(folder)
        _fsync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that a killed process has left in `folder`.

    Only files without a write for a day are removed: a running process of another machine may be
    writing the others.
    """
    for path in folder.glob(".*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED and path.is_file():
                path.unlink()
        except OSError:  # another process removed it first
            continue


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
