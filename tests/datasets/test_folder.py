"""Folders of class folders: what is decoded, who the patients are, what is refused."""

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fixtures_data import examples, is_one_line, outcome
from tune_bio.datasets import open_dataset
from tune_bio.datasets.folder import read_folder
from tune_bio.errors import DataError, InputError

RNG = np.random.default_rng(0)


def grey(size: int = 12) -> Any:
    return Image.fromarray(RNG.integers(0, 256, (size, size), dtype=np.uint8))


def colour(size: int = 12) -> Any:
    return Image.fromarray(RNG.integers(0, 256, (size, size, 3), dtype=np.uint8))


def fill(folder: Path, make: Callable[[], Any] = grey, n: int = 6, suffix: str = "png") -> Path:
    for name in ("NORMAL", "ill"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            make().save(folder / name / f"{i}.{suffix}")
    return folder


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "PNG"])
@pytest.mark.parametrize(("make", "channels"), [(grey, 1), (colour, 3)])
def test_every_format_is_decoded(
    tmp_path: Path, suffix: str, make: Callable[[], Any], channels: int
) -> None:
    found = read_folder(fill(tmp_path, make, n=2, suffix=suffix), 8)
    assert found.images.pixels.shape == (4, 12, 12, channels)
    assert found.classes == ("NORMAL", "ill")
    assert found.images.labels.tolist() == [0, 0, 1, 1]
    for pixels, name in zip(found.images.pixels, found.images.names, strict=True):
        with Image.open(tmp_path / name) as image:
            assert np.array_equal(pixels.squeeze(), np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_is_read(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    found = read_folder(fill(tmp_path, lambda: colour().convert(mode), n=1, suffix=suffix), 8)
    assert found.images.pixels.shape == (2, 12, 12, 1 if mode in ("1", "L", "LA") else 3)


def test_grey_images_stored_as_colour_are_grey(tmp_path: Path) -> None:
    assert read_folder(fill(tmp_path, lambda: grey().convert("RGB")), 8).images.pixels.shape[3] == 1


def test_grey_beside_colour_becomes_colour(tmp_path: Path) -> None:
    fill(tmp_path, colour, n=2)
    image = grey()
    image.save(tmp_path / "ill" / "9.png")
    pixels = read_folder(tmp_path, 8).images.pixels
    assert pixels.shape == (5, 12, 12, 3)
    assert np.array_equal(pixels[-1], np.repeat(np.asarray(image)[..., None], 3, axis=2))


def test_images_of_different_sizes_are_resized_and_the_reader_is_told(tmp_path: Path) -> None:
    fill(tmp_path, n=2)
    Image.new("L", (20, 9), 77).save(tmp_path / "ill" / "9.png")
    found = read_folder(tmp_path, 10)
    assert found.images.pixels.shape == (5, 10, 10, 1)
    assert (found.images.pixels[-1] == 77).all()
    assert any("2 image sizes" in note for note in found.notes)


def test_hidden_files_are_passed_over_and_other_files_counted(tmp_path: Path) -> None:
    fill(tmp_path, n=2)
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.txt").touch()
    (tmp_path / "ill" / ".DS_Store").touch()
    (tmp_path / "ill" / "notes.txt").touch()
    (tmp_path / "ill" / "deeper").mkdir()
    grey().save(tmp_path / "ill" / "deeper" / "9.png")
    found = read_folder(tmp_path, 8)
    assert len(found.images) == 5
    assert "ill/deeper/9.png" in found.images.names
    assert any(note.startswith("1 files that are no images") for note in found.notes)


def test_progress_is_told_image_by_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    read_folder(fill(tmp_path, n=2), 8, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_decoding_leaves_the_filters_of_warnings_as_they_were(tmp_path: Path) -> None:
    fill(tmp_path, lambda: colour(100), n=100)
    before = list(warnings.filters)
    read_folder(tmp_path, 8)
    assert list(warnings.filters) == before


def test_the_patient_is_read_from_the_names_of_the_chest_x_ray_set(tmp_path: Path) -> None:
    names = {
        "NORMAL": ["IM-0115-0001", "IM-0115-0002", "NORMAL2-IM-0381-0001", "IM-0200-0001-0002"],
        "PNEUMONIA": [
            "person1_bacteria_1",
            "person1_virus_2",
            "person12_bacteria_1",
            "person447_virus_921_1",  # one file of the published set is named so
        ],
    }
    for folder, stems in names.items():
        (tmp_path / folder).mkdir()
        for stem in stems:
            grey().save(tmp_path / folder / f"{stem}.jpeg")
    found = read_folder(tmp_path, 8)
    assert found.patients_known
    patients = dict(zip(found.images.names, found.images.patients, strict=True))
    assert patients == {
        "NORMAL/IM-0115-0001.jpeg": "IM-0115",
        "NORMAL/IM-0115-0002.jpeg": "IM-0115",
        "NORMAL/IM-0200-0001-0002.jpeg": "IM-0200",
        "NORMAL/NORMAL2-IM-0381-0001.jpeg": "NORMAL2-IM-0381",
        "PNEUMONIA/person1_bacteria_1.jpeg": "person1",
        "PNEUMONIA/person1_virus_2.jpeg": "person1",
        "PNEUMONIA/person12_bacteria_1.jpeg": "person12",
        "PNEUMONIA/person447_virus_921_1.jpeg": "person447",
    }


def test_with_other_names_every_image_is_its_own_patient(tmp_path: Path) -> None:
    found = read_folder(fill(tmp_path), 8)
    assert not found.patients_known
    assert found.images.patients.tolist() == found.images.names.tolist()


def _text(folder: Path) -> None:
    (folder / "ill" / "9.png").write_text("this is text")


def _nothing(folder: Path) -> None:
    (folder / "ill" / "9.jpg").touch()


def _truncated(folder: Path) -> None:
    buffer = BytesIO()
    colour(64).save(buffer, "JPEG")
    (folder / "ill" / "9.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def _sixteen_bit(folder: Path) -> None:
    Image.fromarray(np.full((12, 12), 40_000, np.uint16)).save(folder / "ill" / "9.png")


def _empty_class(folder: Path) -> None:
    (folder / "zero").mkdir()


def _three_splits(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder / {"ill": "train", "NORMAL": "test"}[path.name])


def _arrays(folder: Path) -> None:
    np.save(folder / "ill.npy", np.zeros(3))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_text, r"9\.png cannot be read as an image"),
        (_nothing, r"9\.jpg cannot be read as an image"),
        (_truncated, r"9\.jpg cannot be read as an image.*truncated"),
        (_sixteen_bit, r"9\.png has the pixel mode I;16.*8-bit"),
        (_empty_class, "class folder .*zero holds no image"),
        (_three_splits, "train/val/test"),
        (_arrays, r"\.npy"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(fill(tmp_path))
    with pytest.raises(InputError, match=told) as caught:
        open_dataset(str(tmp_path))
    assert is_one_line(caught.value)


@pytest.mark.parametrize("limit", [143, 50])  # Pillow warns beyond its limit, raises at twice it
def test_an_image_of_a_size_beyond_reason_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="144 pixels") as caught:
        read_folder(tmp_path, 8)
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
    grey().save(tmp_path / "1.png")
    with pytest.raises(DataError, match="no class folder"):
        open_dataset(str(tmp_path))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow grumbles before it gives up
@settings(examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["png", "jpeg", "bmp", "tiff"]),
    keep=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(
    tmp_path: Path, suffix: str, keep: float, changes: list[tuple[float, int]]
) -> None:
    fill(tmp_path, n=1)
    buffer = BytesIO()
    Image.new("RGB", (9, 9), (3, 5, 7)).save(buffer, suffix)
    data = bytearray(buffer.getvalue())
    for where, value in changes:
        data[int(where * len(data))] = value
    (tmp_path / "ill" / "damaged.png").write_bytes(data[: max(1, round(keep * len(data)))])
    found = outcome(lambda: read_folder(tmp_path, 8))
    if isinstance(found, InputError):
        assert "damaged" in str(found)
    else:
        assert found.images.pixels.dtype == np.uint8


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
