"""Labels shuffled between patients, and the size and power of the permutation test."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tests.data_factory import as_images, examples, is_one_line
from tune_bio.controls import permutation_p, shuffled_labels
from tune_bio.datasets.images import Images
from tune_bio.datasets.opening import open_dataset
from tune_bio.errors import DataError
from tune_bio.training import metrics

AUROC = partial(metrics.auroc, positive=1)


def images_of(labels: Any, patients: Any) -> Images:
    names = np.array([f"{patient}_{i}" for i, patient in enumerate(patients)])
    pixels = np.zeros((len(labels), 2, 2, 1), np.uint8)
    return as_images(pixels, np.array(labels, np.int64), np.array(patients), names)


def patterns(images: Images) -> dict[str, list[int]]:
    """Return each patient's labels, in the order of the images."""
    return {
        str(patient): images.labels[images.patients == patient].tolist()
        for patient in np.unique(images.patients)
    }


@st.composite
def cohorts(draw: st.DrawFn) -> Images:
    """Draw patients with one to four images, some with several labels, in any order of images."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels: list[int] = []
    patients: list[str] = []
    for number in range(draw(st.integers(8, 25))):
        mixed_labels = rng.integers(0, 2, draw(st.integers(1, 4)))
        is_mixed = draw(st.booleans()) and draw(st.booleans())
        labels += mixed_labels.tolist() if is_mixed else [number % 2] * len(mixed_labels)
        patients += [f"p{number}"] * len(mixed_labels)
    order = rng.permutation(len(labels))
    return images_of(np.array(labels)[order], np.array(patients)[order])


def split(images: Images) -> tuple[Images, Images]:
    """Split off the first four patients as validation; p0, p2 and p1, p3 may differ in label."""
    is_val = np.isin(images.patients, [f"p{i}" for i in range(4)])
    return images.take(np.flatnonzero(~is_val)), images.take(np.flatnonzero(is_val))


@examples
@given(cohorts(), st.integers(0, 2**32))
def test_labels_are_exchanged_between_patients(cohort: Images, seed: int) -> None:
    before = patterns(cohort)
    train, val = split(cohort)
    shuffled = shuffled_labels(train, val, seed)
    for old, new in zip((train, val), shuffled, strict=True):
        assert set(old.labels.tolist()) == set(new.labels.tolist())
        np.testing.assert_array_equal(old.names, new.names)
        np.testing.assert_array_equal(old.rows, new.rows)
    after = patterns(shuffled[0]) | patterns(shuffled[1])

    def pure(by_patient: dict[str, list[int]]) -> list[int]:
        return sorted(labels[0] for labels in by_patient.values() if len(set(labels)) == 1)

    def mixed(by_patient: dict[str, list[int]]) -> list[list[int]]:
        return sorted(sorted(labels) for labels in by_patient.values() if len(set(labels)) > 1)

    assert {p: len(labels) for p, labels in before.items()} == {p: len(x) for p, x in after.items()}
    assert pure(before) == pure(after)
    assert mixed(before) == mixed(after)


def test_a_patient_can_pass_its_label_to_any_other() -> None:
    """The other patient may have another number of images, or be in the other split."""
    train = images_of([1] * 30 + [0, 0, 1, 0], ["large"] * 30 + ["a", "b", "c", "c"])
    val = images_of([0, 1], ["d", "e"])
    draws = {tuple(shuffled_labels(train, val, seed)[0].labels) for seed in range(300)}
    assert {labels[:30] for labels in draws} == {(0,) * 30, (1,) * 30}
    # "large", a, b, d and e share two positive labels, one in each split.
    assert len({labels[:32] for labels in draws}) == 3


def test_every_permutation_is_equally_likely() -> None:
    train, val = images_of([0, 1, 2, 0, 1, 2], list("abcdef")), images_of([0, 1, 2], list("ghi"))
    n = 3_000
    counts = np.bincount([shuffled_labels(train, val, seed)[0].labels[0] for seed in range(n)])
    low, high = binom.interval(0.9999, n, 1 / 3)
    assert ((low <= counts) & (counts <= high)).all()


def test_equal_seeds_give_equal_labels_and_different_seeds_different_labels() -> None:
    data = open_dataset("phantom")
    first, again, other = (shuffled_labels(data.train, data.val, seed) for seed in (1, 1, 2))
    for k in range(2):
        np.testing.assert_array_equal(first[k].labels, again[k].labels)
        assert np.any(first[k].labels != other[k].labels)
    assert (
        0.4 < np.mean(first[0].labels == data.train.labels) < 0.7
    )  # about half, for unrelated labels


def test_a_patient_in_both_splits_gets_one_label() -> None:
    """A model that recognizes the patient is then above chance, which reveals the leak."""
    patients = [f"p{i}" for i in range(40)]
    train = images_of([0, 1] * 20, patients)
    val = images_of([0, 1] * 10, patients[:20])
    new_train, new_val = shuffled_labels(train, val, 3)
    np.testing.assert_array_equal(new_train.labels[:20], new_val.labels)
    assert np.any(new_train.labels != train.labels)


def test_labels_of_two_patients_stay_in_their_splits() -> None:
    train, val = images_of([0, 0, 1], ["a", "a", "a"]), images_of([0, 0], ["b", "b"])
    new_train, new_val = shuffled_labels(train, val, 0)
    assert sorted(new_train.labels) == [0, 0, 1]
    assert new_val.labels.tolist() == [0, 0]


def test_splits_that_no_shuffle_leaves_complete_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The package has a function of the same name, which hides the module as an attribute.
    module = import_module("tune_bio.controls.shuffled_labels")
    monkeypatch.setattr(module, "TRIES", 3)
    train = images_of([0] * 1_000 + [1], [f"p{i}" for i in range(1_001)])
    val = images_of([0, 1], ["a", "b"])
    with pytest.raises(DataError, match="3 shuffles of the labels left a class out") as refused:
        shuffled_labels(train, val, 0)
    assert is_one_line(refused.value)


def null_cohort(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return labels, probabilities that depend on the patient but not the label, and patients.

    Patients have 1 to 12 images.
    """
    sizes = rng.choice([1, 2, 3, 12], 40)
    patients = np.repeat(np.arange(40), sizes).astype(str)
    labels = np.repeat(rng.permutation(np.arange(40) % 2), sizes)
    changes = rng.random(len(labels)) < 0.02  # a few patients have several labels
    labels = np.where(changes, 1 - labels, labels)
    score = np.repeat(rng.normal(0, 1, 40), sizes) + rng.normal(0, 0.1, len(labels))
    p = 1 / (1 + np.exp(-score))
    return labels, np.stack([1 - p, p], axis=1), patients


