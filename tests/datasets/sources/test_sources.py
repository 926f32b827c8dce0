"""The contract of all sources, tested with every kind of source."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_factory import is_one_line
from tests.datasets.source_factory import (
    FOLDERS,
    KINDS,
    SIDE,
    SourceCase,
    class_folders,
    noise,
    npy,
    save,
    split_folders,
)
from tune_bio.datasets.cache import arrays as cache_module
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_arrays, open_dataset, read_all
from tune_bio.datasets.phantom import phantom
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import prepare_data
from tune_bio.errors import DataError

GEOMETRIES = (Geometry(10), Geometry(8, resize=14, crop=9))


@pytest.fixture(scope="module", autouse=True)
def _few_phantom_patients() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom, "PATIENTS", {"train": 12, "val": 9, "test": 9})
        yield


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SourceCase:
    source_case: SourceCase = request.param(tmp_path_factory.mktemp("source"))
    return source_case


@pytest.fixture(scope="module")
def opened(case: SourceCase) -> Dataset:
    return case.open()


def test_a_source_has_the_expected_properties(case: SourceCase, opened: Dataset) -> None:
    assert len(opened.classes) == case.classes
    assert opened.positive == case.classes - 1
    assert (opened.channels, opened.dtype, opened.shape) == (case.channels, case.dtype, case.shape)
    assert opened.patients_known == case.patients_known
    assert opened.patients_known != any("patients are unknown" in n for n in opened.notes)
    assert opened.synthetic == opened.source.startswith("phantom")
    assert opened.synthetic == any("synthetic" in note for note in opened.notes)
    assert ("cut from train" in opened.split) != case.has_splits


def test_headers_describe_each_image_as_stored(case: SourceCase, opened: Dataset) -> None:
    bits = set()
    for images in opened.splits.values():
        headers = images.source.headers(images.rows)
        for header, image in zip(headers, images.originals(), strict=True):
            assert (header.height, header.width) == image.shape[:2]
            assert header.colour or (image == image[..., :1]).all()
            bits.add(header.bits)
        hashes = images.source.file_hashes(images.rows)
        assert hashes is None or len(set(hashes)) == len(images)  # all images differ
    assert max(bits) == 8 * np.dtype(case.dtype).itemsize


def test_no_patient_is_in_two_splits_and_no_class_is_missing(opened: Dataset) -> None:
    assert opened.patients_on_two_sides == 0
    splits = list(opened.splits.values())
    names = np.concatenate([split.names for split in splits])
    assert len(set(names)) == len(names)
    for split in splits:
        assert set(split.labels) == set(range(len(opened.classes)))
        assert split.labels.dtype == np.int64
        assert split.patients.dtype.kind == split.names.dtype.kind == "U"
        assert len(split) == len(split.rows) == len(split.patients) == len(split.names) > 0


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_pixels_at_a_geometry_equal_the_transformed_originals_bit_for_bit(
    opened: Dataset, geometry: Geometry
) -> None:
    images = opened.val.take(np.arange(len(opened.val))[::-1][:30])
    pixels = images.at(geometry)
    side = geometry.image_size
    assert (pixels.shape, pixels.dtype) == (
        (len(images), side, side, opened.channels),
        opened.dtype,
    )
    originals = list(images.originals())
    assert len(originals) == len(images)
    for original, transformed in zip(originals, pixels, strict=True):
        assert original.dtype == opened.dtype
        assert original.shape[2] == opened.channels
        assert np.array_equal(geometry.apply(original[np.newaxis])[0], transformed)


def test_opening_twice_gives_the_same_and_another_seed_cuts_other_splits(
    case: SourceCase, opened: Dataset
) -> None:
    again, other = case.open(), case.open(seed=7)
    for name, split in opened.splits.items():
        assert split.names.tolist() == again.splits[name].names.tolist()
        assert split.fingerprint == again.splits[name].fingerprint
    same = [s.fingerprint for s in other.splits.values()] == [
        s.fingerprint for s in opened.splits.values()
    ]
    assert same == case.has_splits
    assert len({split.fingerprint for split in opened.splits.values()}) == 3


def test_a_trial_receives_nothing_of_the_test_split(opened: Dataset) -> None:
    data = prepare_data(opened, GEOMETRIES[0])
    assert {field.name for field in dataclasses.fields(data)} == {
        "train", "val", "classes", "positive", "format", "cut", "features_key",
        "split_key",
    }  # fmt: skip
    assert data.cut is None  # features of these splits are added later
    for split, whole in ((data.train, opened.train), (data.val, opened.val)):
        assert len(split.pixels) == len(split.labels) == len(whole)
        assert np.array_equal(split.labels, whole.labels)
        assert np.array_equal(split.pixels, whole.at(GEOMETRIES[0]))
    assert data.format == opened.pixel_format(GEOMETRIES[0])


def test_large_images_are_mapped_from_the_cache_with_the_same_bytes(
    case: SourceCase, opened: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_memory = opened.val.at(GEOMETRIES[0])
    assert cache_module.mapped_file(in_memory) is None
    monkeypatch.setattr(cache_module, "LARGE", 0)
    mapped = case.open(cache_dir=tmp_path).val.at(GEOMETRIES[0])
    assert np.array_equal(mapped, in_memory)
    path = cache_module.mapped_file(mapped)
    assert path is not None
    assert path.is_relative_to(tmp_path)
    assert len(np.load(path)) == len(opened.val)  # nothing of another split
    written = path.stat().st_ino
    assert cache_module.mapped_file(case.open(cache_dir=tmp_path).val.at(GEOMETRIES[0])) == path
    assert path.stat().st_ino == written, "written again"


def test_the_positive_class_can_be_selected(case: SourceCase, opened: Dataset) -> None:
    assert case.open(positive_class=opened.classes[0]).positive == 0
    with pytest.raises(DataError, match="'no such class' is not a class of") as caught:
        case.open(positive_class="no such class")
    assert is_one_line(caught.value)
    assert opened.classes[0] in str(caught.value)


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.__name__)
def test_a_changed_pixel_changes_only_the_fingerprint_of_its_split(
    kind: Callable[[Path], SourceCase], tmp_path: Path
) -> None:
    case = kind(tmp_path)
    before = case.open()
    train, test = before.train.fingerprint, before.test.fingerprint
    _change_one_pixel(tmp_path, str(before.train.names[0]))
    after = case.open()
    assert after.train.names.tolist() == before.train.names.tolist()
    assert (after.train.fingerprint != train, after.test.fingerprint == test) == (True, True)


def test_a_fingerprint_does_not_depend_on_the_path_of_a_folder(tmp_path: Path) -> None:
    case = class_folders(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    copy = open_dataset(str(tmp_path / "there"))
    assert copy.train.fingerprint == case.open().train.fingerprint


def _change_one_pixel(folder: Path, name: str) -> None:
    if not (folder / name).is_file():  # one array per class
        stem, number = name.split("/")
        pixels = np.load(folder / f"{stem}.npy")
        pixels[int(number), 0, 0] ^= 1
        np.save(folder / f"{stem}.npy", pixels)
        return
    with Image.open(folder / name) as image:
        pixels = np.array(image)
    pixels[0, 0] ^= 1
    save(folder / name, pixels)


def test_a_different_array_has_a_different_fingerprint() -> None:
    images, labels = noise(20, SIDE, SIDE), np.arange(20) % 2
    other = images.copy()
    other[:, 0, 0] ^= 1
    first, again, changed = (open_arrays(i, labels) for i in (images, images.copy(), other))
    assert first.train.fingerprint == again.train.fingerprint != changed.train.fingerprint


@pytest.mark.parametrize("kind", [split_folders, class_folders, npy], ids=lambda k: k.__name__)
def test_all_images_of_a_source_can_be_read_without_splitting(
    kind: Callable[[Path], SourceCase], tmp_path: Path
) -> None:
    dataset = kind(tmp_path).open()
    collection = read_all(str(tmp_path))
    images = collection.everything
    assert collection.classes == dataset.classes
    assert sorted(images.names) == sorted(
        n for split in dataset.splits.values() for n in split.names
    )
    of_val = np.array([images.names.tolist().index(name) for name in dataset.val.names])
    assert np.array_equal(images.labels[of_val], dataset.val.labels)
    assert np.array_equal(images.at(GEOMETRIES[0])[of_val], dataset.val.at(GEOMETRIES[0]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "does not exist"),
        ("missing.npz", "does not exist"),
        (__file__, "neither a folder nor an .npz"),
        ("phantom:1", "no data source 'phantom:1'"),
        ("phantom:13", "2 to 12 classes"),
        ("phantom:", "no data source"),
        ("phantom:many", "no data source"),
    ],
)
def test_an_unknown_source_is_refused_with_the_supported_ones(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(source)
    assert is_one_line(caught.value)
    assert "phantom" in str(caught.value)


def test_a_note_reports_the_shortcut() -> None:
    assert any("marker in a corner" in note for note in open_dataset("phantom:shortcut").notes)
