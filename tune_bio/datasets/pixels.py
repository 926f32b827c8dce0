"""Types for arrays of pixels, and the meaning of the numbers in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8 | np.uint16]
Rows = npt.NDArray[np.intp]
Facts = dict[str, npt.NDArray[np.float64]]  # properties of images other than pixels, by name

CHUNK = 512  # images processed together: bounds the memory, never changes a pixel


@dataclass(frozen=True)
class Header:
    """Properties of an image known before decoding: size in pixels, bits per value, colour."""

    height: int
    width: int
    bits: int  # 8 or 16
    colour: bool


@dataclass(frozen=True)
class PixelFormat:
    """The meaning of the numbers in a pixel array: channels, and the values of black and white.

    8-bit images run from 0 to 255; 16-bit images over the range of the training split.
    """

    channels: int
    low: float = 0.0
    high: float = 255.0

    @classmethod
    def of(cls, pixels: Pixels) -> "PixelFormat":
        """Derive the format from a training split, (n, S, S, C)."""
        channels = pixels.shape[3]
        if pixels.dtype == np.uint8:
            return cls(channels)
        chunks = [pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK)]
        low = float(min(int(chunk.min()) for chunk in chunks))
        high = float(max(int(chunk.max()) for chunk in chunks))
        return cls(channels, low, max(high, low + 1))  # images of one value are black, not NaN


def chunks_of(rows: Rows) -> Iterator[Rows]:
    """Yield `rows` in order, at most `CHUNK` at a time."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
