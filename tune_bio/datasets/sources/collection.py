"""All images of a source, before missing splits are cut from train."""

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

DEFAULT_SIZE = 224  # px: larger images are scaled down to it unless a size is specified


def default_geometries(size: int) -> tuple[Geometry, ...]:
    """Return the default geometry of images whose shorter side is `size`."""
    return (Geometry(min(size, DEFAULT_SIZE)),)


@dataclass(frozen=True)
class OpenOptions:
    """Options for reading a source.

    geometries: called with the images' shorter side, returns the geometries to decode files at.
    patient_pattern: regular expression that finds the patient in a file name.
    cache_folder: folder of the decoded images.
    progress: called with (done, total) while files are read and while they are decoded.
    """

    geometries: Callable[[int], Sequence[Geometry]] = default_geometries
    patient_pattern: str | None = None
    cache_folder: Path = field(default_factory=default_folder)
    progress: Progress = no_progress


@dataclass(frozen=True)
class Collection:
    """All images of a source by split; only "train" if the source has no splits."""

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Images]
    patients_known: bool = False
    synthetic: bool = False
    split: str | None = None  # where the splits come from, if the source describes it
    notes: tuple[str, ...] = ()

    @property
    def everything(self) -> Images:
        """The images of all splits."""
        return concatenate(list(self.splits.values()))


def collect_images(
    source: PixelSource,
    names: Sequence[str],
    labels: npt.NDArray[np.int64],
    patients: PatientNames,
    splits: Sequence[str | None],
) -> dict[str, Images]:
    """Group the images of a source by split; if no image has a split, all belong to train.

    Raises:
        DataError: some images have a split and others have none.
    """
    split_names = np.array([split or "" for split in splits], dtype=np.str_)
    if not split_names.any():
        split_names = np.full(len(names), "train")
    if "" in split_names:
        name = names[int(np.flatnonzero(split_names == "")[0])]
        raise DataError(
            f"{name} has no split, but other images have", "give every image a split, or none"
        )
    images = Images(
        source,
        np.arange(len(names)),
        labels,
        np.array(patients.per_image, dtype=np.str_),
        np.array(names, dtype=np.str_),
    )
    present = (name for name in ("train", "val", "test") if name in split_names)
    return {name: images.take(np.flatnonzero(split_names == name)) for name in present}


def class_order(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the classes: in numeric order if all are integers, else in alphabetical order."""
    names = set(labels)
    if not all(re.fullmatch(r"-?\d+", name) for name in names):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (int(name), name)))
