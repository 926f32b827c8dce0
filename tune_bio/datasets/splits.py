"""Split by patient: seeded and stratified by class; patients and copies are never divided."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from tune_bio.datasets.images import Images
from tune_bio.errors import DataError

TENTHS = 10
MAX_FOLDS = 50
FOLDS = 5  # one for validation, one for test, three for training


@dataclass(frozen=True)
class Splits:
    """Train, validation and test split.

    origin: a sentence on where the splits come from.
    from_train: names of the splits that were cut from train.
    """

    train: Images
    val: Images
    test: Images
    origin: str
    from_train: tuple[str, ...]


def complete_splits(
    train: Images, val: Images | None, test: Images | None, classes: tuple[str, ...], seed: int
) -> Splits:
    """Cut the missing splits from train by patient, each a fifth of it.

    Raises:
        DataError: a class has too few patients to be in every split.
    """
    from_train = tuple(name for name, split in (("val", val), ("test", test)) if split is None)
    _refuse_few_patients(train, classes, parts=1 + len(from_train))
    folds = FOLDS
    if test is None:
        train, test = take_fold(train, folds, seed)
        folds -= 1  # a fifth of the whole is a quarter of the rest
    if val is None:
        train, val = take_fold(train, folds, seed)
    splits = Splits(train, val, test, _origin(from_train, seed), from_train)
    refuse_missing_classes(splits, classes)
    return splits


def take_fold(images: Images, folds: int, seed: int) -> tuple[Images, Images]:
    """Split off one stratified fold and return (rest, fold); patients and copies stay together."""
    rest, fold = fold_of(images.labels, groups_of(images), folds, seed)
    return images.take(rest), images.take(fold)


def fold_of(
    labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], folds: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the positions of the rest and of one fold, each sorted; patients are not divided."""
    folds = min(folds, _fewest_patients(labels, patients))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    rest, fold = next(iter(splitter.split(labels, labels, patients)))
    return rest, fold


def part_of(
    labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], share: float, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the positions of the rest and of a part, each sorted; patients are not divided.

    The part is about `share` of the images, rounded to tenths. A share below a tenth is one fold
    of round(1 / share), at most 50.
    """
    folds = TENTHS if share >= 1 / TENTHS else min(MAX_FOLDS, round(1 / share))
    folds = min(folds, _fewest_patients(labels, patients))
    count = min(max(1, round(folds * share)), folds - 1)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [fold for _, fold in splitter.split(labels, labels, patients)]
    rest, part = np.concatenate(parts[count:]), np.concatenate(parts[:count])
    return np.sort(rest), np.sort(part)


def _fewest_patients(labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_]) -> int:
    """Return the smallest number of patients in a class; raise DataError if it is below two."""
    counts = {k: len(np.unique(patients[labels == k])) for k in np.unique(labels)}
    rarest, fewest = min(counts.items(), key=lambda pair: pair[1])
    if fewest < 2:
        raise DataError(
            f"class number {rarest} has only {fewest} patient left, who cannot be in two splits",
            "add images of more patients",
        )
    return fewest


def refuse_missing_classes(splits: Splits, classes: tuple[str, ...]) -> None:
    """Raise DataError if a split lacks a class: no metric could be computed on it."""
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        for k, class_name in enumerate(classes):
            if not np.any(split.labels == k):
                raise DataError(
                    f"the {name} split has no image of class {class_name!r}",
                    "every split needs every class; add patients of this class, or split again",
                )


def _refuse_few_patients(train: Images, classes: tuple[str, ...], parts: int) -> None:
    for k, name in enumerate(classes):
        count = len(np.unique(train.patients[train.labels == k]))
        if count < parts:
            raise DataError(
                f"class {name!r} has {count} patients but must be split into {parts} parts",
                "add images of more patients",
            )


def _origin(from_train: tuple[str, ...], seed: int) -> str:
    if not from_train:
        return "given by the source"
    names = " and ".join("validation" if name == "val" else name for name in from_train)
    return f"{names} cut from train, by patient, stratified by class, seed {seed}"


def groups_of(images: Images) -> npt.NDArray[np.str_]:
    """Return the group of each image, (n,): its patient, or one patient for all who share copies.

    Copies are files of the same bytes, or arrays of the same pixels; constant images do not count
    as copies. If patients are unknown, each image and its copies form one group.
    """
    names, patient = np.unique(images.patients, return_inverse=True)
    _, content = np.unique(np.array(images.source.contents(images.rows)), return_inverse=True)
    # A graph with patients and contents as nodes and images as edges: a component stays together.
    size = len(names) + int(content.max()) + 1
    edges = coo_array((np.ones(len(images)), (patient, len(names) + content)), (size, size))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component[: len(names)], return_index=True)
    representative = dict(zip(component[first].tolist(), names[first], strict=True))
    return np.array([representative[c] for c in component[patient].tolist()], dtype=np.str_)
