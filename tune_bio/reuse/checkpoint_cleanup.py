"""Cleanup of checkpoints: the least useful files are removed to free disk space."""

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
    """Return the bytes of a study's checkpoints; a file with several hard links counts once."""
    return sum({stat.st_ino: stat.st_size for stat in _file_stats(study)}.values())


def remove_checkpoints(
    study: Path, limit: int, *, running: Collection[str], best: Collection[str]
) -> int:
    """Reduce the checkpoints of a study to `limit` bytes and return the bytes that remain.

    Files for continuing from a rung are removed first, then files for continuing an ended trial,
    then its best weights; within each group, the oldest first. The last checkpoint of a `running`
    trial and the weights of the `best` trials are kept, whatever the limit.
    """
    remaining = used_bytes(study)
    if remaining > limit:
        # A file that another study links too counts as removed, although the disk gains nothing.
        links = Counter(stat.st_ino for stat in _file_stats(study))
        for path in _least_useful_first(study, set(running), set(best)):
            remaining -= _remove(path, links)
            if remaining <= limit:
                break
    return remaining


def remove_provisional(study: Path) -> None:
    """Remove the unfinished files and folders that a killed process has left."""
    remove_abandoned(study)
    for path in (study / CHECKPOINTS).glob("*/.*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _file_stats(study: Path) -> Iterator[os.stat_result]:
    for path in (study / CHECKPOINTS).glob("*/*/*"):
        with suppress(OSError):  # a trial has just removed the file
            yield path.stat()


def _least_useful_first(study: Path, running: set[str], best: set[str]) -> Iterator[Path]:
    """Yield the paths to remove: files first, whole folders last."""
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


def _remove(path: Path, links: Counter[int]) -> int:
    """Remove a file or folder and return the bytes that the study no longer links.

    `links` counts the study's hard links to each file, by inode.
    """
    try:
        stats = [file.stat() for file in ([path] if path.is_file() else path.iterdir())]
    except OSError:
        return 0
    freed = 0
    for stat in stats:
        links[stat.st_ino] -= 1
        freed += 0 if links[stat.st_ino] > 0 else stat.st_size
    if path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
    return freed