def difference(labels: Any, p: Any) -> float:
    """Return the difference of mean scores between the classes, which is fast to compute."""
    return float(p[labels == 1, 1].mean() - p[labels == 0, 1].mean())


def test_the_test_has_its_nominal_size_by_patient_and_not_by_image() -> None:
    """Null data are rejected far too often if every image counts as a patient."""
    n, by_patient, by_image = 400, 0, 0
    for seed in range(n):
        labels, p, patients = null_cohort(np.random.default_rng(seed))
        image_ids = np.arange(len(labels)).astype(str)
        by_patient += permutation_p(labels, p, patients, difference, seed, 39) <= 0.05
        by_image += permutation_p(labels, p, image_ids, difference, seed, 39) <= 0.05
    low, high = binom.interval(0.999, n, 0.05)
    assert low <= by_patient <= high
    assert by_image > 2 * high


def test_a_model_that_knows_the_label_is_detected() -> None:
    rng = np.random.default_rng(0)
    labels, p, patients = null_cohort(rng)
    informed = 0.5 * p + 0.5 * np.eye(2)[labels]
    assert permutation_p(labels, informed, patients, AUROC, 0, 999) == 0.001
    inverted = informed[:, ::-1]  # the test is one-sided: below chance is not significant
    assert permutation_p(labels, inverted, patients, AUROC, 0, 99) == 1


def test_constant_predictions_are_at_chance() -> None:
    labels, p, patients = null_cohort(np.random.default_rng(0))
    assert permutation_p(labels, np.full_like(p, 0.5), patients, AUROC, 0, 99) == 1


def test_more_classes_are_accepted_and_p_depends_on_the_seed() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2).astype(str)
    labels, p = np.repeat(np.arange(30) % 3, 2), rng.dirichlet(np.ones(3), 60)
    area = partial(metrics.auroc, positive=2)
    p_values = [permutation_p(labels, p, patients, area, seed, 50) for seed in (1, 1, 2, 3, 4)]
    assert p_values[0] == p_values[1]
    assert len(set(p_values)) > 1
    informed = (p + np.eye(3)[labels]) / 2
    assert permutation_p(labels, informed, patients, area, 0, 50) == pytest.approx(1 / 51)
