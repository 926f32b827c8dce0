"""A folder with one `CLASS.npy` per class: (n, H, W) or (n, H, W, C), memory-mapped."""

from pathlib import Path

import numpy as np

from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.sources.array_source import ArraySource, as_pixels
from tune_bio.datasets.sources.collection import Collection, OpenOptions, collect_images
from tune_bio.datasets.sources.listing import METADATA, visible
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.errors import DataError


def holds_arrays(folder: Path) -> bool:
    """Return True if the folder holds .npy files."""
    return any(path.suffix == ".npy" for path in visible(folder))


def read_npy(folder: Path, options: OpenOptions) -> Collection:
    """Map the array of every class; the sorted file names are the classes.

    Raises:
        DataError: an array cannot be read or used, or the arrays differ in image shape or dtype.
    """
    entries = visible(folder)
    _refuse_other_layouts(folder, entries)
    files = [path for path in entries if path.suffix == ".npy"]
    parts = [_load(path) for path in files]
    classes = tuple(path.stem for path in files)
    source = ArraySource(parts, classes, options.cache_folder)
    names = [f"{name}/{i:06d}" for name, part in zip(classes, parts, strict=True)
             for i in range(len(part))]  # fmt: skip
    labels = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    patients = PatientNames(tuple(names), known=False)
    ignored = len(entries) - len(files)
    return Collection(
        name=str(folder),
        classes=classes,
        splits=collect_images(source, names, labels, patients, [None] * len(names)),
        notes=(f"{ignored} files that are not arrays were left out",) if ignored else (),
    )


def _load(path: Path) -> Pixels:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        pickled = "Python objects" in str(error) or "pickle" in str(error)
        fault = "holds pickled Python objects" if pickled else f"cannot be read ({error})"
        raise DataError(f"{path} {fault}", "save an array of integers with numpy.save") from error
    return as_pixels(array, f"the images in {path}")


def _refuse_other_layouts(folder: Path, entries: list[Path]) -> None:
    folders = [path.name for path in entries if path.is_dir()]
    if folders:
        raise DataError(
            f"{folder} holds .npy files and the folder {folders[0]!r}",
            "give either one .npy or one folder per class",
        )
    if any(path.name == METADATA for path in entries):
        raise DataError(
            f"{folder} holds .npy files and {METADATA}",
            f"{METADATA} lists image files; remove it, or give image files",
        )
