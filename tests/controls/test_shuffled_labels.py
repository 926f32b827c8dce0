"""Labels shuffled between patients, and the size and power of the test that goes with them."""

from functools import partial
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
    """Each patient's labels, in the order of the images."""
    return {
        str(patient): images.labels[images.patients == patient].tolist()
        for patient in np.unique(images.patients)
    }


@st.composite
def cohorts(draw: st.DrawFn) -> Images:
    """Patients with one to four images, some with several labels, in any order of images."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels: list[int] = []
    patients: list[str] = []
    for number in range(draw(st.integers(8, 25))):
        own = rng.integers(0, 2, draw(st.integers(1, 4)))
        mixed = draw(st.booleans()) and draw(st.booleans())
        labels += own.tolist() if mixed else [number % 2] * len(own)
        patients += [f"p{number}"] * len(own)
    order = rng.permutation(len(labels))
    return images_of(np.array(labels)[order], np.array(patients)[order])


def split(images: Images) -> tuple[Images, Images]:
    """The first four patients are validation: p0 and p2, p1 and p3 may have other labels."""
    is_val = np.isin(images.patients, [f"p{i}" for i in range(4)])
    return images.take(np.flatnonzero(~is_val)), images.take(np.flatnonzero(is_val))


@examples
@given(cohorts(), st.integers(0, 2**32))
def test_what_is_exchanged_are_the_labels_of_patients(cohort: Images, seed: int) -> None:
    before = patterns(cohort)
    train, val = split(cohort)
    shuffled = shuffled_labels(train, val, seed)
    for old, new in zip((train, val), shuffled, strict=True):
        assert set(old.labels.tolist()) == set(new.labels.tolist())
        np.testing.assert_array_equal(old.names, new.names)
        np.testing.assert_array_equal(old.rows, new.rows)
    after = patterns(shuffled[0]) | patterns(shuffled[1])

    def pure(found: dict[str, list[int]]) -> list[int]:
        return sorted(labels[0] for labels in found.values() if len(set(labels)) == 1)

    def mixed(found: dict[str, list[int]]) -> list[list[int]]:
        return sorted(sorted(labels) for labels in found.values() if len(set(labels)) > 1)

    assert {p: len(labels) for p, labels in before.items()} == {p: len(x) for p, x in after.items()}
    assert pure(before) == pure(after)
    assert mixed(before) == mixed(after)


def test_a_patient_gives_its_label_to_any_other() -> None:
    """Also to one with another number of images, and from one split to the other."""
    train = images_of([1] * 30 + [0, 0, 1, 0], ["large"] * 30 + ["a", "b", "c", "c"])
    val = images_of([0, 1], ["d", "e"])
    drawn = {tuple(shuffled_labels(train, val, seed)[0].labels) for seed in range(300)}
    assert {labels[:30] for labels in drawn} == {(0,) * 30, (1,) * 30}
    # "large", a, b, d and e share two positive labels; one of them is in each split.
    assert len({labels[:32] for labels in drawn}) == 3


def test_every_permutation_is_equally_likely() -> None:
    train, val = images_of([0, 1, 2, 0, 1, 2], list("abcdef")), images_of([0, 1, 2], list("ghi"))
    n = 3_000
    firsts = np.bincount([shuffled_labels(train, val, seed)[0].labels[0] for seed in range(n)])
    low, high = binom.interval(0.9999, n, 1 / 3)
    assert ((low <= firsts) & (firsts <= high)).all()


def test_equal_seeds_give_equal_labels_and_others_do_not() -> None:
    data = open_dataset("phantom")
    first, again, other = (shuffled_labels(data.train, data.val, seed) for seed in (1, 1, 2))
    for k in range(2):
        np.testing.assert_array_equal(first[k].labels, again[k].labels)
        assert np.any(first[k].labels != other[k].labels)
    assert 0.4 < np.mean(first[0].labels == data.train.labels) < 0.7  # as of unrelated labels


def test_a_patient_on_both_sides_keeps_one_label() -> None:
    """So that a model that knows the patient again is above chance, which shows the leak."""
    patients = [f"p{i}" for i in range(40)]
    train = images_of([0, 1] * 20, patients)
    val = images_of([0, 1] * 10, patients[:20])
    new_train, new_val = shuffled_labels(train, val, 3)
    np.testing.assert_array_equal(new_train.labels[:20], new_val.labels)
    assert np.any(new_train.labels != train.labels)


def test_two_patients_cannot_be_shuffled_into_two_whole_splits() -> None:
    train, val = images_of([0, 0, 1], ["a", "a", "a"]), images_of([0, 0], ["b", "b"])
    new_train, new_val = shuffled_labels(train, val, 0)
    assert sorted(new_train.labels) == [0, 0, 1]
    assert new_val.labels.tolist() == [0, 0]


def test_a_class_that_no_shuffle_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_bio.controls.shuffled_labels.TRIES", 3)
    train = images_of([0] * 1_000 + [1], [f"p{i}" for i in range(1_001)])
    val = images_of([0, 1], ["a", "b"])
    with pytest.raises(DataError, match="3 shuffles of the labels left a class out") as refused:
        shuffled_labels(train, val, 0)
    assert is_one_line(refused.value)


def null_cohort(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Labels of patients with 1 to 12 images, and scores that know the patient and no label."""
    sizes = rng.choice([1, 2, 3, 12], 40)
    patients = np.repeat(np.arange(40), sizes).astype(str)
    labels = np.repeat(rng.permutation(np.arange(40) % 2), sizes)
    changes = rng.random(len(labels)) < 0.02  # a few patients have several labels
    labels = np.where(changes, 1 - labels, labels)
    score = np.repeat(rng.normal(0, 1, 40), sizes) + rng.normal(0, 0.1, len(labels))
    p = 1 / (1 + np.exp(-score))
    return labels, np.stack([1 - p, p], axis=1), patients


