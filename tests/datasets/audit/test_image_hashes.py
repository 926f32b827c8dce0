"""Marks: what is the same has the same, and they are made once."""

from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from tests.data_factory import as_images
from tests.datasets.audit.audit_factory import SIDE, clean, folder_of, opened, smooth
from tests.datasets.source_factory import noise
from tune_bio.datasets.audit import image_hashes as marks_module
from tune_bio.datasets.audit.audit import audit_source
from tune_bio.datasets.audit.image_hashes import ImageHashes, hash_images
from tune_bio.datasets.decoding.parallel import no_progress
from tune_bio.datasets.images import Images
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry


def _images(pixels: Any) -> Images:
    names = np.array([str(i) for i in range(len(pixels))])
    return as_images(pixels, np.zeros(len(pixels), np.int64), names, names)


def _marks(pixels: Any, side: int) -> ImageHashes:
    return hash_images([_images(pixels)], Geometry(side), no_progress)


def _bits(words: Any) -> int:
    return int(np.bitwise_count(words).sum())


def test_looks_are_the_hash_of_the_library() -> None:
    pixels = smooth(5, 64, seed=1)
    looks = _marks(pixels[..., np.newaxis], 64).looks
    for image, words in zip(pixels, looks, strict=True):
        expected = imagehash.phash(Image.fromarray(image), 16, 4).hash.ravel()
        assert np.unpackbits(words.view(np.uint8)).astype(bool).tolist() == expected.tolist()


def test_looks_do_not_depend_on_colour_or_depth_and_pixels_do() -> None:
    grey = smooth(4, 64, seed=2)[..., np.newaxis]
    plain = _marks(grey, 64)
    colour, deep = _marks(np.repeat(grey, 3, axis=3), 64), _marks(grey.astype(np.uint16) * 9, 64)
    assert max(map(_bits, plain.looks ^ colour.looks)) == 0
    assert max(map(_bits, plain.looks ^ deep.looks)) <= 4  # its range is stretched, so rounded
    for other in (colour, deep):
        assert (plain.pixels != other.pixels).any(axis=1).all()
    assert len(np.unique(plain.pixels, axis=0)) == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images(dtype: Any, channels: int) -> None:
    pixels = noise(3, SIDE, SIDE, channels, dtype=dtype)
    pixels[1] = np.arange(channels)  # of one colour
    assert _marks(pixels, SIDE).constant.tolist() == [False, True, False]


def test_splits_of_several_sources_keep_their_order() -> None:
    a, b = noise(6, SIDE, SIDE, 1, seed=1), noise(4, SIDE, SIDE, 1, seed=2)
    first, second = _images(a), _images(b)
    order = np.array([4, 0, 5])
    found = hash_images([first.take(order), second], Geometry(SIDE), no_progress)
    expected = np.concatenate([_marks(a, SIDE).pixels[order], _marks(b, SIDE).pixels])
    assert (found.pixels == expected).all()


def test_marks_are_made_once_whatever_the_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = clean()
    folder = folder_of(tmp_path, {"all": parts["train"]}) / "all"
    made: list[int] = []
    mark = marks_module._mark

    def counted(pixels: Any) -> Any:
        made.append(1)
        return mark(pixels)

    monkeypatch.setattr(marks_module, "_mark", counted)
    first = audit_source(str(folder)).audit
    assert len(made) == 120
    assert audit_source(str(folder)).audit == first
    other = audit_source(str(folder), seed=1)
    assert other.dataset.val.names.tolist() != open_dataset(str(folder)).val.names.tolist()
    assert len(made) == 120
    changed = folder / "ill" / "train-patient0.png"
    Image.fromarray(noise(SIDE, SIDE, seed=99)).save(changed)
    audit_source(str(folder))
    assert len(made) == 240


def test_damaged_marks_are_made_anew(cache_home: Path) -> None:
    dataset = opened(clean())
    before = hash_images(list(dataset.splits.values()), Geometry(SIDE), no_progress)
    (kept,) = (cache_home / "audits").iterdir()
    kept.write_bytes(b"nonsense")
    after = hash_images(list(dataset.splits.values()), Geometry(SIDE), no_progress)
    assert (after.looks == before.looks).all()
