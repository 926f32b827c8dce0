"""What every source of images gives: splits whose pixels are read when they are asked for.

A source may be larger than memory, so what passes between the parts of tune_bio are rows of it,
with labels and patients; `Images.at` reads the pixels of one split at one geometry.
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
    """All images of one source, in its order, before any transform."""

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint8 or uint16, the same for all images."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels; None where the images differ in them."""

    @property
    def size(self) -> int:
        """The images' shorter side in pixels; the median where they differ."""

    @property
    def cache_folder(self) -> Path:
        """Where results too large for memory are kept."""

    @property
    def cached_bytes(self) -> int:
        """The size of the decoded images that are kept there."""

    def originals(self, rows: Rows) -> Iterator[Pixels]:
        """The images as they are, (H, W, C) each."""

    def transformed(self, rows: Rows, geometry: Geometry) -> Iterator[Pixels]:
        """The images at a geometry, (k, S, S, C) a few at a time, in the order of `rows`."""

    def headers(self, rows: Rows) -> list[Header]:
        """Size, depth and colour of each image as it is stored."""

    def file_hashes(self, rows: Rows) -> list[str] | None:
        """The SHA-256 of each image's file; None where images are no files."""

    def contents(self, rows: Rows) -> list[str]:
        """Of each image what equals that of its copies and of no other; constant ones have none."""

    def digest(self, rows: Rows) -> str:
        """A hash of the images' content."""

    def about_files(self, rows: Rows) -> Facts:
        """What is known of the images' files but their content; nothing where they are no files."""


@dataclass(frozen=True)
class Images:
    """Some images of a source: one split.

    rows: (n,) positions in `source`.
    labels: (n,) int64 class indices.
    patients: (n,) the patient of each image; the image's own name where it is not known.
    names: (n,) the image's name in its source, unique within the source.
    """

    source: PixelSource
    rows: Rows
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: Rows) -> "Images":
        """The images at these positions, in this order."""
        return replace(
            self,
            rows=self.rows[where],
            labels=self.labels[where],
            patients=self.patients[where],
            names=self.names[where],
        )

    def originals(self) -> Iterator[Pixels]:
        """The images as the source has them, (H, W, C) each."""
        return self.source.originals(self.rows)

    def at(self, geometry: Geometry) -> Pixels:
        """(n, S, S, C): these images alone; memory-mapped, read-only, where they are many."""
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
        kept = arrays.load_cached(path, shape, dtype)
        if kept is not None:
            return kept
        with arrays.writing_array(path, shape, dtype) as write:
            for chunk in self.source.transformed(self.rows, geometry):
                write(chunk)
        return arrays.load_finished(path, shape, dtype)

    @cached_property
    def pixel_digest(self) -> str:
        """A hash of these images' content, whatever their labels."""
        return self.source.digest(self.rows)

    def facts(self) -> Facts:
        """What is known of these images without their pixels, (n,) float64 for each name.

        Size in pixels, bits and channels as they are stored; of files also bytes and format.
        """
        of_files, headers = self.source.about_files(self.rows), self.source.headers(self.rows)
        height = np.array([header.height for header in headers], np.float64)
        width = np.array([header.width for header in headers], np.float64)
        if "file size" in of_files:
            of_files["bytes a pixel"] = of_files["file size"] / (height * width)
        return {
            **of_files,
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
    """Images of one source, those of each part after another."""
    return Images(
        parts[0].source,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patients for part in parts]),
        np.concatenate([part.names for part in parts]),
    )


@dataclass(frozen=True)
class Dataset:
    """Three splits of one source, no patient in two of them where patients are known.

    `positive` is the index of the positive class; `split` says where the splits come from, and
    `splits_from_train` names those that were made from train; `notes` are things that a reader
    should know.
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
        """1 for grey, 3 for RGB."""
        return self.train.source.channels

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """uint8 or uint16."""
        return self.train.source.dtype

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the images in pixels; None where they differ."""
        return self.train.source.shape

    @property
    def size(self) -> int:
        """The images' shorter side in pixels; the median where they differ."""
        return self.train.source.size

    @property
    def patients_on_two_sides(self) -> int:
        """How many patients stand in more than one split."""
        train, val, test = (set(split.patients.tolist()) for split in self.splits.values())
        return len((train & val) | (train & test) | (val & test))

    def pixel_format(self, geometry: Geometry) -> PixelFormat:
        """What the numbers mean at a geometry; the training split alone tells."""
        if self.dtype == np.uint8:
            return PixelFormat(self.channels)
        return PixelFormat.of(self.train.at(geometry))
