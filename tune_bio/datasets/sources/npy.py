"""A folder with one `CLASS.npy` a class: (n, H, W) or (n, H, W, C), memory-mapped."""

from pathlib import Path

import numpy as np

from tune_bio.datasets.pixels import Pixels
from tune_bio.datasets.sources.array_source import ArraySource, as_pixels
from tune_bio.datasets.sources.collection import Collection, OpenOptions, collect_images
from tune_bio.datasets.sources.listing import METADATA, visible
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.errors import DataError


def holds_arrays(folder: Path) -> bool:
    """Whether a folder is of this layout."""
    return any(path.suffix == ".npy" for path in visible(folder))


def read_npy(folder: Path, opening: OpenOptions) -> Collection:
    """Map every class's array; the sorted names of the files are the classes.

    Raises:
        DataError: an array cannot be read or used, or they differ in shape or dtype.
    """
    entries = visible(folder)
    _refuse_others(folder, entries)
    files = [path for path in entries if path.suffix == ".npy"]
    parts = [_load(path) for path in files]
    classes = tuple(path.stem for path in files)
    source = ArraySource(parts, classes, opening.cache_folder)
    names = [f"{name}/{i:06d}" for name, part in zip(classes, parts, strict=True)
             for i in range(len(part))]  # fmt: skip
    labels = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
    unknown = PatientNames(tuple(names), known=False)
    ignored = len(entries) - len(files)
    return Collection(
        name=str(folder),
        classes=classes,
        given=collect_images(source, names, labels, unknown, [None] * len(names)),
        notes=(f"{ignored} files that are no arrays were left out",) if ignored else (),
    )


def _load(path: Path) -> Pixels:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        pickled = "Python objects" in str(error) or "pickle" in str(error)
        fault = "holds pickled Python objects" if pickled else f"cannot be read ({error})"
        raise DataError(
            f"{path} {fault}", "save a plain array of whole numbers with numpy.save"
        ) from error
    return as_pixels(array, f"the images in {path}")


def _refuse_others(folder: Path, entries: list[Path]) -> None:
    folders = [path.name for path in entries if path.is_dir()]
    if folders:
        raise DataError(
            f"{folder} holds .npy files beside the folder {folders[0]!r}",
            "give either one .npy a class, or one folder a class",
        )
    if any(path.name == METADATA for path in entries):
        raise DataError(
            f"{folder} holds .npy files beside {METADATA}",
            f"{METADATA} lists image files; take it out, or give files",
        )
