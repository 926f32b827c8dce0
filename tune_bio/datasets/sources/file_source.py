"""A source of image files, which are decoded once per geometry into the cache.

The cache holds one array per geometry with all images of the source, never the originals. Its key
covers the content of the files and everything else that determines the decoded bytes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from statistics import median_low

import numpy as np

from tune_bio.datasets.cache import arrays
from tune_bio.datasets.decoding.decode import SUFFIXES, decode, to_channels
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.decoding.versions import pixel_versions
from tune_bio.datasets.pixels import Facts, Header, Pixels, Rows, chunks_of
from tune_bio.datasets.sources.file_index import read_bytes, scan_files
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

ORIGINALS_AT_ONCE = 16  # in memory: originals may be large


class _ColourFound(Exception):
    """A source that was assumed to be grey contains a colour image."""


class FileSource:
    """Image files below one folder.

    Args:
        folder: folder that `names` are relative to.
        names: names of the files, in the order of the source.
        cache_folder: folder of the decoded images and the index.
        progress: called with (done, total) while files are read and while they are decoded.

    Raises:
        DataError: a file cannot be read or is not an image, or the cache cannot be written.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], cache_folder: Path, progress: Progress
    ) -> None:
        self._folder, self._names, self._progress = folder, list(names), progress
        self._cache_folder = cache_folder
        self._facts = scan_files(folder, names, cache_folder, progress)
        self._headers = [facts.header for facts in self._facts]
        self._arrays: dict[Geometry, Pixels] = {}

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB; available only after `decode`."""
        return int(next(iter(self._arrays.values())).shape[3])

    @cached_property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint16 if any file has 16 bits, else uint8."""
        sixteen = any(header.bits == 16 for header in self._headers)
        return np.dtype(np.uint16 if sixteen else np.uint8)

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels; None if the images differ in size."""
        shapes = {(header.height, header.width) for header in self._headers}
        return shapes.pop() if len(shapes) == 1 else None

    @cached_property
    def size(self) -> int:
        """Shorter side of the images in pixels; the median if they differ."""
        return median_low(min(header.height, header.width) for header in self._headers)

    @property
    def cache_folder(self) -> Path:
        """Folder of the decoded images and the index."""
        return self._cache_folder

    @property
    def cached_bytes(self) -> int:
        """Size of the decoded images in bytes."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the files for the reader of a report."""
        notes = []
        shapes = {(header.height, header.width) for header in self._headers}
        if len(shapes) > 1:
            notes.append(f"{len(shapes)} image sizes: all are resized to the trial's square size")
        bits = Counter(header.bits for header in self._headers)
        if len(bits) > 1:
            notes.append(f"{bits[8]} of {bits.total()} images have 8 bits: multiplied by 257")
        return tuple(notes)

    def decode(self, geometries: Sequence[Geometry]) -> None:
        """Provide the images at these geometries; decode those not cached, all in one pass."""
        missing = []
        for geometry in dict.fromkeys(geometries):
            cached = self._cached(geometry)
            if cached is None:
                missing.append(geometry)
            else:
                self._arrays[geometry] = cached
        if not missing:
            return
        try:
            self._decode(missing, 3 if self._first_is_colour() else 1)
        except _ColourFound:  # the first file stored as colour is grey, but a later one is not
            self._decode(missing, 3)

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """Yield the untransformed images, (H, W, C) each."""
        channels = self.channels
        for pixels in map_in_order(self._original, rows.tolist(), at_once=ORIGINALS_AT_ONCE):
            yield to_channels(pixels, self.dtype, channels)

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """Yield the images at a geometry, in chunks of shape (k, S, S, C)."""
        if geometry not in self._arrays:
            self.decode([geometry])
        for chunk in chunks_of(rows):
            yield self._arrays[geometry][chunk]

    def headers(self, rows: Rows) -> list[Header]:
        """Return size, bit depth and colour of each image as stored."""
        return [self._headers[i] for i in rows]

    def file_hashes(self, rows: Rows) -> list[str]:
        """Return the SHA-256 of each file."""
        return [self._facts[i].sha256 for i in rows]

    def contents(self, rows: Rows) -> list[str]:
        """Return the SHA-256 of each file; copies of a constant image also get their row."""
        hashes = self.file_hashes(rows)
        first_row = dict(zip(reversed(hashes), reversed(rows.tolist()), strict=True))
        repeated = [sha256 for sha256, count in Counter(hashes).items() if count > 1]
        pixels = self.originals(np.array([first_row[sha256] for sha256 in repeated], dtype=np.intp))
        constant = {s for s, image in zip(repeated, pixels, strict=True) if not np.ptp(image)}
        return [f"{s} {row}" if s in constant else s for s, row in zip(hashes, rows, strict=True)]

    def digest(self, rows: Rows) -> str:
        """Return the SHA-256 of the files' concatenated hashes."""
        return hashlib.sha256("".join(self._facts[i].sha256 for i in rows).encode()).hexdigest()

    def about_files(self, rows: Rows) -> Facts:
        """Return file size in bytes and format, the index of the file's suffix in `SUFFIXES`.

        Raises:
            DataError: a file no longer exists.
        """
        paths = [self._folder / self._names[row] for row in rows]
        size = np.array([_file_size(path) for path in paths], np.float64)
        return {"file size": size, "format": np.array([_format(p) for p in paths], np.float64)}

    def _cached(self, geometry: Geometry) -> Pixels | None:
        pixels = arrays.load_any(self._path(geometry))
        side = geometry.image_size
        if pixels is None or pixels.ndim != 4 or pixels.dtype != self.dtype:
            return None
        complete = pixels.shape[:3] == (len(self._names), side, side) and pixels.shape[3] in (1, 3)
        return pixels if complete else None

    def _decode(self, geometries: Sequence[Geometry], channels: int) -> None:
        dtype, n = self.dtype, len(self._names)
        shapes = [(n, g.image_size, g.image_size, channels) for g in geometries]
        paths = [self._path(geometry) for geometry in geometries]

        def decode_row(row: int) -> list[Pixels]:
            pixels = self._original(row)
            if pixels.shape[2] > channels:
                raise _ColourFound
            image = to_channels(pixels, dtype, channels)[np.newaxis]
            return [geometry.apply(image) for geometry in geometries]

        with ExitStack() as stack:
            writers = [
                stack.enter_context(arrays.writing_array(path, shape, dtype))
                for path, shape in zip(paths, shapes, strict=True)
            ]
            for images in map_in_order(decode_row, range(n), self._progress):
                for write, image in zip(writers, images, strict=True):
                    write(image)
        for geometry, path, shape in zip(geometries, paths, shapes, strict=True):
            self._arrays[geometry] = arrays.load_finished(path, shape, dtype)

    def _first_is_colour(self) -> bool:
        """Return True if the first file stored as colour is not grey."""
        first = next((i for i, header in enumerate(self._headers) if header.colour), None)
        return first is not None and self._original(first).shape[2] == 3

    def _original(self, row: int) -> Pixels:
        path, facts = self._folder / self._names[row], self._facts[row]
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != facts.sha256:
            raise DataError(
                f"{path} changed while it was read", "start again when nothing writes to it"
            )
        return decode(data, str(path))

    def _path(self, geometry: Geometry) -> Path:
        key = hashlib.sha256(_context(geometry, self.dtype.str).encode())
        for facts in self._facts:
            key.update(facts.sha256.encode())
        return self._cache_folder / "decoded" / f"{key.hexdigest()}.npy"


def _format(path: Path) -> int:
    suffix = path.suffix.lower()  # metadata.csv may list files with any suffix
    return SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)


def _file_size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be accessed ({error.strerror})", "restore the file, or start again"
        ) from error


def _context(geometry: Geometry, dtype: str) -> str:
    """Return everything besides the files that determines the decoded bytes."""
    return json.dumps([*pixel_versions(), asdict(geometry), dtype])
