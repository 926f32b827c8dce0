"""What the controls see of the pixels: small tables, made in one pass, a few images at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.images import Images
from tune_bio.datasets.pixels import CHUNK, Pixels
from tune_bio.datasets.transforms.geometry import Geometry

Table = npt.NDArray[np.float64]
CELLS = 32  # an image is divided into so many cells a side, where it has as many pixels
RING = 3  # cells at each side: about 9 %, since markers rarely touch the very edge of the film
BYTES_AT_ONCE = 2**26  # of pixels: bounds the memory, whatever the size of the images
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision's rgb_to_grayscale


@dataclass(frozen=True)
class Chunk:
    """Some images, (n, S, S, C)."""

    pixels: Pixels

    @cached_property
    def small(self) -> Pixels:
        """The same at no more than 32 x 32 pixels."""
        return Geometry(min(CELLS, self.pixels.shape[1])).apply(self.pixels)


View = Callable[[Chunk], Table]  # n images to (n, columns)


def shrink(images: Chunk) -> Table:
    """The images in grey at no more than 32 x 32 pixels, (n, 32 * 32)."""
    small = images.small.astype(np.float64)
    grey: Table = small @ np.array(_GREY) if small.shape[3] == 3 else small[..., 0]
    return grey.reshape(len(small), -1)


def border_only(images: Chunk) -> Table:
    """Mean, brightest and darkest value of each cell of the frame, in each channel.

    The means are the frame of the downsampled image. The extremes are of the pixels at full
    resolution, so that a thin letter or edge shows that the mean would wash out.
    """
    pixels, cells = images.pixels, images.small.shape[1]
    starts = np.arange(cells) * pixels.shape[1] // cells
    ring = max(1, round(cells * RING / CELLS))
    frame = np.ones((cells, cells), dtype=bool)
    frame[ring : cells - ring, ring : cells - ring] = False
    brightest = np.maximum.reduceat(np.maximum.reduceat(pixels, starts, axis=1), starts, axis=2)
    darkest = np.minimum.reduceat(np.minimum.reduceat(pixels, starts, axis=1), starts, axis=2)
    seen = [cell[:, frame].reshape(len(pixels), -1) for cell in (images.small, brightest, darkest)]
    return np.concatenate(seen, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class OnePixel:
    """The value of one pixel in one channel."""

    row: int
    column: int
    channel: int

    def __call__(self, images: Chunk) -> Table:
        """The values, (n, 1)."""
        values: Table = images.pixels[:, self.row, self.column, [self.channel]].astype(np.float64)
        return values


def chunks_at(images: Images, geometry: Geometry) -> Iterator[Chunk]:
    """The images at a geometry, no more at once than the memory should hold."""
    source, side = images.source, geometry.image_size
    # Three channels of two bytes: a source of files knows neither before it was decoded.
    step = int(np.clip(BYTES_AT_ONCE // (6 * side * side), 1, CHUNK))
    for start in range(0, len(images), step):
        for pixels in source.transformed(images.rows[start : start + step], geometry):
            yield Chunk(pixels)


def iterate_views(images: Images, geometry: Geometry, views: tuple[View, ...]) -> list[Table]:
    """What each view gives of all images, (n, columns) each."""
    seen = [[view(chunk) for view in views] for chunk in chunks_at(images, geometry)]
    return [np.concatenate(tables) for tables in zip(*seen, strict=True)]
