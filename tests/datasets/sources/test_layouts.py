"""The layouts of a folder: what is listed, who the patients are, what is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data_factory import examples, is_one_line, outcome
from tests.datasets.source_factory import noise, save
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.sources.collection import OpenOptions, class_order
from tune_bio.datasets.sources.image_folder import read_folder
from tune_bio.datasets.sources.patients import patients_from_names
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError


def fill(folder: Path, n: int = 6, classes: tuple[str, ...] = ("NORMAL", "ill")) -> Path:
    for k, name in enumerate(classes):
        for i in range(n):
            save(folder / name / f"{i}.png", noise(8, 8, seed=100 * k + i))
    return folder


def fill_splits(folder: Path, *splits: str) -> Path:
    for split in splits:
        fill(folder / split)
    return folder


def read(folder: Path, pattern: str | None = None) -> Any:
    return read_folder(folder, OpenOptions(patient_pattern=pattern))


def test_class_folders_are_listed_in_order_and_other_files_counted(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    for name in (
        ".git/x",
        "__MACOSX/NORMAL/._0.png",
        "readme.txt",
        "ill/.DS_Store",
        "ill/a.txt",
        "ill/.ipynb_checkpoints/0.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    save(tmp_path / "ill" / "deeper" / "9.png", noise(8, 8))
    found = read(tmp_path)
    images = found.everything
    assert images.names.tolist() == [
        "NORMAL/0.png", "NORMAL/1.png", "ill/0.png", "ill/1.png", "ill/deeper/9.png",
    ]  # fmt: skip
    assert found.classes == ("NORMAL", "ill")
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert any(note.startswith("1 files that are no images") for note in found.notes)
    with Image.open(tmp_path / "ill" / "1.png") as image:
        assert np.array_equal(images.at(Geometry(8))[3, ..., 0], np.asarray(image))


@pytest.mark.parametrize(
    ("folders", "given_splits"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("Train", "VALIDATION", "Test"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
        (("train", "test"), ["train", "test"]),
        (("train",), ["train"]),
    ],
)
def test_split_folders_are_kept_and_the_missing_cut_from_train(
    tmp_path: Path, folders: tuple[str, ...], given_splits: list[str]
) -> None:
    fill_splits(tmp_path, *folders)
    assert list(read(tmp_path).given) == given_splits
    opened = open_dataset(str(tmp_path))
    for name, folder in zip(given_splits[1:], folders[1:], strict=True):
        assert {n.split("/")[0] for n in opened.splits[name].names} == {folder}
    for name in {"val", "test"} - set(given_splits):
        assert {n.split("/")[0] for n in opened.splits[name].names} == {folders[0]}


def _table(folder: Path, text: str) -> None:
    (folder / "metadata.csv").write_text(text)


def _rows(folder: Path, header: str, row: Callable[[str, int], str]) -> None:
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    _table(folder, "\n".join([header, *(row(name, i) for i, name in enumerate(files))]))


def test_a_table_tells_patients_and_the_class_folder_the_class(tmp_path: Path) -> None:
    fill(tmp_path)
    _rows(tmp_path, "file, patient", lambda name, i: f"./{name}, p{i // 3}")
    found = read(tmp_path)
    assert found.classes == ("NORMAL", "ill")
    assert found.patients_known
    assert found.everything.patients.tolist() == [f"p{i // 3}" for i in range(12)]
    assert list(found.given) == ["train"]


def test_a_table_alone_tells_classes_and_splits_in_its_order(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / f"{i:02d}.png", noise(8, 8, seed=i))
    splits = ("test", "train", "validation")
    _rows(
        tmp_path, "split,file,label", lambda name, i: f"{splits[i % 3]},{name},{10 if i % 2 else 9}"
    )
    found = read(tmp_path)
    assert found.classes == ("9", "10")
    assert {name: len(split) for name, split in found.given.items()} == {
        "train": 4, "val": 4, "test": 4,
    }  # fmt: skip
    assert found.given["train"].names.tolist() == ["01.png", "04.png", "07.png", "10.png"]
    assert found.given["train"].labels.tolist() == [1, 0, 1, 0]


def test_a_table_in_split_folders_keeps_their_splits(tmp_path: Path) -> None:
    fill_splits(tmp_path, "train", "test")
    _rows(tmp_path, "file,patient", lambda name, i: f"{name},p{i}")
    found = read(tmp_path)
    assert found.classes == ("NORMAL", "ill")
    assert {name: len(split) for name, split in found.given.items()} == {"train": 12, "test": 12}


def test_images_that_a_table_does_not_list_are_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    _table(tmp_path, "file,patient\nNORMAL/0.png,a\nill/0.png,\nill/1.png,b\n")
    found = read(tmp_path)
    assert found.everything.names.tolist() == ["NORMAL/0.png", "ill/0.png", "ill/1.png"]
    assert found.everything.patients.tolist() == ["a", "ill/0.png", "b"]
    assert any(note.startswith("9 images that metadata.csv does not list") for note in found.notes)
    assert any(note.startswith("1 rows of metadata.csv carry no patient") for note in found.notes)


def test_the_table_goes_before_the_pattern_and_the_pattern_before_known_names(
    tmp_path: Path,
) -> None:
    for i in range(6):
        for name in ("NORMAL", "ill"):
            save(tmp_path / name / f"person{i // 2}_virus_{i}.png", noise(8, 8, seed=i))
    known = read(tmp_path).everything.patients
    assert set(known) == {"person0", "person1", "person2"}
    assert set(read(tmp_path, r"virus_\d").everything.patients) == {f"virus_{i}" for i in range(6)}
    _rows(tmp_path, "file,patient", lambda name, i: f"{name},row{i // 4}")
    assert set(read(tmp_path, r"virus_\d").everything.patients) == {"row0", "row1", "row2"}


def test_a_patient_on_two_given_sides_is_told(tmp_path: Path) -> None:
    fill_splits(tmp_path, "train", "val", "test")
    _rows(tmp_path, "file,patient", lambda name, i: f"{name},p{i % 20}")
    opened = open_dataset(str(tmp_path))
    assert opened.patients_on_two_sides == 16
    assert any(note.startswith("16 patients have images in more than one") for note in opened.notes)


KNOWN_NAMES = {
    "NORMAL/IM-0115-0001.jpeg": "IM-0115",
    "NORMAL/IM-0115-0002.jpeg": "IM-0115",
    "NORMAL/IM-0200-0001-0002.jpeg": "IM-0200",
    "NORMAL/NORMAL2-IM-0381-0001.jpeg": "NORMAL2-IM-0381",
    "PNEUMONIA/person1_bacteria_1.jpeg": "person1",
    "train/PNEUMONIA/person1_virus_2.jpeg": "person1",
    "PNEUMONIA/person12_bacteria_1.jpeg": "person12",
    "PNEUMONIA/person447_virus_921_1.jpeg": "person447",  # one file of the set is named so
}


def test_the_patient_is_read_from_the_names_of_the_chest_x_ray_set() -> None:
    found = patients_from_names(list(KNOWN_NAMES), None)
    assert found.known
    assert dict(zip(KNOWN_NAMES, found.each, strict=True)) == KNOWN_NAMES
    others = [f"ill/{i}.png" for i in range(9)]
    unknown = patients_from_names([*KNOWN_NAMES, *others], None)
    assert not unknown.known
    assert unknown.each == (*KNOWN_NAMES, *others)
    partly = patients_from_names([*KNOWN_NAMES, *others[:2]], None)
    assert partly.known
    assert partly.each[-2:] == ("ill/0.png", "ill/1.png")
    assert partly.notes[0].startswith("2 file names carry no patient")


@pytest.mark.parametrize(
    ("pattern", "patient"),
    [
        (r"p\d+", "p12"),
        (r"/p(\d+)-", "12"),
        (r"(p)(?P<patient>\d+)", "12"),
        (r"^(site)-\w+/(?P<patient>p\d+)", "p12"),
        (r"p(?:x)?(\d+)", "12"),
    ],
)
def test_a_pattern_is_searched_in_the_path(pattern: str, patient: str) -> None:
    found = patients_from_names(["site-b/p12-3.png", "other.png"], pattern)
    assert found.each == (patient, "other.png")
    assert found.notes[0].startswith("1 file names carry no patient")


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("(", "no regular expression"), ("zzz", "matches no file name"), ("z*", "matches no file")],
)
def test_a_pattern_that_tells_nothing_is_refused(tmp_path: Path, pattern: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(str(fill(tmp_path)), patient_pattern=pattern)
    assert is_one_line(caught.value)


@pytest.mark.parametrize("source", ["phantom", "npy", "npz"])
def test_a_pattern_needs_file_names(tmp_path: Path, source: str) -> None:
    np.save(tmp_path / "a.npy", noise(9, 8, 8))
    np.savez(tmp_path / "x.npz", train_images=noise(9, 8, 8), train_labels=np.arange(9) % 2)
    where = {"phantom": "phantom", "npy": str(tmp_path), "npz": str(tmp_path / "x.npz")}[source]
    with pytest.raises(DataError, match="no file names") as caught:
        open_dataset(where, patient_pattern="x")
    assert is_one_line(caught.value)


@examples
@given(
    st.lists(st.text("a-1/_", min_size=1), min_size=1, unique=True),
    st.text("a1()\\d-?*", max_size=6),
)
def test_any_pattern_gives_each_name_a_patient_or_is_refused(
    names: list[str], pattern: str
) -> None:
    found = outcome(lambda: patients_from_names(names, pattern))
    if isinstance(found, DataError):
        assert "--patient-pattern" in str(found)
        return
    assert found.known
    assert len(found.each) == len(names)
    for patient, name in zip(found.each, names, strict=True):
        assert patient
        assert patient in name


def test_classes_that_are_numbers_are_ordered_as_numbers() -> None:
    assert class_order(["10", "9", "2", "9"]) == ("2", "9", "10")
    assert class_order(["10", "9", "b"]) == ("10", "9", "b")
    assert class_order(["1", "01", "-2"]) == ("-2", "01", "1")
    assert class_order(["--1", "1", "-"]) == ("-", "--1", "1")


def _text(folder: Path) -> None:
    (folder / "ill" / "9.png").write_text("this is text")


def _empty_class(folder: Path) -> None:
    (folder / "zero").mkdir()


def _splits_without_train(folder: Path) -> None:
    for old, new in (("ill", "val"), ("NORMAL", "test")):
        (folder / old).rename(folder / new)


def _split_beside_classes(folder: Path) -> None:
    fill(folder / "train")


def _other_classes(folder: Path) -> None:
    _only(folder, "train", "test")
    fill(folder / "test", classes=("other",))


def _one_split_twice(folder: Path) -> None:
    _only(folder, "train", "val", "valid")


def _one_class_in_a_split(folder: Path) -> None:
    _only(folder, "train", "val")
    for path in (folder / "val" / "ill").iterdir():
        path.unlink()
    (folder / "val" / "ill").rmdir()


def _only(folder: Path, *splits: str) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder.parent / f"{folder.name}-{path.name}")
    fill_splits(folder, *splits)


def _arrays(folder: Path) -> None:
    np.save(folder / "ill.npy", noise(3, 8, 8))


def _table_of(text: str) -> Callable[[Path], None]:
    return lambda folder: _table(folder, text)


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (_text, r"9\.png cannot be read as an image"),
    (_empty_class, "class folder .*zero holds no image"),
    (_splits_without_train, "no train folder"),
    (_split_beside_classes, "'train' beside 'NORMAL'"),
    (_other_classes, "class 'other' is not in each split"),
    (_one_split_twice, "one split twice: train, val, valid"),
    (_one_class_in_a_split, "val holds one class, 'NORMAL'"),
    (_arrays, r"\.npy files beside the folder 'NORMAL'"),
    (_table_of(""), "metadata.csv cannot be read"),
    (_table_of("file\n"), "lists nothing"),
    (_table_of("name\nx.png\n"), "no column 'file'.*name"),
    (_table_of("file\nNORMAL/0.png\nNORMAL/99.png\n"), "'NORMAL/99.png', which .* does not hold"),
    (_table_of("file\nNORMAL/0.png\nNORMAL//0.png\n"), "'NORMAL/0.png' twice"),
    (_table_of("file\n../x.png\n"), "no path within"),
    (_table_of("file\n/etc/passwd\n"), "no path within"),
    (_table_of('file\n""\nill/0.png\n'), "no path within|lists nothing"),
    (_table_of("file,label\nill/0.png,a\nill/1.png,\n"), "'ill/1.png' no label"),
    (_table_of("file,split\nill/0.png,train\nill/1.png,\n"), "'ill/1.png' no split"),
    (_table_of("file,split\nill/0.png,training\n"), "split 'training'"),
    (_table_of("file,label,split\nill/0.png,a,val\nill/1.png,b,test\n"), "no image .* train split"),
    (_table_of("file\nmetadata.csv\n"), "class of 'metadata.csv' is not told"),
    (_table_of("file,label\nill/0.png,a\nill/1.png,a\n"), "one class"),
]


@pytest.mark.parametrize(("spoil", "told"), FAULTS)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    folder = tmp_path / "data"
    spoil(fill(folder))
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(str(folder))
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("folders", "told"), [([], "is empty"), (["ill"], "one class, 'ill'"), (["a", "b"], "no image")]
)
def test_a_folder_without_two_filled_classes_is_refused(
    tmp_path: Path, folders: list[str], told: str
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=told) as caught:
        open_dataset(str(tmp_path))
    assert is_one_line(caught.value)


def test_a_folder_of_files_alone_has_no_class(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(8, 8))
    with pytest.raises(DataError, match="no class folder"):
        open_dataset(str(tmp_path))


@pytest.mark.real_data
def test_the_chest_x_rays_are_split_by_patient(real_data: Path) -> None:
    found = [open_dataset(str(real_data / "chest_xray"), seed=seed) for seed in range(3)]
    for dataset in found:
        assert (dataset.classes, dataset.channels) == (("NORMAL", "PNEUMONIA"), 1)
        assert dataset.patients_known
        patients = [set(split.patients) for split in dataset.splits.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 901
        assert sum(map(len, dataset.splits.values())) == 1601
        shares = [np.mean(split.labels) for split in dataset.splits.values()]
        assert np.ptp(shares) < 0.1
    assert len({dataset.test.fingerprint for dataset in found}) == 3
