"""The synthetic default data set: counts, patients, reproducibility and variants."""

import functools
import hashlib
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tune_bio.datasets.phantom.cues import (
    FINENESS_SPREAD,
    HAZE_SPREAD,
    SPICULATION_SPREAD,
    class_cues,
)
from tune_bio.datasets.phantom.phantom import (
    CLASSES,
    MISLABELLED_SHARE,
    PATIENTS,
    PhantomSplit,
    class_names,
    make_phantom,
)
from tune_bio.errors import DataError

# SHA-256 of the pixels of seed 0. Results on the phantom can be compared between versions of
# tune_bio only while these hashes stay the same.
PIXELS = {
    "train": "0fd25cc602f9c1f402045a2c5d21fb604f971115762ebe5be8fb4284ea52db55",
    "val": "c9456e358a40fcf2328c8e414147b25127005fa9180c9da3494f2def857f0109",
    "test": "f5cd5da4f83d7648a2be677477ad20bbab2b3b32d7bf53b271bf29247c1a3e85",
}
LABELS = {"train": [316, 175], "val": [260, 130], "test": [482, 259]}  # images per class


@functools.cache
def phantom(seed: int = 0, classes: int = 2, shortcut: bool = False) -> dict[str, PhantomSplit]:
    return make_phantom(seed, classes, shortcut)


def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tune_bio.datasets.phantom.phantom.PATIENTS", {"train": 9, "val": 6, "test": 6}
    )


def labels_of_patients(split: PhantomSplit) -> npt.NDArray[np.int64]:
    _, first = np.unique(split.patients, return_index=True)
    return split.labels[first]


@pytest.mark.parametrize("name", PATIENTS)
def test_the_default_images_never_change(name: str) -> None:
    split = phantom()[name]
    assert hashlib.sha256(split.pixels.tobytes()).hexdigest() == PIXELS[name]
    assert np.bincount(split.labels).tolist() == LABELS[name]


def test_the_splits_hold_about_200_150_and_300_patients() -> None:
    counts = {name: len(np.unique(split.patients)) for name, split in phantom().items()}
    assert counts == PATIENTS == {"train": 200, "val": 150, "test": 300}


@pytest.mark.parametrize("name", PATIENTS)
def test_a_split_holds_grey_images_with_one_to_four_per_patient(name: str) -> None:
    split = phantom()[name]
    n = len(split.labels)
    assert split.pixels.shape == (n, 64, 64)
    assert split.pixels.dtype == np.uint8
    assert split.labels.dtype == np.int64
    assert len(set(split.names)) == n
    _, images = np.unique(split.patients, return_counts=True)
    assert set(images) == {1, 2, 3, 4}
    assert split.pixels.std(axis=(1, 2)).min() > 5  # no image is empty,
    assert len(np.unique(split.pixels, axis=0)) == n  # and no two images are equal


def test_a_patient_has_one_label_and_is_in_one_split() -> None:
    earlier_patients: set[str] = set()
    for split in phantom().values():
        patients = set(split.patients)
        assert not patients & earlier_patients
        earlier_patients |= patients
        for patient in patients:
            assert len(set(split.labels[split.patients == patient])) == 1


@pytest.mark.parametrize("name", PATIENTS)
def test_a_third_is_positive_except_for_the_mislabelled(name: str) -> None:
    split = phantom()[name]
    expected = (1 + MISLABELLED_SHARE) / 3  # 2/3 x m are added by mislabelling, 1/3 x m removed
    assert labels_of_patients(split).mean() == pytest.approx(expected, abs=0.02)


def test_equal_seeds_draw_equal_bytes_and_other_seeds_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _small(monkeypatch)
    np.random.seed(1)
    first, again, other = make_phantom(3), make_phantom(3), make_phantom(4)
    for name in first:
        for field in ("pixels", "labels", "patients", "names"):
            assert np.array_equal(getattr(first[name], field), getattr(again[name], field))
        assert not np.array_equal(first[name].pixels[:5], other[name].pixels[:5])


@pytest.mark.parametrize("classes", range(2, 13))
def test_any_two_classes_differ_in_a_cue_by_a_clear_step(classes: int) -> None:
    spreads = np.array([HAZE_SPREAD, SPICULATION_SPREAD, FINENESS_SPREAD])
    cues = [(c.haze, c.spiculation, c.fineness) for c in class_cues(classes)]
    assert len(cues) == len(class_names(classes)) == classes
    for cues_a, cues_b in combinations(cues, 2):
        steps = np.abs(np.subtract(cues_a, cues_b)) / spreads
        assert steps.max() >= 1.5


