"""Sheets of a study's images, and the use of the test set only after it was opened."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tune_bio.analysis.figures.draw_all import figure_data_of
from tune_bio.analysis.figures.figure_data import FigureData
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.opening import open_arrays
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.models.build import input_transform
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study.image_figures import as_seen, save_image_figures

CONFIG = TrialConfig.of({"model": "cnn", "width": "4-4", "image_size": 16})
ROW: dict[str, Any] = {f"params.{n}": v for n, v in CONFIG.params().items()} | {"seed": 0}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)

    def random_images(n: int) -> Any:
        images = rng.integers(0, 256, size=(n, 16, 16), dtype=np.uint8)
        return images, np.arange(n) % 2, np.array([f"{n}-{k}" for k in range(n)])

    return open_arrays(
        {"train": random_images(20), "val": random_images(12), "test": random_images(16)}
    )


def _figure_data(dataset: Dataset, *, opened: bool) -> FigureData:
    """Return a study whose winner is always certain, and wrong about every third image."""
    tables = []
    for split in ("val", "test") if opened else ("val",):
        images = dataset.splits[split]
        wrong = np.arange(len(images)) % 3 == 0
        p = np.where(wrong == images.labels, 0.1, 0.9)
        rows = {"trial": "t0000", "split": split, "image": images.names}
        rows |= {"patient": images.patients, "label": images.labels, "p_0": 1 - p, "p_1": p}
        tables.append(pd.DataFrame(rows))
    manifest = {
        "settings": {"metric": "val_auroc", "seed": 0},
        "best_trial": "t0000",
        "thresholds": {"t0000": 0.5},
        "test_set_opened": [{}] if opened else [],
        "space": {"listed": None},
        "data": {"classes": ["0", "1"], "positive_class": "1", "synthetic": False, "notes": []},
    }
    trials = pd.DataFrame([{"trial_id": "t0000", "score": 0.5, **ROW}])
    empty = pd.DataFrame()
    study = StudyRecords(trials, trials.iloc[:0], empty, empty, manifest)
    return figure_data_of(study, pd.concat(tables, ignore_index=True))


@pytest.mark.parametrize("opened", [False, True])
def test_images_of_the_test_split_are_read_only_after_it_was_opened(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    read_names: set[str] = set()
    images_at = Images.at

    def at(self: Images, geometry: Geometry) -> Any:
        read_names.update(self.names.tolist())
        return images_at(self, geometry)

    monkeypatch.setattr(Images, "at", at)
    drawn = save_image_figures(dataset, _figure_data(dataset, opened=opened), ROW, tmp_path)
    assert [path.name for path in drawn] == ["inputs.png", "most_wrong.png", "network.png"]
    for path in drawn:
        with Image.open(path) as image:
            assert len(image.convert("L").getcolors() or []) > 10, "not an empty canvas"
    assert read_names & set(dataset.train.names)
    assert read_names & set(dataset.val.names)
    assert bool(read_names & set(dataset.test.names)) == opened


def test_a_large_network_has_no_diagram(dataset: Dataset, tmp_path: Path) -> None:
    config = TrialConfig.of({"model": "resnet18", "image_size": 32})
    row = {f"params.{n}": v for n, v in config.params().items()} | {"seed": 0}
    drawn = save_image_figures(dataset, _figure_data(dataset, opened=False), row, tmp_path)
    assert [path.name for path in drawn] == ["inputs.png", "most_wrong.png"]


@pytest.mark.parametrize(("model", "channels"), [("cnn", 1), ("resnet18", 3)])
def test_inputs_are_shown_as_the_network_gets_them(
    dataset: Dataset, model: str, channels: int
) -> None:
    config = TrialConfig.of({"model": model, "image_size": 32})
    geometry = Geometry.of(config)
    transform = input_transform(config, dataset.pixel_format(geometry))
    displayed = np.stack(as_seen(dataset.val, transform, config))
    assert displayed.shape == (12, 32, 32, channels)
    expected = np.repeat(dataset.val.at(geometry) / 255, channels, axis=3)
    assert np.allclose(displayed, expected, atol=1e-5)


def test_training_images_are_shown_as_they_are_augmented(dataset: Dataset) -> None:
    config = TrialConfig.of({"model": "cnn", "image_size": 16, "augment": "flip", "seed": 3})
    transform = input_transform(config, dataset.pixel_format(Geometry.of(config)))
    plain = as_seen(dataset.train, transform, config)
    augmented = as_seen(dataset.train, transform, config, training=True)
    flipped = [not np.allclose(a, b) for a, b in zip(augmented, plain, strict=True)]
    assert 0 < sum(flipped) < len(flipped)  # drawn from the seed for each image
    for a, b, is_flipped in zip(augmented, plain, flipped, strict=True):
        assert np.allclose(a, b[:, ::-1] if is_flipped else b, atol=1e-6)
    again = as_seen(dataset.train, transform, config, training=True)
    assert all(np.array_equal(a, b) for a, b in zip(augmented, again, strict=True))
