"""A folder of image files, in any of the layouts that `listing` knows."""

from pathlib import Path

import numpy as np

from tune_bio.datasets.sources.collection import (
    Collection,
    OpenOptions,
    class_order,
    collect_images,
)
from tune_bio.datasets.sources.file_source import FileSource
from tune_bio.datasets.sources.listing import METADATA, ListedFile, Listing, list_class_folders
from tune_bio.datasets.sources.metadata_csv import list_table
from tune_bio.datasets.sources.patients import (
    PatientNames,
    patients_from_column,
    patients_from_names,
)


def read_folder(folder: Path, opening: OpenOptions) -> Collection:
    """List a folder's images and decode them at the geometries that are wanted.

    Raises:
        DataError: no layout that is known, an image that cannot be read, no patient found.
    """
    return read_listing(folder, list_folder(folder), opening)


def list_folder(folder: Path) -> Listing:
    """The image files of a folder, of which nothing but names is read.

    Raises:
        DataError: no layout that is known.
    """
    table = (folder / METADATA).is_file()
    return list_table(folder) if table else list_class_folders(folder)


def read_listing(folder: Path, listing: Listing, opening: OpenOptions) -> Collection:
    """The images of a listing, decoded at the geometries that are wanted.

    Raises:
        DataError: an image that cannot be read, no patient found.
    """
    files = listing.files
    patients = patients_of_listing(files, opening.patient_pattern)
    source = FileSource(
        folder, [file.name for file in files], opening.cache_folder, opening.progress
    )
    source.decode(opening.geometries(source.size))
    classes = class_order([file.label for file in files])
    labels = np.array([classes.index(file.label) for file in files], dtype=np.int64)
    names, splits = [file.name for file in files], [file.split for file in files]
    return Collection(
        name=str(folder),
        classes=classes,
        given=collect_images(source, names, labels, patients, splits),
        patients_known=patients.known,
        notes=(*source.notes, *listing.notes, *patients.notes),
    )


def patients_of_listing(files: tuple[ListedFile, ...], pattern: str | None) -> PatientNames:
    """The patients that the table tells, else the names."""
    names = [file.name for file in files]
    told = [file.patient for file in files if file.patient is not None]
    return patients_from_column(names, told) if told else patients_from_names(names, pattern)
