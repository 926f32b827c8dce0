"""The one pixel whose value alone tells the classes apart best."""

import numpy as np
import numpy.typing as npt

from tune_bio.controls.sampling import draw_balanced
from tune_bio.controls.views import OnePixel, chunks_at
from tune_bio.datasets.geometry import Geometry
from tune_bio.datasets.images import Images
from tune_bio.datasets.pixels import Pixels
from tune_bio.metrics import Labels

IMAGES = 2_000  # enough for an AUROC to about 0.013
BYTES = 2**29  # of pixels that are held at once
LEVELS = 256  # values that are told apart: all of 8 bits, and quantiles of 16
PIXELS_AT_ONCE = 512


def find(images: Images, geometry: Geometry, seed: int) -> tuple[OnePixel, int]:
    """The pixel that separates best, and the number of images (classes alike) that were compared.

    Ties go to the first pixel, row by row.
    """
    side = geometry.image_size
    limit = min(IMAGES, BYTES // (side * side * _bytes_a_pixel(images, geometry)))
    sample = images.take(draw_balanced(images.labels, limit, seed, "best pixel"))
    pixels = np.concatenate(list(chunks_at(sample, geometry)))
    scores = separation(pixels.reshape(len(pixels), -1), sample.labels)
    row, column, channel = np.unravel_index(int(scores.argmax()), pixels.shape[1:])
    return OnePixel(int(row), int(column), int(channel)), len(sample)


def separation(values: Pixels, labels: Labels) -> npt.NDArray[np.float64]:
    """How well each column alone tells the classes apart, by ranks: 0.5 is not at all, 1 wholly.

    Of two classes it is the AUROC, or 1 less it where low values go with the later class; of more
    the mean over all pairs of classes (M of Hand and Till, Machine Learning 2001), which unlike
    one-vs-rest also sees a class that lies between two others.

    Args:
        values: (n, columns) uint8, or uint16, of which 256 quantiles are told apart.
        labels: (n,) whole numbers.

    Returns:
        (columns,) float64.
    """
    _, classes = np.unique(labels, return_inverse=True)
    starts = range(0, values.shape[1], PIXELS_AT_ONCE)
    return np.concatenate(
        [_separation(values[:, start : start + PIXELS_AT_ONCE], classes) for start in starts]
    )


def _separation(values: Pixels, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    sizes = np.bincount(classes).astype(np.float64)
    columns, k = values.shape[1], len(sizes)
    cells = (np.arange(columns) * k + classes[:, np.newaxis]) * LEVELS + _levels(values)
    counts = np.bincount(cells.ravel(), minlength=columns * k * LEVELS)
    histograms = counts.reshape(columns, k, LEVELS).astype(np.float64)
    below = np.cumsum(histograms, axis=2) - histograms / 2  # ties count half
    areas = histograms @ below.transpose(0, 2, 1) / np.outer(sizes, sizes)
    pairs = areas[:, *np.triu_indices(k, 1)]
    best: npt.NDArray[np.float64] = np.maximum(pairs, 1 - pairs).mean(axis=1)
    return best


def _levels(values: Pixels) -> npt.NDArray[np.intp]:
    """The values of each column as 0 ... 255 in their order; equal ones stay equal."""
    if values.dtype == np.uint8:
        return values.astype(np.intp)
    n = len(values)
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    is_new = np.ones(values.shape, dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    ranks = np.maximum.accumulate(np.where(is_new, np.arange(n)[:, np.newaxis], 0), axis=0)
    levels = np.empty(values.shape, dtype=np.intp)
    np.put_along_axis(levels, order, ranks * LEVELS // n, axis=0)
    return levels


def _bytes_a_pixel(images: Images, geometry: Geometry) -> int:
    first = next(chunks_at(images.take(np.array([0])), geometry))
    return int(first[0, 0, 0].nbytes)
