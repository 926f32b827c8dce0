"""Validation of the arrays that statistics take, and patients as clusters of images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.errors import StatisticsError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# At most this many numbers of a resampled array are in memory at a time: 32 MB.
_BLOCK_SIZE = 4_000_000


def checked_labels(labels: npt.ArrayLike, classes: int) -> Integers:
    """Return labels (n,) as class indices; raise StatisticsError unless every class occurs."""
    array = np.asarray(labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise StatisticsError(
            f"labels of shape {array.shape} and type {array.dtype} are not class indices",
            "give one integer per image",
        )
    absent = sorted(set(range(classes)) - set(array.tolist()))
    if absent:
        raise StatisticsError(
            f"no image has the class number {absent[0]}",
            "every class must occur, since sensitivity and AUROC are not defined without it",
        )
    if len(array) and (array.min() < 0 or array.max() >= classes):
        raise StatisticsError(
            f"a label is outside 0 ... {classes - 1}", "give a probability for each class"
        )
    return array.astype(np.int64)


def checked_probabilities(probabilities: npt.ArrayLike, *shape: int | None) -> Floats:
    """Return probabilities as float64; raise StatisticsError if their shape or values are invalid.

    `shape` is the expected shape, with None for any length; the last axis is that of classes.
    """
    array = np.asarray(probabilities, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        expected in (None, length) for expected, length in zip(shape, array.shape, strict=True)
    )
    if not fits or array.shape[-1] < 2:
        raise StatisticsError(
            f"probabilities of the shape {array.shape} do not belong to these images",
            "give one row per image and one column per class, for at least two classes",
        )
    if not np.isfinite(array).all() or (array < 0).any() or (array > 1 + 1e-6).any():
        raise StatisticsError(
            "probabilities are not all between 0 and 1", "leave a diverged model out"
        )
    return np.minimum(array, 1.0)


def patient_codes(patients: npt.NDArray[Any], images: int) -> tuple[Integers, int]:
    """Return each image's patient as an integer from 0, (n,), and the number of patients."""
    if np.shape(patients) != (images,):
        raise StatisticsError(
            f"{np.shape(patients)} patients do not belong to {images} images",
            "give one patient per image",
        )
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        raise StatisticsError(
            "all images are of one patient", "images of at least two patients are needed"
        )
    return codes.astype(np.int64), len(names)


def patient_sums(values: Floats, codes: Integers, patients: int) -> Floats:
    """Sum `values` (n,) within patients: (patients,)."""
    sums: Floats = np.bincount(codes, weights=values, minlength=patients).astype(np.float64)
    return sums


def resampled_patients(
    rng: np.random.Generator, patients: int, resamples: int, images: int
) -> Iterator[Floats]:
    """Yield how often each bootstrap sample contains each patient, in blocks (samples, patients).

    Blocks are small enough for the weights of all images, (samples, images), to fit in memory.
    """
    for rows in _block_lengths(resamples, images):
        # Equivalent to NumPy's multinomial, in a seventh of its time.
        drawn = rng.integers(0, patients, size=(rows, patients))
        drawn += patients * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * patients)
        yield counts.reshape(rows, patients).astype(np.float64)


def swapped_patients(
    rng: np.random.Generator, patients: int, permutations: int, images: int
) -> Iterator[Floats]:
    """Yield which patients each permutation swaps, 0 or 1, in blocks (permutations, patients)."""
    for rows in _block_lengths(permutations, images):
        yield rng.integers(0, 2, size=(rows, patients)).astype(np.float64)


def _block_lengths(total: int, width: int) -> Iterator[int]:
    longest = max(1, _BLOCK_SIZE // max(1, width))
    for start in range(0, total, longest):
        yield min(longest, total - start)
