"""Feature sets on disk: one folder each, named by its key, and together no more than fits.

A folder holds an array a split and `cut.json`, which is written last: without it there is no set.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tune_bio.datasets import cache
from tune_bio.datasets.features import Cut, Features
from tune_bio.files import write_text
from tune_bio.fingerprints import file_sha256

SPLITS = ("train", "val")
# Of the space that is free or taken by features: what else lies on that disk is to grow, too.
SHARE = 1 / 2
LARGEST = 20 * 2**30  # bytes; a cache that nobody looks after is not to fill a large disk
# Seconds: a set that was used since may be another running study's. Trials touch what they use.
RECENT = 3600.0
_CUT = "cut.json"


@dataclass(frozen=True)
class FeatureFiles:
    """A feature set that is on disk, whole."""

    folder: Path
    cut: Cut

    def read(self) -> tuple[Features, Features]:
        """The features of train and validation, memory-mapped; OSError where they are gone."""
        train, val = (np.load(self._path(split), mmap_mode="r") for split in SPLITS)
        return train, val

    def touch(self) -> None:
        """Note that the set is in use."""
        with suppress(OSError):  # a cache that is shared read-only keeps its order of use
            os.utime(self.folder / _CUT)

    def _path(self, split: str) -> Path:
        return self.folder / f"{split}.npy"


@dataclass(frozen=True)
class FeatureStore:
    """All feature sets below `folder`, which need not exist."""

    folder: Path

    def at(self, key: str, cut: Cut) -> FeatureFiles:
        """The set of this key, which was just written."""
        return FeatureFiles(self.folder / key, cut)

    def find(self, key: str, rows: Mapping[str, int]) -> FeatureFiles | None:
        """The set of this key with so many rows a split; None where it is not there or damaged."""
        folder = self.folder / key
        try:
            stored = json.loads((folder / _CUT).read_text(encoding="utf-8"))
            files = self.at(key, Cut.from_json(stored["cut"]))
            whole = all(
                file_sha256(folder / f"{split}.npy") == stored["sha256"][split] for split in SPLITS
            )
            fits = [len(found) for found in files.read()] == [rows[split] for split in SPLITS]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        return files if whole and fits else None

    @contextmanager
    def writing(
        self, key: str, cut: Cut, rows: Mapping[str, int], dtype: str
    ) -> Iterator[Callable[[str, int, Features], None]]:
        """Write a set by the function yielded: split, position of the first row, rows.

        Raises:
            DataError: the folder cannot be written, or the disk is full.
        """
        folder = self.folder / key
        paths = {split: folder / f"{split}.npy" for split in SPLITS}
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(
                    cache.writing_anywhere(path, (rows[split], *cut.row), np.dtype(dtype))
                )
                for split, path in paths.items()
            }
            yield lambda split, position, features: writers[split](position, features)
        hashes = {split: file_sha256(path) for split, path in paths.items()}
        with cache.failing_clearly(folder):
            stored = {"cut": cut.to_json(), "sha256": hashes}
            write_text(folder / _CUT, json.dumps(stored, indent=1))

    def room(self, needed: Collection[str]) -> int:
        """Bytes that further sets may take, once all is removed that may be; `needed` are kept."""
        sizes = {folder: _size(folder) for folder in self._folders()}
        staying = sum(size for f, size in sizes.items() if f.name in needed or _is_recent(f))
        return self._limit(sum(sizes.values())) - staying

    def make_room(self, size: int, needed: Collection[str]) -> None:
        """Remove what was not used for the longest time, until `size` bytes more may be kept."""
        sizes = {folder: _size(folder) for folder in self._folders()}
        held = sum(sizes.values())
        limit = self._limit(held)
        for folder in sorted(sizes, key=_used_at):
            if held + size <= limit:
                return
            if folder.name not in needed and not _is_recent(folder):
                shutil.rmtree(folder, ignore_errors=True)  # another study may have been faster
                held -= sizes[folder]

    def _limit(self, held: int) -> int:
        existing = next(f for f in (self.folder, *self.folder.parents) if f.exists())
        free = psutil.disk_usage(str(existing)).free
        return min(LARGEST, int(SHARE * (free + held)))

    def _folders(self) -> list[Path]:
        return [f for f in self.folder.iterdir() if f.is_dir()] if self.folder.is_dir() else []


def _size(folder: Path) -> int:
    try:
        return sum(stat.st_size for path in folder.iterdir() if (stat := _stat(path)))
    except OSError:  # another study has just removed it
        return 0


def _used_at(folder: Path) -> float:
    """When a set was last used; one that was never finished, when it was begun."""
    found = _stat(folder / _CUT) or _stat(folder)
    return found.st_mtime if found else 0.0


def _is_recent(folder: Path) -> bool:
    return time.time() - _used_at(folder) < RECENT


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:  # removed since it was listed
        return None
