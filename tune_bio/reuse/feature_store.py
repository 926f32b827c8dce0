"""Feature sets on disk: one folder per set, named by its key, within a limit on disk space.

A folder holds one array per split and `cut.json`, which is written last: a folder without it is
not a complete set.
"""

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_bio.common.files import write_text
from tune_bio.common.hashing import file_sha256
from tune_bio.datasets.cache import arrays
from tune_bio.datasets.cache.eviction import CacheEntry, evictions, is_key, max_bytes, touch
from tune_bio.datasets.feature_arrays import FeatureCut, Features

SPLITS = ("train", "val")
_CUT = "cut.json"


@dataclass(frozen=True)
class FeatureFiles:
    """A complete feature set on disk."""

    folder: Path
    cut: FeatureCut

    def read(self) -> tuple[Features, Features]:
        """Return the memory-mapped features of train and validation.

        Raises:
            OSError: a file was removed.
        """
        train, val = (np.load(self._path(split), mmap_mode="r") for split in SPLITS)
        return train, val

    def touch(self) -> None:
        """Mark the set as in use."""
        touch(self.used)

    @property
    def used(self) -> Path:
        """The file whose modification time is the time of last use."""
        return self.folder / _CUT

    def _path(self, split: str) -> Path:
        return self.folder / f"{split}.npy"


@dataclass(frozen=True)
class FeatureStore:
    """The feature sets in `folder`, which need not exist."""

    folder: Path

    def at(self, key: str, cut: FeatureCut) -> FeatureFiles:
        """Return the set of a key, which must have been written."""
        return FeatureFiles(self.folder / key, cut)

    def find(self, key: str, rows: Mapping[str, int]) -> FeatureFiles | None:
        """Return the set of a key; None if it is missing or damaged, or has other row counts."""
        folder = self.folder / key
        try:
            stored = json.loads((folder / _CUT).read_text(encoding="utf-8"))
            files = self.at(key, FeatureCut.from_json(stored["cut"]))
            unchanged = all(
                file_sha256(folder / f"{split}.npy") == stored["sha256"][split] for split in SPLITS
            )
            fits = [len(features) for features in files.read()] == [rows[split] for split in SPLITS]
            files.touch()  # keeps other studies from removing it while this one prepares
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        return files if unchanged and fits else None

    @contextmanager
    def writing(
        self, key: str, cut: FeatureCut, rows: Mapping[str, int], dtype: str
    ) -> Iterator[Callable[[str, int, Features], None]]:
        """Yield a function that writes rows of a set: split, position of the first row, rows.

        Raises:
            DataError: the folder cannot be written, or the disk is full.
        """
        folder = self.folder / key
        paths = {split: folder / f"{split}.npy" for split in SPLITS}
        with ExitStack() as stack:
            writers = {
                split: stack.enter_context(
                    arrays.writing_array_anywhere(path, (rows[split], *cut.row), np.dtype(dtype))
                )
                for split, path in paths.items()
            }

            def write(split: str, position: int, features: Features) -> None:
                writers[split](position, features)
                touch(folder)  # its time is the age of an unfinished set

            yield write
        hashes = {split: file_sha256(path) for split, path in paths.items()}
        with arrays.report_cache_errors(folder):
            stored = {"cut": cut.to_json(), "sha256": hashes}
            write_text(folder / _CUT, json.dumps(stored, indent=1))

    def available_bytes(self, needed: Collection[str]) -> int:
        """Return the bytes available for new sets, counting sets that may be removed as free.

        Sets that are `needed` or in recent use are not removed.
        """
        entries = self._entries()
        retained = sum(e.size for e in entries if e.path.name in needed or e.recent)
        return max_bytes(self.folder, sum(e.size for e in entries)) - retained

    def make_space(self, size: int, needed: Collection[str]) -> None:
        """Remove the least recently used sets, except `needed`, until `size` more bytes fit."""
        for folder in evictions(self._entries(), size, self.folder, needed):
            shutil.rmtree(folder, ignore_errors=True)  # another study may have removed it

    def _entries(self) -> list[CacheEntry]:
        return [CacheEntry(folder, _size(folder), _used_at(folder)) for folder in self._folders()]

    def _folders(self) -> list[Path]:
        """Return the folders of all sets, complete or not; other folders here are not ours."""
        return [f for f in self.folder.glob("*") if is_key(f.name) and f.is_dir()]


def _size(folder: Path) -> int:
    try:
        return sum(stat.st_size for path in folder.iterdir() if (stat := _stat(path)))
    except OSError:  # another study has just removed it
        return 0


def _used_at(folder: Path) -> float:
    """Return the time of a set's last use, or of the last write if it is unfinished."""
    stat = _stat(folder / _CUT) or _stat(folder)
    return stat.st_mtime if stat else 0.0


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:  # removed since it was listed
        return None
