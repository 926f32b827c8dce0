"""From pixels to a model's input, the same for one image and for many."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.fixtures_data import dataset
from tune_bio.datasets import transforms
from tune_bio.datasets.transforms import Transform, prepare, resize

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> Any:
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalising_subtracts_the_mean_and_divides_by_the_deviation(channels: int) -> None:
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.1)[:channels]
    images = pixels(5, 7, 7, channels)
    found = Transform(7, channels, mean, std).normalize(torch.from_numpy(images))
    expected = (images / 255 - np.array(mean)) / np.array(std)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_grey_images_are_repeated_for_a_model_of_colour() -> None:
    images = torch.from_numpy(pixels(2, 5, 5, 1))
    found = Transform(5, 3, (0.5,) * 3, (0.5,) * 3).normalize(images)
    grey = Transform(5, 1, (0.5,), (0.5,)).normalize(images)
    assert torch.equal(found, grey.expand(-1, 3, -1, -1))


def test_an_image_is_normalised_alike_alone_and_in_a_batch() -> None:
    images = torch.from_numpy(pixels(9, 8, 8, 3))
    transform = Transform(8, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    alone = torch.cat([transform.normalize(image[None]) for image in images])
    assert torch.equal(transform.normalize(images), alone)


def test_resizing_in_chunks_changes_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(11, 20, 14, 3)
    whole = resize(images, 9)
    monkeypatch.setattr(transforms, "CHUNK", 4)
    assert np.array_equal(resize(images, 9), whole)
    assert whole.shape == (11, 9, 9, 3)
    assert whole.dtype == np.uint8


def test_resizing_to_the_same_size_changes_nothing_and_averages_otherwise() -> None:
    images = pixels(3, 16, 16, 1)
    assert np.array_equal(resize(images, 16), images)
    checkerboard = np.indices((16, 16)).sum(axis=0)[None, ..., None] % 2 * 200
    smaller = resize(checkerboard.astype(np.uint8), 4)
    assert np.abs(smaller.astype(int) - 100).max() < 25  # antialiased: grey, not black or white


def test_a_transform_round_trips_through_json() -> None:
    transform = Transform(224, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert Transform.from_json(transform.to_json()) == transform


def test_a_trial_gets_train_and_validation_and_nothing_of_the_test_set() -> None:
    whole = dataset(n=10, size=20)
    data = prepare(whole, 16)
    assert data.train.pixels.shape == data.val.pixels.shape == (10, 16, 16, 1)
    assert data.train.labels.tolist() == whole.train.labels.tolist()
    assert (data.classes, data.positive, data.channels) == (whole.classes, whole.positive, 1)
    assert {field.name for field in dataclasses.fields(data)} == {
        "train",
        "val",
        "classes",
        "positive",
    }
