"""Sources of images; `open_dataset`, `open_arrays` and `read_all` are the face."""

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
    "opening_for",
    "phantom_dataset",
    "read_all",
    "read_all_arrays",
    "split_collection",
]

UNKNOWN_PATIENTS = (
    "patients cannot be told from this source: images of one patient may stand in two splits, "
    "and every interval may be too narrow"
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
        source: `phantom`, `phantom:CLASSES`, `phantom:shortcut`, or the path of a MedMNIST-layout
            .npz, or of a folder: of class folders, of train/val/test of class folders, with a
            metadata.csv, or of one .npy a class.
        seed: of the split, where the source gives none.
        positive_class: name of the positive class; the last by default.
        patient_pattern: a regular expression that finds the patient in a file's path.
        cache_dir: where decoded images are kept; `$XDG_CACHE_HOME/tune_bio` by default.
        geometries: called once, with the images' shorter side in pixels (the median); image files
            are decoded at these geometries. It may refuse.
        progress: called with (images done, all) while files are read and decoded.

    Raises:
        DataError: the source does not exist or cannot be used.
    """
    opening = opening_for(patient_pattern, cache_dir, geometries, progress)
    return split_collection(_collection(source, opening), seed, positive_class)


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
    """A data set of arrays, split by patient.

    Args:
        images: (n, H, W) or (n, H, W, 3), uint8 or uint16; or, alone, a tuple of the first two
            or three arguments, or a mapping of "train" and where wanted "val" and "test" to such.
        labels: (n,) whole numbers, bools or strings.
        patients: (n,) whatever names the patient of each image.
        classes: names of the classes 0, 1, ...; of string labels, their order.
        seed: of the split, where none is given.
        positive_class: name of the positive class; the last by default.
        cache_dir: where results too large for memory are kept.

    Raises:
        DataError: arrays that do not fit together, or cannot be used.
    """
    data: Any = images if labels is None else (images, labels, patients)
    opening = opening_for(None, cache_dir)
    return split_collection(read_arrays(data, classes, opening), seed, positive_class)


def read_all(
    source: str,
    *,
    patient_pattern: str | None = None,
    cache_dir: Path | None = None,
    geometries: Callable[[int], Sequence[Geometry]] = default_geometries,
    progress: Progress = no_progress,
) -> Collection:
    """All images of a source, whole and unsplit, as for external validation.

    The arguments are those of `open_dataset`; `everything` of the result holds the images.
    """
    return _collection(source, opening_for(patient_pattern, cache_dir, geometries, progress))


def read_all_arrays(
    data: ArrayData, classes: Sequence[str] | None = None, *, cache_dir: Path | None = None
) -> Collection:
    """Arrays as `open_arrays` takes them, whole and unsplit."""
    return read_arrays(data, classes, opening_for(None, cache_dir))


def phantom_dataset(seed: int = 0) -> Dataset:
    """The embedded synthetic data; studies use seed 0, so that their results can be compared."""
    return split_collection(read_phantom("phantom", OpenOptions(), seed), seed, None)


def split_collection(collection: Collection, seed: int, positive_class: str | None) -> Dataset:
    """A collection in three splits: its own, and what is missing cut from train by patient.

    Raises:
        DataError: one class alone, no train split, too few patients, or no such positive class.
    """
    classes, given = collection.classes, collection.given
    if len(classes) < 2:
        raise DataError(f"{collection.name} holds one class", "a classifier needs two or more")
    if "train" not in given:
        raise DataError(
            f"no image of {collection.name} is of the train split", "there is nothing to train on"
        )
    made = splits.complete_splits(
        given["train"], given.get("val"), given.get("test"), classes, seed
    )
    notes = collection.notes + (() if collection.patients_known else (UNKNOWN_PATIENTS,))
    dataset = Dataset(
        source=collection.name,
        classes=classes,
        positive=_positive(collection, positive_class),
        train=made.train,
        val=made.val,
        test=made.test,
        split=collection.split or made.origin,
        patients_known=collection.patients_known,
        synthetic=collection.synthetic,
        notes=notes,
        splits_from_train=made.from_train,
    )
    return _with_note_on_leaks(dataset)


def image_folder(source: str) -> Path | None:
    """The folder of image files that a source is; None for other sources."""
    path = _path(source)
    is_folder = not _is_synthetic(source) and path.is_dir() and not holds_arrays(path)
    return path if is_folder else None


def _path(source: str) -> Path:
    return Path(source).expanduser().resolve()


def _is_synthetic(source: str) -> bool:
    return source == PHANTOM or source.startswith(f"{PHANTOM}:")


def _collection(source: str, opening: OpenOptions) -> Collection:
    folder = image_folder(source)
    if folder is not None:
        return read_folder(folder, opening)
    path, synthetic = _path(source), _is_synthetic(source)
    if opening.patient_pattern is not None and (synthetic or path.exists()):
        raise DataError(
            f"--patient-pattern is given, and {source} has no file names",
            "leave it out, or give a folder of image files",
        )
    found = read_phantom(source, opening) if synthetic else _arrays_in(source, path, opening)
    opening.geometries(found.everything.source.size)  # nothing to decode; but it may refuse
    return found


def _arrays_in(source: str, path: Path, opening: OpenOptions) -> Collection:
    if path.is_dir():
        return read_npy(path, opening)
    if path.suffix == ".npz" and path.is_file():
        return read_npz(path, opening)
    fault = "is neither a folder nor an .npz file" if path.exists() else "does not exist"
    raise DataError(
        f"the data source {source!r} {fault}",
        "give 'phantom', a MedMNIST-layout .npz, or a folder of images or of one .npy a class",
    )


def opening_for(
    patient_pattern: str | None,
    cache_dir: Path | None,
    geometries: Callable[[int], Sequence[Geometry]] = default_geometries,
    progress: Progress = no_progress,
) -> OpenOptions:
    """How a source is read; the arguments are those of `open_dataset`."""
    opening = OpenOptions(geometries, patient_pattern, progress=progress)
    if cache_dir is None:
        return opening
    return replace(opening, cache_folder=cache_dir.expanduser().absolute())


def _positive(collection: Collection, name: str | None) -> int:
    if name is None:
        return len(collection.classes) - 1
    if name not in collection.classes:
        raise DataError(
            f"--positive-class {name!r} is no class of {collection.name}",
            f"the classes are {', '.join(collection.classes)}",
        )
    return collection.classes.index(name)


def _with_note_on_leaks(dataset: Dataset) -> Dataset:
    count = dataset.patients_on_two_sides
    if not dataset.patients_known or not count:
        return dataset
    note = f"{count} patients have images in more than one split: scores will be too good"
    return replace(dataset, notes=(*dataset.notes, note))
