"""Splits: no patient on two sides, every class in each split, for any layout of patients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import as_images, examples, few_examples, is_one_line, outcome
from tune_bio.datasets.images import Images
from tune_bio.datasets.splits import complete_splits, fold_of, groups_of, part_of, take_fold
from tune_bio.errors import DataError, InputError

SIDES = ("train", "val", "test")
seeds = st.integers(0, 2**31 - 1)


def images(sizes: list[list[int]], order: int = 0, prefix: str = "p") -> Images:
    """`sizes[k]` lists how many images each patient of class k has; shuffled."""
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
def layouts(draw: st.DrawFn, fewest: int, largest: int) -> list[list[int]]:
    """Two to four classes, each of some patients with some images."""
    patients = st.lists(st.integers(1, largest), min_size=fewest, max_size=30)
    return draw(st.lists(patients, min_size=2, max_size=4))


@pytest.mark.parametrize("given_parts", [(), ("val",), ("test",), ("val", "test")])
@examples
@given(sizes=layouts(fewest=1, largest=12), seed=seeds)
def test_splits_are_made_of_whole_patients_and_hold_every_class_or_are_refused(
    given_parts: tuple[str, ...], sizes: list[list[int]], seed: int
) -> None:
    whole = images(sizes, seed)
    parts = {name: images([[1]] * len(sizes), 0, name) for name in given_parts}
    made = outcome(
        lambda: complete_splits(whole, parts.get("val"), parts.get("test"), _classes(sizes), seed)
    )
    if isinstance(made, InputError):
        assert "class" in str(made)
        assert min(len(counts) for counts in sizes) < 10
        return
    cut = [getattr(made, name) for name in SIDES if name not in given_parts]
    names = [name for split in cut for name in split.names]
    assert sorted(names) == sorted(whole.names)
    patients = [set(getattr(made, name).patients) for name in SIDES]
    assert sum(map(len, patients)) == len(set.union(*patients))
    for split in (made.train, made.val, made.test):
        assert set(split.labels) == set(range(len(sizes)))


@examples
@given(
    held=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=3, max_size=30),
    seed=seeds,
)
def test_a_patient_with_images_of_several_classes_stays_whole(
    held: list[list[int]], seed: int
) -> None:
    labels = np.unique([label for of_patient in held for label in of_patient], return_inverse=True)
    patients = [f"p{i}" for i, of_patient in enumerate(held) for _ in of_patient]
    n = len(patients)
    names = np.array([f"{i}" for i in range(n)])
    whole = as_images(np.zeros((n, 1, 1, 1), np.uint8), labels[1], np.array(patients), names)
    classes = tuple(map(str, labels[0]))
    made = outcome(lambda: complete_splits(whole, None, None, classes, seed))
    if isinstance(made, InputError):
        return
    sides = [set(getattr(made, name).patients) for name in SIDES]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(held)
    assert all(len(set(getattr(made, name).labels)) == len(classes) for name in SIDES)


@examples
@given(sizes=layouts(fewest=10, largest=4), seed=seeds)
def test_a_fold_is_about_a_fifth_and_stratified(sizes: list[list[int]], seed: int) -> None:
    whole = images(sizes, seed)
    rest, fold = fold_of(whole.labels, whole.patients, 5, seed)
    assert sorted([*rest, *fold]) == list(range(len(whole)))
    for k in range(len(sizes)):
        of_class = np.sum(whole.labels == k)
        assert np.sum(whole.labels[fold] == k) == pytest.approx(of_class / 5, abs=5)


@few_examples
@given(sizes=layouts(fewest=12, largest=4), seed=seeds, share=st.floats(0.02, 0.6))
def test_a_part_is_made_of_whole_patients_and_about_as_large_as_wanted(
    sizes: list[list[int]], seed: int, share: float
) -> None:
    every = images(sizes, seed)
    rest, part = part_of(every.labels, every.patients, share, seed)
    assert sorted([*rest, *part]) == list(range(len(every)))
    assert not set(every.patients[rest]) & set(every.patients[part])
    # Of 12 patients at the least a tenth is one and a bit; a fold is never more even than that.
    assert len(part) == pytest.approx(share * len(every), abs=8 + 0.1 * len(every))
    again, _ = part_of(every.labels, every.patients, share, seed)
    assert again.tolist() == rest.tolist()


def test_the_same_seed_makes_the_same_splits_and_another_seed_others() -> None:
    whole = images([[1, 2, 3] * 8, [2, 1] * 10])

    def made(seed: int) -> list[list[str]]:
        splits = complete_splits(whole, None, None, ("a", "b"), seed)
        return [getattr(splits, name).names.tolist() for name in SIDES]

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_a_cut_split_says_where_it_comes_from() -> None:
    whole = images([[1] * 10, [1] * 10])
    assert (
        "validation and test cut from train"
        in complete_splits(whole, None, None, ("a", "b"), 7).origin
    )
    given_val = complete_splits(whole, images([[1], [1]], 0, "v"), None, ("a", "b"), 7).origin
    assert given_val.startswith("test cut from train, by patient")
    assert "seed 7" in given_val


def test_a_class_of_too_few_patients_is_named_however_many_images_it_has() -> None:
    with pytest.raises(DataError, match=r"'ill' has 2 patients.*3 parts") as caught:
        complete_splits(images([[1] * 20, [50, 50]]), None, None, ("well", "ill"), 0)
    assert is_one_line(caught.value)


@examples
@given(
    contents=st.lists(st.integers(0, 30), min_size=20, max_size=60),
    per_patient=st.integers(1, 3),
    seed=seeds,
)
def test_copies_of_an_image_stay_on_one_side_whoever_their_patients_are(
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
    made = outcome(lambda: take_fold(whole, 5, seed))
    if isinstance(made, InputError):
        assert len(set(groups)) < 10
        return
    rest, fold = (set(side.names) for side in made)
    seen = [
        {c for name, c in zip(whole.names, contents, strict=True) if name in s}
        for s in (rest, fold)
    ]
    assert not seen[0] & seen[1]
    assert not set(made[0].patients) & set(made[1].patients)


def test_patients_without_common_copies_are_their_own_groups() -> None:
    whole = images([[1, 2, 3], [4, 5]])
    assert groups_of(whole).tolist() == whole.patients.tolist()


def test_constant_images_join_nobody() -> None:
    pixels = np.zeros((4, 2, 2, 1), dtype=np.uint8)
    patients = np.array(["a", "b", "c", "c"])
    whole = as_images(pixels, np.array([0, 1, 0, 1]), patients, np.array(list("wxyz")))
    assert groups_of(whole).tolist() == patients.tolist()
