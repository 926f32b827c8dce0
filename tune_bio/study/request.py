"""The request for a study, and the checks of its results folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from tune_bio.errors import ResultsError, UsageError

if TYPE_CHECKING:  # an impossible request is refused before PyTorch is imported
    from tune_bio.datasets.sources.in_memory import ArrayData

LOCK = ".lock"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Request:
    """The options of the command line, without the search space and its settings.

    `arrays` are data that a program passes instead of `settings.data`, in a form that `open_arrays`
    accepts; `class_names` are the names of their classes.
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
        """The folder of the study's results, absolute since workers run in another directory."""
        return (self.results / self.name).absolute()


def check_folder(request: Request) -> None:
    """Check that results can be written, without creating anything.

    Raises:
        UsageError: the name is invalid.
        ResultsError: the folder exists, or cannot be written, or holds no study to resume.
    """
    if not NAME.fullmatch(request.name):
        raise UsageError(
            f"--name {request.name!r} is not a valid folder name",
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
    """Raise ResultsError if the folder exists, unless it has only what a killed start has left."""
    folder = request.folder
    if not folder.exists() or (folder.is_dir() and _holds_no_study(folder)):
        return
    raise ResultsError(
        f"{folder} exists already",
        f"continue it with --resume, choose another name with --name {_free_name(request)}, or "
        "remove the folder",
    )


def _holds_no_study(folder: Path) -> bool:
    """Return True if a folder has only empty tables, which are written before the manifest."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:  # another user's, without permission to list it
        return False
    if any(path.suffix != ".parquet" for path in paths):
        return False
    from tune_bio.records.tables import is_empty_table

    return all(map(is_empty_table, paths))


def _refuse_missing_study(folder: Path) -> None:
    from tune_bio.records.manifest_file import MANIFEST

    if not (folder / MANIFEST).is_file():
        raise ResultsError(
            f"there is no study in {folder} to resume",
            "see --name and --results, or leave --resume out",
        )
    with locked(folder):
        pass  # no other process runs it


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a study against other drivers; the system releases the lock when this process ends.

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
            "give a folder that you may write to, with --results",
        ) from error
