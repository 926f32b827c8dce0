"""The transform from pixels to a model's input, alone and in a batch."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.data_factory import dataset
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.transforms.transform import Transform
from tune_bio.datasets.trial_data import prepare_data

RNG = np.random.default_rng(0)
GREY, COLOUR = PixelFormat(1), PixelFormat(3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pixels(*shape: int) -> Any:
    return RNG.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("pixel_format", [GREY, COLOUR])
def test_normalising_subtracts_the_mean_and_divides_by_the_standard_deviation(
    pixel_format: PixelFormat,
) -> None:
    channels = pixel_format.channels
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.1)[:channels]
    images = pixels(5, 7, 7, channels)
    transform = Transform(Geometry(7), pixel_format, channels, mean, std)
    result = transform.normalize(torch.from_numpy(images))
    expected = (images / 255 - np.array(mean)) / np.array(std)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_scaling_maps_the_range_of_the_format_to_0_and_1() -> None:
    images = torch.from_numpy(np.array([1000, 2000, 5000], np.uint16).reshape(1, 1, 3, 1))
    transform = Transform(Geometry(3), PixelFormat(1, 1000, 5000), 1, (0.5,), (0.5,))
    assert transform.scale(images).ravel().tolist() == pytest.approx([0, 0.25, 1])


def test_grey_images_are_repeated_for_a_colour_model() -> None:
    images = torch.from_numpy(pixels(2, 5, 5, 1))
    result = Transform(Geometry(5), GREY, 3, (0.5,) * 3, (0.5,) * 3).normalize(images)
    grey = Transform(Geometry(5), GREY, 1, (0.5,), (0.5,)).normalize(images)
    assert torch.equal(result, grey.expand(-1, 3, -1, -1))


def test_an_image_is_normalised_equally_alone_and_in_a_batch() -> None:
    images = torch.from_numpy(pixels(9, 8, 8, 3))
    transform = Transform(Geometry(8), COLOUR, 3, *IMAGENET)
    alone = torch.cat([transform.normalize(image[None]) for image in images])
    assert torch.equal(transform.normalize(images), alone)


def test_a_transform_round_trips_through_json() -> None:
    transform = Transform(Geometry(224, 256, 224), PixelFormat(3, 7, 4095), 3, *IMAGENET)
    assert Transform.from_json(transform.to_json()) == transform


def test_a_trial_gets_train_and_validation_but_no_test_data() -> None:
    whole = dataset(n=10, size=20)
    data = prepare_data(whole, Geometry(16))
    assert data.train.pixels.shape == data.val.pixels.shape == (10, 16, 16, 1)
    assert data.train.labels.tolist() == whole.train.labels.tolist()
    assert (data.classes, data.positive, data.format) == (whole.classes, whole.positive, GREY)
    fields = {field.name for field in dataclasses.fields(data)}
    keys = {"features_key", "split_key"}
    assert fields == {"train", "val", "classes", "positive", "format", "cut"} | keys