def difference(labels: Any, p: Any) -> float:
    """Of the mean score between the classes: any statistic will do, and this one is fast."""
    return float(p[labels == 1, 1].mean() - p[labels == 0, 1].mean())


def test_null_data_are_rejected_as_often_as_they_should() -> None:
    """And far more often than they should, where images are taken for patients."""
    n, by_patient, by_image = 400, 0, 0
    for seed in range(n):
        labels, p, patients = null_cohort(np.random.default_rng(seed))
        everyone = np.arange(len(labels)).astype(str)
        by_patient += permutation_p(labels, p, patients, difference, seed, 39) <= 0.05
        by_image += permutation_p(labels, p, everyone, difference, seed, 39) <= 0.05
    low, high = binom.interval(0.999, n, 0.05)
    assert low <= by_patient <= high
    assert by_image > 2 * high


def test_a_model_that_knows_the_label_is_found() -> None:
    rng = np.random.default_rng(0)
    labels, p, patients = null_cohort(rng)
    knowing = 0.5 * p + 0.5 * np.eye(2)[labels]
    assert permutation_p(labels, knowing, patients, AUROC, 0, 999) == 0.001
    against = knowing[:, ::-1]  # one-sided: below chance is no signal
    assert permutation_p(labels, against, patients, AUROC, 0, 99) == 1


def test_constant_predictions_are_at_chance() -> None:
    labels, p, patients = null_cohort(np.random.default_rng(0))
    assert permutation_p(labels, np.full_like(p, 0.5), patients, AUROC, 0, 99) == 1


def test_p_depends_on_the_seed_and_more_classes_do() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2).astype(str)
    labels, p = np.repeat(np.arange(30) % 3, 2), rng.dirichlet(np.ones(3), 60)
    area = partial(metrics.auroc, positive=2)
    found = [permutation_p(labels, p, patients, area, seed, 50) for seed in (1, 1, 2, 3, 4)]
    assert found[0] == found[1]
    assert len(set(found)) > 1
    knowing = (p + np.eye(3)[labels]) / 2
    assert permutation_p(labels, knowing, patients, area, 0, 50) == pytest.approx(1 / 51)
