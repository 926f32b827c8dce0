"""Checkpoints take disk space; this gives the least useful of it back."""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from tune_bio.common.files import remove_abandoned
from tune_bio.reuse.checkpoints import LAST, OPTIMIZER
from tune_bio.reuse.prefixes import CHECKPOINTS, numbered_checkpoints, owners


def used_bytes(study: Path) -> int:
    """Bytes of a study's checkpoints; a file with several names counts once."""
    return sum({found.st_ino: found.st_size for found in _files(study)}.values())


def remove_checkpoints(
    study: Path, limit: int, *, running: Collection[str], best: Collection[str]
) -> int:
    """Bring the checkpoints of a study under `limit` bytes; returns what is left of them.

    First goes what continuing from a rung needs, then what continuing an ended trial needs, then
    its best weights; the oldest first. The last checkpoint of a trial that is `running` stays,
    and so do the `best` trials' weights, whatever the limit.
    """
    left = used_bytes(study)
    if left > limit:
        # A file that another study names too is given up by this one, whatever the disk gains.
        names = Counter(found.st_ino for found in _files(study))
        for path in _least_useful_first(study, set(running), set(best)):
            left -= _remove(path, names)
            if left <= limit:
                break
    return left


def remove_provisional(study: Path) -> None:
    """Remove what a killed process has left half-written."""
    remove_abandoned(study)
    for path in (study / CHECKPOINTS).glob("*/.*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _files(study: Path) -> Iterator[os.stat_result]:
    for path in (study / CHECKPOINTS).glob("*/*/*"):
        with suppress(OSError):  # a trial has just removed it
            yield path.stat()


def _least_useful_first(study: Path, running: set[str], best: set[str]) -> Iterator[Path]:
    """Files, and at last whole folders."""
    folders = sorted((study / CHECKPOINTS).glob("*/"), key=lambda folder: folder.stat().st_mtime)
    idle = [folder for folder in folders if not owners(folder) & running]
    for folder in folders:
        for checkpoint in numbered_checkpoints(folder)[:-1]:
            yield from (checkpoint / OPTIMIZER, checkpoint / LAST)
    for folder in idle:
        for checkpoint in numbered_checkpoints(folder)[-1:]:
            yield from (checkpoint / OPTIMIZER, checkpoint / LAST)
    for folder in idle:
        if not owners(folder) & best:
            yield from numbered_checkpoints(folder)


def _remove(path: Path, names: Counter[int]) -> int:
    """Remove a file or folder; returns the bytes that the study does not name any more.

    `names` counts its names of each file.
    """
    try:
        files = [file.stat() for file in ([path] if path.is_file() else path.iterdir())]
    except OSError:
        return 0
    freed = 0
    for file in files:
        names[file.st_ino] -= 1
        freed += 0 if names[file.st_ino] > 0 else file.st_size
    if path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
    return freed
