"""Arrays of pixels, and what the numbers in them mean."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8 | np.uint16]
Rows = npt.NDArray[np.intp]
Facts = dict[str, npt.NDArray[np.float64]]  # of images, without their pixels: a column a name

CHUNK = 512  # images looked at together: bounds the memory, changes no pixel


@dataclass(frozen=True)
class Header:
    """What a file tells before it is decoded: size in pixels, bits a value (8 or 16), colour."""

    height: int
    width: int
    bits: int
    colour: bool


@dataclass(frozen=True)
class PixelFormat:
    """What the numbers in an array of pixels mean: their channels, and what is black and white.

    8-bit images run from 0 to 255; 16-bit images over the range of the training split.
    """

    channels: int
    low: float = 0.0
    high: float = 255.0

    @classmethod
    def of(cls, pixels: Pixels) -> "PixelFormat":
        """The format of a training split, (n, S, S, C)."""
        channels = pixels.shape[3]
        if pixels.dtype == np.uint8:
            return cls(channels)
        chunks = [pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK)]
        low = float(min(int(chunk.min()) for chunk in chunks))
        high = float(max(int(chunk.max()) for chunk in chunks))
        return cls(channels, low, max(high, low + 1))  # images of one value are black, not NaN


def chunks_of(rows: Rows) -> Iterator[Rows]:
    """`rows`, a few at a time, in their order."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
