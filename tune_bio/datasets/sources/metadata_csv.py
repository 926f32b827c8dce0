"""`metadata.csv`: a table of the files in a folder, which tells patients, classes and splits."""

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
    """The files that `metadata.csv` lists; others are left out.

    Its columns: `file` (the path within the folder), and where wanted `patient`, `label` (else the
    class folder tells) and `split` (train, val or test; else train/val/test folders tell, else it
    is cut). Further columns are not looked at.

    Raises:
        DataError: it cannot be read, a file is missing or listed twice, a value is not known.
    """
    table = _read(folder / METADATA)
    names = [_inside(folder, name) for name in table["file"]]
    _refuse_repeated(names)
    for name in names:
        if not (folder / name).is_file():
            raise DataError(
                f"{METADATA} lists {name!r}, which {folder} does not hold",
                "paths are relative to the folder; take the row out, or add the file",
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
            f"{path} cannot be read ({error})", "write a table with commas, in UTF-8"
        ) from error
    table = table.rename(columns=str.strip).apply(lambda column: column.str.strip())
    if "file" not in table:
        raise DataError(
            f"{path} has no column 'file' (it has {', '.join(table.columns)})",
            "name the columns file, patient, label, split",
        )
    if table.empty:
        raise DataError(f"{path} lists nothing", "list one file a row")
    return table


def _inside(folder: Path, name: str) -> str:
    """A path as it stands in the listing: relative, without dots."""
    path = os.path.normpath(name)
    if not name or Path(path).is_absolute() or path.startswith(".."):
        raise DataError(
            f"{METADATA} lists {name!r}, which is no path within {folder}",
            "write paths relative to the folder that holds the table",
        )
    return PurePosixPath(path).as_posix()


def _refuse_repeated(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{METADATA} lists {name!r} twice", "list each file once")
        seen.add(name)


def _labels(folder: Path, names: list[str], table: pd.DataFrame) -> list[str]:
    if "label" in table:
        labels = list(table["label"])
        if "" in labels:
            raise DataError(f"{METADATA} gives {names[labels.index('')]!r} no label", "fill it in")
        return labels
    above = 1 if is_split_layout(visible(folder)) else 0
    parts = [PurePosixPath(name).parts for name in names]
    for name, part in zip(names, parts, strict=True):
        if len(part) < above + 2:
            raise DataError(
                f"the class of {name!r} is not told",
                f"add a column 'label' to {METADATA}, or put the file into a class folder",
            )
    return [part[above] for part in parts]


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
                "write train, val or test in every row, or leave the column out",
            )
    return [SPLITS[split.lower()] for split in table["split"]]
