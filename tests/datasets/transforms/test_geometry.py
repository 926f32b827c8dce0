"""The deterministic part of a transform: the pixels do not depend on the number of images."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data_factory import few_examples
from tune_bio.datasets.transforms import geometry
from tune_bio.datasets.transforms.geometry import Geometry

RNG = np.random.default_rng(0)


def pixels(*shape: int, dtype: Any = np.uint8) -> Any:
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    size, resize = draw(st.integers(8, 40)), draw(st.integers(0, 40))
    return Geometry(size, resize, draw(st.integers(0, resize)))


@few_examples
@given(
    drawn=geometries(),
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_an_image_is_transformed_equally_alone_in_a_batch_and_in_colour(
    drawn: Geometry, shape: tuple[int, int], dtype: Any
) -> None:
    images = pixels(5, *shape, 1, dtype=dtype)
    whole = drawn.apply(images)
    assert whole.shape == (5, drawn.image_size, drawn.image_size, 1)
    assert whole.dtype == dtype
    alone = np.concatenate([drawn.apply(image[None]) for image in images])
    assert np.array_equal(whole, alone)
    colour = drawn.apply(np.repeat(images, 3, axis=3))
    assert np.array_equal(colour, np.repeat(whole, 3, axis=3))


def test_chunks_do_not_change_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(11, 20, 14, 3)
    whole = Geometry(9).apply(images)
    monkeypatch.setattr(geometry, "CHUNK", 4)
    assert np.array_equal(Geometry(9).apply(images), whole)


def test_resizing_averages_and_keeps_images_of_the_target_size() -> None:
    images = pixels(3, 16, 16, 1)
    assert np.array_equal(Geometry(16).apply(images), images)
    checkerboard = np.indices((16, 16)).sum(axis=0)[None, ..., None] % 2 * 200
    smaller = Geometry(4).apply(checkerboard.astype(np.uint8))
    assert np.abs(smaller.astype(int) - 100).max() < 25  # antialiased: grey, not black or white


def test_the_centre_is_cropped_after_resizing() -> None:
    images = np.zeros((1, 40, 40, 1), np.uint8)
    images[:, 10:30, 10:30] = 200
    assert (Geometry(16, resize=40, crop=20).apply(images) == 200).all()
    assert (Geometry(16, resize=40).apply(images) == 0).any()
