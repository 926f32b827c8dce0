"""Studies of real images with real weights, run by the command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.real_data

PROBE = {"model": "squeezenet1_0", "weights": "imagenet", "freeze": "backbone", "lr": 0.003}


@pytest.fixture(autouse=True)
def _real_weights(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(real_data / "torch_home"))


def test_a_linear_probe_classifies_chest_radiographs(
    study: Callable[..., Any], real_data: Path
) -> None:
    finished = study(
        "--data", str(real_data / "chest_xray"), "--set", "image_size=64", "--max-epochs", "4",
        configs=[PROBE],
    )  # fmt: skip
    assert finished.status == 0
    data = finished.manifest["data"]
    assert data["patients_known"]
    assert data["patients_on_two_sides"] == 0
    assert sum(split["patients"] for split in data["splits"].values()) == 901
    trial = finished.trials.iloc[0]
    assert trial["best_val_auroc"] > 0.9
    assert trial["trainable_parameters"] == 2 * (512 + 1)
    assert finished.manifest["weights"]["squeezenet1_0 imagenet"]["origin"] == "cache of torch.hub"
    predictions = pd.read_parquet(finished.folder / "predictions.parquet")
    assert list(predictions.columns[-2:]) == ["p_NORMAL", "p_PNEUMONIA"]
    assert predictions["patient"].nunique() == data["splits"]["val"]["patients"]


def test_a_study_of_a_medmnist_file_keeps_its_splits(
    study: Callable[..., Any], real_data: Path
) -> None:
    flags = ("--data", str(real_data / "pneumoniamnist_dev.npz"), "--max-epochs", "2")
    configs = [{"model": "ann", "lr": 0.001, "loss": "bce"}]
    # Some radiographs of the file are in two splits.
    refused = study(*flags, configs=configs)
    assert refused.status == 2
    assert not refused.folder.exists()
    finished = study(*flags, "--allow-leakage", configs=configs)
    assert finished.status == 0
    assert "LEAKAGE" in (finished.folder / "summary.md").read_text()
    data = finished.manifest["data"]
    assert [split["images"] for split in data["splits"].values()] == [3382, 524, 500]
    assert not data["patients_known"]
    assert any("patients are unknown" in note for note in data["notes"])
    assert finished.trials["params.image_size"].tolist() == [28]
    assert finished.trials["best_val_auroc"].iloc[0] > 0.9
