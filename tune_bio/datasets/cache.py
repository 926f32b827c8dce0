"""Arrays in the cache folder: written whole, addressed by their content, memory-mapped."""

import errno
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import psutil
import torch
import torchvision

from tune_bio.datasets.pixels import Pixels
from tune_bio.errors import DataError
from tune_bio.files import replacing

Shape = tuple[int, ...]
PixelType = np.dtype[np.uint8 | np.uint16]

LARGE = 1 / 4  # of the memory that is free: arrays beyond it are kept in files
# PyTorch resizes 8-bit images by other code, which rounds otherwise, where the CPU has no AVX2.
TRANSFORM_VERSION = " ".join(
    ("1", torchvision.__version__, torch.__version__, torch.backends.cpu.get_cpu_capability())
)


def default_folder() -> Path:
    """Where caches lie unless somebody says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tune_bio"


def is_large(shape: Shape, dtype: PixelType) -> bool:
    """Whether an array is better kept in a file than in memory."""
    return prod(shape) * dtype.itemsize > LARGE * psutil.virtual_memory().available


def load(path: Path, shape: Shape, dtype: PixelType) -> Pixels | None:
    """The array in `path`, memory-mapped; None where it is missing, damaged or another."""
    found = load_any(path)
    return found if found is not None and (found.shape, found.dtype) == (shape, dtype) else None


def load_any(path: Path) -> Pixels | None:
    """The array in `path`, memory-mapped; None where it is missing or damaged."""
    try:
        found: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found


def load_written(path: Path, shape: Shape, dtype: PixelType) -> Pixels:
    """The array that was just written."""
    found = load(path, shape, dtype)
    if found is None:
        raise DataError(f"{path} was written and cannot be read", _REMEDY)
    return found


@contextmanager
def writing(path: Path, shape: Shape, dtype: PixelType) -> Iterator[Callable[[Pixels], None]]:
    """Write an array of `shape` to `path`, whole, a few rows at a time, by the function yielded.

    Rows are written as bytes and not through memory, since a full disk then is an error and not
    the end of the process.

    Raises:
        DataError: the folder cannot be written, or the disk is full.
    """
    with failing_clearly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full_disk(path, prod(shape) * dtype.itemsize)
        with replacing(path) as temporary, temporary.open("wb") as stream:
            _write_header(stream, shape, dtype)
            yield lambda rows: _write_rows(stream, rows)


@contextmanager
def failing_clearly(path: Path) -> Iterator[None]:
    """Tell errors of writing to the cache in one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the cache {path.parent} cannot be written ({error.strerror or error})", _REMEDY
        ) from error


def mapped_file(array: npt.NDArray[Any]) -> Path | None:
    """The file that `array` maps as a whole; None for arrays in memory, and for parts of a file."""
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return None
    return Path(array.filename) if array.filename is not None else None


_REMEDY = "give a folder with space that you may write to, with --cache-dir"


def _write_header(stream: BinaryIO, shape: Shape, dtype: PixelType) -> None:
    description: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, description)


def _write_rows(stream: BinaryIO, rows: Pixels) -> None:
    stream.write(np.ascontiguousarray(rows).data)


def _refuse_full_disk(path: Path, size: int) -> None:
    if size > psutil.disk_usage(str(path.parent)).free:
        raise OSError(errno.ENOSPC, f"{size / 2**30:.1f} GiB are needed, more than is free")
