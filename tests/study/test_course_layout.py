"""The layout of the images of a course, and the networks that its report trained on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.real_data

IMAGES, SIDE = 60, 256
CLASSES = ["NORMAL", "PNEUMONIA"]
# The hyperparameters of all networks of the report, except for its 30 epochs.
REPORT = {
    "loss": "bce", "optimizer": "adam", "lr": 1e-3, "batch_size": 32,
    "lr_schedule": "step", "step_size": 10, "gamma": 0.1,
}  # fmt: skip
NETWORKS: list[dict[str, Any]] = [
    {"model": "ann", "width": "512-256-256", "dropout": "0.9-0.9-0.8"},
    {"model": "cnn", "width": "32-32-32", "head_width": 32, "dropout": 0.0},
    {"model": "cnn", "width": "32-32-32", "head_width": 32, "dropout": 0.6},
    {"model": "cnn_gap", "width": "32-32-32", "dropout": 0.0},
    {"model": "cnn_gap", "width": "32-32-128", "head_width": 128, "dropout": 0.0},
]
# Counted by hand, for 64 px and one output: weights, biases, and two numbers per feature for the
# BatchNorm of the ANN.
PARAMETERS = [
    64 * 64 * 512 + 3 * 512 + 512 * 256 + 3 * 256 + 256 * 256 + 3 * 256 + 257,
    *[320 + 2 * (32 * 32 * 9 + 32) + 32 * 8 * 8 * 32 + 32 + 33] * 2,
    320 + 2 * (32 * 32 * 9 + 32) + 33,
    320 + (32 * 32 * 9 + 32) + (32 * 128 * 9 + 128) + 128 * 128 + 128 + 129,
]


@pytest.fixture
def course(tmp_path: Path, real_data: Path) -> Path:
    """Write one .npy of radiographs per class: (n, 256, 256), grey."""
    folder = tmp_path / "course"
    folder.mkdir()
    for name in CLASSES:
        files = sorted((real_data / "chest_xray" / name).iterdir())[:IMAGES]
        images = [Image.open(path).convert("L").resize((SIDE, SIDE)) for path in files]
        np.save(folder / f"{name}.npy", np.stack([np.asarray(image) for image in images]))
    return folder


def test_the_networks_of_a_course_report_are_trained_on_its_layout(
    study: Callable[..., Any], course: Path
) -> None:
    defaults = [{"model": name, "dropout": 0.1} for name in ("ann", "cnn", "cnn_gap")]
    finished = study(
        "--data", str(course), "--image-size", "64", "--max-epochs", "3",
        configs=[{**REPORT, **network} for network in NETWORKS] + defaults,
    )  # fmt: skip
    assert finished.status == 0
    trials = finished.trials.sort_index()
    assert trials["status"].tolist() == ["completed"] * 8
    assert trials["params.model"].tolist() == [p["model"] for p in NETWORKS + defaults]
    assert trials["epochs_trained"].tolist() == [3] * 8
    assert trials["parameters"].tolist()[:5] == PARAMETERS
    assert trials["params.loss"].tolist() == ["bce"] * 5 + ["cross_entropy"] * 3
    assert set(trials["params.lr_schedule"].head(5)) == {"step"}
    assert trials["best_val_auroc"].notna().all()

    data = finished.manifest["data"]
    assert data["classes"] == CLASSES
    assert data["pixels"]["shape"] == [SIDE, SIDE]
    assert sum(split["images"] for split in data["splits"].values()) == 2 * IMAGES
    assert not data["patients_known"]
    assert any("patients are unknown" in note for note in data["notes"])


def test_a_search_space_of_small_networks_is_searched_on_the_layout(
    study: Callable[..., Any], course: Path
) -> None:
    finished = study(
        "--data", str(course), "--image-size", "64", "--seed", "1",
        "--max-epochs", "2", "--num-trials", "10", "--scheduler", "none", "--searcher", "random",
    )  # fmt: skip
    assert finished.status == 0
    assert set(finished.trials["params.model"]) == {"ann", "cnn", "cnn_gap"}
    assert set(finished.trials["status"]) == {"completed"}
    assert set(finished.trials["params.image_size"]) == {64}
