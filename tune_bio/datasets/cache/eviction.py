"""How much lies in a folder of the cache: what was not used for the longest time goes first."""

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

# Of the space that is free or taken by such a folder: what else lies on that disk is to grow, too.
SHARE = 1 / 2
LARGEST = 20 * 2**30  # bytes; a cache that nobody looks after is not to fill a large disk
RECENT = 3600.0  # seconds: what was used since may be another running study's


_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CacheEntry:
    """A file or folder of the cache, its bytes, and when it was last used (`time.time`)."""

    path: Path
    size: int
    used: float

    @property
    def recent(self) -> bool:
        """Whether a running study may use it."""
        return time.time() - self.used < RECENT


def is_key(name: str) -> bool:
    """Whether this is how we name what we keep: anything else is somebody else's."""
    return _KEY.fullmatch(name) is not None


def max_bytes(folder: Path, held: int) -> int:
    """Bytes that a folder of the cache, which holds so many, may hold at most."""
    existing = next(f for f in (folder, *folder.parents) if f.exists())
    free = psutil.disk_usage(str(existing)).free
    return min(LARGEST, int(SHARE * (free + held)))


def evictions(
    kept: Sequence[CacheEntry], size: int, folder: Path, needed: Collection[str] = ()
) -> Iterator[Path]:
    """What has to leave `folder`, which holds `kept`, so that `size` bytes more may be kept.

    As much as may go: what is `needed`, by name, stays, and so does what is recent. Nothing has to
    where that would not be enough in any case.
    """
    held = sum(one.size for one in kept)
    most = max_bytes(folder, held)
    if size > most:
        return
    for one in sorted(kept, key=lambda one: one.used):
        if held + size <= most:
            return
        if one.path.name not in needed and not one.recent:
            held -= one.size
            yield one.path


def touch(path: Path) -> None:
    """Note that a file is in use."""
    with suppress(OSError):  # a cache that is shared read-only keeps its order of use
        os.utime(path)


@contextmanager
def keep_fresh(paths: Collection[Path]) -> Iterator[None]:
    """Note it again and again while the block runs, however long nobody opens them."""
    over = Event()

    def note() -> None:
        while not over.wait(RECENT / 4):
            for path in paths:
                touch(path)

    beside = Thread(target=note, daemon=True)
    beside.start()
    try:
        yield
    finally:
        over.set()
        beside.join()
