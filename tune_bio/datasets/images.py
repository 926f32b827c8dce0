"""The images of a source, as splits whose pixels are read on demand.

A source may be larger than memory, so the parts of tune_bio exchange row positions in it, with
labels and patients; `Images.at` reads the pixels of one split at one geometry.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tune_bio.common.hashing import array_sha256
from tune_bio.datasets.cache import arrays
from tune_bio.datasets.decoding.versions import pixel_versions
from tune_bio.datasets.pixels import Facts, Header, PixelFormat, Pixels, Rows
from tune_bio.datasets.transforms.geometry import Geometry

__all__ = ["Dataset", "Images", "PixelFormat", "PixelSource", "Pixels", "Rows", "concatenate"]


class PixelSource(Protocol):
    """The interface of a source: all its images, in a fixed order, before any transform."""

    @property
    def channels(self) -> int:
        """The number of channels: 1 for grey, 3 for RGB."""

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """The pixel type of all images: uint8 or uint16."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels; None if the images differ in size."""

    @property
    def size(self) -> int:
        """The images' shorter side in pixels; the median if they differ."""

    @property
    def cache_folder(self) -> Path:
        """The folder for results that are too large for memory."""

    @property
    def cached_bytes(self) -> int:
        """The size of the decoded images in the cache folder."""

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """Yield the images untransformed, (H, W, C) each."""

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """Yield the images at a geometry in the order of `rows`, in chunks (k, S, S, C)."""

    def headers(self, rows: Rows) -> list[Header]:
        """Return size, depth and colour of each image as stored."""

    def file_hashes(self, rows: Rows) -> list[str] | None:
        """Return the SHA-256 of each image's file; None if the images are not files."""

    def contents(self, rows: Rows) -> list[str]:
        """Return one key per image, equal for copies only; a constant image has no copies."""

    def digest(self, rows: Rows) -> str:
        """Return a hash of the images' content."""

    def about_files(self, rows: Rows) -> Facts:
        """Return properties of the images' files, such as their size; {} if there are no files."""


@dataclass(frozen=True)
class Images:
    """A selection of the images of a source, such as one split.

    rows: (n,) positions in `source`.
    labels: (n,) int64 class indices.
    patients: (n,) the patient of each image; the image's own name if the patient is unknown.
    names: (n,) the name of each image, unique within the source.
    """

    source: PixelSource
    rows: Rows
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Rows) -> "Images":
        """Return the images at these positions, in this order."""
        return replace(
            self,
            rows=self.rows[positions],
            labels=self.labels[positions],
            patients=self.patients[positions],
            names=self.names[positions],
        )

    def originals(self) -> Iterator[Pixels]:
        """Yield the images untransformed, (H, W, C) each."""
        return self.source.originals(self.rows)

    def at(self, geometry: Geometry) -> Pixels:
        """Return the images at a geometry, (n, S, S, C); memory-mapped and read-only if large."""
        side, channels, dtype = geometry.image_size, self.source.channels, self.source.dtype
        shape = (len(self), side, side, channels)
        if not arrays.is_large(shape, dtype):
            pixels = np.empty(shape, dtype=dtype)
            filled = 0
            for chunk in self.source.transformed(self.rows, geometry):
                pixels[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
            return pixels
        path = self.source.cache_folder / "splits" / f"{self._key(geometry)}.npy"
        cached = arrays.load_cached(path, shape, dtype)
        if cached is not None:
            return cached
        with arrays.writing_array(path, shape, dtype) as write:
            for chunk in self.source.transformed(self.rows, geometry):
                write(chunk)
        return arrays.load_finished(path, shape, dtype)

    @cached_property
    def pixel_digest(self) -> str:
        """A hash of these images' content, independent of their labels."""
        return self.source.digest(self.rows)

    def facts(self) -> Facts:
        """Return properties of the images other than their pixels, (n,) float64 by name.

        These are size in pixels, bits and channels as stored; for files also file size and format.
        """
        facts, headers = self.source.about_files(self.rows), self.source.headers(self.rows)
        height = np.array([header.height for header in headers], np.float64)
        width = np.array([header.width for header in headers], np.float64)
        if "file size" in facts:
            facts["bytes a pixel"] = facts["file size"] / (height * width)
        return {
            **facts,
            "height": height,
            "width": width,
            "aspect ratio": width / height,
            "bits": np.array([header.bits for header in headers], np.float64),
            "channels": np.array([3 if header.colour else 1 for header in headers], np.float64),
        }

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of pixels, labels and patients."""
        return array_sha256(np.array([self.pixel_digest]), self.labels, self.patients)

    def _key(self, geometry: Geometry) -> str:
        content = [*pixel_versions(), self.pixel_digest, asdict(geometry)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def concatenate(parts: Sequence[Images]) -> Images:
    """Join selections of one source, in the order of `parts`."""
    return Images(
        parts[0].source,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patients for part in parts]),
        np.concatenate([part.names for part in parts]),
    )


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test split of one source.

    source: the name of the source.
    classes: the class names, in the order of the labels.
    positive: the index of the positive class.
    split: a sentence on where the splits come from.
    patients_known: False if the source does not name patients.
    synthetic: True for the phantom.
    notes: sentences that a reader of the results should know.
    splits_from_train: names of the splits that were cut from train, by patient.
    """

    source: str
    classes: tuple[str, ...]
    positive: int
    train: Images
    val: Images
    test: Images
    split: str
    patients_known: bool
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    splits_from_train: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Images]:
        """The splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def channels(self) -> int:
        """The number of channels: 1 for grey, 3 for RGB."""
        return self.train.source.channels

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """The pixel type: uint8 or uint16."""
        return self.train.source.dtype

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the images in pixels; None if they differ."""
        return self.train.source.shape

    @property
    def size(self) -> int:
        """The images' shorter side in pixels; the median if they differ."""
        return self.train.source.size

    @property
    def patients_on_two_sides(self) -> int:
        """The number of patients with images in more than one split."""
        train, val, test = (set(split.patients.tolist()) for split in self.splits.values())
        return len((train & val) | (train & test) | (val & test))

    def pixel_format(self, geometry: Geometry) -> PixelFormat:
        """Return the pixel format at a geometry, derived from the training split only."""
        if self.dtype == np.uint8:
            return PixelFormat(self.channels)
        return PixelFormat.of(self.train.at(geometry))
