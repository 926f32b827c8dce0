"""What a study is asked for, and the folder that its results go to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from tune_bio.errors import ResultsError, UsageError

if TYPE_CHECKING:  # a command that asks for the impossible is told so before PyTorch is imported
    from tune_bio.datasets.sources.in_memory import ArrayData

LOCK = ".lock"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Request:
    """What the command line asks for, beside the search space and its settings.

    `arrays` are data that a program hands over, as `open_arrays` takes them, in the place of
    `settings.data`; `class_names` names their classes.
    """

    name: str
    results: Path
    configs: Path | None = None
    weights_dir: Path | None = None
    missing_weights: str = "skip"
    positive_class: str | None = None
    patient_pattern: str | None = None
    cache_dir: Path | None = None
    arrays: "ArrayData | None" = None
    class_names: tuple[str, ...] | None = None
    allow_leakage: bool = False
    quiet: bool = False
    resume: bool = False

    @property
    def folder(self) -> Path:
        """Where the study leaves its results; absolute, since workers run elsewhere."""
        return (self.results / self.name).absolute()


def check_folder(request: Request) -> None:
    """Raise ResultsError where results could not be written; makes nothing."""
    if not NAME.fullmatch(request.name):
        raise UsageError(
            f"--name {request.name!r} is no name for a folder",
            "use 1 to 64 letters, digits, dots, dashes and underscores, and no leading dot",
        )
    folder = request.folder
    if request.resume:
        _refuse_missing_study(folder)
    else:
        refuse_existing(request)
    existing = next(parent for parent in folder.parents if parent.exists())
    if not existing.is_dir():
        raise ResultsError(f"{existing} is not a folder", "give another folder with --results")
    _probe_writing(existing)


def refuse_existing(request: Request) -> None:
    """Raise ResultsError where the folder holds more than a study that was killed as it began."""
    folder = request.folder
    if not folder.exists() or (folder.is_dir() and _holds_no_study(folder)):
        return
    raise ResultsError(
        f"{folder} exists already",
        f"go on with it by --resume, choose another name with --name {_free_name(request)}, or "
        "remove the folder",
    )


def _holds_no_study(folder: Path) -> bool:
    """Whether there is nothing but what is written before a study's manifest: empty tables."""
    try:
        there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:  # another user's, which may not be looked into
        return False
    if any(path.suffix != ".parquet" for path in there):
        return False
    from tune_bio.records.tables import is_empty_table

    return all(map(is_empty_table, there))


def _refuse_missing_study(folder: Path) -> None:
    from tune_bio.records.manifest_file import MANIFEST

    if not (folder / MANIFEST).is_file():
        raise ResultsError(
            f"there is no study in {folder} to resume",
            "see --name and --results, or leave --resume out",
        )
    with locked(folder):
        pass  # nobody else runs it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other driver out of a study; the system lets go of it when this process ends.

    Raises:
        ResultsError: another process runs the study.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ResultsError(
            f"another process is running the study in {folder}", "wait until it has ended"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _free_name(request: Request) -> str:
    number = 2
    while (request.results / f"{request.name}-{number}").exists():
        number += 1
    return f"{request.name}-{number}"


def _probe_writing(folder: Path) -> None:
    probe = folder / ".tune_bio_probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ResultsError(
            f"nothing can be written to {folder} ({error.strerror})",
            "give a folder of yours with --results",
        ) from error