def test_classes_are_named() -> None:
    assert class_names(2) == CLASSES == ("negative", "positive")
    assert class_names(3) == ("class_1", "class_2", "class_3")
    assert class_names(12)[-1] == "class_12"


@pytest.mark.parametrize("classes", [-1, 0, 1, 13])
def test_other_numbers_of_classes_are_refused(classes: int) -> None:
    for call in (class_names, lambda classes: make_phantom(0, classes)):
        with pytest.raises(DataError, match=rf"{classes} classes.*choose 2 to 12"):
            call(classes)


@pytest.mark.parametrize(("name", "per_class"), [("train", 100), ("val", 75), ("test", 150)])
def test_more_than_two_classes_are_equally_large_except_for_the_mislabelled(
    name: str, per_class: int
) -> None:
    counts = np.bincount(labels_of_patients(phantom(classes=6)[name]))
    assert counts.sum() == 6 * per_class
    assert len(counts) == 6
    assert np.abs(counts - per_class).max() <= 0.08 * per_class  # mislabelling moves a few
    assert set(counts) != {per_class}


def test_wrong_labels_are_spread_over_all_other_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each patient is drawn as its true class, so the cues reveal the true class."""
    drawn = []

    def draw(rng: np.random.Generator, cues: object) -> npt.NDArray[np.uint8]:
        drawn.append(cues)
        return np.zeros((1, 64, 64), dtype=np.uint8)

    monkeypatch.setattr("tune_bio.datasets.phantom.phantom.draw_patient", draw)
    labels = np.concatenate([split.labels for split in make_phantom(0, 6).values()])
    truth = np.array([class_cues(6).index(cues) for cues in drawn])
    wrong = labels != truth
    assert wrong.mean() == pytest.approx(MISLABELLED_SHARE, abs=0.001)
    assert np.bincount(truth).tolist() == [100 + 75 + 150] * 6
    offsets = (labels - truth)[wrong] % 6
    assert set(offsets) == {1, 2, 3, 4, 5}  # any other class


def test_the_shortcut_is_in_one_corner_of_train_and_validation_only() -> None:
    plain, marked = phantom(), phantom(shortcut=True)
    assert np.array_equal(plain["test"].pixels, marked["test"].pixels)
    for name in PATIENTS:
        assert np.array_equal(plain[name].labels, marked[name].labels)
        assert np.array_equal(plain[name].names, marked[name].names)
    for name in ("train", "val"):
        differ = plain[name].pixels != marked[name].pixels
        assert not differ[:, 12:].any()
        assert not differ[:, :, :-12].any()
        assert (marked[name].pixels[differ] >= 200).all()


@pytest.mark.parametrize("name", ["train", "val"])
def test_nearly_every_positive_patient_has_the_marker_and_few_negatives(name: str) -> None:
    plain, marked = phantom()[name], phantom(shortcut=True)[name]
    has_marker = (plain.pixels != marked.pixels).any(axis=(1, 2))
    patients, first = np.unique(marked.patients, return_index=True)
    for patient in patients:
        assert len(set(has_marker[marked.patients == patient])) == 1
    labels = marked.labels[first]
    assert has_marker[first][labels == 1].mean() == pytest.approx(0.95, abs=0.01)
    assert has_marker[first][labels == 0].mean() == pytest.approx(0.05, abs=0.01)


def linear_scores(parts: dict[str, PhantomSplit], strength: float) -> dict[str, float]:
    """Compute the AUROC of logistic regression on pixels, for validation and test."""
    images: Any = {name: part.pixels.reshape(-1, 64 * 64) / 255 for name, part in parts.items()}
    model = LogisticRegression(C=strength, max_iter=500).fit(images["train"], parts["train"].labels)
    return {
        name: roc_auc_score(parts[name].labels, model.decision_function(images[name]))
        for name in ("val", "test")
    }


@pytest.mark.slow
def test_a_linear_model_on_pixels_finds_a_part_of_the_signal() -> None:
    scores = [linear_scores(phantom(seed), 0.01)["test"] for seed in range(3)]
    assert 0.60 <= np.mean(scores) <= 0.80


def test_a_linear_model_takes_the_shortcut_and_fails_on_test() -> None:
    scores = linear_scores(phantom(shortcut=True), 0.01)
    assert scores["val"] > 0.9
    assert scores["val"] - scores["test"] > 0.1
