"""The embedded default data set: synthetic grey images that resemble small chest radiographs.

No image is of a person. Each patient is drawn, and three cues distinguish the classes (see `cues`);
the classes overlap in each cue.

A few patients in every split have a wrong label, as in real collections, so that no model can be
perfect. A patient has one to four images of the same anatomy that differ in pose, exposure and
noise: images of one patient must never be divided between splits.

With `shortcut`, the images also show a trap of real collections (Zech et al., PLOS Medicine 2018):
a marker on the film correlates with the disease in train and validation, and is absent from test. A
model that learns the marker looks good on validation and fails on test.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tune_bio.datasets.phantom.cues import MAX_CLASSES, Cues, class_cues
from tune_bio.datasets.phantom.patient import draw_patient
from tune_bio.errors import DataError

CLASSES = ("negative", "positive")

# Of a phantom of two classes; a phantom of more classes has half of these numbers per class.
PATIENTS = {"train": 200, "val": 150, "test": 300}
POSITIVE_SHARE = 1 / 3  # share of truly positive patients; more than two classes are equally large
MISLABELLED_SHARE = 0.04  # share of patients in each class whose label is wrong

MARKED_SPLITS = ("train", "val")
MARKED_POSITIVES, MARKED_NEGATIVES = 0.95, 0.05  # shares of patients with the marker, by label
MARKER_PLACE = (3, 6)  # px: range of its distance from the upper and right border, the end excluded
MARKER_BRIGHTNESS = (200, 256)  # range of its grey value, the end excluded
_MARKER = np.kron([[1, 0], [1, 0], [1, 1]], np.ones((2, 2))) > 0  # an L, 6 px high and 4 px wide


@dataclass(frozen=True)
class PhantomSplit:
    """The images of one split.

    pixels: (n, 64, 64) uint8, grey values 0 (black) to 255 (white), axes (image, row, column).
    labels: (n,) int64, indices into the classes; wrong for a few patients.
    patients: (n,) str, such as "train-0007"; images with equal entries are of one patient.
    names: (n,) str, unique, such as "train-0007_2".
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    patients: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]


def class_names(classes: int) -> tuple[str, ...]:
    """Return the names of a phantom's classes, in the order of their labels.

    Raises:
        DataError: the phantom cannot have `classes` classes.
    """
    if not 2 <= classes <= MAX_CLASSES:
        raise DataError(
            f"a phantom of {classes} classes cannot be drawn", f"choose 2 to {MAX_CLASSES} classes"
        )
    if classes == len(CLASSES):
        return CLASSES
    return tuple(f"class_{number}" for number in range(1, classes + 1))


def make_phantom(
    seed: int = 0, classes: int = 2, shortcut: bool = False
) -> dict[str, PhantomSplit]:
    """Draw the whole data set: splits "train", "val" and "test", equal for equal arguments.

    Args:
        seed: another seed draws other patients.
        classes: 2 to 12. Two classes are "negative" and "positive", with a third of the patients
            positive; more than two are equally frequent.
        shortcut: if True, a marker on the film correlates with the last class in train and
            validation. Nothing else changes.

    Raises:
        DataError: the phantom cannot have `classes` classes.
    """
    positive = len(class_names(classes)) - 1
    children = np.random.SeedSequence(seed).spawn(len(PATIENTS))
    splits = {}
    for (name, count), child in zip(PATIENTS.items(), children, strict=True):
        splits[name] = _split(name, count * classes // 2, child, class_cues(classes))
        if shortcut and name in MARKED_SPLITS:
            (marker_seed,) = child.spawn(1)
            rng = np.random.default_rng(marker_seed)
            splits[name] = _with_markers(splits[name], positive, rng)
    return splits


def _split(
    name: str, count: int, seed: np.random.SeedSequence, cues: tuple[Cues, ...]
) -> PhantomSplit:
    class_seed, *patient_seeds = seed.spawn(1 + count)
    truth, labels = _labels(np.random.default_rng(class_seed), count, len(cues))
    series = [
        draw_patient(np.random.default_rng(patient_seed), cues[label])
        for patient_seed, label in zip(patient_seeds, truth, strict=True)
    ]
    patients = [f"{name}-{i:04d}" for i in range(count)]
    sizes = [len(images) for images in series]
    return PhantomSplit(
        pixels=np.concatenate(series),
        labels=np.repeat(labels, sizes),
        patients=np.repeat(np.array(patients, dtype=np.str_), sizes),
        names=np.array(
            [f"{p}_{k}" for p, n in zip(patients, sizes, strict=True) for k in range(n)],
            dtype=np.str_,
        ),
    )


def _labels(
    rng: np.random.Generator, count: int, classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw the true class and the label of each patient, in shares that are fixed for all seeds."""
    truth = rng.permutation(_in_order(count, classes))
    labels = truth.copy()
    for label in range(classes):
        members = np.flatnonzero(truth == label)
        wrong = rng.choice(members, round(len(members) * MISLABELLED_SHARE), replace=False)
        labels[wrong] = (label + rng.integers(1, classes, len(wrong))) % classes
    return truth, labels


def _in_order(count: int, classes: int) -> npt.NDArray[np.int64]:
    if classes > 2:
        return np.arange(count, dtype=np.int64) % classes
    positive = np.arange(count) < round(count * POSITIVE_SHARE)
    return positive.astype(np.int64)


def _with_markers(split: PhantomSplit, positive: int, rng: np.random.Generator) -> PhantomSplit:
    """Put a bright L on the patient's left on most images of one class and few of the others."""
    pixels = split.pixels.copy()
    patients, first = np.unique(split.patients, return_index=True)
    for is_positive, share in ((True, MARKED_POSITIVES), (False, MARKED_NEGATIVES)):
        members = patients[(split.labels[first] == positive) == is_positive]
        for patient in rng.choice(members, round(share * len(members)), replace=False):
            down, inward = rng.integers(*MARKER_PLACE, 2)
            height, width = _MARKER.shape
            corner = pixels[:, down : down + height, -inward - width : -inward]
            marked = (split.patients == patient)[:, np.newaxis, np.newaxis] & _MARKER
            corner[marked] = rng.integers(*MARKER_BRIGHTNESS)
    return replace(split, pixels=pixels)
