"""Images that are arrays already, in memory or memory-mapped."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.common.hashing import array_sha256
from tune_bio.datasets.pixels import Facts, Header, Pixels, Rows, chunks_of
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError


class ArraySource:
    """One or several arrays, one after another; none is ever copied as a whole.

    Args:
        parts: arrays as `as_pixels` gives them, all of one shape (but for n) and dtype.
        names: of the parts, for messages.
        cache_folder: where results too large for memory are kept.

    Raises:
        DataError: the parts differ in shape or dtype.
    """

    def __init__(self, parts: Sequence[Pixels], names: Sequence[str], cache_folder: Path) -> None:
        _refuse_differing(parts, names)
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self._cache_folder = cache_folder

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self._parts[0].shape[3])

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint8 or uint16, in this machine's byte order."""
        return self._parts[0].dtype.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self._parts[0].shape[1:3]
        return height, width

    @property
    def size(self) -> int:
        """The shorter side in pixels."""
        return min(self.shape)

    @property
    def cache_folder(self) -> Path:
        """Where results too large for memory are kept."""
        return self._cache_folder

    @property
    def cached_bytes(self) -> int:
        """Nothing has to be decoded."""
        return 0

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """The images as they are, (H, W, C) each."""
        for chunk in chunks_of(rows):
            yield from self._take(chunk)

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """The images at a geometry, (k, S, S, C) a few at a time."""
        for chunk in chunks_of(rows):
            yield geometry.apply(self._take(chunk))

    def headers(self, rows: Rows) -> list[Header]:
        """Size, depth and colour: the same for all."""
        height, width = self.shape
        header = Header(height, width, 8 * self.dtype.itemsize, colour=self.channels == 3)
        return [header] * len(rows)

    def file_hashes(self, rows: Rows) -> None:
        """None: these images are no files."""

    def about_files(self, rows: Rows) -> Facts:
        """Nothing: these images are no files."""
        return {}

    def contents(self, rows: Rows) -> list[str]:
        """The SHA-256 of those images whose middle line another has too; the row of all others.

        So that of a file larger than memory little is read.
        """
        middle = self.shape[0] // 2
        lines = [array_sha256(self._image(row)[middle]) for row in rows.tolist()]
        often = Counter(lines)
        found = []
        for row, line in zip(rows.tolist(), lines, strict=True):
            copied = often[line] > 1 and np.ptp(image := self._image(row))
            found.append(array_sha256(image) if copied else f"row {row}")
        return found

    def digest(self, rows: Rows) -> str:
        """The SHA-256 of the images' shape, dtype and bytes."""
        shape = (len(rows), *self._parts[0].shape[1:])
        digest = hashlib.sha256(f"{self.dtype.str}{shape}".encode())
        for chunk in chunks_of(rows):
            digest.update(self._take(chunk).data)
        return digest.hexdigest()

    def _image(self, row: int) -> npt.NDArray[Any]:
        """One image, (H, W, C), where it lies."""
        k = int(np.searchsorted(self._ends, row, side="right"))
        part = self._parts[k]
        image: npt.NDArray[Any] = part[row - (self._ends[k] - len(part))]
        return image

    def _take(self, rows: Rows) -> Pixels:
        taken = np.empty((len(rows), *self._parts[0].shape[1:]), dtype=self.dtype)
        where = np.searchsorted(self._ends, rows, side="right")
        for k in np.unique(where):
            part, inside = self._parts[k], where == k
            taken[inside] = part[rows[inside] - (self._ends[k] - len(part))]
        return taken


def as_pixels(array: npt.NDArray[Any], what: str) -> Pixels:
    """(n, H, W) or (n, H, W, C) as (n, H, W, C), without a copy.

    Raises:
        DataError: another dtype than uint8 and uint16, another shape, or no pixels.
    """
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise DataError(
            f"{what} are {array.dtype}",
            "give whole numbers: uint8 from 0 to 255, or uint16; such as (255 * x).astype('uint8') "
            "for numbers from 0 to 1",
        )
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(
            f"{what} have the shape {array.shape}",
            "give (n, H, W) for grey or (n, H, W, 3) for colour",
        )
    if array.size == 0:
        raise DataError(f"{what} hold no pixels ({array.shape})", "add images")
    return array if array.ndim == 4 else array[..., np.newaxis]


def _refuse_differing(parts: Sequence[Pixels], names: Sequence[str]) -> None:
    kinds = {(part.shape[1:], part.dtype): name for part, name in zip(parts, names, strict=True)}
    if len(kinds) > 1:
        told = ", ".join(f"{name}: {shape} {dtype}" for (shape, dtype), name in kinds.items())
        raise DataError(
            f"arrays of one source differ in image shape or dtype ({told})",
            "make them equal, or give image files, which may differ",
        )
