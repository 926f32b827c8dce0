"""Controls of whole studies: results that are too good to be true are flagged."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tune_bio.records.tables import read_evaluations, read_predictions
from tune_bio.study import controls

Run = Callable[..., Any]
ANN = {"model": "ann", "width": 8, "lr": 0.003, "epochs": 3}
NAMES = {f"control:{name}" for name in ("majority", "pixels", "border", "metadata", "best_pixel")}
# The search space of the fixture has no controls, which are on by default; this flag adds them.
CONTROLS = ("--controls",)


def _planted(path: Path, seed: int) -> Path:
    """Write images of noise in which one pixel shows the label."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, n in (("train", 160), ("val", 120), ("test", 60)):
        labels = np.arange(n) % 2
        images = rng.integers(0, 256, (n, 12, 12)).astype(np.uint8)
        images[:, 5, 6] = np.where(labels == 1, 200, 40)
        arrays |= {f"{name}_images": images, f"{name}_labels": labels}
    np.savez(path, **arrays)
    return path


def _kinds(finished: Any) -> set[str]:
    return {flag["kind"] for flag in finished.manifest["flags"]}


def test_a_label_planted_in_one_pixel_is_flagged(study: Run, tmp_path: Path) -> None:
    data = _planted(tmp_path / "planted.npz", seed=0)
    config = {"model": "ann", "width": 16, "lr": 0.01, "epochs": 12}
    finished = study("--data", str(data), *CONTROLS, configs=[config])
    assert finished.status == 0
    flags = [flag for flag in finished.manifest["flags"] if flag["kind"] == "control_near_model"]
    (flag,) = flags
    assert flag["message"].startswith("The value of one pixel")
    assert flag["message"] in (finished.folder / "summary.md").read_text()


def test_a_marker_in_the_corner_is_flagged_and_shuffled_labels_are_at_chance(study: Run) -> None:
    config = {"model": "cnn", "width": 8, "lr": 0.003, "epochs": 4, "image_size": 64}
    finished = study("--data", "phantom:shortcut", *CONTROLS, configs=[config])
    messages = [flag["message"] for flag in finished.manifest["flags"]]
    assert any(message.startswith("The border of the images") for message in messages)
    shuffled = finished.manifest["controls"]["shuffled_labels"]
    assert len(shuffled["p"]) == 1
    assert shuffled["p"][0] >= 0.01
    assert "shuffled_above_chance" not in _kinds(finished)


def test_controls_change_no_other_row_and_are_evaluated_on_both_splits(study: Run) -> None:
    confirm = ("--finalists", "1", "--replicates", "2")
    without = study(*confirm, configs=[ANN], name="without")
    controlled = study(*confirm, *CONTROLS, configs=[ANN], name="with")
    excluded = ["seconds", "seconds_per_epoch", "reused_from", "epochs_trained"]
    pd.testing.assert_frame_equal(
        without.trials.drop(columns=excluded), controlled.trials.drop(columns=excluded)
    )
    timed = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(
        without.epochs.drop(columns=timed), controlled.epochs.drop(columns=timed)
    )
    pd.testing.assert_frame_equal(
        read_predictions(without.folder), read_predictions(controlled.folder)
    )
    evaluations = read_evaluations(controlled.folder)
    of_controls = evaluations["trial"].isin(NAMES)
    pd.testing.assert_frame_equal(
        evaluations[~of_controls].reset_index(drop=True), read_evaluations(without.folder)
    )
    assert without.manifest["controls"] == {"predictors": []}
    for split in ("val", "test"):
        on_split = evaluations[of_controls & (evaluations["split"] == split)]
        assert set(on_split["trial"]) == NAMES
        majority = on_split["trial"] == "control:majority"
        chance = on_split[majority & (on_split["metric"] == "auroc")]
        assert chance["value"].item() == pytest.approx(0.5)


def test_a_search_without_finalists_evaluates_no_control_on_the_test_split(study: Run) -> None:
    finished = study(*CONTROLS, configs=[ANN])
    assert set(read_evaluations(finished.folder)["split"]) == {"val"}
    assert finished.manifest["test_set_opened"] == []


def test_a_control_without_an_interval_is_compared_with_the_model() -> None:
    """With few patients per class there may be no interval: most bootstrap samples lack a class."""
    row = {"trial": "control:border", "split": "val", "metric": "auroc", "value": 0.9}
    records: Any = SimpleNamespace(evaluations=[{**row, "low": None, "high": None}])
    border: Any = SimpleNamespace(name="border")
    flag = controls._near_model(records, border, {"best_val_auroc": 0.91})
    assert flag is not None
    assert flag.kind == "control_near_model"
    assert controls._near_model(records, border, {"best_val_auroc": 0.99}) is None
