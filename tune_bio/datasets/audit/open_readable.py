"""Open a source for an audit: files that cannot be read are reported and left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tune_bio.datasets.audit.findings import AffectedImage, Finding, StageProgress
from tune_bio.datasets.audit.patients import patients_across, patients_unknown
from tune_bio.datasets.decoding.decode import decode
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import image_folder, open_dataset, open_options, split_collection
from tune_bio.datasets.sources.collection import Collection, OpenOptions
from tune_bio.datasets.sources.file_index import read_bytes
from tune_bio.datasets.sources.image_folder import list_folder, patients_of_listing, read_listing
from tune_bio.datasets.sources.listing import ListedFile, Listing
from tune_bio.errors import DataError


@dataclass(frozen=True)
class ReadableDataset:
    """A data set of the readable images, and the files that cannot be read."""

    dataset: Dataset
    unreadable: tuple[AffectedImage, ...] = ()


def readable_by_names(folder: Path, patient_pattern: str | None) -> list[Finding]:
    """Check the patients given by file names, folders and metadata.csv; no image is opened.

    Raises:
        DataError: the folder has an unknown layout, or the pattern matches no file name.
    """
    files = list_folder(folder).files
    patients = patients_of_listing(files, patient_pattern)
    if not patients.known:
        return [patients_unknown()]
    splits = [file.split or "train" for file in files]
    return patients_across(zip(patients.per_image, splits, strict=True))


def open_readable(
    source: str,
    *,
    seed: int,
    positive_class: str | None,
    patient_pattern: str | None,
    cache_dir: Path | None,
    stage: StageProgress,
) -> ReadableDataset:
    """Open a data set like `open_dataset`, but leave out files that cannot be read.

    Raises:
        DataError: the source cannot be used, even without these files.
    """
    folder = image_folder(source)
    if folder is None:
        with stage("reading images") as progress:
            dataset = open_dataset(
                source,
                seed=seed,
                positive_class=positive_class,
                patient_pattern=patient_pattern,
                cache_dir=cache_dir,
                progress=progress,
            )
        return ReadableDataset(dataset)
    opening = open_options(patient_pattern, cache_dir)
    collection, unreadable = _read_readable(folder, list_folder(folder), opening, stage)
    return ReadableDataset(split_collection(collection, seed, positive_class), unreadable)


def _read_readable(
    folder: Path, listing: Listing, opening: OpenOptions, stage: StageProgress
) -> tuple[Collection, tuple[AffectedImage, ...]]:
    """Read the images of a listing, and return them with the files that cannot be read."""
    try:
        return _read(folder, listing, opening, stage), ()
    except DataError:
        # Files are tried one by one only after an error, so that a good folder is read once.
        unreadable = _unreadable(folder, listing.files, stage)
        if not unreadable:
            raise
    bad_names = {image.name for image in unreadable}
    readable = tuple(file for file in listing.files if file.name not in bad_names)
    if not readable:
        raise DataError(
            f"none of the {len(bad_names)} image files of {folder} can be read",
            f"{unreadable[0].name}, for example, {unreadable[0].detail}; copy the files again",
        )
    return _read(folder, replace(listing, files=readable), opening, stage), unreadable


def _read(folder: Path, listing: Listing, opening: OpenOptions, stage: StageProgress) -> Collection:
    with stage("reading images") as progress:
        return read_listing(folder, listing, replace(opening, progress=progress))


def _unreadable(
    folder: Path, files: Sequence[ListedFile], stage: StageProgress
) -> tuple[AffectedImage, ...]:
    """Return the files that cannot be decoded completely, with the fault as the detail."""
    with stage("looking for files that cannot be read") as progress:
        faults = list(_faults(folder, files, progress))
    return tuple(
        AffectedImage(file.name, file.split or "train", fault)
        for file, fault in zip(files, faults, strict=True)
        if fault
    )


def _faults(folder: Path, files: Sequence[ListedFile], progress: Progress) -> Iterator[str]:
    """Yield the fault of each file; empty if it can be decoded."""

    def find_fault(file: ListedFile) -> str:
        try:
            decode(read_bytes(folder / file.name), file.name)
        except DataError as error:
            return error.fault.removeprefix(f"{file.name} ")
        return ""

    return map_in_order(find_fault, files, progress)
