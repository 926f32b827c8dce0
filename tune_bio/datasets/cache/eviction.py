"""Limit the size of a cache folder: the least recently used entries are evicted first."""

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

# Of the free space plus the folder's own size: other data on the disk need space to grow.
SHARE = 1 / 2
LARGEST = 20 * 2**30  # bytes, so that an unattended cache does not fill a large disk
RECENT = 3600.0  # seconds: entries used since then may belong to a running study


_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CacheEntry:
    """A file or folder of the cache, its size in bytes and its last use (`time.time`)."""

    path: Path
    size: int
    used: float

    @property
    def recent(self) -> bool:
        """True if a running study may be using the entry."""
        return time.time() - self.used < RECENT


def is_key(name: str) -> bool:
    """Return True if `name` has the form of a cache key; other files are never evicted."""
    return _KEY.fullmatch(name) is not None


def max_bytes(folder: Path, held: int) -> int:
    """Return the size limit in bytes of a cache folder that now holds `held` bytes."""
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    free = psutil.disk_usage(str(existing)).free
    return min(LARGEST, int(SHARE * (free + held)))


def evictions(
    entries: Sequence[CacheEntry], size: int, folder: Path, needed: Collection[str] = ()
) -> Iterator[Path]:
    """Yield the entries to remove from `folder` so that another `size` bytes fit.

    Recently used entries, and entries whose names are in `needed`, are never removed, so the space
    may still not suffice. Nothing is removed if `size` alone exceeds the limit of the folder.
    """
    held = sum(entry.size for entry in entries)
    limit = max_bytes(folder, held)
    if size > limit:
        return
    for entry in sorted(entries, key=lambda entry: entry.used):
        if held + size <= limit:
            return
        if entry.path.name not in needed and not entry.recent:
            held -= entry.size
            yield entry.path


def touch(path: Path) -> None:
    """Record that a file is in use."""
    with suppress(OSError):  # a read-only shared cache keeps its times of use
        os.utime(path)


@contextmanager
def keep_fresh(paths: Collection[Path]) -> Iterator[None]:
    """Touch the files regularly while the block runs, so that they stay recent."""
    stop = Event()

    def touch_all() -> None:
        while not stop.wait(RECENT / 4):
            for path in paths:
                touch(path)

    thread = Thread(target=touch_all, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
