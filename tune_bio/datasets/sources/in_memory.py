"""Arrays from a notebook: images with labels, and with patients where they are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.sources.array_source import ArraySource, as_pixels
from tune_bio.datasets.sources.collection import Collection, OpenOptions, collect_images
from tune_bio.datasets.sources.listing import SPLITS
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.errors import DataError

IN_MEMORY = "arrays in memory"

# (images, labels) or (images, labels, patients), or a mapping with one such tuple per split.
ArraySplit = Sequence[Any]
ArrayData = ArraySplit | Mapping[str, ArraySplit]


@dataclass(frozen=True)
class _SplitArrays:
    """Images (n, H, W, C), labels (n,) as the user passed them, patients (n,) of str or None."""

    images: Pixels
    labels: npt.NDArray[Any]
    patients: npt.NDArray[np.str_] | None


def read_arrays(data: ArrayData, classes: Sequence[str] | None, options: OpenOptions) -> Collection:
    """Make a collection of arrays.

    Args:
        data: (images, labels) or (images, labels, patients), or a mapping from "train" and
            optionally "val" and "test" to such tuples. images: (n, H, W) or (n, H, W, 3), uint8 or
            uint16. labels: (n,) integers, bools or strings. patients: (n,) identifiers of any type.
        classes: names of the classes 0, 1, ...; if labels are strings, the order of the classes.
        options: only the cache folder is used, for results that are too large for memory.

    Raises:
        DataError: the arrays do not fit together or have an unsupported type or shape.
    """
    by_split = data if isinstance(data, Mapping) else {"train": data}
    parts = {_split_name(name): _check(name, part) for name, part in by_split.items()}
    if "train" not in parts:
        raise DataError(
            f"the splits of the arrays are {', '.join(parts) or 'none'}",
            "add the split 'train'",
        )
    source = ArraySource(
        [part.images for part in parts.values()], list(parts), options.cache_folder
    )
    class_names, labels = _labels([part.labels for part in parts.values()], classes)
    names = [f"{name}/{i:06d}" for name, part in parts.items() for i in range(len(part.images))]
    return Collection(
        name=IN_MEMORY,
        classes=class_names,
        splits=collect_images(
            source, names, labels, _patients(parts, names), [n.split("/")[0] for n in names]
        ),
        patients_known=all(part.patients is not None for part in parts.values()),
    )


def _split_name(name: str) -> str:
    if name not in SPLITS:
        raise DataError(f"{name!r} is not a split", f"use one of {', '.join(SPLITS)}")
    return SPLITS[name]


def _check(name: str, part: ArraySplit) -> _SplitArrays:
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        raise DataError(
            f"the data of {name!r} are not a tuple of images and labels",
            "give (images, labels) or (images, labels, patients)",
        )
    images = as_pixels(_as_array(part[0], "images"), f"the images of {name!r}")
    labels = _as_array(part[1], "labels")
    patients = _as_array(part[2], "patients") if len(part) == 3 and part[2] is not None else None
    for kind, array in (("labels", labels), ("patients", patients)):
        if array is not None and array.shape != (len(images),):
            raise DataError(
                f"the {kind} of {name!r} have the shape {array.shape}, but there are {len(images)} "
                "images",
                "give one per image, (n,)",
            )
    return _SplitArrays(images, labels, None if patients is None else patients.astype(np.str_))


def _as_array(values: Any, kind: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"the {kind} are not an array ({error})", "give a NumPy array") from error
    return array


def _labels(
    split_labels: Sequence[npt.NDArray[Any]], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the class names, and the class index of each image."""
    arrays = [_plain(array) for array in split_labels]
    if len({array.dtype.kind == "U" for array in arrays}) > 1:
        raise DataError("some labels are text and others numbers", "give one kind of label")
    labels = np.concatenate(arrays)
    values, indices = np.unique(labels, return_inverse=True)
    if classes is None:
        return tuple(str(value) for value in values), indices.astype(np.int64)
    names = tuple(str(name) for name in classes)
    known = np.array(names) if labels.dtype.kind == "U" else np.arange(len(names))
    unknown = [value for value in values if value not in known]
    if unknown:
        raise DataError(
            f"the label {unknown[0]!s} is not one of the classes {', '.join(names)}",
            "integer labels count the classes from 0, text labels name them",
        )
    class_indices = np.array([int(np.flatnonzero(known == value)[0]) for value in values])
    return names, class_indices[indices].astype(np.int64)


def _plain(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels as integers, bools or text; raises DataError for other types."""
    if labels.dtype.kind in "OT" and all(isinstance(value, str) for value in labels):
        return labels.astype(np.str_)
    if labels.dtype.kind not in "biuU":
        raise DataError(
            f"the labels are {labels.dtype}", "give integers, bools or strings, one per image"
        )
    return labels


def _patients(parts: Mapping[str, _SplitArrays], names: list[str]) -> PatientNames:
    patients = [part.patients for part in parts.values() if part.patients is not None]
    if len(patients) < len(parts):
        if patients:
            raise DataError(
                "some splits have patients and others none", "give patients for all splits"
            )
        return PatientNames(tuple(names), known=False)
    return PatientNames(tuple(str(p) for p in np.concatenate(patients)), known=True)
