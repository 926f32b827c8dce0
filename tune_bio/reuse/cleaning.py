"""Checkpoints take disk space; this gives the least useful of it back."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from tune_bio.checkpoints import LAST, OPTIMIZER
from tune_bio.reuse.prefixes import CHECKPOINTS, numbered, owners


def used(study: Path) -> int:
    """Bytes of a study's checkpoints; a file with several names counts once."""
    sizes = {}
    for path in (study / CHECKPOINTS).glob("*/*/*"):
        try:
            found = path.stat()
        except OSError:  # a trial has just removed it
            continue
        sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


def clean(study: Path, limit: int, *, running: Collection[str], best: Collection[str]) -> int:
    """Bring the checkpoints of a study under `limit` bytes; returns what is left of them.

    First goes what continuing from a rung needs, then what continuing an ended trial needs, then
    its best weights; the oldest first. The last checkpoint of a trial that is `running` stays,
    and so do the `best` trials' weights, whatever the limit.
    """
    left = used(study)
    if left > limit:
        for path in _least_useful_first(study, set(running), set(best)):
            left -= _remove(path)
            if left <= limit:
                break
    return left


def sweep(study: Path) -> None:
    """Remove what a killed process has left half-written."""
    for path in (study / CHECKPOINTS).glob("*/.*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _least_useful_first(study: Path, running: set[str], best: set[str]) -> Iterator[Path]:
    """Files, and at last whole folders."""
    folders = sorted((study / CHECKPOINTS).glob("*/"), key=lambda folder: folder.stat().st_mtime)
    idle = [folder for folder in folders if not owners(folder) & running]
    for folder in folders:
        for checkpoint in numbered(folder)[:-1]:
            yield from (checkpoint / OPTIMIZER, checkpoint / LAST)
    for folder in idle:
        for checkpoint in numbered(folder)[-1:]:
            yield from (checkpoint / OPTIMIZER, checkpoint / LAST)
    for folder in idle:
        if not owners(folder) & best:
            yield from numbered(folder)


def _remove(path: Path) -> int:
    """Remove a file or folder; returns the bytes that nobody else names."""
    try:
        files = [path] if path.is_file() else list(path.iterdir())
        freed = sum(file.stat().st_size for file in files if file.stat().st_nlink == 1)
    except OSError:
        return 0
    if path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
    return freed
