"""The arrays that every statistic takes, checked once, and patients as clusters of images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.errors import StatisticsError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# So many numbers of a resampled array are held at a time: 32 MB.
_HELD = 4_000_000


def checked_labels(labels: npt.ArrayLike, classes: int) -> Integers:
    """Labels (n,) as class indices in which every class occurs; raises StatisticsError."""
    found = np.asarray(labels)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise StatisticsError(
            f"labels of shape {found.shape} and type {found.dtype} are no class indices",
            "give one integer an image",
        )
    absent = sorted(set(range(classes)) - set(found.tolist()))
    if absent:
        raise StatisticsError(
            f"no image has the class number {absent[0]}",
            "every class must occur, since sensitivity and AUROC are not defined without it",
        )
    if len(found) and (found.min() < 0 or found.max() >= classes):
        raise StatisticsError(
            f"a label is outside 0 ... {classes - 1}", "give a probability for each class"
        )
    return found.astype(np.int64)


def checked_probabilities(probabilities: npt.ArrayLike, *shape: int | None) -> Floats:
    """Probabilities as float64, of the given shape (None: any length); raises StatisticsError."""
    found = np.asarray(probabilities, dtype=np.float64)
    fits = found.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, found.shape, strict=True)
    )
    if not fits or found.shape[-1] < 2:
        raise StatisticsError(
            f"probabilities of the shape {found.shape} do not belong to these images",
            "give a row an image and a column a class, two at least",
        )
    if not np.isfinite(found).all() or (found < 0).any() or (found > 1 + 1e-6).any():
        raise StatisticsError(
            "probabilities are not all between 0 and 1", "leave a diverged model out"
        )
    return np.minimum(found, 1.0)


def patient_codes(patients: npt.NDArray[Any], images: int) -> tuple[Integers, int]:
    """Each image's patient as a number from 0 on, (n,), and how many patients there are."""
    if np.shape(patients) != (images,):
        raise StatisticsError(
            f"{np.shape(patients)} patients do not belong to {images} images",
            "give one patient an image",
        )
    names, codes = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        raise StatisticsError(
            "all images are of one patient", "nothing can be said of others from one patient"
        )
    return codes.astype(np.int64), len(names)


def patient_sums(values: Floats, codes: Integers, patients: int) -> Floats:
    """Sums of `values` (n,) within patients, (patients,)."""
    sums: Floats = np.bincount(codes, weights=values, minlength=patients).astype(np.float64)
    return sums


def resampled_patients(
    rng: np.random.Generator, patients: int, resamples: int, images: int
) -> Iterator[Floats]:
    """How often each patient is in each bootstrap sample: blocks of (some resamples, patients).

    A block times the number of images stays small, so that weights of images fit in memory.
    """
    for rows in _rows(resamples, images):
        # Counting draws takes a seventh of the time of NumPy's multinomial, which is the same.
        drawn = rng.integers(0, patients, size=(rows, patients))
        drawn += patients * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * patients)
        yield counts.reshape(rows, patients).astype(np.float64)


def swapped_patients(
    rng: np.random.Generator, patients: int, permutations: int, images: int
) -> Iterator[Floats]:
    """Which patients change sides in each permutation, 0 or 1: blocks of (some, patients)."""
    for rows in _rows(permutations, images):
        yield rng.integers(0, 2, size=(rows, patients)).astype(np.float64)


def _rows(total: int, width: int) -> Iterator[int]:
    most = max(1, _HELD // max(1, width))
    for start in range(0, total, most):
        yield min(most, total - start)
