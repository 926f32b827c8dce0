"""Arrays of the user: which are accepted, and which are refused with a one-line error."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data_factory import is_one_line
from tests.datasets.source_factory import noise
from tune_bio.datasets.opening import open_arrays
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

IMAGES = noise(40, 8, 8)
NUMBERS = np.arange(40) % 2
WORDS = np.array(["well", "ill"])[NUMBERS]


def labels_by_name(opened: Any) -> dict[str, str]:
    return {
        name: opened.classes[label]
        for split in opened.splits.values()
        for name, label in zip(split.names, split.labels, strict=True)
    }


@pytest.mark.parametrize(
    ("labels", "options", "classes", "class_of_image_1"),
    [
        (NUMBERS, {}, ("0", "1"), "1"),
        (NUMBERS == 1, {}, ("False", "True"), "True"),
        (NUMBERS + 9, {}, ("9", "10"), "10"),
        (NUMBERS.tolist(), {"classes": ["well", "ill"]}, ("well", "ill"), "ill"),
        (WORDS, {}, ("ill", "well"), "ill"),
        (WORDS.tolist(), {"classes": ["well", "ill"]}, ("well", "ill"), "ill"),
        (WORDS.astype(object), {}, ("ill", "well"), "ill"),
        (pd.Series(WORDS), {}, ("ill", "well"), "ill"),
    ],
)
def test_labels_of_every_type_name_classes(
    labels: Any, options: dict[str, Any], classes: tuple[str, ...], class_of_image_1: str
) -> None:
    opened = open_arrays(IMAGES, labels, **options)
    assert opened.classes == classes
    assert opened.source == "arrays in memory"
    labels = labels_by_name(opened)
    assert len(labels) == 40
    assert labels["train/000001"] == class_of_image_1
    assert all((labels[f"train/{i:06d}"] == class_of_image_1) == (i % 2 == 1) for i in range(40))


def test_patients_of_any_type_stay_in_one_split() -> None:
    opened = open_arrays(IMAGES, NUMBERS, pd.Series(np.arange(40) // 4))
    assert opened.patients_known
    assert opened.patients_on_two_sides == 0
    assert sum(len(set(split.patients)) for split in opened.splits.values()) == 10


def test_the_splits_of_the_source_are_kept() -> None:
    parts = {"train": (IMAGES[:20], WORDS[:20]), "validation": [IMAGES[20:], WORDS[20:], None]}
    opened = open_arrays(parts)
    assert np.array_equal(opened.val.at(Geometry(8))[..., 0], IMAGES[20:])
    assert len(opened.train) + len(opened.test) == 20
    assert "test cut from train" in opened.split


def test_memory_mapped_arrays_are_accepted(tmp_path: Any) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    opened = open_arrays(np.load(tmp_path / "images.npy", mmap_mode="r"), NUMBERS)
    assert opened.train.fingerprint == open_arrays(IMAGES, NUMBERS).train.fingerprint


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "floats": ((IMAGES / 255, NUMBERS), {}, "float64.*astype"),
    "int64": ((IMAGES.astype(int), NUMBERS), {}, "int64.*uint8"),
    "channels first": ((noise(40, 3, 8, 8), NUMBERS), {}, r"\(40, 3, 8, 8\)"),
    "ragged": (([[1, 2], [3]], NUMBERS), {}, "images are not an array"),
    "too few labels": ((IMAGES, NUMBERS[:9]), {}, "labels of 'train'.*40 images"),
    "one-hot labels": ((IMAGES, np.eye(2, dtype=int)[NUMBERS]), {}, r"\(40, 2\)"),
    "float labels": ((IMAGES, NUMBERS / 1), {}, "labels are float64"),
    "mixed labels": ((IMAGES, np.array([1, "a"] * 20, dtype=object)), {}, "labels are object"),
    "too few patients": ((IMAGES, NUMBERS, np.arange(3)), {}, "patients of 'train'"),
    "unknown label": (
        (IMAGES, NUMBERS + 1), {"classes": ["a", "b"]}, "label 2 is not one of .* a, b"),
    "unknown word": ((IMAGES, WORDS), {"classes": ["a", "b"]}, "label ill is not one of"),
    "unused class": ((IMAGES, NUMBERS), {"classes": ["a", "b", "c"]}, "'c' has 0 patients"),
    "one class": ((IMAGES, NUMBERS * 0), {}, "one class"),
    "unknown split": (({"training": (IMAGES, NUMBERS)},), {}, "'training' is not a split"),
    "no train": (({"test": (IMAGES, NUMBERS)},), {}, "the splits of the arrays are test"),
    "images without labels": (({"train": IMAGES},), {}, "not a tuple of images and labels"),
    "two kinds of labels": (
        ({"train": (IMAGES, NUMBERS), "val": (IMAGES, WORDS)},), {}, "some labels are text"),
    "patients of one split": (
        ({"train": (IMAGES, NUMBERS, NUMBERS), "val": (IMAGES, NUMBERS)},), {}, "some splits have"),
    "two sizes": (
        ({"train": (IMAGES, NUMBERS), "val": (noise(40, 9, 9), NUMBERS)},), {}, "differ in image"),
    "positive class": ((IMAGES, WORDS), {"positive_class": "x"}, "'x' is not a class"),
    "only images": ((IMAGES,), {}, "not a tuple of images and labels"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "options", "message"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit_are_refused_with_a_one_line_error(
    data: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_arrays(*data, **options)
    assert is_one_line(caught.value)
