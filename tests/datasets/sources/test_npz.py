"""Files in MedMNIST's layout: what is read, and what is refused with a one-line error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_factory import is_one_line
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype(np.uint8)
LABELS = np.arange(30) % 2
TRAIN = {"train_images": IMAGES, "train_labels": LABELS}
ALL_SPLITS = {
    **TRAIN,
    "val_images": IMAGES[:10], "val_labels": LABELS[:10],
    "test_images": IMAGES[10:16], "test_labels": LABELS[10:16],
}  # fmt: skip


def _write(folder: Path, **arrays: Any) -> str:
    np.savez_compressed(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_splits_of_the_file_are_kept_in_order(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = {
        k: v.reshape(len(v), *shape).astype(np.uint8) if "labels" in k else v
        for k, v in ALL_SPLITS.items()
    }
    opened = open_dataset(_write(tmp_path, **arrays))
    for name, split in opened.splits.items():
        assert np.array_equal(split.at(Geometry(8))[..., 0], ALL_SPLITS[f"{name}_images"])
        assert split.labels.tolist() == ALL_SPLITS[f"{name}_labels"].tolist()
    assert opened.classes == ("0", "1")
    assert "given" in opened.split


def test_each_image_is_its_own_patient_and_a_note_says_so(tmp_path: Path) -> None:
    opened = open_dataset(_write(tmp_path, **ALL_SPLITS))
    assert not opened.patients_known
    assert any("patients are unknown" in note for note in opened.notes)
    assert all(len(set(split.patients)) == len(split) for split in opened.splits.values())


@pytest.mark.parametrize(
    ("present", "sizes"),
    [(("train",), (18, 6, 6)), (("train", "val"), (24, 10, 6)), (("train", "test"), (24, 6, 6))],
)
def test_a_missing_split_is_a_fifth_of_train(
    tmp_path: Path, present: tuple[str, ...], sizes: tuple[int, ...]
) -> None:
    arrays = {k: v for k, v in ALL_SPLITS.items() if k.split("_")[0] in present}
    opened = open_dataset(_write(tmp_path, **arrays))
    assert tuple(len(split) for split in opened.splits.values()) == sizes
    assert "cut from train" in opened.split
    cut = [opened.splits[name] for name in ("train", "val", "test") if name not in present]
    names = np.concatenate([opened.train.names, *(split.names for split in cut)])
    assert sorted(names) == [f"train/{i:06d}" for i in range(30)]


def test_colour_is_kept(tmp_path: Path) -> None:
    colour = np.repeat(IMAGES[..., None], 3, axis=3)
    colour[..., 0] = 7
    opened = open_dataset(_write(tmp_path, train_images=colour, train_labels=LABELS))
    assert opened.channels == 3
    assert opened.train.at(Geometry(8)).shape == (18, 8, 8, 3)


def change(**arrays: Any) -> dict[str, Any]:
    return {name: array for name, array in {**ALL_SPLITS, **arrays}.items() if array is not None}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no train": ({"val_images": IMAGES, "val_labels": LABELS}, "no train_images.*val_images"),
    "nothing": ({}, "it holds nothing"),
    "no labels": (change(val_labels=None), "val_images but no val_labels"),
    "empty": ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, "train"),
    "empty images": ({**TRAIN, "train_images": IMAGES[:, :0]}, r"\(30, 0, 8\)"),
    "no val images": (change(val_images=IMAGES[:0], val_labels=LABELS[:0]), "val"),
    "pickles": (change(train_labels=LABELS.astype(object)), "pickled Python objects"),
    "negative labels": (change(train_labels=LABELS - 1), "train_labels.*-1"),
    "unknown class": (change(val_labels=LABELS[:10] * 2), "val_labels.* 2"),
    "missing class": (change(train_labels=LABELS * 2), "hold only 2 classes"),
    "one class": (change(train_labels=LABELS * 0, val_labels=LABELS[:10] * 0,
                         test_labels=LABELS[:6] * 0), "one class"),
    "one class in val": (change(val_labels=LABELS[:10] * 0), "val split has no image of class '1'"),
    "float labels": (change(train_labels=LABELS / 2), "float64.*integers"),
    "text labels": (change(train_labels=LABELS.astype(str)), "<U.*integers"),
    "too few labels": (change(train_labels=LABELS[:9]), "do not fit its 30 images"),
    "several labels": (change(train_labels=np.ones((30, 2), int)), "do not fit its 30 images"),
    "int32": (change(train_images=IMAGES.astype(np.int32)), "int32.*uint8"),
    "one split of 16 bit": (change(train_images=IMAGES.astype(np.uint16)), "differ.*uint16.*uint8"),
    "float images": (change(train_images=IMAGES / 255), "float64.*uint8"),
    "flat images": (change(train_images=IMAGES.reshape(30, 64)), r"\(30, 64\)"),
    "four channels": (change(train_images=np.ones((30, 8, 8, 4), np.uint8)), r"\(30, 8, 8, 4\)"),
    "other size": (change(val_images=IMAGES[:10, :4]), "differ in image shape"),
    "two patients": ({"train_images": IMAGES[:20], "train_labels": np.r_[np.zeros(18, int), 1, 1]},
                     "class '1' has 2 patients"),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_unusable_arrays_are_refused_with_a_one_line_error(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(_write(tmp_path, **arrays))
    assert is_one_line(caught.value)


def _truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes(255 - b for b in data[middle : middle + 40]) + data[middle + 40 :]


@pytest.mark.parametrize("damage", [_truncate, _flip, lambda data: b"hello", lambda data: b""])
def test_a_damaged_file_or_another_format_is_refused_with_a_one_line_error(
    tmp_path: Path, damage: Any
) -> None:
    path = Path(_write(tmp_path, **ALL_SPLITS))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"data\.npz") as caught:
        open_dataset(str(path))
    assert is_one_line(caught.value)


@pytest.mark.real_data
def test_pneumoniamnist_keeps_its_splits(real_data: Path) -> None:
    opened = open_dataset(str(real_data / "pneumoniamnist_dev.npz"))
    assert [len(split) for split in opened.splits.values()] == [3382, 524, 500]
    assert (opened.classes, opened.channels, opened.size) == (("0", "1"), 1, 28)
    assert not opened.patients_known
    assert any("patients are unknown" in note for note in opened.notes)
