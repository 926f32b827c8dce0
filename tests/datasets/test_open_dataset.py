"""What every source promises, run over every source."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.fixtures_data import is_one_line
from tune_bio.datasets import Dataset, open_dataset
from tune_bio.errors import DataError, InputError, NotBuiltError

RNG = np.random.default_rng(0)


def _phantom(folder: Path) -> str:
    return "phantom"


def _npz(folder: Path) -> str:
    images = RNG.integers(0, 256, (40, 12, 12)).astype(np.uint8)
    np.savez(folder / "data.npz", train_images=images, train_labels=np.arange(40) % 3)
    return str(folder / "data.npz")


def _folder(folder: Path, shape: tuple[int, ...] = (12, 12)) -> str:
    for k, name in enumerate(("a", "b")):
        (folder / name).mkdir()
        for i in range(20):
            pixels = RNG.integers(0, 256, shape).astype(np.uint8)
            number = 100 * k + i // 2
            Image.fromarray(pixels).save(folder / name / f"person{number}_virus_{i}.png")
    return str(folder)


def _colour_folder(folder: Path) -> str:
    return _folder(folder, (12, 12, 3))


@pytest.fixture(scope="module", params=[_phantom, _npz, _folder, _colour_folder])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    source = request.param(tmp_path_factory.mktemp("source"))
    return source, open_dataset(source)


def test_pixels_labels_patients_and_names_have_the_promised_types(
    opened: tuple[str, Dataset],
) -> None:
    found = opened[1]
    shapes = set()
    for split in found.splits.values():
        assert split.pixels.dtype == np.uint8
        assert split.pixels.ndim == 4
        assert split.pixels.flags.c_contiguous
        assert split.labels.dtype == np.int64
        assert len(split.pixels) == len(split.labels) == len(split.patients) == len(split.names)
        assert split.patients.dtype.kind == split.names.dtype.kind == "U"
        shapes.add(split.pixels.shape[1:])
    assert shapes == {(*found.train.pixels.shape[1:3], found.channels)}
    assert found.channels in (1, 3)


def test_no_patient_and_no_image_is_on_two_sides_and_no_class_is_missing(
    opened: tuple[str, Dataset],
) -> None:
    found = opened[1]
    splits = list(found.splits.values())
    for field in ("patients", "names"):
        sides = [set(getattr(split, field)) for split in splits]
        assert sum(map(len, sides)) == len(set.union(*sides))
    for split in splits:
        assert set(split.labels) == set(range(len(found.classes)))


def test_a_source_tells_what_it_is(opened: tuple[str, Dataset]) -> None:
    source, found = opened
    assert found.source == source
    assert found.positive == len(found.classes) - 1
    assert found.split
    assert found.synthetic == (source == "phantom")
    if found.synthetic:
        assert any("synthetic" in note for note in found.notes)
    assert found.patients_known != any("patients cannot be told" in note for note in found.notes)


def test_the_positive_class_can_be_named(opened: tuple[str, Dataset]) -> None:
    source, found = opened
    first = open_dataset(source, positive_class=found.classes[0])
    assert first.positive == 0
    assert [s.fingerprint for s in first.splits.values()] == [
        s.fingerprint for s in found.splits.values()
    ]
    with pytest.raises(DataError, match="'no such class' is no class of") as caught:
        open_dataset(source, positive_class="no such class")
    assert is_one_line(caught.value)
    assert found.classes[0] in str(caught.value)


@pytest.mark.parametrize(
    ("source", "error", "told"),
    [
        ("phantom:shortcut", NotBuiltError, "not built yet"),
        ("no/such/folder", DataError, "does not exist"),
        ("missing.npz", DataError, "does not exist"),
        (__file__, DataError, "neither a folder nor an .npz"),
    ],
)
def test_an_unknown_source_is_refused_with_those_there_are(
    source: str, error: type[InputError], told: str
) -> None:
    with pytest.raises(error, match=told) as caught:
        open_dataset(source)
    assert is_one_line(caught.value)
    assert "phantom" in str(caught.value)
