"""A source whose images already are arrays, in memory or memory-mapped."""

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
    """One or more arrays, chained; no array is ever copied as a whole.

    Args:
        parts: arrays returned by `as_pixels`, all with the same dtype and image shape.
        names: names of the parts, for error messages.
        cache_folder: folder for results that are too large for memory.

    Raises:
        DataError: the parts differ in image shape or dtype.
    """

    def __init__(self, parts: Sequence[Pixels], names: Sequence[str], cache_folder: Path) -> None:
        _refuse_mixed_formats(parts, names)
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self._cache_folder = cache_folder

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self._parts[0].shape[3])

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint8 or uint16, in native byte order."""
        return self._parts[0].dtype.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self._parts[0].shape[1:3]
        return height, width

    @property
    def size(self) -> int:
        """Shorter side in pixels."""
        return min(self.shape)

    @property
    def cache_folder(self) -> Path:
        """Folder for results that are too large for memory."""
        return self._cache_folder

    @property
    def cached_bytes(self) -> int:
        """Always 0: arrays need no decoding."""
        return 0

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """Yield the untransformed images, (H, W, C) each."""
        for chunk in chunks_of(rows):
            yield from self._take(chunk)

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """Yield the images at a geometry, in chunks of shape (k, S, S, C)."""
        for chunk in chunks_of(rows):
            yield geometry.apply(self._take(chunk))

    def headers(self, rows: Rows) -> list[Header]:
        """Return size, bit depth and colour, which all images share."""
        height, width = self.shape
        header = Header(height, width, 8 * self.dtype.itemsize, colour=self.channels == 3)
        return [header] * len(rows)

    def file_hashes(self, rows: Rows) -> None:
        """Return None: these images are not files."""

    def about_files(self, rows: Rows) -> Facts:
        """Return an empty dictionary: these images are not files."""
        return {}

    def contents(self, rows: Rows) -> list[str]:
        """Return a key per image that is equal for exact copies only; constant images have none.

        Only images that share their middle line with another image are hashed in full (SHA-256),
        so that little of an array larger than memory is read. The key of all others, and of
        constant images, is their row.
        """
        middle = self.shape[0] // 2
        line_hashes = [array_sha256(self._image(row)[middle]) for row in rows.tolist()]
        counts = Counter(line_hashes)
        keys = []
        for row, line_hash in zip(rows.tolist(), line_hashes, strict=True):
            may_be_copy = counts[line_hash] > 1 and np.ptp(image := self._image(row))
            keys.append(array_sha256(image) if may_be_copy else f"row {row}")
        return keys

    def digest(self, rows: Rows) -> str:
        """Return the SHA-256 of the images' shape, dtype and bytes."""
        shape = (len(rows), *self._parts[0].shape[1:])
        digest = hashlib.sha256(f"{self.dtype.str}{shape}".encode())
        for chunk in chunks_of(rows):
            digest.update(self._take(chunk).data)
        return digest.hexdigest()

    def _image(self, row: int) -> npt.NDArray[Any]:
        """Return a view of one image, (H, W, C)."""
        k = int(np.searchsorted(self._ends, row, side="right"))
        part = self._parts[k]
        image: npt.NDArray[Any] = part[row - (self._ends[k] - len(part))]
        return image

    def _take(self, rows: Rows) -> Pixels:
        pixels = np.empty((len(rows), *self._parts[0].shape[1:]), dtype=self.dtype)
        part_indices = np.searchsorted(self._ends, rows, side="right")
        for k in np.unique(part_indices):
            part, in_part = self._parts[k], part_indices == k
            pixels[in_part] = part[rows[in_part] - (self._ends[k] - len(part))]
        return pixels


def as_pixels(array: npt.NDArray[Any], name: str) -> Pixels:
    """Return a view of shape (n, H, W, C) on images (n, H, W) or (n, H, W, C).

    Args:
        array: the images.
        name: plural noun phrase for the images, with which error messages start.

    Raises:
        DataError: the dtype or the shape is not supported, or there are no pixels.
    """
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise DataError(
            f"{name} are {array.dtype}",
            "convert them to uint8 (0 to 255) or uint16; for values from 0 to 1: "
            "(255 * x).astype('uint8')",
        )
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(
            f"{name} have the shape {array.shape}",
            "give (n, H, W) for grey or (n, H, W, 3) for colour images",
        )
    if array.size == 0:
        raise DataError(f"{name} hold no pixels ({array.shape})", "add images")
    return array if array.ndim == 4 else array[..., np.newaxis]


def _refuse_mixed_formats(parts: Sequence[Pixels], names: Sequence[str]) -> None:
    formats = {(part.shape[1:], part.dtype): name for part, name in zip(parts, names, strict=True)}
    if len(formats) > 1:
        listed = ", ".join(f"{name}: {shape} {dtype}" for (shape, dtype), name in formats.items())
        raise DataError(
            f"arrays of one source differ in image shape or dtype ({listed})",
            "make them equal, or give image files, which may differ",
        )
