"""What every source of images gives: integers in memory, with labels and patients."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tune_bio.fingerprints import array_sha256

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """One split.

    pixels: (n, H, W, C) uint8, C being 1 (grey) or 3 (RGB).
    labels: (n,) int64 class indices.
    patients: (n,) the patient of each image; the image's own name where it is not known.
    names: (n,) the image's name in its source, unique within the source.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: npt.NDArray[np.intp]) -> "Images":
        """The images at these positions, in this order."""
        return replace(
            self,
            pixels=self.pixels[where],
            labels=self.labels[where],
            patients=self.patients[where],
            names=self.names[where],
        )

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of pixels, labels and patients."""
        return array_sha256(self.pixels, self.labels, self.patients)


@dataclass(frozen=True)
class Dataset:
    """Three splits of one source, no patient in two of them where patients are known.

    `positive` is the index of the positive class; `split` says where the splits come from;
    `notes` are things about the data that a reader should know.
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

    @property
    def splits(self) -> dict[str, Images]:
        """The splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.train.pixels.shape[3])

    @property
    def size(self) -> int:
        """The images' shorter side, in pixels."""
        return int(min(self.train.pixels.shape[1:3]))


def as_pixels(array: npt.NDArray[np.uint8]) -> Pixels:
    """(n, H, W) or (n, H, W, C) to (n, H, W, C), contiguous."""
    return np.ascontiguousarray(array if array.ndim == 4 else array[..., np.newaxis])
