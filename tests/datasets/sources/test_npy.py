"""One .npy per class: mapped and never copied as a whole, or refused with a one-line error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data_factory import is_one_line
from tests.datasets.source_factory import noise
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.errors import DataError


def fill(folder: Path, n: int = 9) -> Path:
    for k, name in enumerate(("ill", "well")):
        np.save(folder / f"{name}.npy", noise(n, 8, 8, seed=k))
    return folder


def test_classes_are_named_after_the_files_and_rows_keep_their_order(tmp_path: Path) -> None:
    (fill(tmp_path) / "readme.txt").touch()
    opened = open_dataset(str(tmp_path))
    assert opened.classes == ("ill", "well")
    assert any(note.startswith("1 files that are not arrays") for note in opened.notes)
    for split in opened.splits.values():
        for name, label, pixels in zip(
            split.names, split.labels, split.at(Geometry(8)), strict=True
        ):
            stem, number = name.split("/")
            assert stem == opened.classes[label]
            assert np.array_equal(pixels[..., 0], np.load(tmp_path / f"{stem}.npy")[int(number)])


def test_arrays_with_another_byte_order_keep_their_values(tmp_path: Path) -> None:
    pixels = noise(9, 8, 8, dtype=np.uint16)
    for name in ("ill", "well"):
        np.save(tmp_path / f"{name}.npy", pixels.astype(">u2"))
    opened = open_dataset(str(tmp_path))
    assert opened.dtype == np.uint16
    numbers = [int(name.split("/")[1]) for name in opened.train.names]
    assert np.array_equal(opened.train.at(Geometry(8))[..., 0], pixels[numbers])


def test_a_large_array_is_mapped_and_not_read_as_a_whole(tmp_path: Path) -> None:
    """The files are sparse, 34 GB each: more than the test could read."""
    for name in ("ill", "well"):
        with (tmp_path / f"{name}.npy").open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (500, 8192, 8192)}
            np.lib.format.write_array_header_1_0(stream, header)
            start, size = stream.tell(), 8192 * 8192
            for k in range(500):  # otherwise all images would be constant and equal
                stream.seek(start + k * size + size // 2)
                stream.write(f"{name} {k:3}".encode())
            stream.truncate(start + 500 * size)
    opened = open_dataset(str(tmp_path))
    first = opened.train.take(np.arange(1))
    assert first.at(Geometry(16)).shape == (1, 16, 16, 1)


def _other_size(folder: Path) -> None:
    np.save(folder / "ill.npy", noise(9, 8, 9))


def _other_dtype(folder: Path) -> None:
    np.save(folder / "ill.npy", noise(9, 8, 8, dtype=np.uint16))


def _floats(folder: Path) -> None:
    np.save(folder / "ill.npy", np.zeros((9, 8, 8)))


def _flat(folder: Path) -> None:
    np.save(folder / "ill.npy", noise(9, 64))


def _pickles(folder: Path) -> None:
    np.save(folder / "ill.npy", np.array([{}]), allow_pickle=True)


def _no_array(folder: Path) -> None:
    (folder / "ill.npy").write_text("hello")


def _half(folder: Path) -> None:
    data = (folder / "ill.npy").read_bytes()
    (folder / "ill.npy").write_bytes(data[: len(data) // 2])


def _empty(folder: Path) -> None:
    np.save(folder / "ill.npy", noise(0, 8, 8))


def _one_class(folder: Path) -> None:
    (folder / "ill.npy").unlink()


def _table(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file\nill.npy\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_size, r"differ in image shape.*ill.*\(8, 9, 1\)"),
        (_other_dtype, "differ in image shape or dtype.*uint16"),
        (_floats, "float64.*uint8"),
        (_flat, r"\(9, 64\)"),
        (_pickles, "pickled Python objects"),
        (_no_array, "ill.npy"),
        (_half, "ill.npy cannot be read"),
        (_empty, "hold no pixels"),
        (_one_class, "one class"),
        (_table, "npy files and metadata.csv"),
    ],
)
def test_unusable_arrays_are_refused_with_a_one_line_error(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(fill(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path))
    assert is_one_line(caught.value)


@pytest.mark.real_data
def test_the_layout_of_the_course_can_be_opened(tmp_path: Path, real_data: Path) -> None:
    """The chest X-rays as one array per class, 256 x 256."""
    for name in ("NORMAL", "PNEUMONIA"):
        files = sorted((real_data / "chest_xray" / name).glob("*.jp*g"))[:60]
        images = [Image.open(path).convert("L").resize((256, 256)) for path in files]
        np.save(tmp_path / f"{name}.npy", np.stack([np.asarray(image) for image in images]))
    opened = open_dataset(str(tmp_path))
    assert (opened.classes, opened.channels) == (("NORMAL", "PNEUMONIA"), 1)
    assert (opened.shape, opened.size) == ((256, 256), 256)
    assert [len(split) for split in opened.splits.values()] == [72, 24, 24]
    assert not opened.patients_known
    pixels = opened.train.at(Geometry(64))
    assert pixels.shape == (72, 64, 64, 1)
    assert 60 < pixels.mean() < 190
