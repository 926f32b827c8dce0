"""Opening a source that is to be audited: what cannot be read is told and not fatal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tune_bio.datasets.audit.findings import AffectedImage, Finding, StageProgress
from tune_bio.datasets.audit.patients import patients_across, patients_unknown
from tune_bio.datasets.decoding.decode import decode
from tune_bio.datasets.decoding.parallel import Progress, map_in_order
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import image_folder, open_dataset, opening_for, split_collection
from tune_bio.datasets.sources.collection import Collection, OpenOptions
from tune_bio.datasets.sources.file_index import read_bytes
from tune_bio.datasets.sources.image_folder import list_folder, patients_of_listing, read_listing
from tune_bio.datasets.sources.listing import ListedFile, Listing
from tune_bio.errors import DataError


@dataclass(frozen=True)
class Opened:
    """A data set of the images that can be read, and the files that cannot."""

    dataset: Dataset
    unreadable: tuple[AffectedImage, ...] = ()


def readable_by_names(folder: Path, patient_pattern: str | None) -> list[Finding]:
    """What file names, folders and metadata.csv tell of patients; no image is opened.

    Raises:
        DataError: no layout that is known; the pattern matches nothing.
    """
    files = list_folder(folder).files
    patients = patients_of_listing(files, patient_pattern)
    if not patients.known:
        return [patients_unknown()]
    splits = [file.split or "train" for file in files]
    return patients_across(zip(patients.each, splits, strict=True))


def open_readable(
    source: str,
    *,
    seed: int,
    positive_class: str | None,
    patient_pattern: str | None,
    cache_dir: Path | None,
    stage: StageProgress,
) -> Opened:
    """`open_dataset`, without the files of a folder that cannot be read.

    Raises:
        DataError: the source cannot be used, also without these files.
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
        return Opened(dataset)
    opening = opening_for(patient_pattern, cache_dir)
    collection, unreadable = _what_can_be_read(folder, list_folder(folder), opening, stage)
    return Opened(split_collection(collection, seed, positive_class), unreadable)


def _what_can_be_read(
    folder: Path, listing: Listing, opening: OpenOptions, stage: StageProgress
) -> tuple[Collection, tuple[AffectedImage, ...]]:
    """The images of a listing, and the files that cannot be read."""
    try:
        return _read(folder, listing, opening, stage), ()
    except DataError:
        # Each file is tried only where something is wrong, so that a good folder is read once.
        unreadable = _unreadable(folder, listing.files, stage)
        if not unreadable:
            raise
    bad = {affected_image.name for affected_image in unreadable}
    kept = tuple(file for file in listing.files if file.name not in bad)
    if not kept:
        raise DataError(
            f"none of the {len(bad)} image files of {folder} can be read",
            f"{unreadable[0].name}, for one, {unreadable[0].detail}; copy the files again",
        )
    return _read(folder, replace(listing, files=kept), opening, stage), unreadable


def _read(folder: Path, listing: Listing, opening: OpenOptions, stage: StageProgress) -> Collection:
    with stage("reading images") as progress:
        return read_listing(folder, listing, replace(opening, progress=progress))


def _unreadable(
    folder: Path, files: Sequence[ListedFile], stage: StageProgress
) -> tuple[AffectedImage, ...]:
    """The files that cannot be decoded to their end, and why."""
    with stage("looking for files that cannot be read") as progress:
        faults = list(_faults(folder, files, progress))
    return tuple(
        AffectedImage(file.name, file.split or "train", fault)
        for file, fault in zip(files, faults, strict=True)
        if fault
    )


def _faults(folder: Path, files: Sequence[ListedFile], progress: Progress) -> Iterator[str]:
    """What is wrong with each file; empty where nothing is."""

    def fault(file: ListedFile) -> str:
        try:
            decode(read_bytes(folder / file.name), file.name)
        except DataError as error:
            return error.fault.removeprefix(f"{file.name} ")
        return ""

    return map_in_order(fault, files, progress)
