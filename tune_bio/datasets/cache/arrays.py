"""Arrays in the cache folder: written atomically, addressed by content, memory-mapped.

The size of each folder is limited (see `eviction`); evicted arrays are recomputed when needed.
"""

import errno
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import psutil

from tune_bio.common.files import remove_abandoned, replacing
from tune_bio.datasets.cache.eviction import CacheEntry, evictions, is_key, touch
from tune_bio.errors import DataError

Shape = tuple[int, ...]
Array = npt.NDArray[Any]

LARGE = 1 / 4  # of the free memory: larger arrays are kept in files


def default_folder() -> Path:
    """Return the default cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tune_bio"


def is_large(shape: Shape, dtype: np.dtype[Any]) -> bool:
    """Return True if an array is better kept in a file than in memory."""
    return _nbytes(shape, dtype) > LARGE * psutil.virtual_memory().available


def load_cached(path: Path, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """Map the array in `path`; None if it is missing, damaged, or of another shape or dtype."""
    array = load_any(path)
    return array if array is not None and (array.shape, array.dtype) == (shape, dtype) else None


def load_any(path: Path) -> Array | None:
    """Map the array in `path`; None if it is missing or damaged."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    touch(path)
    return array


def load_finished(path: Path, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Map an array that has just been written; raises DataError if it cannot be read."""
    array = load_cached(path, shape, dtype)
    if array is None:
        raise DataError(f"{path} was written but cannot be read", _REMEDY)
    return array


@contextmanager
def writing_array(
    path: Path, shape: Shape, dtype: np.dtype[Any]
) -> Iterator[Callable[[Array], None]]:
    """Write an array of `shape` to `path` atomically; yield a function that appends rows.

    Rows are written as bytes, not through a memory map: with a map, a full disk would kill the
    process instead of raising an error.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    with report_cache_errors(path):
        for unused in evictions(_entries(path.parent), _nbytes(shape, dtype), path.parent):
            with suppress(OSError):  # it belongs to another user, or another study removed it
                unused.unlink()
    with writing_array_anywhere(path, shape, dtype) as write:
        written = 0

        def append(rows: Array) -> None:
            nonlocal written
            write(written, rows)
            written += len(rows)

        yield append


@contextmanager
def writing_array_anywhere(
    path: Path, shape: Shape, dtype: np.dtype[Any]
) -> Iterator[Callable[[int, Array], None]]:
    """Write an array atomically; yield a function that writes rows from a given position on."""
    with report_cache_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        _refuse_full_disk(path, _nbytes(shape, dtype))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            _write_header(stream, shape, dtype)
            start, row_bytes = stream.tell(), prod(shape[1:]) * dtype.itemsize

            def write(position: int, rows: Array) -> None:
                stream.seek(start + position * row_bytes)
                stream.write(np.ascontiguousarray(rows, dtype=dtype).data)

            yield write


@contextmanager
def report_cache_errors(path: Path) -> Iterator[None]:
    """Convert an OSError while writing to the cache to a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache {path.parent} cannot be written ({error.strerror or error})", _REMEDY
        ) from error


def mapped_file(array: Array) -> Path | None:
    """Return the file that `array` maps as a whole; None for any other array."""
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return None
    return Path(array.filename) if array.filename is not None else None


_REMEDY = "give a writable folder with enough space, with --cache-dir"


def _write_header(stream: BinaryIO, shape: Shape, dtype: np.dtype[Any]) -> None:
    description: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)


def _nbytes(shape: Shape, dtype: np.dtype[Any]) -> int:
    return prod(shape) * dtype.itemsize


def _entries(folder: Path) -> list[CacheEntry]:
    entries = []
    for path in folder.glob("*.npy") if folder.is_dir() else ():
        if not is_key(path.stem):
            continue  # not a file of this cache
        with suppress(OSError):  # another study removed it
            stat = path.stat()
            entries.append(CacheEntry(path, stat.st_size, stat.st_mtime))
    return entries


def _refuse_full_disk(path: Path, size: int) -> None:
    if size > psutil.disk_usage(str(path.parent)).free:
        raise OSError(errno.ENOSPC, f"{size / 2**30:.1f} GiB are needed, more than the free space")
