"""List a folder's image files with their classes and splits.

The layouts of a folder `DIR`:

DIR/CLASS/...             class folders
DIR/train/CLASS/...       splits of class folders (also val, valid, validation, test)
DIR/metadata.csv          a table of files, with or without one of the above layouts
DIR/CLASS.npy             one array per class; read by npy.py
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
    """One image file: its path within the folder, its class, split and patient.

    `split` is None if the source has no splits; `patient` is None if no table column states it.
    """

    name: str
    label: str
    split: str | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Listing:
    """All image files of a source, in order."""

    files: tuple[ListedFile, ...]
    notes: tuple[str, ...] = ()


def visible(folder: Path) -> list[Path]:
    """Return a folder's entries, sorted, without hidden files and `__MACOSX`."""
    return sorted(path for path in folder.iterdir() if _is_visible(path.name))


def is_split_layout(entries: Sequence[Path]) -> bool:
    """Return True if the folders are train, val and test; raises DataError for a mixture."""
    folders = [path for path in entries if path.is_dir()]
    splits = [path for path in folders if path.name.lower() in SPLITS]
    if not splits:
        return False
    others = [path.name for path in folders if path not in splits]
    split_names = [SPLITS[path.name.lower()] for path in splits]
    parent = splits[0].parent
    if others:
        raise DataError(
            f"{parent} holds the split folder {splits[0].name!r} and the folder {others[0]!r}",
            "give either train, val and test folders, or one folder per class",
        )
    if "train" not in split_names:
        raise DataError(
            f"{parent} holds {', '.join(path.name for path in splits)} but no train folder",
            "name the folder of the training images 'train'",
        )
    if len(set(split_names)) < len(split_names):
        raise DataError(
            f"{parent} holds one split twice: {', '.join(path.name for path in splits)}",
            "give one folder each for train, val and test",
        )
    return True


def list_class_folders(folder: Path) -> Listing:
    """List the images of class folders, or of splits of class folders.

    Raises:
        DataError: the layout is not supported, or a class has no image.
    """
    entries = visible(folder)
    if not entries:
        raise DataError(f"{folder} is empty", "give a folder that holds one folder per class")
    if not is_split_layout(entries):
        files, ignored = _class_folders(folder, entries, None)
        return Listing(tuple(files), _ignored_note(ignored))
    listed: list[ListedFile] = []
    ignored = sum(path.is_file() for path in entries)
    classes: dict[str, set[str]] = {}
    for path in (path for path in entries if path.is_dir()):
        files, others = _class_folders(path, visible(path), folder)
        listed, ignored = listed + files, ignored + others
        classes[path.name] = {file.label for file in files}
    _refuse_differing_classes(folder, classes)
    return Listing(tuple(listed), _ignored_note(ignored))


def images_below(folder: Path, root: Path) -> tuple[list[str], int]:
    """Return the image files at any depth below `folder`, and the number of other files.

    The files are paths relative to `root`, with forward slashes, sorted folder by folder.
    """
    names: list[str] = []
    others = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = filter(_is_visible, folders)
        prefix = Path(parent).relative_to(root).as_posix()
        visible_files = [name for name in files if _is_visible(name)]
        images = [name for name in visible_files if name.lower().endswith(SUFFIXES)]
        names += images if prefix == "." else [f"{prefix}/{name}" for name in images]
        others += len(visible_files) - len(images)
    return sorted(names, key=lambda name: name.split("/")), others


def _is_visible(name: str) -> bool:
    return name[0] != "." and name != "__MACOSX"


def _class_folders(
    folder: Path, entries: Sequence[Path], root: Path | None
) -> tuple[list[ListedFile], int]:
    """Return the images in the class folders of `folder`, and the number of other files."""
    folders = [path for path in entries if path.is_dir()]
    if len(folders) < 2:
        content = f"one class, {folders[0].name!r}" if folders else "no class folder"
        raise DataError(
            f"{folder} holds {content}", "a classifier needs at least two folders, one per class"
        )
    split = SPLITS[folder.name.lower()] if root is not None else None
    listed: list[ListedFile] = []
    ignored = len(entries) - len(folders) if root is not None else 0
    for path in folders:
        names, others = images_below(path, root or folder)
        if not names:
            raise DataError(
                f"the class folder {path} holds no image",
                f"add images ({', '.join(SUFFIXES)}), or remove the folder",
            )
        listed += [ListedFile(name, path.name, split) for name in names]
        ignored += others
    return listed, ignored


def _refuse_differing_classes(folder: Path, classes: Mapping[str, set[str]]) -> None:
    first, *others = classes
    for other in others:
        different = classes[first] ^ classes[other]
        if different:
            raise DataError(
                f"the class {min(different)!r} is not in every split of {folder}",
                f"{first} and {other} must hold the same class folders",
            )


def _ignored_note(count: int) -> tuple[str, ...]:
    return (f"{count} files that are not images were left out",) if count else ()
