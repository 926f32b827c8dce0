"""Frozen features in whole studies: the tables stay the same, and no work is done twice."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

import tune_bio
from tune_bio.datasets.cache import eviction
from tune_bio.ray_tune import feature_tasks
from tune_bio.search import main
from tune_bio.space.trial_config import TrialConfig
from tune_bio.study import frozen_features, prepare
from tune_bio.study.frozen_features import StudyFeatures

Run = Callable[..., Any]

BASE = {"model": "squeezenet1_0", "weights": "imagenet", "image_size": 32, "optimizer": "sgd",
        "lr": 0.003, "batch_size": 16}  # fmt: skip
CONFIGS = [
    {**BASE, "freeze": "backbone"},
    {**BASE, "freeze": "stages_2"},
    {**BASE, "freeze": "lp_ft", "lp_epochs": 1},
    {**BASE, "freeze": "backbone", "augment": "flip"},
]
TABLES = ["best_val_auroc", "best_val_loss", "final_train_loss", "generalization_gap"]
COUNTS = ["status", "epochs_run", "best_epoch", "parameters", "trainable_parameters"]


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights in the place of ImageNet's."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(7)
    network = torchvision.models.squeezenet1_0()
    torch.save(network.state_dict(), folder / "squeezenet1_0.pth")
    return folder


@pytest.fixture
def on_features(study: Run, weights_dir: Path) -> Run:
    """A function that runs a study of configurations, by default without GPUs."""

    def run(*flags: str, configs: list[dict[str, Any]] = CONFIGS, **options: Any) -> Any:
        # One actor for all trials: it takes longer to start than they take to run.
        always = ("--weights-dir", str(weights_dir), "--max-epochs", "3", "--max-concurrent", "1")
        return study(*always, *(flags or ("--gpus-per-trial", "0")), configs=configs, **options)

    return run


def _no_features(*arguments: Any) -> StudyFeatures:
    return StudyFeatures({}, (), ())


def _fail_if_computed(*arguments: Any) -> str:
    raise AssertionError("computed again")


def test_a_study_with_features_gives_the_tables_of_one_without(
    on_features: Run, monkeypatch: pytest.MonkeyPatch, cache_home: Path
) -> None:
    with_features = on_features(name="with")
    assert with_features.status == 0
    entries = with_features.manifest["features"]
    assert [(entry["computed"], entry["dtype"]) for entry in entries] == [(True, "float32")] * 2
    keys = {path.parent.name for path in (cache_home / "features").rglob("cut.json")}
    assert keys == {entry["key"] for entry in entries}
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "make_study_features", _no_features)
        without = on_features(name="without")
    assert without.manifest["features"] == []
    pd.testing.assert_frame_equal(with_features.trials[COUNTS], without.trials[COUNTS])
    pd.testing.assert_frame_equal(with_features.trials[TABLES], without.trials[TABLES], atol=1e-3)
    first_epochs = with_features.epochs.query("epoch == 1"), without.epochs.query("epoch == 1")
    np.testing.assert_allclose(*(epochs["train_loss"] for epochs in first_epochs), rtol=1e-5)

    model = tune_bio.load_model(with_features.folder)
    exported = json.loads((with_features.folder / "best" / "config.json").read_text())
    assert exported["validation"].keys() == {
        "val_loss", "val_accuracy", "val_balanced_accuracy", "val_macro_f1", "val_auroc",
    }  # fmt: skip
    evaluated = tune_bio.evaluate(with_features.folder, with_features.manifest["data"]["source"])
    assert set(evaluated.metrics) == {name.removeprefix("val_") for name in model.validation}

    monkeypatch.setattr(frozen_features, "make_features", _fail_if_computed)
    again = on_features(name="again")
    assert [entry["computed"] for entry in again.manifest["features"]] == [False, False]
    assert again.manifest["left_out"] == []
    pd.testing.assert_frame_equal(again.trials[TABLES], with_features.trials[TABLES])


@pytest.mark.slow
def test_trials_train_on_features_of_half_precision(on_features: Run, cache_home: Path) -> None:
    halved = on_features(
        "--gpus-per-trial", "0", "--feature-dtype", "float16", configs=CONFIGS[:1], name="halved"
    )
    full = on_features(configs=CONFIGS[:1], name="full")
    assert halved.manifest["features"][0]["dtype"] == "float16"
    arrays = [np.load(path) for path in (cache_home / "features").rglob("train.npy")]
    assert {str(array.dtype) for array in arrays} == {"float16", "float32"}
    losses = halved.epochs["train_loss"], full.epochs["train_loss"]
    np.testing.assert_allclose(*losses, rtol=1e-2)
    assert (losses[0] != losses[1]).any()


@pytest.mark.slow
def test_tasks_on_a_cluster_compute_the_same_features_as_the_driver(
    on_features: Run, cache_home: Path
) -> None:
    linear_probe = CONFIGS[:1]
    for name, flags in {
        "driver": (),
        "tasks": ("--gpus-per-trial", "0.5", "--max-concurrent", "2"),
    }.items():
        assert on_features(*flags, configs=linear_probe, name=name).status == 0
    arrays = [np.load(path) for path in sorted((cache_home / "features").rglob("train.npy"))]
    assert len(arrays) == 2
    np.testing.assert_allclose(*arrays, rtol=1e-4, atol=1e-5)


def test_a_set_that_does_not_fit_or_fails_is_reported_and_its_trials_run_on_images(
    on_features: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "LARGEST", 500_000)

    def no_memory(*arguments: Any) -> Any:
        raise MemoryError("no memory for it")

    monkeypatch.setattr(feature_tasks, "frozen_model", no_memory)
    finished = on_features(
        "--gpus-per-trial", "0", "--feature-dtype", "float16", configs=[CONFIGS[0], CONFIGS[1]]
    )
    assert finished.status == 0
    assert list(finished.trials["status"]) == ["completed"] * 2
    assert finished.manifest["features"] == []
    notes = sorted(finished.manifest["left_out"])
    assert len(notes) == 2
    assert "no memory for it; its trials run on images" in notes[0]
    assert "stages_2, 32 px" in notes[1]
    assert "GiB do not fit into the cache" in notes[1]


def test_a_study_without_frozen_parts_computes_no_features(study: Run, cache_home: Path) -> None:
    finished = study("--max-epochs", "1", configs=[{"model": "ann", "width": 8}])
    assert finished.manifest["features"] == []
    assert not (cache_home / "features").exists()


def test_a_dry_run_reports_the_size_and_duration_of_features(
    tmp_path: Path, space: Path, weights_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = tmp_path / "configs.json"
    configs.write_text(json.dumps(CONFIGS))
    arguments = ["--configs", str(configs), "--weights-dir", str(weights_dir), "--dry-run"]
    assert main([str(space), *arguments, "--results", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    first = r"frozen features: squeezenet1_0 \(imagenet\), backbone, 32 px, 0\.3 MiB, about \d+ s"
    assert re.search(first, output)
    assert "frozen features: squeezenet1_0 (imagenet), stages_2, 32 px" in output
    assert "in all" in output


def test_no_more_sets_than_trials_are_computed() -> None:
    params = [{"freeze": f"stages_{k}", "lr": 0.1 * n} for k in (1, 2, 3) for n in range(1, k + 1)]
    configs = tuple(TrialConfig.of({**BASE, **branch}) for branch in params)
    plan: Any = SimpleNamespace(configs=configs, trials=2)
    chosen, notes = frozen_features._most_shared(plan)
    assert [part.stages for part in chosen] == [3, 2]
    assert notes[0].startswith("features of 1 of 3 frozen parts")
