"""Image hashes: equal for equal images, and computed once."""

from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from tests.data_factory import as_images
from tests.datasets.audit.audit_factory import SIDE, clean, folder_of, opened, smooth
from tests.datasets.source_factory import noise
from tune_bio.datasets.audit import image_hashes as hashes_module
from tune_bio.datasets.audit.audit import audit_source
from tune_bio.datasets.audit.image_hashes import ImageHashes, hash_images
from tune_bio.datasets.decoding.parallel import no_progress
from tune_bio.datasets.images import Images
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.transforms.geometry import Geometry


def _images(pixels: Any) -> Images:
    names = np.array([str(i) for i in range(len(pixels))])
    return as_images(pixels, np.zeros(len(pixels), np.int64), names, names)


def _hashes(pixels: Any, side: int) -> ImageHashes:
    return hash_images([_images(pixels)], Geometry(side), no_progress)


def _bits(words: Any) -> int:
    return int(np.bitwise_count(words).sum())


def test_perceptual_hashes_are_those_of_imagehash() -> None:
    pixels = smooth(5, 64, seed=1)
    hashes = _hashes(pixels[..., np.newaxis], 64).perceptual
    for image, words in zip(pixels, hashes, strict=True):
        expected = imagehash.phash(Image.fromarray(image), 16, 4).hash.ravel()
        assert np.unpackbits(words.view(np.uint8)).astype(bool).tolist() == expected.tolist()


def test_perceptual_hashes_ignore_colour_and_depth_and_pixel_hashes_do_not() -> None:
    grey = smooth(4, 64, seed=2)[..., np.newaxis]
    plain = _hashes(grey, 64)
    colour, deep = _hashes(np.repeat(grey, 3, axis=3), 64), _hashes(grey.astype(np.uint16) * 9, 64)
    assert max(map(_bits, plain.perceptual ^ colour.perceptual)) == 0
    assert (
        max(map(_bits, plain.perceptual ^ deep.perceptual)) <= 4
    )  # its range is stretched, with rounding
    for other in (colour, deep):
        assert (plain.pixels != other.pixels).any(axis=1).all()
    assert len(np.unique(plain.pixels, axis=0)) == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_are_recognised(dtype: Any, channels: int) -> None:
    pixels = noise(3, SIDE, SIDE, channels, dtype=dtype)
    pixels[1] = np.arange(channels)  # a single colour
    assert _hashes(pixels, SIDE).constant.tolist() == [False, True, False]


def test_splits_of_several_sources_keep_their_order() -> None:
    a, b = noise(6, SIDE, SIDE, 1, seed=1), noise(4, SIDE, SIDE, 1, seed=2)
    first, second = _images(a), _images(b)
    order = np.array([4, 0, 5])
    hashes = hash_images([first.take(order), second], Geometry(SIDE), no_progress)
    expected = np.concatenate([_hashes(a, SIDE).pixels[order], _hashes(b, SIDE).pixels])
    assert (hashes.pixels == expected).all()


def test_images_are_hashed_once_for_all_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = clean()
    folder = folder_of(tmp_path, {"all": parts["train"]}) / "all"
    calls: list[int] = []
    hash_image = hashes_module._hash_image

    def counted(pixels: Any) -> Any:
        calls.append(1)
        return hash_image(pixels)

    monkeypatch.setattr(hashes_module, "_hash_image", counted)
    first = audit_source(str(folder)).audit
    assert len(calls) == 120
    assert audit_source(str(folder)).audit == first
    other = audit_source(str(folder), seed=1)
    assert other.dataset.val.names.tolist() != open_dataset(str(folder)).val.names.tolist()
    assert len(calls) == 120
    changed = folder / "ill" / "train-patient0.png"
    Image.fromarray(noise(SIDE, SIDE, seed=99)).save(changed)
    audit_source(str(folder))
    assert len(calls) == 240


def test_damaged_hashes_are_computed_again(cache_home: Path) -> None:
    dataset = opened(clean())
    before = hash_images(list(dataset.splits.values()), Geometry(SIDE), no_progress)
    (cached,) = (cache_home / "audits").iterdir()
    cached.write_bytes(b"nonsense")
    after = hash_images(list(dataset.splits.values()), Geometry(SIDE), no_progress)
    assert (after.perceptual == before.perceptual).all()
