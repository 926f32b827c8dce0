"""What a source holds, before any split is cut."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.cache.arrays import default_folder
from tune_bio.datasets.decoding.parallel import Progress, no_progress
from tune_bio.datasets.images import Images, PixelSource, concatenate
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

DEFAULT_SIZE = 224  # px: larger images are not used whole unless somebody says so


def default_geometries(size: int) -> tuple[Geometry, ...]:
    """The geometry of images whose shorter side is `size`, where nobody says otherwise."""
    return (Geometry(min(size, DEFAULT_SIZE)),)


@dataclass(frozen=True)
class OpenOptions:
    """How a source is read.

    geometries: called with the images' shorter side; files are decoded at these geometries.
    patient_pattern: a regular expression that finds the patient in a file's name.
    cache_folder: where decoded images lie.
    progress: called with (done, all) while files are read, and while they are decoded.
    """

    geometries: Callable[[int], Sequence[Geometry]] = default_geometries
    patient_pattern: str | None = None
    cache_folder: Path = field(default_factory=default_folder)
    progress: Progress = no_progress


@dataclass(frozen=True)
class Collection:
    """All images of a source by split: "train" alone where it gives no splits."""

    name: str
    classes: tuple[str, ...]
    given: Mapping[str, Images]
    patients_known: bool = False
    synthetic: bool = False
    split: str | None = None  # how its splits came about, where it says more than "given"
    notes: tuple[str, ...] = ()

    @property
    def everything(self) -> Images:
        """All images of all splits."""
        return concatenate(list(self.given.values()))


def collect_images(
    source: PixelSource,
    names: Sequence[str],
    labels: npt.NDArray[np.int64],
    patients: PatientNames,
    splits: Sequence[str | None],
) -> dict[str, Images]:
    """The images of a source by split; all of them are train where none has one.

    Raises:
        DataError: some images have a split and others none.
    """
    each = np.array([split or "" for split in splits], dtype=np.str_)
    if not each.any():
        each = np.full(len(names), "train")
    if "" in each:
        name = names[int(np.flatnonzero(each == "")[0])]
        raise DataError(f"{name} has no split, and others have", "give every image one, or none")
    whole = Images(
        source,
        np.arange(len(names)),
        labels,
        np.array(patients.each, dtype=np.str_),
        np.array(names, dtype=np.str_),
    )
    given = (name for name in ("train", "val", "test") if name in each)
    return {name: whole.take(np.flatnonzero(each == name)) for name in given}


def class_order(labels: Sequence[str]) -> tuple[str, ...]:
    """The classes in order: of the numbers where all are whole numbers, else of the alphabet."""
    names = set(labels)
    if not all(re.fullmatch(r"-?\d+", name) for name in names):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (int(name), name)))
