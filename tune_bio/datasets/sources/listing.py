"""Which image files a folder holds, of which class and split: the layouts of `DIR`, told apart.

DIR/CLASS/...             class folders
DIR/train/CLASS/...       splits of class folders (also val, valid, validation, test)
DIR/metadata.csv          a table of files beside either of them, or of files alone
DIR/CLASS.npy             one array a class; read by npy.py
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_bio.datasets.decoding.decode import SUFFIXES
from tune_bio.errors import DataError

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
METADATA = "metadata.csv"


@dataclass(frozen=True)
class ListedFile:
    """One image file: its path within the folder, its class, and what else is told of it.

    `split` is None where the source gives none; `patient` is None where no column tells it.
    """

    name: str
    label: str
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Listing:
    """All image files of a source, in its order."""

    files: tuple[ListedFile, ...]
    notes: tuple[str, ...] = ()


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without what file managers and archives leave behind."""
    return sorted(path for path in folder.iterdir() if _is_visible(path.name))


def is_split_layout(entries: Sequence[Path]) -> bool:
    """Whether these entries are train, val and test folders; raises DataError for a mixture."""
    folders = [path for path in entries if path.is_dir()]
    splits = [path for path in folders if path.name.lower() in SPLITS]
    if not splits:
        return False
    others = [path.name for path in folders if path not in splits]
    meant = [SPLITS[path.name.lower()] for path in splits]
    where = splits[0].parent
    if others:
        raise DataError(
            f"{where} holds the folder {splits[0].name!r} beside {others[0]!r}",
            "give either train, val and test folders, or one folder a class",
        )
    if "train" not in meant:
        raise DataError(
            f"{where} holds {', '.join(path.name for path in splits)} and no train folder",
            "name the folder of the training images 'train'",
        )
    if len(set(meant)) < len(meant):
        raise DataError(
            f"{where} holds one split twice: {', '.join(path.name for path in splits)}",
            "give one folder each for train, val and test",
        )
    return True


def list_class_folders(folder: Path) -> Listing:
    """The images of class folders, or of splits of class folders.

    Raises:
        DataError: no such layout, fewer than two classes, a class without images.
    """
    entries = visible(folder)
    if not entries:
        raise DataError(f"{folder} is empty", "give a folder that holds one folder a class")
    if not is_split_layout(entries):
        files, ignored = _class_folders(folder, entries, None)
        return Listing(tuple(files), _ignored_note(ignored))
    listed: list[ListedFile] = []
    ignored = sum(path.is_file() for path in entries)
    classes: dict[str, set[str]] = {}
    for path in (path for path in entries if path.is_dir()):
        files, more = _class_folders(path, visible(path), folder)
        listed, ignored = listed + files, ignored + more
        classes[path.name] = {file.label for file in files}
    _refuse_other_classes(folder, classes)
    return Listing(tuple(listed), _ignored_note(ignored))


def images_below(folder: Path, root: Path) -> tuple[list[str], int]:
    """Paths from `root` of the image files anywhere below `folder`, and how many others there are.

    With forward slashes, sorted folder by folder.
    """
    names: list[str] = []
    others = 0
    for where, folders, files in os.walk(folder):
        folders[:] = filter(_is_visible, folders)
        above = Path(where).relative_to(root).as_posix()
        seen = [name for name in files if _is_visible(name)]
        images = [name for name in seen if name.lower().endswith(SUFFIXES)]
        names += images if above == "." else [f"{above}/{name}" for name in images]
        others += len(seen) - len(images)
    return sorted(names, key=lambda name: name.split("/")), others


def _is_visible(name: str) -> bool:
    return name[0] != "." and name != "__MACOSX"


def _class_folders(
    folder: Path, entries: Sequence[Path], root: Path | None
) -> tuple[list[ListedFile], int]:
    """The images of a folder's class folders, and how many other files there are."""
    folders = [path for path in entries if path.is_dir()]
    if len(folders) < 2:
        found = f"one class, {folders[0].name!r}" if folders else "no class folder"
        raise DataError(
            f"{folder} holds {found}", "a classifier needs two or more folders, one a class"
        )
    split = SPLITS[folder.name.lower()] if root is not None else None
    listed: list[ListedFile] = []
    ignored = len(entries) - len(folders) if root is not None else 0
    for path in folders:
        names, others = images_below(path, root or folder)
        if not names:
            raise DataError(
                f"the class folder {path} holds no image",
                f"images end in {', '.join(SUFFIXES)}; add some, or remove the folder",
            )
        listed += [ListedFile(name, path.name, split) for name in names]
        ignored += others
    return listed, ignored


def _refuse_other_classes(folder: Path, classes: Mapping[str, set[str]]) -> None:
    first, *others = classes
    for other in others:
        different = classes[first] ^ classes[other]
        if different:
            raise DataError(
                f"the class {min(different)!r} is not in each split of {folder}",
                f"{first} and {other} must hold the same class folders",
            )


def _ignored_note(count: int) -> tuple[str, ...]:
    return (f"{count} files that are no images were left out",) if count else ()
