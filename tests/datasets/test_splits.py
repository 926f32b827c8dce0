"""Splits: no patient in two splits and every class in each, for any layout of patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import as_images, examples, few_examples, is_one_line, outcome
from tune_bio.datasets.images import Images
from tune_bio.datasets.splits import complete_splits, fold_of, groups_of, part_of, take_fold
from tune_bio.errors import DataError, InputError

SPLITS = ("train", "val", "test")
seeds = st.integers(0, 2**31 - 1)


def images(sizes: list[list[int]], order: int = 0, prefix: str = "p") -> Images:
    """Build shuffled images; `sizes[k]` lists the number of images of each patient of class k."""
    labels = [k for k, counts in enumerate(sizes) for n in counts for _ in range(n)]
    patients = [
        f"{prefix}{k}-{i}" for k, counts in enumerate(sizes) for i, n in enumerate(counts)
        for _ in range(n)
    ]  # fmt: skip
    shuffled = np.random.default_rng(order).permutation(len(labels))
    names = np.array([f"{prefix}{i}" for i in range(len(labels))])
    pixels = np.array([divmod(i, 256) for i in range(len(labels))], dtype=np.uint8)
    pixels = pixels.reshape(-1, 1, 2, 1)
    return as_images(pixels, np.array(labels)[shuffled], np.array(patients)[shuffled], names)


def _classes(sizes: list[list[int]]) -> tuple[str, ...]:
    return tuple(f"class{k}" for k in range(len(sizes)))


@st.composite
def layouts(draw: st.DrawFn, min_patients: int, max_images: int) -> list[list[int]]:
    """Draw two to four classes, each with some patients with some images."""
    patients = st.lists(st.integers(1, max_images), min_size=min_patients, max_size=30)
    return draw(st.lists(patients, min_size=2, max_size=4))


@pytest.mark.parametrize("own_splits", [(), ("val",), ("test",), ("val", "test")])
@examples
@given(sizes=layouts(min_patients=1, max_images=12), seed=seeds)
def test_splits_keep_patients_whole_and_hold_every_class_or_are_refused(
    own_splits: tuple[str, ...], sizes: list[list[int]], seed: int
) -> None:
    whole = images(sizes, seed)
    parts = {name: images([[1]] * len(sizes), 0, name) for name in own_splits}
    splits = outcome(
        lambda: complete_splits(whole, parts.get("val"), parts.get("test"), _classes(sizes), seed)
    )
    if isinstance(splits, InputError):
        assert "class" in str(splits)
        assert min(len(counts) for counts in sizes) < 10
        return
    cut = [getattr(splits, name) for name in SPLITS if name not in own_splits]
    names = [name for split in cut for name in split.names]
    assert sorted(names) == sorted(whole.names)
    patients = [set(getattr(splits, name).patients) for name in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients))
    for split in (splits.train, splits.val, splits.test):
        assert set(split.labels) == set(range(len(sizes)))


@examples
@given(
    labels_by_patient=st.lists(
        st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=3, max_size=30
    ),
    seed=seeds,
)
def test_a_patient_with_images_of_several_classes_stays_whole(
    labels_by_patient: list[list[int]], seed: int
) -> None:
    labels = np.unique(
        [label for patient_labels in labels_by_patient for label in patient_labels],
        return_inverse=True,
    )
    patients = [
        f"p{i}" for i, patient_labels in enumerate(labels_by_patient) for _ in patient_labels
    ]
    n = len(patients)
    names = np.array([f"{i}" for i in range(n)])
    whole = as_images(np.zeros((n, 1, 1, 1), np.uint8), labels[1], np.array(patients), names)
    classes = tuple(map(str, labels[0]))
    splits = outcome(lambda: complete_splits(whole, None, None, classes, seed))
    if isinstance(splits, InputError):
        return
    patient_sets = [set(getattr(splits, name).patients) for name in SPLITS]
    assert sum(map(len, patient_sets)) == len(set.union(*patient_sets)) == len(labels_by_patient)
    assert all(len(set(getattr(splits, name).labels)) == len(classes) for name in SPLITS)


@examples
@given(sizes=layouts(min_patients=10, max_images=4), seed=seeds)
def test_a_fold_is_about_a_fifth_and_stratified(sizes: list[list[int]], seed: int) -> None:
    whole = images(sizes, seed)
    rest, fold = fold_of(whole.labels, whole.patients, 5, seed)
    assert sorted([*rest, *fold]) == list(range(len(whole)))
    for k in range(len(sizes)):
        of_class = np.sum(whole.labels == k)
        assert np.sum(whole.labels[fold] == k) == pytest.approx(of_class / 5, abs=5)


@few_examples
@given(sizes=layouts(min_patients=12, max_images=4), seed=seeds, share=st.floats(0.02, 0.6))
def test_a_part_keeps_patients_whole_and_is_about_as_large_as_requested(
    sizes: list[list[int]], seed: int, share: float
) -> None:
    whole = images(sizes, seed)
    rest, part = part_of(whole.labels, whole.patients, share, seed)
    assert sorted([*rest, *part]) == list(range(len(whole)))
    assert not set(whole.patients[rest]) & set(whole.patients[part])
    # With at least 12 patients, a tenth is little more than one patient: folds are no more even.
    assert len(part) == pytest.approx(share * len(whole), abs=8 + 0.1 * len(whole))
    again, _ = part_of(whole.labels, whole.patients, share, seed)
    assert again.tolist() == rest.tolist()


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    whole = images([[1, 2, 3] * 8, [2, 1] * 10])

    def split_names(seed: int) -> list[list[str]]:
        splits = complete_splits(whole, None, None, ("a", "b"), seed)
        return [getattr(splits, name).names.tolist() for name in SPLITS]

    assert split_names(3) == split_names(3)
    assert split_names(3) != split_names(4)


def test_a_cut_split_says_where_it_comes_from() -> None:
    whole = images([[1] * 10, [1] * 10])
    assert (
        "validation and test cut from train"
        in complete_splits(whole, None, None, ("a", "b"), 7).origin
    )
    origin = complete_splits(whole, images([[1], [1]], 0, "v"), None, ("a", "b"), 7).origin
    assert origin.startswith("test cut from train, by patient")
    assert "seed 7" in origin


def test_a_class_with_too_few_patients_is_named_even_with_many_images() -> None:
    with pytest.raises(DataError, match=r"'ill' has 2 patients.*3 parts") as caught:
        complete_splits(images([[1] * 20, [50, 50]]), None, None, ("well", "ill"), 0)
    assert is_one_line(caught.value)


@examples
@given(
    contents=st.lists(st.integers(0, 30), min_size=20, max_size=60),
    per_patient=st.integers(1, 3),
    seed=seeds,
)
def test_copies_of_an_image_stay_in_one_split_even_of_different_patients(
    contents: list[int], per_patient: int, seed: int
) -> None:
    pixels = np.array([[i, 255 - i] for i in contents], dtype=np.uint8).reshape(-1, 1, 2, 1)
    labels = np.arange(len(contents)) % 2
    patients = np.array([f"p{i // per_patient}" for i in range(len(contents))])
    whole = as_images(pixels, labels, patients, np.array([f"i{i}" for i in range(len(contents))]))
    groups = groups_of(whole)
    for values in (contents, patients.tolist()):
        joined = dict(zip(values, groups, strict=True))
        assert [joined[value] for value in values] == groups.tolist()
    parts = outcome(lambda: take_fold(whole, 5, seed))
    if isinstance(parts, InputError):
        assert len(set(groups)) < 10
        return
    rest, fold = (set(part.names) for part in parts)
    part_contents = [
        {c for name, c in zip(whole.names, contents, strict=True) if name in names}
        for names in (rest, fold)
    ]
    assert not part_contents[0] & part_contents[1]
    assert not set(parts[0].patients) & set(parts[1].patients)


def test_patients_without_common_copies_are_separate_groups() -> None:
    whole = images([[1, 2, 3], [4, 5]])
    assert groups_of(whole).tolist() == whole.patients.tolist()


def test_constant_images_do_not_join_patients() -> None:
    pixels = np.zeros((4, 2, 2, 1), dtype=np.uint8)
    patients = np.array(["a", "b", "c", "c"])
    whole = as_images(pixels, np.array([0, 1, 0, 1]), patients, np.array(list("wxyz")))
    assert groups_of(whole).tolist() == patients.tolist()
