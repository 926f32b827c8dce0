"""Exported models: they work in another process and reproduce their recorded scores."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.data_factory import config, dataset, foreign_backbone, is_one_line
from tune_bio.datasets.images import Dataset, Images
from tune_bio.datasets.transforms.geometry import Geometry
from tune_bio.datasets.trial_data import prepare_data
from tune_bio.errors import DataError, ResultsError
from tune_bio.inference.exported_model import export, load_model
from tune_bio.space.trial_config import TrialConfig
from tune_bio.training.fit import fit
from tune_bio.training.metrics import compute_metrics
from tune_bio.training.state import TrainingState


def originals(images: Images) -> Any:
    return np.stack(list(images.originals()))


def _train_and_export(folder: Path, chosen: TrialConfig, data: Dataset) -> dict[str, float]:
    """Train, export the best epoch, and return its recorded scores."""
    backbone = None if chosen.weights == "none" else foreign_backbone(chosen)
    prepared = prepare_data(data, Geometry.of(chosen))
    state = TrainingState(chosen, prepared, backbone=backbone)
    results = list(fit(chosen, prepared, state))
    assert state.best is not None
    validation = results[state.best.epoch - 1].val
    export(
        folder, chosen, data, backbone=backbone, trained=state.best.weights,
        about={"trial": "abc", "validation": validation},
    )  # fmt: skip
    return validation


CASES = [
    (config("ann", width="16-8", dropout=0.3, epochs=3), 1),
    (config("cnn", loss="bce", dropout=0.3), 3),
    (config("resnet18", weights="imagenet", freeze="backbone"), 1),
    (config("resnet18", weights="imagenet", freeze="lp_ft"), 3),
]


@pytest.mark.parametrize(("chosen", "channels"), CASES, ids=["ann", "cnn", "backbone", "lp_ft"])
def test_an_exported_model_reproduces_its_recorded_scores(
    tmp_path: Path, chosen: TrialConfig, channels: int
) -> None:
    data = dataset(channels=channels)
    recorded = _train_and_export(tmp_path / "best", chosen, data)
    model = load_model(tmp_path)
    assert model.config == chosen
    assert model.classes == data.classes
    scores = compute_metrics(data.val.labels, model.predict(originals(data.val)), data.positive)
    assert scores == pytest.approx(recorded, rel=1e-6)
    assert model.validation == recorded


def test_a_fresh_process_needs_only_the_folder(tmp_path: Path) -> None:
    data = dataset()
    recorded = _train_and_export(tmp_path / "best", config("ann", epochs=3), data)
    np.save(tmp_path / "images.npy", originals(data.val)[..., 0])
    script = (
        "import json, sys, numpy, torch, tune_bio; torch.set_num_threads(1);"
        "print(json.dumps(tune_bio.load_model('best').predict(numpy.load('images.npy')).tolist()));"
        "assert 'ray' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    p = np.array(json.loads(done.stdout))
    assert compute_metrics(data.val.labels, p, data.positive) == pytest.approx(recorded, rel=1e-6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "best"
    _train_and_export(folder, config("cnn"), dataset())
    return folder


def test_the_folder_describes_the_model(exported: Path) -> None:
    stored = json.loads((exported / "config.json").read_text())
    assert stored["hyperparameters"]["model"] == "cnn"
    assert stored["classes"] == ["class0", "class1"]
    assert stored["positive_class"] == "class1"
    assert stored["trial"] == "abc"
    assert stored["transform"]["geometry"]["image_size"] == 16
    assert stored["threshold"] is None
    assert stored["dtype"] == "uint8"
    assert {path.name for path in exported.iterdir()} == {"config.json", "model.safetensors"}


def test_a_single_image_of_any_size_is_accepted(exported: Path) -> None:
    model = load_model(exported)
    p = model.predict(np.random.default_rng(0).integers(0, 256, (1, 40, 33)).astype(np.uint8))
    assert p.shape == (1, 2)
    assert p.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 16, 16)), "float64"),
        (np.zeros((2, 16, 16), np.uint16), "uint16.*give uint8"),
        (np.zeros((16, 16), np.uint8), r"\(16, 16\)"),
        (np.zeros((2, 16, 16, 3), np.uint8), "3 channels.*trained on 1"),
    ],
)
def test_incompatible_images_are_refused_in_one_line(
    exported: Path, images: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_model(exported).predict(images)
    assert is_one_line(caught.value)


def _invalid_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _other_json(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _half_the_weights(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _other_weights(folder: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(2)}, folder / "model.safetensors")


def _nothing(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [_nothing, _invalid_json, _other_json, _no_weights, _half_the_weights, _other_weights],
)
def test_a_folder_without_a_complete_model_is_refused_in_one_line(
    tmp_path: Path, exported: Path, damage: Any
) -> None:
    copy = tmp_path / "best"
    copy.mkdir()
    for path in exported.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    with pytest.raises(ResultsError, match=r"no model can be loaded|do not fit together") as caught:
        load_model(copy)
    assert is_one_line(caught.value)
