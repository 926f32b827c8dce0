"""Feature sets on disk: one folder each, named by its key, and together no more than fits.

A folder holds an array a split and `cut.json`, which is written last: without it there is no set.
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
    """A feature set that is on disk, whole."""

    folder: Path
    cut: FeatureCut

    def read(self) -> tuple[Features, Features]:
        """The features of train and validation, memory-mapped; OSError where they are gone."""
        train, val = (np.load(self._path(split), mmap_mode="r") for split in SPLITS)
        return train, val

    def touch(self) -> None:
        """Note that the set is in use."""
        touch(self.used)

    @property
    def used(self) -> Path:
        """The file whose time says when the set was last used."""
        return self.folder / _CUT

    def _path(self, split: str) -> Path:
        return self.folder / f"{split}.npy"


@dataclass(frozen=True)
class FeatureStore:
    """All feature sets below `folder`, which need not exist."""

    folder: Path

    def at(self, key: str, cut: FeatureCut) -> FeatureFiles:
        """The set of this key, which was just written."""
        return FeatureFiles(self.folder / key, cut)

    def find(self, key: str, rows: Mapping[str, int]) -> FeatureFiles | None:
        """The set of this key with so many rows a split; None where it is not there or damaged."""
        folder = self.folder / key
        try:
            stored = json.loads((folder / _CUT).read_text(encoding="utf-8"))
            files = self.at(key, FeatureCut.from_json(stored["cut"]))
            whole = all(
                file_sha256(folder / f"{split}.npy") == stored["sha256"][split] for split in SPLITS
            )
            fits = [len(found) for found in files.read()] == [rows[split] for split in SPLITS]
            files.touch()  # no other study is to remove it while this one gets ready
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        return files if whole and fits else None

    @contextmanager
    def writing(
        self, key: str, cut: FeatureCut, rows: Mapping[str, int], dtype: str
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
                    arrays.writing_array_anywhere(path, (rows[split], *cut.row), np.dtype(dtype))
                )
                for split, path in paths.items()
            }

            def write(split: str, position: int, features: Features) -> None:
                writers[split](position, features)
                touch(folder)  # which tells the age of an unfinished set

            yield write
        hashes = {split: file_sha256(path) for split, path in paths.items()}
        with arrays.clear_cache_errors(folder):
            stored = {"cut": cut.to_json(), "sha256": hashes}
            write_text(folder / _CUT, json.dumps(stored, indent=1))

    def room(self, needed: Collection[str]) -> int:
        """Bytes that further sets may take, once all is removed that may be; `needed` are kept."""
        kept = self._kept()
        staying = sum(one.size for one in kept if one.path.name in needed or one.recent)
        return max_bytes(self.folder, sum(one.size for one in kept)) - staying

    def make_room(self, size: int, needed: Collection[str]) -> None:
        """Remove what was not used for the longest time, until `size` bytes more may be kept."""
        for folder in evictions(self._kept(), size, self.folder, needed):
            shutil.rmtree(folder, ignore_errors=True)  # another study may have been faster

    def _kept(self) -> list[CacheEntry]:
        return [CacheEntry(folder, _size(folder), _used_at(folder)) for folder in self._folders()]

    def _folders(self) -> list[Path]:
        """Of all sets, whole or not; what else somebody keeps here is not ours to remove."""
        return [f for f in self.folder.glob("*") if is_key(f.name) and f.is_dir()]


def _size(folder: Path) -> int:
    try:
        return sum(stat.st_size for path in folder.iterdir() if (stat := _stat(path)))
    except OSError:  # another study has just removed it
        return 0


def _used_at(folder: Path) -> float:
    """When a set was last used; one that was never finished, when it was begun."""
    found = _stat(folder / _CUT) or _stat(folder)
    return found.st_mtime if found else 0.0


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:  # removed since it was listed
        return None
