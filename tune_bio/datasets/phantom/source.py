"""The sources `phantom`, `phantom:CLASSES` and `phantom:shortcut`."""

import numpy as np

from tune_bio.datasets.phantom.cues import MAX_CLASSES
from tune_bio.datasets.phantom.phantom import class_names, make_phantom
from tune_bio.datasets.sources.array_source import ArraySource, as_pixels
from tune_bio.datasets.sources.collection import Collection, OpenOptions, collect_images
from tune_bio.datasets.sources.patients import PatientNames
from tune_bio.errors import DataError

PHANTOM, SHORTCUT = "phantom", "shortcut"
CLASS_COUNTS = range(2, MAX_CLASSES + 1)  # how many there may be

SYNTHETIC = "synthetic data, made by tune_bio: no result on them says anything about patients"
SHORTCUT_NOTE = (
    "a marker in a corner tells the class in train and validation and is absent from test: a "
    "model that learns it scores well until it is tested"
)


def read_phantom(source: str, opening: OpenOptions, seed: int = 0) -> Collection:
    """The synthetic images of a source; raises DataError for one that does not exist."""
    classes, shortcut = _wanted(source)
    parts = make_phantom(seed, classes, shortcut)
    arrays = [as_pixels(part.pixels, f"phantom {name}") for name, part in parts.items()]
    patients = np.concatenate([part.patients for part in parts.values()])
    given = collect_images(
        ArraySource(arrays, list(parts), opening.cache_folder),
        [str(name) for part in parts.values() for name in part.names],
        np.concatenate([part.labels for part in parts.values()]),
        PatientNames(tuple(patients.tolist()), known=True),
        [name for name, part in parts.items() for _ in part.names],
    )
    return Collection(
        name=source,
        classes=class_names(classes),
        given=given,
        patients_known=True,
        synthetic=True,
        split="made apart, patient by patient",
        notes=(SYNTHETIC, SHORTCUT_NOTE) if shortcut else (SYNTHETIC,),
    )


def _wanted(source: str) -> tuple[int, bool]:
    """The number of classes, and whether there is a shortcut."""
    variant = source.removeprefix(PHANTOM).removeprefix(":")
    if source == PHANTOM or variant == SHORTCUT:
        return 2, variant == SHORTCUT
    if variant.isdecimal() and int(variant) in CLASS_COUNTS:
        return int(variant), False
    raise DataError(
        f"there is no data source {source!r}",
        f"write phantom, phantom:CLASSES with {CLASS_COUNTS[0]} to {CLASS_COUNTS[-1]} classes, or "
        f"phantom:{SHORTCUT}",
    )
