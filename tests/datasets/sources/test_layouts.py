"""The layouts of a folder: the files listed, their patients, and the faults reported."""

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
    collection = read(tmp_path)
    images = collection.everything
    assert images.names.tolist() == [
        "NORMAL/0.png", "NORMAL/1.png", "ill/0.png", "ill/1.png", "ill/deeper/9.png",
    ]  # fmt: skip
    assert collection.classes == ("NORMAL", "ill")
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert any(note.startswith("1 files that are not images") for note in collection.notes)
    with Image.open(tmp_path / "ill" / "1.png") as image:
        assert np.array_equal(images.at(Geometry(8))[3, ..., 0], np.asarray(image))


@pytest.mark.parametrize(
    ("folders", "source_splits"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("Train", "VALIDATION", "Test"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
        (("train", "test"), ["train", "test"]),
        (("train",), ["train"]),
    ],
)
def test_split_folders_are_kept_and_missing_splits_are_cut_from_train(
    tmp_path: Path, folders: tuple[str, ...], source_splits: list[str]
) -> None:
    fill_splits(tmp_path, *folders)
    assert list(read(tmp_path).splits) == source_splits
    opened = open_dataset(str(tmp_path))
    for name, folder in zip(source_splits[1:], folders[1:], strict=True):
        assert {n.split("/")[0] for n in opened.splits[name].names} == {folder}
    for name in {"val", "test"} - set(source_splits):
        assert {n.split("/")[0] for n in opened.splits[name].names} == {folders[0]}


def _table(folder: Path, text: str) -> None:
    (folder / "metadata.csv").write_text(text)


def _rows(folder: Path, header: str, row: Callable[[str, int], str]) -> None:
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    _table(folder, "\n".join([header, *(row(name, i) for i, name in enumerate(files))]))


def test_patients_come_from_the_table_and_classes_from_the_folders(tmp_path: Path) -> None:
    fill(tmp_path)
    _rows(tmp_path, "file, patient", lambda name, i: f"./{name}, p{i // 3}")
    collection = read(tmp_path)
    assert collection.classes == ("NORMAL", "ill")
    assert collection.patients_known
    assert collection.everything.patients.tolist() == [f"p{i // 3}" for i in range(12)]
    assert list(collection.splits) == ["train"]


def test_a_table_without_folders_gives_classes_and_splits_in_its_order(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / f"{i:02d}.png", noise(8, 8, seed=i))
    splits = ("test", "train", "validation")
    _rows(
        tmp_path, "split,file,label", lambda name, i: f"{splits[i % 3]},{name},{10 if i % 2 else 9}"
    )
    collection = read(tmp_path)
    assert collection.classes == ("9", "10")
    assert {name: len(split) for name, split in collection.splits.items()} == {
        "train": 4, "val": 4, "test": 4,
    }  # fmt: skip
    assert collection.splits["train"].names.tolist() == ["01.png", "04.png", "07.png", "10.png"]
    assert collection.splits["train"].labels.tolist() == [1, 0, 1, 0]


def test_a_table_in_split_folders_keeps_their_splits(tmp_path: Path) -> None:
    fill_splits(tmp_path, "train", "test")
    _rows(tmp_path, "file,patient", lambda name, i: f"{name},p{i}")
    collection = read(tmp_path)
    assert collection.classes == ("NORMAL", "ill")
    sizes = {name: len(split) for name, split in collection.splits.items()}
    assert sizes == {"train": 12, "test": 12}


def test_images_missing_from_the_table_are_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    _table(tmp_path, "file,patient\nNORMAL/0.png,a\nill/0.png,\nill/1.png,b\n")
    collection = read(tmp_path)
    assert collection.everything.names.tolist() == ["NORMAL/0.png", "ill/0.png", "ill/1.png"]
    assert collection.everything.patients.tolist() == ["a", "ill/0.png", "b"]
    notes = collection.notes
    assert any(note.startswith("9 images that metadata.csv does not list") for note in notes)
    assert any(note.startswith("1 rows of metadata.csv have no patient") for note in notes)


def test_the_table_overrides_the_pattern_and_the_pattern_overrides_known_names(
    tmp_path: Path,
) -> None:
    for i in range(6):
        for name in ("NORMAL", "ill"):
            save(tmp_path / name / f"person{i // 2}_virus_{i}.png", noise(8, 8, seed=i))
    patients = read(tmp_path).everything.patients
    assert set(patients) == {"person0", "person1", "person2"}
    assert set(read(tmp_path, r"virus_\d").everything.patients) == {f"virus_{i}" for i in range(6)}
    _rows(tmp_path, "file,patient", lambda name, i: f"{name},row{i // 4}")
    assert set(read(tmp_path, r"virus_\d").everything.patients) == {"row0", "row1", "row2"}


def test_patients_in_two_splits_of_the_source_are_reported(tmp_path: Path) -> None:
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
    "PNEUMONIA/person447_virus_921_1.jpeg": "person447",  # one file of the set has such a name
}


