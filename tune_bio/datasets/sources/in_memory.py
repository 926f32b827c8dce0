"""A user's arrays, from a notebook: images with labels, and with patients where they are known."""

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

# (images, labels) or (images, labels, patients), or one of them for each split.
ArraySplit = Sequence[Any]
ArrayData = ArraySplit | Mapping[str, ArraySplit]


@dataclass(frozen=True)
class _Checked:
    """Images (n, H, W, C), labels (n,) as given, patients (n,) str or None."""

    images: Pixels
    labels: npt.NDArray[Any]
    patients: npt.NDArray[np.str_] | None


def read_arrays(data: ArrayData, classes: Sequence[str] | None, opening: OpenOptions) -> Collection:
    """Arrays as a source.

    Args:
        data: (images, labels) or (images, labels, patients), or a mapping of "train" and where
            wanted "val" and "test" to such. images: (n, H, W) or (n, H, W, 3), uint8 or uint16.
            labels: (n,) whole numbers, bools or strings. patients: (n,) anything that names one.
        classes: names of the classes 0, 1, ...; of string labels, their order.
        opening: where results too large for memory are kept.

    Raises:
        DataError: arrays that do not fit together, or cannot be used.
    """
    given = data if isinstance(data, Mapping) else {"train": data}
    parts = {_split_name(name): _check(name, part) for name, part in given.items()}
    if "train" not in parts:
        raise DataError(f"the arrays are of {', '.join(parts) or 'nothing'}", "give 'train' too")
    source = ArraySource(
        [part.images for part in parts.values()], list(parts), opening.cache_folder
    )
    found, labels = _labels([part.labels for part in parts.values()], classes)
    names = [f"{name}/{i:06d}" for name, part in parts.items() for i in range(len(part.images))]
    return Collection(
        name=IN_MEMORY,
        classes=found,
        given=collect_images(
            source, names, labels, _patients(parts, names), [n.split("/")[0] for n in names]
        ),
        patients_known=all(part.patients is not None for part in parts.values()),
    )


def _split_name(name: str) -> str:
    if name not in SPLITS:
        raise DataError(f"{name!r} is no split", f"name them {', '.join(SPLITS)}")
    return SPLITS[name]


def _check(name: str, part: ArraySplit) -> _Checked:
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        raise DataError(
            f"the data of {name!r} are no pair of images and labels",
            "give (images, labels) or (images, labels, patients)",
        )
    images = as_pixels(_as_array(part[0], "images"), f"the images of {name!r}")
    labels = _as_array(part[1], "labels")
    patients = _as_array(part[2], "patients") if len(part) == 3 and part[2] is not None else None
    for what, array in (("labels", labels), ("patients", patients)):
        if array is not None and array.shape != (len(images),):
            raise DataError(
                f"the {what} of {name!r} have the shape {array.shape} beside {len(images)} images",
                "give one an image, (n,)",
            )
    return _Checked(images, labels, None if patients is None else patients.astype(np.str_))


def _as_array(values: Any, what: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"the {what} are no array ({error})", "give a NumPy array") from error
    return array


def _labels(
    each: Sequence[npt.NDArray[Any]], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The classes' names, and the index of each image's class."""
    values = [_plain(labels) for labels in each]
    if len({array.dtype.kind == "U" for array in values}) > 1:
        raise DataError("some labels are text and others numbers", "give one kind of label")
    together = np.concatenate(values)
    found, indices = np.unique(together, return_inverse=True)
    if classes is None:
        return tuple(str(value) for value in found), indices.astype(np.int64)
    names = tuple(str(name) for name in classes)
    known = np.array(names) if together.dtype.kind == "U" else np.arange(len(names))
    unknown = [value for value in found if value not in known]
    if unknown:
        raise DataError(
            f"the label {unknown[0]!s} is none of the classes {', '.join(names)}",
            "whole numbers count the classes from 0; text names them",
        )
    where = np.array([int(np.flatnonzero(known == value)[0]) for value in found])
    return names, where[indices].astype(np.int64)


def _plain(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels as whole numbers or text; raises DataError for others."""
    if labels.dtype.kind in "OT" and all(isinstance(value, str) for value in labels):
        return labels.astype(np.str_)
    if labels.dtype.kind not in "biuU":
        raise DataError(
            f"the labels are {labels.dtype}", "give whole numbers, bools or strings, one an image"
        )
    return labels


def _patients(parts: Mapping[str, _Checked], names: list[str]) -> PatientNames:
    told = [part.patients for part in parts.values() if part.patients is not None]
    if len(told) < len(parts):
        if told:
            raise DataError("some splits have patients and others none", "give them for all")
        return PatientNames(tuple(names), known=False)
    return PatientNames(tuple(str(p) for p in np.concatenate(told)), known=True)
