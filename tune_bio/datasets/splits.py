"""Splits by patient: stratified by class, seeded, no patient and no copy on two sides."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from tune_bio.datasets.images import Images
from tune_bio.errors import DataError

TENTHS = 10
MOST_FOLDS = 50
FOLDS = 5  # one for validation, one for test, three for training


@dataclass(frozen=True)
class Splits:
    """Train, validation and test, a sentence on where each comes from, and which were cut."""

    train: Images
    val: Images
    test: Images
    origin: str
    from_train: tuple[str, ...]


def complete_splits(
    train: Images, val: Images | None, test: Images | None, classes: tuple[str, ...], seed: int
) -> Splits:
    """Cut what is missing from train, a fifth at a time, by patient.

    Raises:
        DataError: a class has too few patients to be in every split.
    """
    from_train = tuple(name for name, split in (("val", val), ("test", test)) if split is None)
    _refuse_few_patients(train, classes, parts=1 + len(from_train))
    folds = FOLDS
    if test is None:
        train, test = take_fold(train, folds, seed)
        folds -= 1  # a fifth of the whole is a quarter of what is left
    if val is None:
        train, val = take_fold(train, folds, seed)
    splits = Splits(train, val, test, _origin(from_train, seed), from_train)
    refuse_missing_classes(splits, classes)
    return splits


def take_fold(images: Images, folds: int, seed: int) -> tuple[Images, Images]:
    """Split one stratified fold of patients off: (the rest, the fold). Copies go where one goes."""
    rest, fold = fold_of(images.labels, groups_of(images), folds, seed)
    return images.take(rest), images.take(fold)


def fold_of(
    labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], folds: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of the rest and of one fold, each sorted; a patient is in one of them."""
    folds = min(folds, _fewest_patients(labels, patients))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    rest, fold = next(iter(splitter.split(labels, labels, patients)))
    return rest, fold


def part_of(
    labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], share: float, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions of the rest and of about this share, in tenths, each sorted; by patient.

    A smaller share than a tenth is one fold of as many as are needed, at most 50.
    """
    wanted = TENTHS if share >= 1 / TENTHS else min(MOST_FOLDS, round(1 / share))
    folds = min(wanted, _fewest_patients(labels, patients))
    count = min(max(1, round(folds * share)), folds - 1)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [fold for _, fold in splitter.split(labels, labels, patients)]
    rest, part = np.concatenate(parts[count:]), np.concatenate(parts[:count])
    return np.sort(rest), np.sort(part)


def _fewest_patients(labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_]) -> int:
    """Of any class; DataError where it is one."""
    each = {k: len(np.unique(patients[labels == k])) for k in np.unique(labels)}
    rarest, fewest = min(each.items(), key=lambda pair: pair[1])
    if fewest < 2:
        raise DataError(
            f"class number {rarest} is left with {fewest} patient, who cannot be in two splits",
            "add images of more patients",
        )
    return fewest


def refuse_missing_classes(splits: Splits, classes: tuple[str, ...]) -> None:
    """Raise DataError where a split lacks a class: nothing could be scored on it."""
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for k, class_name in enumerate(classes):
            if not np.any(split.labels == k):
                raise DataError(
                    f"the {name} split has no image of class {class_name!r}",
                    "every split needs every class; add patients of it, or split anew",
                )


def _refuse_few_patients(train: Images, classes: tuple[str, ...], parts: int) -> None:
    for k, name in enumerate(classes):
        count = len(np.unique(train.patients[train.labels == k]))
        if count < parts:
            raise DataError(
                f"class {name!r} has {count} patients and must be split into {parts} parts",
                "add images of more patients",
            )


def _origin(from_train: tuple[str, ...], seed: int) -> str:
    if not from_train:
        return "given by the source"
    names = " and ".join("validation" if name == "val" else name for name in from_train)
    return f"{names} cut from train, by patient, stratified by class, seed {seed}"


def groups_of(images: Images) -> npt.NDArray[np.str_]:
    """(n,) the group of each image: its patient, or one patient for all who share a copy.

    Copies are files of the same bytes, or arrays of the same pixels; constant images are copies of
    nothing. Where patients are not known each image is one of its own, and its copies join it.
    """
    names, patient = np.unique(images.patients, return_inverse=True)
    _, content = np.unique(np.array(images.source.contents(images.rows)), return_inverse=True)
    # Patients and contents are the nodes, images the edges: who is connected stays together.
    size = len(names) + int(content.max()) + 1
    edges = coo_array((np.ones(len(images)), (patient, len(names) + content)), (size, size))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component[: len(names)], return_index=True)
    representative = dict(zip(component[first].tolist(), names[first], strict=True))
    return np.array([representative[c] for c in component[patient].tolist()], dtype=np.str_)
