"""Open sources of images: `open_dataset`, `open_arrays` and `read_all` are the entry points."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_bio.datasets import splits
from tune_bio.datasets.decoding.parallel import Progress, no_progress
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.phantom.source import PHANTOM, read_phantom
from tune_bio.datasets.sources.collection import Collection, OpenOptions, default_geometries
from tune_bio.datasets.sources.image_folder import read_folder
from tune_bio.datasets.sources.in_memory import ArrayData, read_arrays
from tune_bio.datasets.sources.npy import holds_arrays, read_npy
from tune_bio.datasets.sources.npz import read_npz
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

__all__ = [
    "ArrayData",
    "Collection",
    "Dataset",
    "Images",
    "OpenOptions",
    "image_folder",
    "open_arrays",
    "open_dataset",
    "open_options",
    "phantom_dataset",
    "read_all",
    "read_all_arrays",
    "split_collection",
]

UNKNOWN_PATIENTS = (
    "patients are unknown in this source: images of one patient may be in two splits, and every "
    "interval may be too narrow"
)


def open_dataset(
    source: str,
    *,
    seed: int = 0,
    positive_class: str | None = None,
    patient_pattern: str | None = None,
    cache_dir: Path | None = None,
    geometries: Callable[[int], Sequence[Geometry]] = default_geometries,
    progress: Progress = no_progress,
) -> Dataset:
    """Open a source and split it by patient.

    Args:
        source: `phantom`, `phantom:CLASSES`, `phantom:shortcut`, the path of a MedMNIST-layout
            .npz, or the path of a folder: with class folders, with train/val/test folders of class
            folders, with a metadata.csv, or with one .npy per class.
        seed: seed of the split, used if the source has no splits.
        positive_class: name of the positive class; the last class by default.
        patient_pattern: regular expression that finds the patient in a file's path.
        cache_dir: folder for decoded images; `$XDG_CACHE_HOME/tune_bio` by default.
        geometries: called once with the images' shorter side in pixels (the median); image files
            are decoded at the geometries that it returns. It may raise to refuse the images.
        progress: called with (images done, all images) while files are read and decoded.

    Raises:
        DataError: the source does not exist or cannot be used.
    """
    opening = open_options(patient_pattern, cache_dir, geometries, progress)
    return split_collection(_read_source(source, opening), seed, positive_class)


def open_arrays(
    images: Any,
    labels: Any = None,
    patients: Any = None,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    positive_class: str | None = None,
    cache_dir: Path | None = None,
) -> Dataset:
    """Build a data set from arrays and split it by patient.

    Args:
        images: (n, H, W) or (n, H, W, 3), uint8 or uint16. As the only argument, also a tuple
            (images, labels) or (images, labels, patients), or a mapping of "train" and optionally
            "val" and "test" to such tuples.
        labels: (n,) whole numbers, bools or strings.
        patients: (n,) an identifier of the patient of each image.
        classes: names of the classes 0, 1, ...; for string labels, their order.
        seed: seed of the split, used if no splits are given.
        positive_class: name of the positive class; the last class by default.
        cache_dir: folder for results that are too large for memory.

    Raises:
        DataError: the arrays do not fit together, or cannot be used.
    """
    data: Any = images if labels is None else (images, labels, patients)
    opening = open_options(None, cache_dir)
    return split_collection(read_arrays(data, classes, opening), seed, positive_class)


def read_all(
    source: str,
    *,
    patient_pattern: str | None = None,
    cache_dir: Path | None = None,
    geometries: Callable[[int], Sequence[Geometry]] = default_geometries,
    progress: Progress = no_progress,
) -> Collection:
    """Read all images of a source without splitting them, such as for external validation.

    The arguments are those of `open_dataset`; `everything` of the result holds the images.
    """
    return _read_source(source, open_options(patient_pattern, cache_dir, geometries, progress))


def read_all_arrays(
    data: ArrayData, classes: Sequence[str] | None = None, *, cache_dir: Path | None = None
) -> Collection:
    """Read arrays, in any form that `open_arrays` takes, without splitting them."""
    return read_arrays(data, classes, open_options(None, cache_dir))


def phantom_dataset(seed: int = 0) -> Dataset:
    """Open the phantom; studies use seed 0, so that their results can be compared."""
    return split_collection(read_phantom("phantom", OpenOptions(), seed), seed, None)


def split_collection(collection: Collection, seed: int, positive_class: str | None) -> Dataset:
    """Complete a collection's own splits; missing ones are cut from train, by patient.

    Raises:
        DataError: there is only one class or no train split, there are too few patients, or the
            positive class does not exist.
    """
    classes, source_splits = collection.classes, collection.splits
    if len(classes) < 2:
        raise DataError(f"{collection.name} has only one class", "a classifier needs at least two")
    if "train" not in source_splits:
        raise DataError(
            f"no image of {collection.name} is in the train split", "add images to train on"
        )
    complete = splits.complete_splits(
        source_splits["train"], source_splits.get("val"), source_splits.get("test"), classes, seed
    )
    notes = collection.notes + (() if collection.patients_known else (UNKNOWN_PATIENTS,))
    dataset = Dataset(
        source=collection.name,
        classes=classes,
        positive=_positive_index(collection, positive_class),
        train=complete.train,
        val=complete.val,
        test=complete.test,
        split=collection.split or complete.origin,
        patients_known=collection.patients_known,
        synthetic=collection.synthetic,
        notes=notes,
        splits_from_train=complete.from_train,
    )
    return _with_note_on_leaks(dataset)


def image_folder(source: str) -> Path | None:
    """Return the path of a source that is a folder of image files; None for other sources."""
    path = _path(source)
    is_folder = not _is_synthetic(source) and path.is_dir() and not holds_arrays(path)
    return path if is_folder else None


def _path(source: str) -> Path:
    return Path(source).expanduser().resolve()


def _is_synthetic(source: str) -> bool:
    return source == PHANTOM or source.startswith(f"{PHANTOM}:")


def _read_source(source: str, opening: OpenOptions) -> Collection:
    folder = image_folder(source)
    if folder is not None:
        return read_folder(folder, opening)
    path, synthetic = _path(source), _is_synthetic(source)
    if opening.patient_pattern is not None and (synthetic or path.exists()):
        raise DataError(
            f"--patient-pattern is given, but {source} has no file names",
            "leave it out, or give a folder of image files",
        )
    collection = (
        read_phantom(source, opening) if synthetic else _read_npy_or_npz(source, path, opening)
    )
    opening.geometries(collection.everything.source.size)  # nothing to decode, but it may raise
    return collection


def _read_npy_or_npz(source: str, path: Path, opening: OpenOptions) -> Collection:
    if path.is_dir():
        return read_npy(path, opening)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, opening)
    fault = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise DataError(
        f"the data source {source!r} {fault}",
        "give 'phantom', a MedMNIST-layout .npz, or a folder of images or of one .npy per class",
    )


def open_options(
    patient_pattern: str | None,
    cache_dir: Path | None,
    geometries: Callable[[int], Sequence[Geometry]] = default_geometries,
    progress: Progress = no_progress,
) -> OpenOptions:
    """Build the options for reading a source; the arguments are those of `open_dataset`."""
    opening = OpenOptions(geometries, patient_pattern, progress=progress)
    if cache_dir is None:
        return opening
    return replace(opening, cache_folder=cache_dir.expanduser().absolute())


def _positive_index(collection: Collection, name: str | None) -> int:
    if name is None:
        return len(collection.classes) - 1
    if name not in collection.classes:
        raise DataError(
            f"--positive-class {name!r} is not a class of {collection.name}",
            f"the classes are {', '.join(collection.classes)}",
        )
    return collection.classes.index(name)


def _with_note_on_leaks(dataset: Dataset) -> Dataset:
    count = dataset.patients_on_two_sides
    if not dataset.patients_known or not count:
        return dataset
    note = f"{count} patients have images in more than one split: scores will be too good"
    return replace(dataset, notes=(*dataset.notes, note))
