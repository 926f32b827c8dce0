"""`metadata.csv`: a table of the files in a folder, with their patients, classes and splits."""

import os
from pathlib import Path, PurePosixPath

import pandas as pd

from tune_bio.datasets.sources.listing import (
    METADATA,
    SPLITS,
    ListedFile,
    Listing,
    images_below,
    is_split_layout,
    visible,
)
from tune_bio.errors import DataError


def list_table(folder: Path) -> Listing:
    """List the files in `metadata.csv`; other files are left out.

    The column `file` is the path within the folder. Optional columns: `patient`; `label` (default:
    the class folder); `split`, which is train, val or test (default: the train, val and test
    folders, or splits cut by `tune_bio`). Further columns are ignored.

    Raises:
        DataError: the table cannot be read, a file is missing or listed twice, or a value is
            invalid.
    """
    table = _read(folder / METADATA)
    names = [_inside(folder, name) for name in table["file"]]
    _refuse_duplicates(names)
    for name in names:
        if not (folder / name).is_file():
            raise DataError(
                f"{METADATA} lists {name!r}, which {folder} does not hold",
                "paths are relative to the folder; remove the row, or add the file",
            )
    labels, splits = _labels(folder, names, table), _splits(folder, names, table)
    patients = list(table["patient"]) if "patient" in table else [None] * len(names)
    files = (ListedFile(*row) for row in zip(names, labels, splits, patients, strict=True))
    others = len(set(images_below(folder, folder)[0]) - set(names))
    note = f"{others} images that {METADATA} does not list were left out"
    return Listing(tuple(files), (note,) if others else ())


def _read(path: Path) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(
            f"{path} cannot be read ({error})", "write a comma-separated table in UTF-8"
        ) from error
    table = table.rename(columns=str.strip).apply(lambda column: column.str.strip())
    if "file" not in table:
        raise DataError(
            f"{path} has no column 'file' (it has {', '.join(table.columns)})",
            "name the columns file, patient, label, split",
        )
    if table.empty:
        raise DataError(f"{path} lists nothing", "list one file per row")
    return table


def _inside(folder: Path, name: str) -> str:
    """Return a normalised relative path with forward slashes."""
    path = os.path.normpath(name)
    if not name or Path(path).is_absolute() or path.startswith(".."):
        raise DataError(
            f"{METADATA} lists {name!r}, which is not a path within {folder}",
            "write paths relative to the folder that holds the table",
        )
    return PurePosixPath(path).as_posix()


def _refuse_duplicates(names: list[str]) -> None:
    unique: set[str] = set()
    for name in names:
        if name in unique:
            raise DataError(f"{METADATA} lists {name!r} twice", "list each file once")
        unique.add(name)


def _labels(folder: Path, names: list[str], table: pd.DataFrame) -> list[str]:
    if "label" in table:
        labels = list(table["label"])
        if "" in labels:
            raise DataError(f"{METADATA} gives {names[labels.index('')]!r} no label", "fill it in")
        return labels
    depth = 1 if is_split_layout(visible(folder)) else 0  # of the class folders
    parts = [PurePosixPath(name).parts for name in names]
    for name, part in zip(names, parts, strict=True):
        if len(part) < depth + 2:
            raise DataError(
                f"the class of {name!r} is unknown",
                f"add a column 'label' to {METADATA}, or move the file to a class folder",
            )
    return [part[depth] for part in parts]


def _splits(folder: Path, names: list[str], table: pd.DataFrame) -> list[str | None]:
    if "split" not in table or not any(table["split"]):
        if not is_split_layout(visible(folder)):
            return [None] * len(names)
        return [SPLITS.get(PurePosixPath(name).parts[0].lower()) for name in names]
    for name, split in zip(names, table["split"], strict=True):
        if split.lower() not in SPLITS:
            fault = f"split {split!r}" if split else "no split"
            raise DataError(
                f"{METADATA} gives {name!r} {fault}",
                "write train, val or test in every row, or remove the column",
            )
    return [SPLITS[split.lower()] for split in table["split"]]
