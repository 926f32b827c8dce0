"""16-bit images whose signal lies in the low 12 bits: nothing of it is lost on the way."""

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
CUE = 300  # counts: of all that 16 bits hold, hardly more than one step of 256
SEEDS = (0, 1, 2)


def images() -> list[tuple[str, Any]]:
    """Names and values: noise in 12 bits, brighter in the middle where a patient is ill."""
    rng = np.random.default_rng(0)
    made = []
    for patient in range(PATIENTS):
        name = ("well", "ill")[patient % 2]
        for i in range(2):
            values = rng.normal(2000, 500, (SIDE, SIDE))
            values[8:16, 8:16] += CUE * (name == "ill")
            made.append((f"{name}/p{patient:03d}-{i}", np.clip(values, 0, TWELVE_BITS)))
    return [(name, values.astype(np.uint16)) for name, values in made]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The images as 16-bit TIFFs, and their rendering in 8 bits as PNGs."""
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
    """The best validation AUROC, averaged over seeds."""
    scores = [max(r.val["auroc"] for r in fit(config(seed), data)) for seed in SEEDS]
    return float(np.mean(scores))


def spread(data: TrialData) -> float:
    """The standard deviation of what the model is given."""
    transform = input_transform(config(0), data.format)
    return float(transform.normalize(as_tensor(data.train.pixels)).std())


def full_range(data: TrialData) -> TrialData:
    """The same images, as if 65,535 were white."""
    return replace(data, format=PixelFormat(1, 0.0, 65535.0))


def test_the_low_bits_of_16_train_as_well_as_their_rendering_in_8(
    folders: tuple[Path, Path],
) -> None:
    (sixteen_set, sixteen), (eight_set, eight) = map(opened, folders)
    for one, other in zip(sixteen_set.splits.values(), eight_set.splits.values(), strict=True):
        assert [n.split(".")[0] for n in one.names] == [n.split(".")[0] for n in other.names]
        assert one.patients.tolist() == other.patients.tolist()
    assert sixteen_set.patients_on_two_sides == 0
    assert (sixteen.train.pixels.dtype, eight.train.pixels.dtype) == (np.uint16, np.uint8)
    assert np.array_equal(sixteen.train.pixels >> 4, eight.train.pixels)
    reached = best(sixteen)
    assert reached > 0.9
    assert reached >= best(eight) - 0.01


def test_scaled_by_all_of_16_bits_little_would_be_left(folders: tuple[Path, Path]) -> None:
    """So that the test above cannot pass where the range is ignored."""
    (_, sixteen), (_, eight) = map(opened, folders)
    ignored = full_range(sixteen)
    assert 0.9 < spread(sixteen) / spread(eight) < 1.1
    assert spread(ignored) < 0.1 * spread(sixteen)
    assert best(ignored) < best(sixteen) - 0.1
