"""A folder of image files, in any of the layouts that `listing` supports."""

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


def read_folder(folder: Path, options: OpenOptions) -> Collection:
    """List a folder's images and decode them at the requested geometries.

    Raises:
        DataError: the layout is not supported, an image cannot be read, or no patient is found.
    """
    return read_listing(folder, list_folder(folder), options)


def list_folder(folder: Path) -> Listing:
    """List the image files of a folder without reading them.

    Raises:
        DataError: the layout is not supported.
    """
    has_table = (folder / METADATA).is_file()
    return list_table(folder) if has_table else list_class_folders(folder)


def read_listing(folder: Path, listing: Listing, options: OpenOptions) -> Collection:
    """Decode the images of a listing at the requested geometries.

    Raises:
        DataError: an image cannot be read, or no patient is found.
    """
    files = listing.files
    patients = patients_of_listing(files, options.patient_pattern)
    source = FileSource(
        folder, [file.name for file in files], options.cache_folder, options.progress
    )
    source.decode(options.geometries(source.size))
    classes = class_order([file.label for file in files])
    labels = np.array([classes.index(file.label) for file in files], dtype=np.int64)
    names, splits = [file.name for file in files], [file.split for file in files]
    return Collection(
        name=str(folder),
        classes=classes,
        splits=collect_images(source, names, labels, patients, splits),
        patients_known=patients.known,
        notes=(*source.notes, *listing.notes, *patients.notes),
    )


def patients_of_listing(files: tuple[ListedFile, ...], pattern: str | None) -> PatientNames:
    """Return the patients from the table's column if there is one, else from the file names."""
    names = [file.name for file in files]
    column = [file.patient for file in files if file.patient is not None]
    return patients_from_column(names, column) if column else patients_from_names(names, pattern)
