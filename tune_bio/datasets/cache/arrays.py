"""Arrays in the cache folder: written whole, addressed by their content, memory-mapped.

A folder of them is bounded (`room`); what is removed is made again when it is wanted.
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

LARGE = 1 / 4  # of the memory that is free: arrays beyond it are kept in files


def default_folder() -> Path:
    """Where caches lie unless somebody says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tune_bio"


def is_large(shape: Shape, dtype: np.dtype[Any]) -> bool:
    """Whether an array is better kept in a file than in memory."""
    return _nbytes(shape, dtype) > LARGE * psutil.virtual_memory().available


def load_cached(path: Path, shape: Shape, dtype: np.dtype[Any]) -> Array | None:
    """The array in `path`, memory-mapped; None where it is missing, damaged or another."""
    found = load_any(path)
    return found if found is not None and (found.shape, found.dtype) == (shape, dtype) else None


def load_any(path: Path) -> Array | None:
    """The array in `path`, memory-mapped; None where it is missing or damaged."""
    try:
        found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    touch(path)
    return found


def load_finished(path: Path, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """The array that was just written."""
    found = load_cached(path, shape, dtype)
    if found is None:
        raise DataError(f"{path} was written and cannot be read", _REMEDY)
    return found


@contextmanager
def writing_array(
    path: Path, shape: Shape, dtype: np.dtype[Any]
) -> Iterator[Callable[[Array], None]]:
    """Write an array of `shape` to `path`, whole, a few rows at a time, by the function yielded.

    Rows are written as bytes and not through memory, since a full disk then is an error and not
    the end of the process.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    with clear_cache_errors(path):
        for unused in evictions(_kept(path.parent), _nbytes(shape, dtype), path.parent):
            with suppress(OSError):  # another user's, or another study was faster
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
    """The same in any order: the function yielded takes the position of the first row, too."""
    with clear_cache_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        _refuse_full_disk(path, _nbytes(shape, dtype))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            _write_header(stream, shape, dtype)
            begin, row = stream.tell(), prod(shape[1:]) * dtype.itemsize

            def write(position: int, rows: Array) -> None:
                stream.seek(begin + position * row)
                stream.write(np.ascontiguousarray(rows, dtype=dtype).data)

            yield write


@contextmanager
def clear_cache_errors(path: Path) -> Iterator[None]:
    """Tell errors of writing to the cache in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache {path.parent} cannot be written ({error.strerror or error})", _REMEDY
        ) from error


def mapped_file(array: Array) -> Path | None:
    """The file that `array` maps as a whole; None for arrays in memory, and for parts of a file."""
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return None
    return Path(array.filename) if array.filename is not None else None


_REMEDY = "give a folder with space that you may write to, with --cache-dir"


def _write_header(stream: BinaryIO, shape: Shape, dtype: np.dtype[Any]) -> None:
    description: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)


def _nbytes(shape: Shape, dtype: np.dtype[Any]) -> int:
    return prod(shape) * dtype.itemsize


def _kept(folder: Path) -> list[CacheEntry]:
    found = []
    for path in folder.glob("*.npy") if folder.is_dir() else ():
        if not is_key(path.stem):
            continue  # somebody else's
        with suppress(OSError):  # another study has just removed it
            stat = path.stat()
            found.append(CacheEntry(path, stat.st_size, stat.st_mtime))
    return found


def _refuse_full_disk(path: Path, size: int) -> None:
    if size > psutil.disk_usage(str(path.parent)).free:
        raise OSError(errno.ENOSPC, f"{size / 2**30:.1f} GiB are needed, more than is free")
