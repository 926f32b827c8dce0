"""20,000 image files: decoded once, and never entirely in memory if splits are mapped."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tune_bio.datasets.cache import arrays
from tune_bio.datasets.decoding.parallel import map_in_order
from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.sources import file_index, file_source
from tune_bio.datasets.transforms.geometry import Geometry

pytestmark = pytest.mark.slow

N, SIDE = 20_000, 64
PATIENTS = N // 4
SAME, LARGER = Geometry(SIDE), Geometry(128)  # LARGER: pixels dwarf the facts about the files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of grey PNGs in two classes, four per patient, with the patient in the name."""
    root = tmp_path_factory.mktemp("many")
    for name in ("ill", "well"):
        (root / name).mkdir()

    def save(number: int) -> None:
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        patient = number // 4
        path = root / ("ill", "well")[patient % 2] / f"case{patient:05d}-{number % 4}.png"
        Image.fromarray(pixels).save(path, compress_level=1)

    for _ in map_in_order(save, range(N)):
        pass
    return root


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names of the files that are read and of the files that are decoded."""
    names: dict[str, list[str]] = {"read": [], "decoded": []}

    def recording(read: Callable[[Path], bytes]) -> Callable[[Path], bytes]:
        def recorded(path: Path) -> bytes:
            names["read"].append(str(path))
            return read(path)

        return recorded

    decode = file_source.decode

    def recorded_decode(data: bytes, name: str) -> Any:
        names["decoded"].append(name)
        return decode(data, name)

    monkeypatch.setattr(file_index, "read_bytes", recording(file_index.read_bytes))
    monkeypatch.setattr(file_source, "read_bytes", recording(file_source.read_bytes))
    monkeypatch.setattr(file_source, "decode", recorded_decode)
    monkeypatch.setattr(file_index, "SETTLED_NS", 0)  # the files are brand new
    return names


def opened(folder: Path, geometry: Geometry = SAME) -> Dataset:
    return open_dataset(
        str(folder), patient_pattern=r"(case\d+)-", geometries=lambda size: [geometry]
    )


def test_the_second_opening_reads_no_file_and_returns_the_same(
    folder: Path, files: dict[str, list[str]]
) -> None:
    first = opened(folder)
    assert len(set(files["decoded"])) == len(files["decoded"]) == N
    # Once for the index and once to decode: the bytes of a folder are not kept in between.
    assert len(files["read"]) == 2 * N
    assert len(set(files["read"])) == N
    files["read"].clear()
    files["decoded"].clear()
    second = opened(folder)
    assert [len(split) for split in first.splits.values()] == [12_000, 4_000, 4_000]
    for before, after in zip(first.splits.values(), second.splits.values(), strict=True):
        assert before.fingerprint == after.fingerprint
        assert before.names.tolist() == after.names.tolist()
        assert np.array_equal(before.at(SAME), after.at(SAME))
    assert files == {"read": [], "decoded": []}


def test_pixels_equal_those_of_the_files_and_patients_stay_in_one_split(folder: Path) -> None:
    dataset = opened(folder)
    assert dataset.patients_known
    assert dataset.patients_on_two_sides == 0
    patients = [set(split.patients.tolist()) for split in dataset.splits.values()]
    assert len(set.union(*patients)) == sum(map(len, patients)) == PATIENTS
    for split in dataset.splits.values():
        images = split.at(SAME)
        for i in (0, len(split) // 2, len(split) - 1):
            assert np.array_equal(
                images[i, ..., 0], np.asarray(Image.open(folder / split.names[i]))
            )


@pytest.mark.parametrize("mapped", [True, False])
def test_mapped_splits_are_never_entirely_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """The unmapped case shows that the measurement would detect a split in memory."""
    monkeypatch.setattr(arrays, "LARGE", 0 if mapped else 1)
    tracemalloc.start()
    try:
        dataset = opened(folder, LARGER)
        splits = [split.at(LARGER) for split in (dataset.train, dataset.val)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(split.nbytes for split in splits)
    assert size == 16_000 * 128 * 128
    assert all(isinstance(split, np.memmap) == mapped for split in splits)
    assert peak < size / 3 if mapped else peak > size
