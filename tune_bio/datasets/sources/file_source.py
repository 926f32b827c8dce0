"""Images that are files: decoded once a geometry, straight from the original, into the cache.

What is cached are arrays of whole sets at one geometry, and never the originals; their key is
the content of the files and everything that decides on the bytes.
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

ORIGINALS_AT_ONCE = 16  # originals may be large


class _ColourFound(Exception):
    """A set that was taken to be grey is not."""


class FileSource:
    """Image files below one folder.

    Args:
        folder: that the names are relative to.
        names: of the files, in the order of the source.
        cache_folder: where decoded images and the index lie.
        progress: called with (done, all) while files are read, and while they are decoded.

    Raises:
        DataError: a file cannot be read or is no image; the cache cannot be written.
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
        """1 for grey, 3 for RGB; known once the images were decoded."""
        return int(next(iter(self._arrays.values())).shape[3])

    @cached_property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint16 where any file has 16 bits."""
        sixteen = any(header.bits == 16 for header in self._headers)
        return np.dtype(np.uint16 if sixteen else np.uint8)

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels; None where the images differ in them."""
        shapes = {(header.height, header.width) for header in self._headers}
        return shapes.pop() if len(shapes) == 1 else None

    @cached_property
    def size(self) -> int:
        """The images' shorter side in pixels; the median where they differ."""
        return median_low(min(header.height, header.width) for header in self._headers)

    @property
    def cache_folder(self) -> Path:
        """Where decoded images lie."""
        return self._cache_folder

    @property
    def cached_bytes(self) -> int:
        """The size of the decoded images that are kept there."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the files."""
        notes = []
        shapes = {(header.height, header.width) for header in self._headers}
        if len(shapes) > 1:
            notes.append(f"{len(shapes)} image sizes, each resized to a square of the trial's size")
        bits = Counter(header.bits for header in self._headers)
        if len(bits) > 1:
            notes.append(f"{bits[8]} of {bits.total()} images have 8 bits: taken times 257")
        return tuple(notes)

    def decode(self, geometries: Sequence[Geometry]) -> None:
        """Have the images at these geometries; what is not cached is decoded, in one pass."""
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
            self._decode(missing, 3 if self._begins_in_colour() else 1)
        except _ColourFound:  # the first file that is stored as colour is grey, a later one is not
            self._decode(missing, 3)

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """The images as they are, (H, W, C) each."""
        channels = self.channels
        for pixels in map_in_order(self._original, rows.tolist(), at_once=ORIGINALS_AT_ONCE):
            yield to_channels(pixels, self.dtype, channels)

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """The images at a geometry, (k, S, S, C) a few at a time."""
        if geometry not in self._arrays:
            self.decode([geometry])
        for chunk in chunks_of(rows):
            yield self._arrays[geometry][chunk]

    def headers(self, rows: Rows) -> list[Header]:
        """Size, depth and colour of each image as it is stored."""
        return [self._headers[i] for i in rows]

    def file_hashes(self, rows: Rows) -> list[str]:
        """The SHA-256 of each file."""
        return [self._facts[i].sha256 for i in rows]

    def contents(self, rows: Rows) -> list[str]:
        """The SHA-256 of each file, or its row where it stands for one value in every pixel."""
        found = self.file_hashes(rows)
        first = dict(zip(reversed(found), reversed(rows.tolist()), strict=True))
        repeated = [sha256 for sha256, count in Counter(found).items() if count > 1]
        pixels = self.originals(np.array([first[sha256] for sha256 in repeated], dtype=np.intp))
        constant = {s for s, image in zip(repeated, pixels, strict=True) if not np.ptp(image)}
        return [f"{s} {row}" if s in constant else s for s, row in zip(found, rows, strict=True)]

    def digest(self, rows: Rows) -> str:
        """The SHA-256 over those of the files."""
        return hashlib.sha256("".join(self._facts[i].sha256 for i in rows).encode()).hexdigest()

    def about_files(self, rows: Rows) -> Facts:
        """File size in bytes, and format: the position of its suffix among those looked for.

        Raises:
            DataError: a file is not there any more.
        """
        paths = [self._folder / self._names[row] for row in rows]
        size = np.array([_bytes_of(path) for path in paths], np.float64)
        return {"file size": size, "format": np.array([_format(p) for p in paths], np.float64)}

    def _cached(self, geometry: Geometry) -> Pixels | None:
        found = arrays.load_any(self._path(geometry))
        side = geometry.image_size
        if found is None or found.ndim != 4 or found.dtype != self.dtype:
            return None
        whole = found.shape[:3] == (len(self._names), side, side) and found.shape[3] in (1, 3)
        return found if whole else None

    def _decode(self, geometries: Sequence[Geometry], channels: int) -> None:
        dtype, n = self.dtype, len(self._names)
        shapes = [(n, g.image_size, g.image_size, channels) for g in geometries]
        paths = [self._path(geometry) for geometry in geometries]

        def at_each(row: int) -> list[Pixels]:
            pixels = self._original(row)
            if pixels.shape[2] > channels:
                raise _ColourFound
            wide = to_channels(pixels, dtype, channels)[np.newaxis]
            return [geometry.apply(wide) for geometry in geometries]

        with ExitStack() as stack:
            writers = [
                stack.enter_context(arrays.writing_array(path, shape, dtype))
                for path, shape in zip(paths, shapes, strict=True)
            ]
            for images in map_in_order(at_each, range(n), self._progress):
                for write, image in zip(writers, images, strict=True):
                    write(image)
        for geometry, path, shape in zip(geometries, paths, shapes, strict=True):
            self._arrays[geometry] = arrays.load_finished(path, shape, dtype)

    def _begins_in_colour(self) -> bool:
        """Whether the first file that is stored as colour has any."""
        first = next((i for i, header in enumerate(self._headers) if header.colour), None)
        return first is not None and self._original(first).shape[2] == 3

    def _original(self, row: int) -> Pixels:
        path, facts = self._folder / self._names[row], self._facts[row]
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != facts.sha256:
            raise DataError(f"{path} changed while it was read", "start again when it is settled")
        return decode(data, str(path))

    def _path(self, geometry: Geometry) -> Path:
        content = hashlib.sha256(_context(geometry, self.dtype.str).encode())
        for facts in self._facts:
            content.update(facts.sha256.encode())
        return self._cache_folder / "decoded" / f"{content.hexdigest()}.npy"


def _format(path: Path) -> int:
    suffix = path.suffix.lower()  # metadata.csv may list files of any name
    return SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)


def _bytes_of(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be looked at ({error.strerror})", "put it back, or start anew"
        ) from error


def _context(geometry: Geometry, dtype: str) -> str:
    """Everything but the files that decides on the bytes of a decoded set."""
    return json.dumps([*pixel_versions(), asdict(geometry), dtype])
