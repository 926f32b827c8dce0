"""Views of the pixels for the controls: small tables, computed in one pass over the images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.images import Images
from tune_bio.datasets.pixels import CHUNK, Pixels
from tune_bio.datasets.transforms.geometry import Geometry

Table = npt.NDArray[np.float64]
CELLS = 32  # cells per side that an image is divided into, if it has as many pixels
RING = 3  # cells on each side: about 9 %, since markers rarely touch the very edge of the film
BYTES_AT_ONCE = 2**26  # of pixels; bounds the memory for images of any size
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision's rgb_to_grayscale


@dataclass(frozen=True)
class Chunk:
    """A batch of images, (n, S, S, C)."""

    pixels: Pixels

    @cached_property
    def small(self) -> Pixels:
        """The images at no more than 32 x 32 pixels."""
        return Geometry(min(CELLS, self.pixels.shape[1])).apply(self.pixels)


View = Callable[[Chunk], Table]  # n images to (n, columns)


def shrink(images: Chunk) -> Table:
    """Return the images in grey at no more than 32 x 32 pixels, (n, 32 * 32)."""
    small = images.small.astype(np.float64)
    grey: Table = small @ np.array(_GREY) if small.shape[3] == 3 else small[..., 0]
    return grey.reshape(len(small), -1)


def border_only(images: Chunk) -> Table:
    """Return the mean, maximum and minimum of each cell of the frame, in each channel.

    The means come from the downsampled image. The extremes come from the pixels at full
    resolution, so that a thin letter or edge is visible that the mean would hide.
    """
    pixels, cells = images.pixels, images.small.shape[1]
    starts = np.arange(cells) * pixels.shape[1] // cells
    ring = max(1, round(cells * RING / CELLS))
    frame = np.ones((cells, cells), dtype=bool)
    frame[ring : cells - ring, ring : cells - ring] = False
    brightest = np.maximum.reduceat(np.maximum.reduceat(pixels, starts, axis=1), starts, axis=2)
    darkest = np.minimum.reduceat(np.minimum.reduceat(pixels, starts, axis=1), starts, axis=2)
    columns = [
        values[:, frame].reshape(len(pixels), -1) for values in (images.small, brightest, darkest)
    ]
    return np.concatenate(columns, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class OnePixel:
    """The value of one pixel in one channel."""

    row: int
    column: int
    channel: int

    def __call__(self, images: Chunk) -> Table:
        """Return the values, (n, 1)."""
        values: Table = images.pixels[:, self.row, self.column, [self.channel]].astype(np.float64)
        return values


def chunks_at(images: Images, geometry: Geometry) -> Iterator[Chunk]:
    """Yield the images at a geometry, in chunks of bounded memory."""
    source, side = images.source, geometry.image_size
    # Assume three channels of two bytes: a source of files knows neither before it is decoded.
    step = int(np.clip(BYTES_AT_ONCE // (6 * side * side), 1, CHUNK))
    for start in range(0, len(images), step):
        for pixels in source.transformed(images.rows[start : start + step], geometry):
            yield Chunk(pixels)


def view_tables(images: Images, geometry: Geometry, views: tuple[View, ...]) -> list[Table]:
    """Return the table of each view over all images, (n, columns) each, in one pass."""
    tables = [[view(chunk) for view in views] for chunk in chunks_at(images, geometry)]
    return [np.concatenate(parts) for parts in zip(*tables, strict=True)]