def test_patients_are_read_from_the_names_of_the_chest_x_ray_set() -> None:
    patients = patients_from_names(list(KNOWN_NAMES), None)
    assert patients.known
    assert dict(zip(KNOWN_NAMES, patients.per_image, strict=True)) == KNOWN_NAMES
    others = [f"ill/{i}.png" for i in range(9)]
    mostly_unknown = patients_from_names([*KNOWN_NAMES, *others], None)
    assert not mostly_unknown.known
    assert mostly_unknown.per_image == (*KNOWN_NAMES, *others)
    mostly_known = patients_from_names([*KNOWN_NAMES, *others[:2]], None)
    assert mostly_known.known
    assert mostly_known.per_image[-2:] == ("ill/0.png", "ill/1.png")
    assert mostly_known.notes[0].startswith("2 file names have no patient")


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
    patients = patients_from_names(["site-b/p12-3.png", "other.png"], pattern)
    assert patients.per_image == (patient, "other.png")
    assert patients.notes[0].startswith("1 file names have no patient")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression"),
        ("zzz", "matches no file name"),
        ("z*", "matches no file"),
    ],
)
def test_a_pattern_without_a_match_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(fill(tmp_path)), patient_pattern=pattern)
    assert is_one_line(caught.value)


@pytest.mark.parametrize("source", ["phantom", "npy", "npz"])
def test_a_pattern_needs_file_names(tmp_path: Path, source: str) -> None:
    np.save(tmp_path / "a.npy", noise(9, 8, 8))
    np.savez(tmp_path / "x.npz", train_images=noise(9, 8, 8), train_labels=np.arange(9) % 2)
    path = {"phantom": "phantom", "npy": str(tmp_path), "npz": str(tmp_path / "x.npz")}[source]
    with pytest.raises(DataError, match="no file names") as caught:
        open_dataset(path, patient_pattern="x")
    assert is_one_line(caught.value)


@examples
@given(
    st.lists(st.text("a-1/_", min_size=1), min_size=1, unique=True),
    st.text("a1()\\d-?*", max_size=6),
)
def test_any_pattern_gives_each_name_a_patient_or_is_refused(
    names: list[str], pattern: str
) -> None:
    result = outcome(lambda: patients_from_names(names, pattern))
    if isinstance(result, DataError):
        assert "--patient-pattern" in str(result)
        return
    assert result.known
    assert len(result.per_image) == len(names)
    for patient, name in zip(result.per_image, names, strict=True):
        assert patient
        assert patient in name


def test_integer_class_names_are_sorted_numerically() -> None:
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


def _split_next_to_classes(folder: Path) -> None:
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
    (_split_next_to_classes, "split folder 'train' and the folder 'NORMAL'"),
    (_other_classes, "class 'other' is not in every split"),
    (_one_split_twice, "one split twice: train, val, valid"),
    (_one_class_in_a_split, "val holds one class, 'NORMAL'"),
    (_arrays, r"\.npy files and the folder 'NORMAL'"),
    (_table_of(""), "metadata.csv cannot be read"),
    (_table_of("file\n"), "lists nothing"),
    (_table_of("name\nx.png\n"), "no column 'file'.*name"),
    (_table_of("file\nNORMAL/0.png\nNORMAL/99.png\n"), "'NORMAL/99.png', which .* does not hold"),
    (_table_of("file\nNORMAL/0.png\nNORMAL//0.png\n"), "'NORMAL/0.png' twice"),
    (_table_of("file\n../x.png\n"), "not a path within"),
    (_table_of("file\n/etc/passwd\n"), "not a path within"),
    (_table_of('file\n""\nill/0.png\n'), "not a path within|lists nothing"),
    (_table_of("file,label\nill/0.png,a\nill/1.png,\n"), "'ill/1.png' no label"),
    (_table_of("file,split\nill/0.png,train\nill/1.png,\n"), "'ill/1.png' no split"),
    (_table_of("file,split\nill/0.png,training\n"), "split 'training'"),
    (_table_of("file,label,split\nill/0.png,a,val\nill/1.png,b,test\n"), "no image .* train split"),
    (_table_of("file\nmetadata.csv\n"), "class of 'metadata.csv' is unknown"),
    (_table_of("file,label\nill/0.png,a\nill/1.png,a\n"), "one class"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_an_unusable_folder_is_refused_with_a_one_line_error(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "data"
    spoil(fill(folder))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(folder))
    assert is_one_line(caught.value)


@pytest.mark.parametrize(
    ("folders", "message"),
    [([], "is empty"), (["ill"], "one class, 'ill'"), (["a", "b"], "no image")],
)
def test_a_folder_without_two_classes_with_images_is_refused(
    tmp_path: Path, folders: list[str], message: str
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path))
    assert is_one_line(caught.value)


def test_a_folder_with_only_files_has_no_class(tmp_path: Path) -> None:
    save(tmp_path / "1.png", noise(8, 8))
    with pytest.raises(DataError, match="no class folder"):
        open_dataset(str(tmp_path))


@pytest.mark.real_data
def test_the_chest_x_rays_are_split_by_patient(real_data: Path) -> None:
    datasets = [open_dataset(str(real_data / "chest_xray"), seed=seed) for seed in range(3)]
    for dataset in datasets:
        assert (dataset.classes, dataset.channels) == (("NORMAL", "PNEUMONIA"), 1)
        assert dataset.patients_known
        patients = [set(split.patients) for split in dataset.splits.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 901
        assert sum(map(len, dataset.splits.values())) == 1601
        shares = [np.mean(split.labels) for split in dataset.splits.values()]
        assert np.ptp(shares) < 0.1
    assert len({dataset.test.fingerprint for dataset in datasets}) == 3
