"""The single pixel whose value separates the classes best."""

import numpy as np
import numpy.typing as npt

from tune_bio.controls.sampling import sample_balanced
from tune_bio.controls.views import OnePixel, chunks_at
from tune_bio.datasets.images import Images
from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.training.metrics import Labels

IMAGES, FEWEST = 2_000, 100  # with 2,000 images, an AUROC is accurate to about 0.013
VALUES = 2**27  # held in memory and compared at once
LEVELS = 256  # distinguished values: all of 8-bit images, quantiles of 16-bit images
PIXELS_AT_ONCE = 512


def find_best_pixel(images: Images, geometry: Geometry, seed: int) -> tuple[OnePixel, int]:
    """Return the pixel that separates the classes best, and the number of images compared.

    The compared images are a class-balanced sample; of large images, fewer are compared, in
    several passes over bands of rows. Ties go to the first pixel, row by row.
    """
    side, channels = geometry.image_size, _channels(images, geometry)
    values_per_row = side * channels
    limit = int(np.clip(VALUES // (side * values_per_row), FEWEST, IMAGES))
    sample = images.take(sample_balanced(images.labels, limit, seed, "best pixel"))
    step = max(1, VALUES // (len(sample) * values_per_row))
    scores = [_scores(sample, geometry, slice(row, row + step)) for row in range(0, side, step)]
    best = int(np.concatenate(scores).argmax())
    row, column, channel = np.unravel_index(best, (side, side, channels))
    return OnePixel(int(row), int(column), int(channel)), len(sample)


def best_separation(values: Pixels, labels: Labels) -> npt.NDArray[np.float64]:
    """Return how well each column separates the classes by rank: 0.5 is chance, 1 is perfect.

    For two classes it is the AUROC, or 1 - AUROC if low values belong to the later class. For more
    it is the mean over all pairs of classes (M of Hand and Till, Machine Learning 2001), which
    unlike one-vs-rest also detects a class that lies between two others.

    Args:
        values: (n, columns) uint8, or uint16, which is reduced to 256 quantiles.
        labels: (n,) integers.

    Returns:
        (columns,) float64.
    """
    _, classes = np.unique(labels, return_inverse=True)
    starts = range(0, values.shape[1], PIXELS_AT_ONCE)
    return np.concatenate(
        [_separation(values[:, start : start + PIXELS_AT_ONCE], classes) for start in starts]
    )


def _scores(images: Images, geometry: Geometry, rows: slice) -> npt.NDArray[np.float64]:
    """Return how well each pixel of some rows separates the classes."""
    pixels = np.concatenate([chunk.pixels[:, rows] for chunk in chunks_at(images, geometry)])
    return best_separation(pixels.reshape(len(pixels), -1), images.labels)


def _separation(values: Pixels, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    sizes = np.bincount(classes).astype(np.float64)
    columns, k = values.shape[1], len(sizes)
    levels, labels = _levels(values, classes)
    bins = (np.arange(columns)[:, np.newaxis] * k + labels) * LEVELS + levels
    counts = np.bincount(bins.ravel(), minlength=columns * k * LEVELS)
    histograms = counts.reshape(columns, k, LEVELS).astype(np.float64)
    below = np.cumsum(histograms, axis=2) - histograms / 2  # ties count half
    aurocs = histograms @ below.transpose(0, 2, 1) / np.outer(sizes, sizes)
    pairwise = aurocs[:, *np.triu_indices(k, 1)]
    separation: npt.NDArray[np.float64] = np.maximum(pairwise, 1 - pairwise).mean(axis=1)
    return separation


def _levels(
    values: Pixels, classes: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Return the values of each column as ranks from 0 to 255, ties equal, and their classes.

    Both are (columns, n) or can be broadcast to it; each column may order the images differently.
    """
    columns = np.ascontiguousarray(values.T)
    if values.dtype == np.uint8:
        return columns, classes
    k, n = int(classes.max()) + 1, len(values)
    ordered = np.sort(columns * np.uint32(k) + classes.astype(np.uint32), axis=1)
    ordered, labels = np.divmod(ordered, np.uint32(k))
    is_new = np.ones(ordered.shape, dtype=bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ranks = np.maximum.accumulate(np.where(is_new, np.arange(n, dtype=np.int32), 0), axis=1)
    return ranks * LEVELS // n, labels


def _channels(images: Images, geometry: Geometry) -> int:
    first = next(chunks_at(images.take(np.array([0])), geometry))
    return int(first.pixels.shape[3])
