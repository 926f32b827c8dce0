"""16-bit images whose signal is in the lower 12 bits: no information is lost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tune_bio.datasets.images import Dataset
from tune_bio.datasets.opening import open_dataset
from tune_bio.datasets.pixels import PixelFormat
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import TrialData, prepare_data
from tune_bio.models.build import input_transform
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.devices import as_tensor
from tune_bio.training.fit import fit

PATIENTS, SIDE = 120, 24  # two images of each patient
TWELVE_BITS = 4095
CUE = 300  # pixel value; if 65,535 were white, little more than one of 256 grey levels
SEEDS = (0, 1, 2)


def images() -> list[tuple[str, Any]]:
    """Return names and pixels: noise in 12 bits, brighter in the middle for ill patients."""
    rng = np.random.default_rng(0)
    named = []
    for patient in range(PATIENTS):
        name = ("well", "ill")[patient % 2]
        for i in range(2):
            values = rng.normal(2000, 500, (SIDE, SIDE))
            values[8:16, 8:16] += CUE * (name == "ill")
            named.append((f"{name}/p{patient:03d}-{i}", np.clip(values, 0, TWELVE_BITS)))
    return [(name, values.astype(np.uint16)) for name, values in named]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write the images as 16-bit TIFFs, and their upper 8 of 12 bits as PNGs."""
    sixteen, eight = tmp_path_factory.mktemp("sixteen"), tmp_path_factory.mktemp("eight")
    for folder in (sixteen, eight):
        for name in ("ill", "well"):
            (folder / name).mkdir()
    for name, values in images():
        tiff = Image.fromarray(values)
        assert tiff.mode == "I;16"
        tiff.save(sixteen / f"{name}.tif")
        Image.fromarray((values >> 4).astype(np.uint8)).save(eight / f"{name}.png")
    return sixteen, eight


def opened(folder: Path) -> tuple[Dataset, TrialData]:
    dataset = open_dataset(str(folder), patient_pattern=r"(p\d+)-")
    return dataset, prepare_data(dataset, Geometry(SIDE))


def config(seed: int) -> TrialConfig:
    return TrialConfig.of(
        {"model": "cnn", "width": 8, "dropout": 0.0, "lr": 2e-3, "image_size": SIDE,
         "batch_size": 16, "epochs": 12, "seed": seed}
    )  # fmt: skip


def best(data: TrialData) -> float:
    """Return the best validation AUROC, averaged over seeds."""
    scores = [max(epoch.val["auroc"] for epoch in fit(config(seed), data)) for seed in SEEDS]
    return float(np.mean(scores))


def input_std(data: TrialData) -> float:
    """Return the standard deviation of the model's inputs."""
    transform = input_transform(config(0), data.format)
    return float(transform.normalize(as_tensor(data.train.pixels)).std())


def full_range(data: TrialData) -> TrialData:
    """Return the same images, scaled as if 65,535 were white."""
    return replace(data, format=PixelFormat(1, 0.0, 65535.0))


def test_the_lower_bits_of_16_bit_images_train_as_well_as_their_8_bit_rendering(
    folders: tuple[Path, Path],
) -> None:
    (sixteen_set, sixteen), (eight_set, eight) = map(opened, folders)
    splits = zip(sixteen_set.splits.values(), eight_set.splits.values(), strict=True)
    for tiffs, pngs in splits:
        assert [n.split(".")[0] for n in tiffs.names] == [n.split(".")[0] for n in pngs.names]
        assert tiffs.patients.tolist() == pngs.patients.tolist()
    assert sixteen_set.patients_on_two_sides == 0
    assert (sixteen.train.pixels.dtype, eight.train.pixels.dtype) == (np.uint16, np.uint8)
    assert np.array_equal(sixteen.train.pixels >> 4, eight.train.pixels)
    auroc = best(sixteen)
    assert auroc > 0.9
    assert auroc >= best(eight) - 0.01


def test_scaling_by_the_full_range_of_16_bits_would_lose_the_signal(
    folders: tuple[Path, Path],
) -> None:
    """This proves that the test above cannot pass if the range of the values is ignored."""
    (_, sixteen), (_, eight) = map(opened, folders)
    badly_scaled = full_range(sixteen)
    assert 0.9 < input_std(sixteen) / input_std(eight) < 1.1
    assert input_std(badly_scaled) < 0.1 * input_std(sixteen)
    assert best(badly_scaled) < best(sixteen) - 0.1
